"""The benchmarks run and say what they promise; how fast anything is, they do not test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.completion import Completion
from benchmarks.document_files import is_text, sampled, taken
from benchmarks.embedding import searched
from benchmarks.peers import running
from benchmarks.report import turns
from benchmarks.workloads import Writer
from rag.evaluation.dataset import load_dataset

ROOT = Path(__file__).parents[2]


def words(text: str) -> int:
    return len(text.split())


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


def test_writers_of_different_seeds_share_nothing_but_their_manner() -> None:
    first, again, other = (Writer(words, seed).text(400) for seed in ("a", "a", "b"))
    assert first == again
    assert 400 <= words(first) < 440
    assert not set(first.split(". ")) & set(other.split(". "))


def test_everybody_begins_a_round_as_often_as_the_others() -> None:
    sides = ("a", "b", "c")
    assert [turns(sides, number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert all(sorted(turns(sides, number)) == ["a", "b", "c"] for number in range(4))


def test_speeds_leave_out_what_was_cached_and_the_first_token() -> None:
    done = Completion(prompt_tokens=120, cached_tokens=20, tokens=11, first_token_s=2.0, total_s=4.0)
    assert done.prefill_tokens_per_s == 50
    assert done.decode_tokens_per_s == 5
    assert Completion(prompt_tokens=1, tokens=1, first_token_s=1.0, total_s=1.0).decode_tokens_per_s == 0


def test_a_peer_that_cannot_start_is_reported_in_its_own_words() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('there is no such model')"]
    with pytest.raises(SystemExit, match="there is no such model"), running(command, ready="/health"):
        pass


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


def test_a_sample_of_files_goes_round_the_formats(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    (tmp_path / "a.csv").write_text("a,b")
    (tmp_path / "b.rst").write_text("too large" * 10)
    drawn = [sampled(tmp_path, tmp_path / f".{n}", limit=4, largest=20, seed=seed) for n, seed in enumerate((1, 1, 2))]
    assert [path.suffix for path in drawn[0]] == [".csv", ".txt", ".txt", ".txt"]
    assert [path.name for path in drawn[0]] == [path.name for path in drawn[1]] != [path.name for path in drawn[2]]


def test_a_passage_past_the_embedder_is_cut_and_a_binary_file_is_no_text(embedder_path: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.txt", "b.doc", "c.pdf")]
    passages = [("a.txt", "rain " * 300), ("a.txt", "snow"), ("b.doc", "Word\x00\x01\x02\x03 text")]
    stored = taken(files, passages, embedder_path, 256)
    assert stored.lost == ("b.doc", "c.pdf")
    assert (stored.passages, stored.cut, stored.unread) == (3, 1, 302 - 256)
    assert is_text("Größe,\t5 µm\n")
    assert not is_text(" -- \n")


def test_a_part_of_a_corpus_begins_with_what_answers(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("".join(f'{{"_id": "{n}", "title": "", "text": "t"}}\n' for n in range(5)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "a", "text": "q"}\n{"_id": "b", "text": "q"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\na\t3\t1\nb\t4\t1\n")
    dataset = load_dataset(tmp_path)
    assert [entry.id for entry in searched(dataset, dataset.queries[:1], 2)] == ["3", "0"]
    assert searched(dataset, dataset.queries, 0) == dataset.corpus
