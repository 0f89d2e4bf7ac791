"""``rag tune`` on made collections, and what other processes search with afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import rag
from indexer.cli import main as indexer
from rag.cli import main
from rag.commands import tune as tune_command
from rag.config import load_settings
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library, open_library
from tests.contracts.store_builders import drafts, fingerprint, source, unit_vectors

TOPICS = 60
DIMENSION = 64
QUESTION = "alpha7 beta7 gamma7"

ELSEWHERE = """
import asyncio
from rag.config import load_settings
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library, open_library
Library._load_embedder = lambda self: HashingEmbedder()
with open_library(load_settings()) as library:
    found = asyncio.run(library.pipeline.search("alpha7 beta7 gamma7", k=3)).passages
print([(p.document.uri, p.scores.fused) for p in found])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A collection whose embeddings are noise: of each topic's passages, only full text knows the one asked for."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        use(patch, folder)
        with open_library(load_settings()) as library:
            made_with = fingerprint(embedder=library.embedder.identity, dimension=DIMENSION)
            collection = library.store.ensure_collection("default", made_with)
            for topic in range(TOPICS):
                words = [f"{name}{topic}" for name in ("alpha", "beta", "gamma")]
                texts = [" ".join(words), *(f"{words[n % 3]} {words[(n + 1) % 3]} word{n} more{n}" for n in range(6))]
                for number, text in enumerate(texts):
                    vectors = unit_vectors(1, seed=topic * 10 + number, dimension=DIMENSION)
                    with library.store.stage(collection, source(f"/{topic}/{number}", text)) as version:
                        version.add_text(0, text)
                        version.add_chunks(drafts([text]), vectors)
                        version.activate()
    return folder


def use(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("RAG_HOME", str(folder / "home"))
    patch.chdir(folder)
    patch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())


@pytest.fixture
def library(made, tmp_path, monkeypatch):
    shutil.copytree(made / "home", tmp_path / "home")
    use(monkeypatch, tmp_path)
    with open_library(load_settings()) as library:
        yield library


@pytest.fixture
def labelled(tmp_path) -> Path:
    lines = [{"query": f"alpha{n} beta{n} gamma{n}", "uris": [f"/{n}/0"]} for n in range(TOPICS)]
    return written(tmp_path / "labelled.jsonl", lines)


def written(path: Path, lines: list[dict]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def labels(**relevant: list) -> list[dict]:
    return [{"query": f"alpha{n}", **relevant} for n in range(TOPICS)]


def run(monkeypatch, *arguments: object, exit_code: int = 0) -> dict:
    given = ["tune", *map(str, arguments), "--json"]
    monkeypatch.setattr(sys, "argv", ["rag", *given])
    result = CliRunner().invoke(main, given, catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def stored(library) -> float | None:
    return library.store.collection("default").dense_weight


def fused(library) -> list[tuple[str, float]]:
    passages = asyncio.run(library.pipeline.search(QUESTION, k=3)).passages
    return [(p.document.uri, p.scores.fused) for p in passages]


def test_the_leg_that_knows_gets_the_weight_and_every_process_searches_with_it(library, labelled, monkeypatch):
    before = fused(library)
    told = run(monkeypatch, "--queries", labelled)
    assert told["changed"]
    assert told["queries"] == TOPICS
    assert told["dense_weight"] == stored(library) < 0.4
    assert told["best"]["ndcg@10"] > told["before"]["ndcg@10"]
    assert told["gain_ci99"][0] > 0
    after = fused(library)
    assert after != before
    assert after[0][0] == "/7/0"
    elsewhere = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(rag.__file__).parents[1])},
    )
    assert elsewhere.stdout.strip() == str(after)
    shown = CliRunner().invoke(indexer, ["status"]).stdout
    assert f"dense weight {stored(library):g}" in shown


