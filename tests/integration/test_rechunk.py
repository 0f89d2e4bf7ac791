"""``indexer reembed --rechunk``: a live collection goes over to other chunks, and back."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, func, select, update

from indexer.commands.reembed_display import ReembedDisplay
from rag.config import load_settings
from rag.embedding.fake import HashingEmbedder
from rag.factory import open_library
from rag.source_types import WebFetch
from rag.stores.changes import removed_since
from rag.stores.collections.ingest_lock import ReembeddingLock
from rag.stores.embeddings import embedding_sets, reembedding
from rag.stores.source_moves import retime_sources
from rag.stores.tables import ChunkRow, OutlineRow, TextRow, VersionRow
from rag.stores.writing import recutting
from tests.integration.programs import lines, only_embedders

WORDS = (
    "river lake sea tide wave storm harbour boat sail anchor rope island coast cliff cave sand reef fish gull".split()
)
DOCUMENTS = 12


class Broken(HashingEmbedder):
    """Of one passage it makes a vector that is none."""

    def embed_passages(self, texts: list[str]) -> np.ndarray:
        vectors = super().embed_passages(texts)
        vectors[["number3x1 " in text for text in texts]] = 0
        return vectors


@pytest.fixture
def catalog(monkeypatch):
    known = {
        "hashing": HashingEmbedder(),
        "other": HashingEmbedder(name="other", dimension=32),
        "broken": Broken(name="broken"),
        "short": HashingEmbedder(name="short", max_tokens=40),
    }

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


def written(number: int, sections: int = 4) -> str:
    """A document with headings, paragraphs, a list and a table."""
    chance = np.random.default_rng(number)

    def sentence(words: int) -> str:
        return " ".join(chance.choice(WORDS, words)).capitalize() + "."

    parts = [f"# Title {number}"]
    for section in range(sections):
        parts += [f"## Section {section} of {number}", f"number{number}x{section} {sentence(40)} {sentence(30)}"]
        parts += ["\n".join(f"- item {each} {sentence(12)}" for each in range(4))]
        parts += ["| place | depth |\n|---|---|\n" + "\n".join(f"| {sentence(6)} | {each} |" for each in range(6))]
    return "\n\n".join(parts) + "\n"


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(DOCUMENTS):
        (folder / f"{number:02}.md").write_text(written(number))
    return folder


@pytest.fixture
def ingested(run, docs, scene):
    scene.set_up(lambda: run("ingest", str(docs)))


def chunks(collection: str = "default") -> list[tuple[str, int, str]]:
    """Of every active document: where each chunk begins, and its text."""
    with open_library(load_settings()) as library:
        query = (
            select(VersionRow.title, ChunkRow.start, ChunkRow.text)
            .join(VersionRow, VersionRow.id == ChunkRow.version_id)
            .where(VersionRow.status == "active", VersionRow.collection_id == library.store.collection(collection).id)
            .order_by(VersionRow.title, ChunkRow.ordinal)
        )
        with library.database.read() as connection:
            return [tuple(row) for row in connection.execute(query)]


def states() -> dict[str, int]:
    """How many versions there are of each status."""
    with open_library(load_settings()) as library, library.database.read() as connection:
        rows = connection.execute(select(VersionRow.status, func.count()).group_by(VersionRow.status))
        return dict(map(tuple, rows))


def found(question: str, collection: str = "default", **options) -> list[str]:
    with open_library(load_settings()) as library:
        result = asyncio.run(library.pipeline.search(question, collection=collection, k=3, **options))
        return [passage.chunk.text for passage in result.passages]


def whole(run) -> None:
    assert json.loads(run("verify", "--json").stdout)["findings"] == []


def test_a_collection_goes_over_to_smaller_passages_and_back(run, ingested, docs):
    before = chunks()
    *_, validation, summary = lines(run("reembed", "--chunk-tokens", "60", "--json"))
    after = chunks()
    assert (summary["outcome"], summary["recut"], summary["without_outline"]) == ("swapped", DOCUMENTS, 0)
    assert summary["embedder"] == "hashing@64"
    assert validation["type"] == "validation"
    assert (validation["chunks"], validation["problems"]) == (len(after), [])
    assert validation["found"] > 0.8
    assert validation["found_before"] > 0.6
    assert len(after) > 1.5 * len(before)
    assert states() == {"active": DOCUMENTS, "shelved": DOCUMENTS}
    whole(run)
    # The same as if the sources had been read by a collection that was made so.
    with pytest.MonkeyPatch.context() as setting:
        setting.setenv("RAG_CHUNK_TOKENS", "60")
        run("ingest", str(docs), "-c", "fresh")
    assert chunks("fresh") == after
    # What is ingested from now on is cut alike, and what is there is left alone.
    *_, ingest = lines(run("ingest", str(docs), "--json"))
    assert (ingest["unchanged"], ingest["replaced"]) == (DOCUMENTS, 0)
    *_, summary = lines(run("reembed", "--rollback", "--json"))
    assert (summary["outcome"], summary["embedded"], summary["recut"]) == ("swapped", 0, 0)
    assert chunks() == before
    assert states() == {"active": 2 * DOCUMENTS, "shelved": DOCUMENTS}
    whole(run)
    *_, ingest = lines(run("ingest", str(docs), "--json"))
    assert ingest["unchanged"] == DOCUMENTS
    run("reembed", "--rollback")
    assert chunks() == after
    run("reembed", "--forget-previous")
    assert states() == {"active": 2 * DOCUMENTS}
    whole(run)


def test_searches_see_the_old_passages_until_the_swap_and_only_new_ones_after(run, ingested, monkeypatch):
    before = {text for _, _, text in chunks()}
    seen = {}
    with open_library(load_settings()) as library:

        def ask() -> set[str]:
            result = asyncio.run(library.pipeline.search("number3x1", collection="default", k=30))
            return {passage.chunk.text for passage in result.passages}

        ask()
        monkeypatch.setattr(ReembedDisplay, "step", lambda _self, name: seen.update({name: ask()}))
        run("reembed", "--chunk-tokens", "60")
        after = {text for _, _, text in chunks()}
        assert set(seen) == {"building the index", "asking sample queries"}
        assert all(texts <= before for texts in seen.values())
        assert ask() <= after
        assert not ask() <= before
    assert "number3x1" in found("number3x1")[0].lower()


def test_a_swap_in_the_middle_of_a_search(run, ingested, monkeypatch):
    """Its hits are of passages that are gone when they are read: it searches again."""
    with open_library(load_settings()) as library:
        real = library.lexical.search

        def search(*arguments, **named):
            hits = real(*arguments, **named)
            if not swapped:
                swapped.append(True)
                run("reembed", "--chunk-tokens", "60")
            return hits

        swapped = []
        monkeypatch.setattr(library.lexical, "search", search)
        result = asyncio.run(library.pipeline.search("number3x1", collection="default", k=3))
    after = {text for _, _, text in chunks()}
    assert [passage.chunk.text for passage in result.passages if passage.chunk.text not in after] == []
    assert "number3x1" in result.passages[0].chunk.text.lower()


def test_the_weight_of_meaning_stays_with_the_embedder(run, ingested):
    with open_library(load_settings()) as library:
        library.store.set_dense_weight(library.store.collection("default"), 0.3)
        assert "weight of 0.3 was tuned on the former passages" in run("reembed", "--chunk-tokens", "60").stderr
        assert library.store.collection("default").dense_weight == 0.3
        assert "dense weight 0.3" in run("status").stdout
        assert "weight" not in run("reembed", "--embedder", "other").stderr
        assert library.store.collection("default").dense_weight is None


def test_the_same_chunker_gives_the_same_passages_and_embeds_nothing(run, ingested, catalog, monkeypatch):
    """What is stored with the text is all that the chunker reads of blocks."""
    before = chunks()
    monkeypatch.setattr("indexer.reembedding_target.CHUNKER_VERSION", "tomorrow")
    monkeypatch.setattr("indexer.reembedding.CHUNKER_VERSION", "tomorrow")
    embedded = catalog["hashing"].texts_embedded
    *_, summary = lines(run("reembed", "--rechunk", "--json"))
    assert (summary["outcome"], summary["recut"]) == ("swapped", DOCUMENTS)
    assert chunks() == before
    assert catalog["hashing"].texts_embedded == embedded
    assert "as far as that can be done" in run("reembed", "--rechunk").stdout
    monkeypatch.undo()


def test_passages_of_a_former_size_that_are_still_kept_are_not_embedded_again(run, ingested, catalog):
    run("reembed", "--chunk-tokens", "60")
    embedded = catalog["hashing"].texts_embedded
    *_, summary = lines(run("reembed", "--chunk-tokens", "180", "--force", "--json"))
    assert (summary["outcome"], summary["recut"]) == ("swapped", DOCUMENTS)
    assert catalog["hashing"].texts_embedded == embedded


def test_with_another_embedder_passages_fit_its_input(run, ingested):
    run("reembed", "--rechunk", "--embedder", "short")
    with open_library(load_settings()) as library:
        collection = library.store.collection("default")
        assert collection.fingerprint.embedder == "short@64"
        embedder = library.embedder_of(collection)
        counts = embedder.count_tokens([text for _, _, text in chunks()])
    assert max(counts) <= 40
    whole(run)


def test_an_embedder_alone_first_and_its_passages_later(run, ingested):
    run("reembed", "--embedder", "short")
    *_, summary = lines(run("reembed", "--rechunk", "--json"))
    assert (summary["embedder"], summary["recut"]) == ("short@64", DOCUMENTS)
    assert summary["too_long"] == 0


def test_an_embedder_alone_after_passages_leaves_nothing_of_the_former_ones(run, ingested):
    run("reembed", "--chunk-tokens", "60")
    run("reembed", "--embedder", "other")
    assert states() == {"active": DOCUMENTS}
    run("reembed", "--rollback")
    assert states() == {"active": DOCUMENTS}
    whole(run)


def test_an_ingest_under_way_at_the_swap_is_cut_as_the_others(run, ingested, docs, catalog, monkeypatch):
    swapping = HashingEmbedder()

    def embed_passages(texts):
        if "number90x0" in " ".join(texts).lower() and catalog["hashing"] is swapping:
            catalog["hashing"] = HashingEmbedder()
            run("reembed", "--chunk-tokens", "60")
        return HashingEmbedder.embed_passages(swapping, texts)

    monkeypatch.setattr(swapping, "embed_passages", embed_passages)
    catalog["hashing"] = swapping
    (docs / "90.md").write_text(written(90))
    *_, summary = lines(run("ingest", str(docs), "--json"))
    assert (summary["ingested"], summary["unchanged"]) == (1, DOCUMENTS)
    with open_library(load_settings()) as library, library.database.read() as connection:
        chunkers = connection.scalars(select(VersionRow.chunker).where(VersionRow.status == "active").distinct()).all()
    assert chunkers == ["plumbline-chunks-3@60"]


def test_going_back_to_what_another_release_has_cut(run, ingested, docs, monkeypatch):
    """This one cannot cut like it: what came since keeps its passages."""
    for place in ("pipeline", "reembedding", "reembedding_target"):
        monkeypatch.setattr(f"indexer.{place}.CHUNKER_VERSION", "tomorrow")
    before = chunks()
    run("reembed", "--chunk-tokens", "60")
    (docs / "90.md").write_text(written(90))
    run("ingest", str(docs / "90.md"))
    *_, summary = lines(run("reembed", "--rollback", "--json"))
    assert (summary["outcome"], summary["recut"]) == ("swapped", 0)
    after = chunks()
    assert [each for each in after if each[0] != "Title 90"] == before
    assert len(after) > len(before)
    whole(run)


def test_documents_that_come_change_and_go_meanwhile(run, ingested, docs, monkeypatch):
    def step(_self, name):
        if name == "asking sample queries" and not (docs / "90.md").exists():
            (docs / "90.md").write_text(written(90))
            (docs / "01.md").write_text(written(91))
            run("ingest", str(docs))
            run("delete", str(docs / "00.md"))

    moment = datetime.now(UTC)
    monkeypatch.setattr(ReembedDisplay, "step", step)
    *_, summary = lines(run("reembed", "--chunk-tokens", "60", "--json"))
    assert summary["recut"] == DOCUMENTS + 2
    assert states() == {"active": DOCUMENTS, "shelved": DOCUMENTS, "retired": 2}
    assert "number90x2" in found("number90x2")[0].lower()
    assert not any("number0x1 " in text.lower() for text in found("number0x1"))
    assert "number0x1" in found("number0x1", as_of=moment)[0].lower()
    assert max(len(text) for _, _, text in chunks()) < 700
    whole(run)


def test_a_document_that_comes_when_all_are_cut(run, ingested, docs, monkeypatch):
    """It is embedded as it is, and cut all the same."""

    def recut(_self, done, total):
        if done == total and not (docs / "90.md").exists():
            (docs / "90.md").write_text(written(90))
            run("ingest", str(docs))

    monkeypatch.setattr(ReembedDisplay, "recut", recut)
    *_, summary = lines(run("reembed", "--chunk-tokens", "60", "--json"))
    assert summary["recut"] == DOCUMENTS + 1
    assert states() == {"active": DOCUMENTS + 1, "shelved": DOCUMENTS + 1}
    whole(run)


def test_documents_that_change_in_the_last_moment_before_the_swap(run, ingested, docs, monkeypatch):
    """When nothing was missing, and before the others wait for the transaction."""
    outcomes = []

    def swap(*arguments, **named):
        if not outcomes:
            (docs / "90.md").write_text(written(90))
            (docs / "01.md").write_text(written(91))
            run("ingest", str(docs))
        elif len(outcomes) == 1:
            run("delete", str(docs / "02.md"))
        outcomes.append(real(*arguments, **named))
        return outcomes[-1]

    real = reembedding.swap
    moment = datetime.now(UTC)
    monkeypatch.setattr(reembedding, "swap", swap)
    *_, summary = lines(run("reembed", "--chunk-tokens", "60", "--json"))
    assert outcomes == [reembedding.Swap.CHUNKS_MISSING] * 2 + [reembedding.Swap.DONE]
    assert summary["recut"] == DOCUMENTS + 2
    assert "number2x1" in found("number2x1", as_of=moment)[0].lower()
    assert not any("number2x1 " in text.lower() for text in found("number2x1"))
    whole(run)


def test_what_is_noted_of_a_document_meanwhile_is_noted_of_its_cuts(run, ingested, docs, monkeypatch):
    fetch = WebFetch(etag="1", fetched_at="2026-11-25T00:00:00Z")
    uri = (docs / "00.md").as_posix()

    def step(_self, _name):
        with open_library(load_settings()) as library:
            collection = library.store.collection("default")
            library.store.note_fetch(collection, library.store.document_by_uri(collection, uri).id, fetch)
            retime_sources(library.database, collection, {uri: 12})

    monkeypatch.setattr(ReembedDisplay, "step", step)
    run("reembed", "--chunk-tokens", "60")
    with open_library(load_settings()) as library:
        stored = library.store.stored_source(library.store.collection("default"), uri)
    assert (stored.web, stored.mtime_ns) == (fetch, 12)
    whole(run)


def test_what_is_replaced_or_deleted_after_the_swap_does_not_come_back(run, ingested, docs):
    run("reembed", "--chunk-tokens", "60")
    (docs / "01.md").write_text(written(91))
    (docs / "92.md").write_text(written(92))
    run("ingest", str(docs))
    run("delete", str(docs / "00.md"))
    *_, summary = lines(run("reembed", "--rollback", "--json"))
    assert summary["recut"] == 2  # those that came since are cut as the others were
    texts = " ".join(text for _, _, text in chunks()).lower()
    assert "number91x1 " in texts
    assert "number92x1 " in texts
    assert "number1x1 " not in texts
    assert "number0x1 " not in texts
    whole(run)


def test_history_is_as_it_was(run, ingested, docs):
    (docs / "01.md").write_text(written(91))
    run("ingest", str(docs))
    changes = [
        {key: value for key, value in each.items() if "version" not in key and key != "chunk_count"}
        for each in lines(run("changes", "--json"))
    ]
    moment = datetime.now(UTC)
    run("reembed", "--chunk-tokens", "60")
    assert [
        {key: value for key, value in each.items() if "version" not in key and key != "chunk_count"}
        for each in lines(run("changes", "--json"))
    ] == changes
    assert "number2x1" in found("number2x1", as_of=moment)[0].lower()


def test_a_stopped_run_goes_on_where_it_was(run, ingested, monkeypatch):
    monkeypatch.setattr("indexer.recutting._BATCH", 25)
    asked = iter([False, False, True])
    with monkeypatch.context() as stopping:
        stopping.setattr(ReembedDisplay, "stop", lambda self: next(asked))
        *_, summary = lines(run("reembed", "--chunk-tokens", "60", "--json", exit_code=1))
    assert summary["outcome"] == "stopped"
    cut = states()["prepared"]
    assert 0 < cut < DOCUMENTS
    assert summary["recut"] == cut
    with open_library(load_settings()) as library, library.database.read() as connection:
        made = select(func.sum(VersionRow.chunk_count)).where(VersionRow.status == "prepared")
        assert summary["embedded"] == connection.scalar(made)
    live, building = lines(run("reembed", "--status", "--json"))[0]["embeddings"]
    assert live["chunker"] == "plumbline-chunks-3"
    assert (building["chunker"], building["uncut"]) == ("plumbline-chunks-3@60", DOCUMENTS - cut)
    refused = run("reembed", "--embedder", "other", exit_code=1).stderr
    assert "in chunks by plumbline-chunks-3@60" in refused
    whole(run)
    *_, summary = lines(run("reembed", "--chunk-tokens", "60", "--json"))
    assert (summary["outcome"], summary["recut"]) == ("swapped", DOCUMENTS - cut)
    whole(run)


def test_an_embedder_that_makes_no_vectors_is_told_and_what_serves_goes_on(run, ingested):
    before = chunks()
    said = run("reembed", "--rechunk", "--embedder", "broken", exit_code=1).stderr
    assert "model_error" in said
    assert "broken@64 cannot be used for 'default': an embedding is zero or not finite" in said
    assert chunks() == before
    run("reembed", "--cancel")
    assert states() == {"active": DOCUMENTS}
    whole(run)


def test_a_cancel_leaves_nothing(run, ingested, monkeypatch):
    before = chunks()

    def step(_self, _name):
        run("reembed", "--cancel")

    monkeypatch.setattr(ReembedDisplay, "step", step)
    assert "cancelled meanwhile" in run("reembed", "--chunk-tokens", "60", exit_code=1).stderr
    assert states() == {"active": DOCUMENTS}
    assert chunks() == before
    whole(run)


def test_a_cancel_while_documents_are_cut(run, ingested, monkeypatch):
    monkeypatch.setattr("indexer.recutting._BATCH", 5)

    def recut(_self, done, _total):
        if done == 2:
            run("reembed", "--cancel")

    monkeypatch.setattr(ReembedDisplay, "recut", recut)
    assert "cancelled meanwhile" in run("reembed", "--chunk-tokens", "60", exit_code=1).stderr
    assert states() == {"active": DOCUMENTS}


def test_a_killed_run_leaves_what_verification_tells_and_removes(run, ingested):
    with open_library(load_settings()) as library:
        collection = library.store.collection("default")
        target = embedding_sets.begin(library.database, collection, "hashing@64", 64, chunker="plumbline-chunks-3@60")
        killed = next(recutting.sources(library.database, target))
        with library.database.write() as connection:
            recutting.CutVersion(target, killed, killed.title).add(connection, [])
    assert states() == {"active": DOCUMENTS, "cutting": 1}
    with open_library(load_settings()) as library, ReembeddingLock(library.settings.home, "default"):
        whole(run)
    (finding,) = json.loads(run("verify", "--json").stdout)["findings"]
    assert (finding["severity"], finding["message"]) == (
        "leftover",
        "1 document with other chunks that were not finished.",
    )
    run("verify", "--repair")
    assert states() == {"active": DOCUMENTS}
    whole(run)


def test_documents_from_elsewhere_are_cut_as_those_from_here(run, ingested, docs, tmp_path):
    run("export", str(tmp_path / "water.jsonl"))
    run("import", str(tmp_path / "water.jsonl"), "-c", "copy")
    run("reembed", "--chunk-tokens", "60")
    run("reembed", "--chunk-tokens", "60", "-c", "copy")
    assert chunks("copy") == chunks()
    whole(run)


def test_whose_tokens_imported_chunks_are_measured_in_is_known(run, ingested, tmp_path, monkeypatch):
    run("export", str(tmp_path / "water.jsonl"))
    monkeypatch.setenv("RAG_EMBEDDER", "other")
    run("import", str(tmp_path / "water.jsonl"), "-c", "copy")
    with open_library(load_settings()) as library, library.database.read() as connection:
        copy = library.store.collection("copy")
        measured = select(VersionRow.counted_by).where(VersionRow.collection_id == copy.id).distinct()
        assert (copy.fingerprint.embedder, connection.scalars(measured).all()) == ("other@32", ["hashing@64"])


def test_documents_of_which_too_little_is_stored_keep_their_passages(run, ingested, docs):
    with open_library(load_settings()) as library, library.database.write() as connection:
        first = select(func.min(VersionRow.id)).scalar_subquery()
        connection.execute(delete(OutlineRow).where(OutlineRow.version_id == first))
        connection.execute(update(VersionRow).where(VersionRow.id == first).values(counted_by=None))
    before = [each for each in chunks() if each[0] == "Title 0"]
    result = run("reembed", "--chunk-tokens", "60")
    assert "1 document not cut anew" in result.stderr
    assert [each for each in chunks() if each[0] == "Title 0"] == before
    assert states() == {"active": DOCUMENTS, "shelved": DOCUMENTS - 1}
    whole(run)
    *_, summary = lines(run("ingest", str(docs), "--json"))
    assert (summary["replaced"], summary["unchanged"]) == (1, DOCUMENTS - 1)


def test_a_long_document_is_cut_in_short_transactions(run, docs, monkeypatch):
    monkeypatch.setattr("rag.stores.writing.version_rows._PIECE_CHARACTERS", 500)
    monkeypatch.setattr("rag.stores.writing.recutting._PARTS", 4)
    monkeypatch.setattr("indexer.recutting._BATCH", 7)
    (docs / "long.md").write_text(written(7, sections=40))
    run("ingest", str(docs))
    run("reembed", "--chunk-tokens", "60")
    whole(run)
    with open_library(load_settings()) as library:
        document = library.store.document_by_uri(library.store.collection("default"), (docs / "long.md").as_posix())
    assert document.chunk_count > 100


def test_models_hear_of_the_passages_that_are_gone(run, ingested):
    with open_library(load_settings()) as library:
        collection = library.store.collection("default")
        old = [item.chunk_id for item in library.store.embedding_inputs(collection)]
        run("reembed", "--chunk-tokens", "60")
        new = [item.chunk_id for item in library.store.embedding_inputs(collection)]
        with library.database.read() as connection:
            gone = removed_since(connection, collection.id, collection.seq, shelved=True)
            assert sorted(gone.tolist()) == sorted(old)
            assert removed_since(connection, collection.id, collection.seq).tolist() == []
        now = library.store.collection("default").seq
        run("reembed", "--rollback")
        with library.database.read() as connection:
            assert sorted(removed_since(connection, collection.id, now, shelved=True).tolist()) == sorted(new)


def test_a_purge_takes_every_cut(run, ingested, docs):
    run("reembed", "--chunk-tokens", "60")
    report = json.loads(run("delete", "--purge", str(docs / "00.md"), "--json").stdout)
    assert [place for place in report["searched"] if place["left"]] == []
    assert states() == {"active": DOCUMENTS - 1, "shelved": DOCUMENTS - 1}
    whole(run)


def test_what_is_deleted_for_good_leaves_no_other_cut(run, docs, monkeypatch):
    monkeypatch.setenv("RAG_RETENTION_DAYS", "0")
    run("ingest", str(docs))
    run("reembed", "--chunk-tokens", "60")
    run("delete", str(docs / "00.md"))
    assert states() == {"active": DOCUMENTS - 1, "shelved": DOCUMENTS - 1}


def test_whatever_brings_documents_keeps_to_the_size(run, ingested, docs, tmp_path):
    run("export", "-c", "default", str(tmp_path / "out.jsonl"))
    run("reembed", "--chunk-tokens", "60")
    assert lines(run("sync", str(docs), "--dry-run", "--json"))[-1]["unchanged"] == DOCUMENTS
    run("import", "-c", "default", str(tmp_path / "out.jsonl"))
    with open_library(load_settings()) as library:
        assert library.store.collection("default").fingerprint.chunker == "plumbline-chunks-3@60"
    assert states()["active"] == DOCUMENTS


def test_a_moved_document_keeps_its_cuts(run, ingested, docs):
    run("sync", str(docs))
    run("reembed", "--chunk-tokens", "60")
    (docs / "00.md").rename(docs / "moved.md")
    run("sync", str(docs), "--prune")
    whole(run)
    run("reembed", "--rollback")
    whole(run)
    assert states()["active"] == DOCUMENTS


@pytest.mark.parametrize(
    ("status", "table", "advice"),
    [
        ("active", OutlineRow, "--purge"),
        ("shelved", OutlineRow, "--forget-previous"),
        ("shelved", ChunkRow, "--forget-previous"),
        ("prepared", TextRow, "--cancel"),
    ],
)
def test_damage_is_told_with_what_to_do(run, ingested, monkeypatch, status, table, advice):
    if status == "prepared":
        monkeypatch.setattr(ReembedDisplay, "stop", lambda self: states().get("prepared", 0) == DOCUMENTS)
        run("reembed", "--chunk-tokens", "60", exit_code=1)
    elif status == "shelved":
        run("reembed", "--chunk-tokens", "60")
    with open_library(load_settings()) as library, library.database.write() as connection:
        of = select(func.min(VersionRow.id)).where(VersionRow.status == status).scalar_subquery()
        changed = {"outline": b"no outline"} if table is OutlineRow else {"text": "no such text"}
        assert connection.execute(update(table).where(table.version_id == of).values(**changed)).rowcount
    findings = json.loads(run("verify", "--json", exit_code=1).stdout)["findings"]
    assert any(advice in each["advice"] for each in findings)
    if table is OutlineRow and status == "active":
        refused = run("reembed", "--chunk-tokens", "60", exit_code=1)
        assert "00.md" in refused.stderr
        assert states()["active"] == DOCUMENTS
