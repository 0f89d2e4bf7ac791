"""``indexer reembed``: a live collection goes over to another embedder, and back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from indexer.commands.reembed_display import ReembedDisplay
from rag.config import load_settings
from rag.embedding.fake import HashingEmbedder
from rag.errors import EmbedderChanged
from rag.factory import Library, open_library
from rag.readiness import collection_check
from rag.stores.collections.ingest_lock import ReembeddingLock
from tests.integration.programs import lines, only_embedders

WORDS = (
    "river lake sea tide wave storm harbour boat sail anchor rope island coast cliff cave sand reef fish gull".split()
)


class Careless(HashingEmbedder):
    """Its vectors of questions have nothing to do with those of passages."""

    def embed_query(self, text: str) -> np.ndarray:
        return super().embed_query(f"{len(text)} {text[:3]} nonsense")


class Broken(HashingEmbedder):
    """Of one passage it makes a vector that is none."""

    def embed_passages(self, texts: list[str]) -> np.ndarray:
        vectors = super().embed_passages(texts)
        vectors[["number17." in text for text in texts]] = np.nan
        return vectors


CATALOG = {
    "hashing": HashingEmbedder(),
    "other": HashingEmbedder(name="other", dimension=32),
    "short": HashingEmbedder(name="short", max_tokens=32),
    "careless": Careless(name="careless"),
    "broken": Broken(name="broken"),
}


@pytest.fixture
def catalog(monkeypatch):
    known = dict(CATALOG)

    only_embedders(monkeypatch, known)
    return known


@pytest.fixture
def tmp_path(scene):
    return scene.cleared()


@pytest.fixture
def home(tmp_path, monkeypatch, catalog) -> Path:
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    chance = np.random.default_rng(7)
    for number in range(60):
        text = " ".join(chance.choice(WORDS, 30)) + f" number{number}."
        (folder / f"{number:02}.txt").write_text(f"{text}\n")
    return folder


@pytest.fixture
def ingested(run, docs, scene):
    scene.set_up(lambda: run("ingest", str(docs)))


def status(run) -> dict[str, tuple[str, int]]:
    found = lines(run("reembed", "--status", "--json"))[0]["embeddings"]
    return {each["state"]: (each["embedder"], each["done"]) for each in found}


def best(library: Library, question: str, collection: str = "default") -> str:
    found = asyncio.run(library.pipeline.search(question, collection=collection, k=1))
    return found.passages[0].document.title


def test_a_collection_goes_over_to_another_embedder(run, ingested):
    *_, validation, summary = lines(run("reembed", "--embedder", "other", "--json"))
    assert validation["type"] == "validation"
    assert (validation["chunks"], validation["queries"], validation["problems"]) == (60, 60, [])
    assert validation["recall_at_10"] == 1
    assert validation["found"] > 0.8
    assert validation["found_before"] > 0.8
    assert (summary["outcome"], summary["embedder"], summary["embedded"]) == ("swapped", "other@32", 60)
    assert status(run) == {"live": ("other@32", 60), "previous": ("hashing@64", 60)}
    shown = run("reembed", "--status").stdout.splitlines()
    assert [line.split(",")[0] for line in shown] == [
        "live      other@32: 60 of 60 chunks",
        "previous  hashing@64: 60 of 60 chunks",
    ]
    (state,) = json.loads(run("status", "--json").stdout)["collections"]
    assert state["index"]["count"] == 60  # its index was made before it served
    assert json.loads(run("verify", "--json").stdout)["findings"] == []
    assert "already, and whole" in run("reembed", "--embedder", "other").stdout


def test_a_running_service_goes_on_without_a_restart(run, ingested):
    """And two collections of two embedders are searched by one process."""
    run("ingest", "docs/00.txt", "-c", "kept")
    with open_library(load_settings()) as library:
        assert best(library, "number17") == "17"
        run("reembed", "--embedder", "other")
        assert best(library, "number17") == "17"
        assert best(library, "number0", "kept") == "00"
        checks = [collection_check(each, library.embedder_of) for each in library.store.collections()]
    assert [(check.ok, check.detail.rpartition(" ")[2]) for check in checks] == [
        (True, "other@32"),
        (True, "hashing@64"),
    ]


def test_a_swap_between_reading_the_collection_and_searching_is_no_error(run, ingested):
    with open_library(load_settings()) as library:
        before = library.store.collection("default")
        run("reembed", "--embedder", "other")
        found = library.retriever.retrieve(before, "number17", 1)
    assert found.passages[0].document.title == "17"


def test_an_ingest_goes_on_over_a_swap(run, ingested, docs, catalog, monkeypatch):
    """The collection is swapped while a document is being embedded; it is taken in with the new embedder."""
    swapping = HashingEmbedder()

    def embed_passages(texts):
        if "ninety" in texts[0] and swapping.texts_embedded == 0:
            catalog["hashing"] = HashingEmbedder()
            run("reembed", "--embedder", "other")
        return HashingEmbedder.embed_passages(swapping, texts)

    monkeypatch.setattr(swapping, "embed_passages", embed_passages)
    catalog["hashing"] = swapping
    (docs / "90.txt").write_text("ninety boats\n")
    (docs / "91.txt").write_text("ninety-one boats\n")
    *_, summary = lines(run("ingest", str(docs), "--json"))
    assert (summary["ingested"], summary["unchanged"]) == (2, 60)
    assert status(run)["live"] == ("other@32", 62)


def test_documents_that_come_while_it_runs_are_in_it(run, ingested, docs, monkeypatch):
    def step(self, name):
        if name == "asking sample queries":
            (docs / "90.txt").write_text("ninety boats\n")
            run("ingest", str(docs / "90.txt"))
            run("delete", str(docs / "00.txt"))

    monkeypatch.setattr(ReembedDisplay, "step", step)
    assert lines(run("reembed", "--embedder", "other", "--json"))[-1]["embedded"] == 61
    assert status(run)["live"] == ("other@32", 61)  # the deleted one can still be asked for as of then
    assert json.loads(run("verify", "--json").stdout)["findings"] == []
    with open_library(load_settings()) as library:
        assert best(library, "ninety") == "90"


def test_a_stopped_run_goes_on_where_it_was(run, ingested, monkeypatch):
    monkeypatch.setattr("indexer.reembedding._BATCH", 25)
    asked = iter([False, False, True])
    with monkeypatch.context() as stopping:
        stopping.setattr(ReembedDisplay, "stop", lambda self: next(asked))
        *_, summary = lines(run("reembed", "--embedder", "other", "--json", exit_code=1))
    assert (summary["outcome"], summary["embedded"], summary["validation"]) == ("stopped", 50, None)
    assert status(run) == {"live": ("hashing@64", 60), "building": ("other@32", 50)}
    *_, summary = lines(run("reembed", "--embedder", "other", "--json"))
    assert (summary["outcome"], summary["embedded"]) == ("swapped", 10)


def test_an_embedder_that_makes_no_vectors_is_told_and_what_serves_goes_on(run, ingested):
    said = run("reembed", "--embedder", "broken", exit_code=1).stderr
    assert "model_error" in said
    assert "broken@64 cannot be used for 'default': an embedding is zero or not finite" in said
    assert status(run)["live"] == ("hashing@64", 60)
    run("reembed", "--cancel")
    run("reembed", "--embedder", "other")


def test_progress_counts_past_versions_in_both_numbers(run, ingested, docs):
    for path in docs.iterdir():
        run("delete", str(path)) if path.name > "20" else path.write_text(f"{path.read_text()}More sand.\n")
    run("ingest", str(docs))
    *told, _, summary = lines(run("reembed", "--embedder", "other", "--json"))
    counts = [(each["done"], each["total"]) for each in told if each["type"] == "progress"]
    kept = summary["embedded"]
    assert kept > 60
    assert counts[0] == (0, kept)
    assert counts[-1] == (kept, kept)
    shown = lines(run("reembed", "--status", "--json"))[0]["embeddings"]
    assert {(each["done"], each["chunks"]) for each in shown} == {(kept, kept)}


def test_another_target_is_refused_until_the_first_is_cancelled(run, ingested, monkeypatch):
    with monkeypatch.context() as stopping:
        stopping.setattr(ReembedDisplay, "stop", lambda self: True)
        said = run("reembed", "--embedder", "other", exit_code=1).stdout
    assert "Give the same command again" in said
    assert "embedded anew with other@32 already" in run("reembed", "--embedder", "short", exit_code=1).stderr
    assert "dropped" in run("reembed", "--cancel").stdout
    assert status(run) == {"live": ("hashing@64", 60)}
    assert "no embeddings are being made" in run("reembed", "--cancel").stdout


def test_a_cancel_ends_a_run_that_is_at_work(run, ingested, monkeypatch):
    monkeypatch.setattr("indexer.reembedding._BATCH", 25)

    def progress(self, done, total):
        if done == 25:
            run("reembed", "--cancel")

    monkeypatch.setattr(ReembedDisplay, "progress", progress)
    assert "cancelled meanwhile" in run("reembed", "--embedder", "other", exit_code=1).stderr
    assert status(run) == {"live": ("hashing@64", 60)}


def test_two_at_once(run, ingested, home):
    with ReembeddingLock(home, "default"):
        result = run("reembed", "--embedder", "other", "--json", exit_code=1)
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "conflict"
    assert "already embedding" in error["message"]


def test_embeddings_that_find_less_are_refused_unless_forced(run, ingested):
    result = run("reembed", "--embedder", "careless", "--json", exit_code=1)
    *_, validation, told = lines(result)
    assert validation["found"] < 0.5 < validation["found_before"]
    assert "sample queries found their passage" in told["error"]["message"]
    assert status(run)["live"] == ("hashing@64", 60)
    *_, summary = lines(run("reembed", "--embedder", "careless", "--force", "--json"))
    assert (summary["outcome"], summary["embedded"]) == ("swapped", 0)


def test_without_the_old_embedder_half_must_be_found(run, ingested, catalog):
    del catalog["hashing"]
    _, message = lines(run("reembed", "--embedder", "careless", "--json", exit_code=1))[-2:]
    assert "at least half" in message["error"]["message"]
    run("reembed", "--cancel")
    *_, summary = lines(run("reembed", "--embedder", "other", "--json"))
    assert summary["validation"]["found_before"] is None


def test_an_index_with_little_recall_is_refused(run, ingested, monkeypatch):
    monkeypatch.setattr("rag.stores.index.generations.recall", lambda *_: 0.9)
    result = run("reembed", "--embedder", "other", exit_code=1)
    assert "finds 0.900 of the nearest neighbours" in result.stderr


def test_an_index_that_is_made_anew_before_the_swap_is_measured_again(run, ingested, docs, monkeypatch):
    """So much came since the first that the feed does not lead from it, and the second finds too little."""
    validated, seen = ReembedDisplay.validated, []

    def meanwhile(self, validation):
        validated(self, validation)
        seen.append(validation.recall_at_10)
        if len(seen) > 1:
            return
        for number in range(90, 93):
            (docs / f"{number}.txt").write_text(f"boats of {number}\n")
            run("ingest", str(docs / f"{number}.txt"))
            run("rebuild")
        monkeypatch.setattr("rag.stores.index.generations.recall", lambda *_: 0.9)

    monkeypatch.setattr(ReembedDisplay, "validated", meanwhile)
    result = run("reembed", "--embedder", "other", exit_code=1)
    assert "finds 0.900 of the nearest neighbours" in result.stderr
    assert seen == [1.0, 0.9]
    assert status(run)["live"] == ("hashing@64", 63)


def test_where_there_is_nothing_to_ask_for_nothing_was_found(run, ingested, monkeypatch):
    def gone(_self, name):
        if name == "asking sample queries":
            run("delete", *(f"docs/{number:02}.txt" for number in range(60)))

    monkeypatch.setattr(ReembedDisplay, "step", gone)
    *_, summary = lines(run("reembed", "--embedder", "other", "--json"))
    validation = summary["validation"]
    assert (validation["queries"], validation["found"], validation["found_before"]) == (0, None, None)
    assert (summary["outcome"], validation["problems"]) == ("swapped", [])


def test_rollback_goes_back_and_embeds_what_came_since(run, ingested, docs, catalog):
    run("reembed", "--embedder", "other")
    (docs / "90.txt").write_text("ninety boats\n")
    run("ingest", str(docs / "90.txt"))
    assert status(run) == {"live": ("other@32", 61), "previous": ("hashing@64", 60)}
    away = catalog.pop("hashing")
    assert "hashing@64, which cannot be used" in run("reembed", "--rollback", exit_code=1).stderr
    catalog["hashing"] = away
    *_, summary = lines(run("reembed", "--rollback", "--json"))
    assert (summary["outcome"], summary["embedded"]) == ("swapped", 1)
    assert status(run) == {"live": ("hashing@64", 61), "previous": ("other@32", 61)}
    assert json.loads(run("verify", "--json").stdout)["findings"] == []
    with open_library(load_settings()) as library:
        assert best(library, "ninety") == "90"


def test_rollback_needs_no_model_where_nothing_came_since(run, ingested, catalog):
    run("reembed", "--embedder", "other")
    del catalog["hashing"]
    run("reembed", "--rollback")
    assert status(run)["live"] == ("hashing@64", 60)


def test_what_was_before_can_be_forgotten(run, ingested):
    run("reembed", "--embedder", "other")
    run("reembed", "--forget-previous")
    assert status(run) == {"live": ("other@32", 60)}
    assert "no embeddings of before" in run("reembed", "--rollback", exit_code=1).stderr


def test_damaged_embeddings_are_made_anew_by_the_same_embedder(run, ingested, catalog, monkeypatch):
    with open_library(load_settings()) as library, library.database.write() as connection:
        connection.exec_driver_sql("UPDATE embeddings SET vector = zeroblob(128) WHERE chunk_id = 9")
    found = json.loads(run("verify", "--json", exit_code=1).stdout)["findings"]
    assert [finding["advice"] for finding in found] == ["Run `indexer reembed --collection default`."]
    embedded = []
    counted = catalog["hashing"].embed_passages
    monkeypatch.setattr(catalog["hashing"], "embed_passages", lambda texts: embedded.extend(texts) or counted(texts))
    summary = lines(run("reembed", "--json", "--force"))[-1]
    assert (summary["embedded"], summary["reused"]) == (60, 59)
    assert len(embedded) == 1, "what is whole is taken as it is"
    assert json.loads(run("verify", "--json").stdout)["ok"]


def test_an_ingest_takes_the_collections_own_embedder(run, ingested, docs, monkeypatch):
    """RAG_EMBEDDER is for new collections, and for those without documents."""
    monkeypatch.setenv("RAG_EMBEDDER", "other")
    (docs / "90.txt").write_text("ninety boats\n")
    run("ingest", str(docs / "90.txt"))
    run("ingest", str(docs / "90.txt"), "-c", "new")
    with open_library(load_settings()) as library:
        embedders = {each.name: each.fingerprint.embedder for each in library.store.collections()}
    assert embedders == {"default": "hashing@64", "new": "other@32"}


def test_an_ingest_into_embeddings_of_a_model_that_is_gone(run, ingested, docs, catalog, monkeypatch):
    monkeypatch.setenv("RAG_EMBEDDER", "other")
    del catalog["hashing"]
    (docs / "90.txt").write_text("ninety boats\n")
    error = json.loads(run("ingest", str(docs), "--json", exit_code=1).stdout)["error"]
    assert error["code"] == "embedder_changed"
    assert "indexer reembed --collection default" in error["hint"]
    run("reembed")
    run("ingest", str(docs))
    assert status(run)["live"] == ("other@32", 61)


def test_chunks_that_the_new_embedder_cannot_read_whole_are_told(run, docs):
    (docs / "long.txt").write_text("Rivers carry water to the sea. " * 20)
    run("ingest", str(docs))
    result = run("reembed", "--embedder", "short")
    assert "61 chunks longer than this embedder reads" in result.stderr


def test_what_excludes_each_other(run, ingested):
    assert "exclude" in run("reembed", "--cancel", "--rollback", exit_code=2).stderr
    assert "exclude" in run("reembed", "--status", "--embedder", "other", exit_code=2).stderr


def test_few_embedders_are_held(run, docs, catalog, monkeypatch):
    for number, name in enumerate(("one", "two", "three")):
        catalog[name] = HashingEmbedder(name=name)
        monkeypatch.setenv("RAG_EMBEDDER", name)
        run("ingest", str(docs / f"{number:02}.txt"), "-c", name)
    monkeypatch.setenv("RAG_EMBEDDER", "hashing")
    with open_library(load_settings()) as library:
        for name in ("one", "two", "three", "one"):
            assert library.embedder_of(library.store.collection(name)).identity == f"{name}@64"
        assert list(library._embedders._opened) == ["three@64", "one@64"]


def test_another_version_of_the_model_is_not_taken_for_it(run, ingested, catalog, monkeypatch):
    catalog["hashing"] = HashingEmbedder(dimension=65)
    with open_library(load_settings()) as library, pytest.raises(EmbedderChanged, match="the catalog has hashing@65"):
        library.embedder_of(library.store.collection("default"))
