"""The benchmarks run and report what they promise; how fast anything is, they do not test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import growth

pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[2]


def test_single_stream_measures_every_side(smollm_path: Path, tmp_path: Path) -> None:
    results = tmp_path / "results" / "single_stream.json"
    command = [sys.executable, "-m", "benchmarks.single_stream", str(smollm_path), "--quick", "--json", str(results)]
    sizes = ["--prompt-tokens", "24", "--answer-tokens", "6", "--streams", "3"]
    done = subprocess.run([*command, *sizes], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(results.read_text(encoding="utf-8"))
    assert set(report["rounds"]) == {"plumbline", "raw_loop", "llama_class", "streams"}
    sides = [report["rounds"][side][0] for side in ("plumbline", "raw_loop", "llama_class")]
    assert all(side["decode_tokens_per_s"] > 0 for side in sides)
    # What was read differs by no more than the control tokens that open every prompt.
    assert max(side["prompt_tokens"] for side in sides) - min(side["prompt_tokens"] for side in sides) <= 4
    assert {figure["name"]: figure["target"] for figure in report["figures"]}["decode speed / raw_loop"] == 0.97
    assert report["machine"]["cores"] >= 1
    assert str(smollm_path) not in results.read_text(encoding="utf-8"), "a report names the model, not where it lies"


@pytest.mark.usefixtures("embedder_path")
def test_growth_holds_the_highest_memory_of_all_against_its_target(tmp_path, monkeypatch) -> None:
    whole = {"passages": 1.0, "seconds": 1.0, "peak_mib": 5000.0}
    monkeypatch.setattr(growth, "_documents", lambda directory, _options: directory)
    monkeypatch.setattr(growth, "_taken_in", lambda _folder: ([1.0] * 10, [100.0] * 10, whole))
    monkeypatch.setenv("RAG_HOME", str(tmp_path))  # both are set by it, and as before after the test
    monkeypatch.setenv("RAG_EMBEDDER", "all-minilm-l6-v2")
    results = tmp_path / "growth.json"
    monkeypatch.setattr(sys, "argv", ["growth", "--data", str(tmp_path), "--quick", "--json", str(results)])
    growth.main()
    report = json.loads(results.read_text(encoding="utf-8"))
    figures = {figure["name"]: figure for figure in report["figures"]}
    beside = figures["resident memory at its highest, beside the model"]
    model_mib = figures["what the model adds"]["value"]
    assert 0 <= model_mib < 1000
    assert (beside["value"], beside["target"], beside["met"]) == (5000 - model_mib, 1536, False)


def test_embedding_compares_sides_and_ingest(embedder_path: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    entries = [
        {"_id": f"d{number}", "title": f"On {word}", "text": f"{word} is one thing. It is {word} and no other. " * 9}
        for number, word in enumerate(("rain", "snow", "wind", "sand"))
    ]
    (data / "corpus.jsonl").write_text("\n".join(map(json.dumps, entries)))
    (data / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"q{n}", "text": e["title"]}) for n, e in enumerate(entries))
    )
    judged = ["query-id\tcorpus-id\tscore", *(f"q{number}\td{number}\t1" for number in range(4))]
    (data / "qrels.tsv").write_text("\n".join(judged))
    results = tmp_path / "embedding.json"
    command = [sys.executable, "-m", "benchmarks.embedding", "--quick", "--data", str(data), "--json", str(results)]
    sizes = ["--only", "plumbline", "torch_int8", "--texts", "4", "--rounds", "1", "--claims", "4", "--ingest", "2"]
    done = subprocess.run([*command, *sizes], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(results.read_text(encoding="utf-8"))
    assert {"sentence_transformers", "plumbline", "torch_int8", "ingest: one document"} <= set(report["rounds"])
    assert float(report["sides"]["plumbline"]["cosine_least"]) >= 0.9999
    assert 0.9 < float(report["sides"]["torch_int8"]["cosine_least"]) < 0.9999, "eight bits are computed"
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert figures["nDCG@10, plumbline / baseline"]["value"] == 1
    assert figures["speed, plumbline / baseline"]["target"] == 1.6
    assert figures["ingest / embedding alone, one document"]["target"] == 0.85


def test_ingesting_counts_what_was_lost_on_the_way(embedder_path: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "below").mkdir(parents=True)
    (data / "rain.md").write_text("# Rain\n\nRain is water that falls.\n")
    (data / "below" / "rain.md").write_text("# Rain\n\nIt falls below, too.\n")
    (data / "again.md").write_text("# Rain\n\nRain is water that falls.\n")
    (data / "damaged.pdf").write_bytes(b"%PDF-1.4\nno more of it")
    (data / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (data / "empty.txt").touch()
    results = tmp_path / "ingest.json"
    command = [sys.executable, "-m", "benchmarks.ingest_peers", "--quick", "--files", str(data), "--json", str(results)]
    done = subprocess.run([*command, "--only", "plumbline"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(results.read_text(encoding="utf-8"))
    assert report["sides"]["files"] == {"files": 3, "mib": 0.0, ".md": 2, ".pdf": 1}
    (row,) = report["rounds"]["plumbline"]
    assert (row["files_taken"], row["files_lost"], row["files_lost_of_common_formats"]) == (2, 1, 1)
    assert row["passages"] == 2
    assert row["passages_longer_than_embedder"] == 0
    assert 0 < row["tokens_embedded"] == row["tokens"]
    assert [name.partition("-")[2] for name in report["sides"]["plumbline"]["lost"]] == ["damaged.pdf"]