def test_a_dry_run_and_a_reset(library, labelled, monkeypatch):
    told = run(monkeypatch, "--queries", labelled, "--dry-run")
    assert (told["clear"], told["changed"], stored(library)) == (True, False, None)
    library.store.set_dense_weight(library.store.collection("default"), 0.9)
    assert run(monkeypatch, "--reset", "--dry-run") == {"collection": "default", "dense_weight": 0.9, "changed": False}
    assert run(monkeypatch, "--reset") == {"collection": "default", "dense_weight": None, "changed": True}
    assert stored(library) is None


def test_labels_by_chunk_and_by_words_mean_the_same(library, labelled, tmp_path, monkeypatch):
    collection = library.store.collection("default")
    chunks = {
        document.uri: chunk
        for item in library.store.embedding_inputs(collection)
        for chunk, document in library.store.hydrate(collection, [item.chunk_id])
    }
    queries = [f"alpha{n} beta{n} gamma{n}" for n in range(TOPICS)]
    by_chunk = [{"query": text, "chunk_ids": [chunks[f"/{n}/0"].id]} for n, text in enumerate(queries)]
    by_words = [{"query": text, "contains": [text.upper()]} for text in queries]
    told = [
        run(monkeypatch, "--queries", written(tmp_path / "other.jsonl", lines), "--dry-run")
        for lines in (by_chunk, by_words)
    ]
    assert told == [run(monkeypatch, "--queries", labelled, "--dry-run")] * 2


def test_labels_that_tell_nothing_change_nothing(library, tmp_path, monkeypatch):
    generator = np.random.default_rng(5)
    lines = [
        {"query": f"alpha{n} beta{n}", "uris": [f"/{generator.integers(TOPICS)}/{generator.integers(7)}"]}
        for n in range(TOPICS)
    ]
    told = run(monkeypatch, "--queries", written(tmp_path / "noise.jsonl", lines))
    assert (told["changed"], told["clear"], stored(library)) == (False, False, None)


def test_an_interrupted_tuning_changes_nothing(library, labelled, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tune_command, "tune", interrupted)
    result = CliRunner().invoke(main, ["tune", "--queries", str(labelled)])
    assert (result.exit_code, result.output) == (130, "")
    assert stored(library) is None


def test_labels_that_cannot_be_used_are_errors(library, labelled, tmp_path, monkeypatch):
    few = written(tmp_path / "few.jsonl", [{"query": "alpha1", "uris": ["/1/0"]}] * 90)
    assert (
        "Nothing is tuned with 1 labelled query:" in run(monkeypatch, "--queries", few, exit_code=1)["error"]["message"]
    )
    gone = written(tmp_path / "gone.jsonl", labels(uris=["/nowhere"]))
    assert "gone.jsonl:1" in run(monkeypatch, "--queries", gone, exit_code=1)["error"]["message"]
    gone = written(tmp_path / "gone.jsonl", labels(chunk_ids=[10**6]))
    assert "no chunk 1000000" in run(monkeypatch, "--queries", gone, exit_code=1)["error"]["message"]
    error = run(monkeypatch, "--queries", labelled, "-c", "other", exit_code=1)["error"]
    assert error["code"] == "unknown_collection"
    for wrong in ([], ["--reset", "--queries", str(labelled)]):
        assert CliRunner().invoke(main, ["tune", *wrong]).exit_code == 2


def test_the_text_for_people_says_what_was_measured_and_done(library, labelled):
    shown = CliRunner().invoke(main, ["tune", "--queries", str(labelled), "--dry-run"]).stdout
    assert "60 labelled queries" in shown
    assert "nothing was changed" in shown
    assert "gain on queries left out: +" in shown
    done = CliRunner().invoke(main, ["tune", "--queries", str(labelled)]).stdout
    assert f"the dense weight is {stored(library):g} now" in done
    again = CliRunner().invoke(main, ["tune", "--queries", str(labelled)]).stdout
    assert f"the dense weight stays {stored(library):g}" in again
    assert "Not a clear gain" in again
