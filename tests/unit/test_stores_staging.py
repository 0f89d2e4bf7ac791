"""Long documents, crashes and races while a version is staged."""

from __future__ import annotations

import pytest
from sqlalchemy import event, func, select

from rag.errors import DatabaseBusy, EmbedderChanged, IngestInProgress, SourcePurged, UnknownDocument
from rag.stores import documents
from rag.stores.embeddings import reembedding
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.jobs.blobs import Blobs
from rag.stores.live_vectors import LiveVectors
from rag.stores.removal import purge
from rag.stores.sqlite.database import Database
from rag.stores.tables import ChunkRow, DocumentRow, EmbeddingRow, TextRow, VersionRow
from rag.stores.versions import retirement
from rag.stores.writing import staging
from rag.stores.writing import version_rows as version_writing
from rag.types import Span
from tests.contracts.store_builders import (
    chunk_ids,
    drafts,
    fingerprint,
    ingest,
    settings_in,
    source,
    staged,
    swap_in,
    unit_vectors,
)


@pytest.fixture
def database(tmp_path):
    database = Database.open(settings_in(tmp_path / "home"), busy_timeout_s=0.05)
    yield database
    database.close()


@pytest.fixture
def collection(store):
    return store.ensure_collection("handbook", fingerprint())


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(staging, "_HELD_CHUNKS", 4)
    monkeypatch.setattr(staging, "_HELD_CHARACTERS", 50)
    monkeypatch.setattr(version_writing, "_PIECE_CHARACTERS", 7)
    monkeypatch.setattr(retirement, "_BATCH", 3)


def rows(database):
    tables = (DocumentRow, VersionRow, TextRow, ChunkRow, EmbeddingRow)
    with database.read() as connection:
        return [connection.scalar(select(func.count()).select_from(table)) for table in tables]


def stage_long(store, collection, uri="/long", count=30):
    """Begin a version so long that it has been written to disk; as a process would leave it that dies."""
    version = staging.SqlStagedVersion(store._database, collection, source(uri))
    pieces = [f"piece {number} " for number in range(count)]
    made = drafts(pieces)
    for draft, vector in zip(made, unit_vectors(count, seed=1), strict=True):
        version.add_text(draft.span.start, draft.text)
        version.add_chunks([draft], vector[None])
    return version, pieces


def test_a_long_document_is_the_same_as_a_short_one(database, store, collection, small_batches):
    version, pieces = stage_long(store, collection)
    assert rows(database)[3] > 0
    assert store.documents(collection) == []
    assert FtsIndex(database).search(collection, "piece", 5) == []
    document = version.activate()
    text = "".join(pieces)
    assert document.chunk_count == 30
    assert [chunk.text for chunk, _ in store.hydrate(collection, chunk_ids(store, collection))] == pieces
    for start, end in [(0, 5), (3, 40), (6, 7), (7, 8), (14, 14), (100, 10_000), (0, len(text))]:
        assert store.source_text(document.id, Span(start=start, end=end)) == text[start:end]


def test_replacing_and_deleting_a_long_document_leaves_no_rows(database, store, collection, small_batches):
    version, _ = stage_long(store, collection)
    version.activate()
    version, _ = stage_long(store, collection, count=25)
    document = version.activate()
    assert rows(database)[:2] == [1, 1]
    assert rows(database)[3:] == [25, 25]
    store.delete(collection, [document.id])
    assert rows(database) == [0, 0, 0, 0, 0]
    with pytest.raises(UnknownDocument):
        store.source_text(document.id, Span(start=0, end=1))


def test_a_short_document_is_one_transaction(database, store, collection):
    committed = []
    event.listen(database._engine, "commit", committed.append)
    ingest(store, collection, "/a", ["one", "two"])
    assert len(committed) == 1


def test_many_small_documents_go_in_few_transactions(database, store, collection):
    documents = store.activate([staged(store, collection, f"/{number}", ["one", "two"]) for number in range(150)])
    kept = ingest(store, collection, "/kept", ["kept"])
    committed = []
    event.listen(database._engine, "commit", committed.append)
    store.delete(collection, [document.id for document in documents])
    assert len(committed) == 3
    assert rows(database) == [1, 1, 1, 1, 1]
    assert store.documents(collection) == [kept]


def test_source_texts_of_many_documents_go_in_many_transactions(database, store, collection, monkeypatch):
    """Or one would hold up whoever writes for as long as all of them take."""
    monkeypatch.setattr(version_writing, "_PIECE_CHARACTERS", 7)
    monkeypatch.setattr(retirement, "_PIECES", 10)
    documents = store.activate([staged(store, collection, f"/{number}", ["words " * 7]) for number in range(5)])
    assert rows(database) == [5, 5, 30, 5, 5]
    committed = []
    event.listen(database._engine, "commit", committed.append)
    store.delete(collection, [document.id for document in documents])
    assert len(committed) == 5
    assert rows(database) == [0] * 5


def test_leftovers_of_a_crash_go_when_the_source_is_staged_again(database, store, collection, small_batches):
    stage_long(store, collection)
    ingest(store, collection, "/long", ["short"])
    assert rows(database) == [1, 1, 1, 1, 1]


def test_leftovers_of_a_crash_go_on_request(database, store, collection, small_batches):
    kept = ingest(store, collection, "/a", ["kept"])
    stage_long(store, collection)
    assert store.discard_abandoned(collection) == 1
    assert rows(database) == [1, 1, 1, 1, 1]
    assert store.documents(collection) == [kept]


def test_a_crash_before_pruning_shows_nothing_to_any_reader(database, store, collection, small_batches, monkeypatch):
    """Retired versions whose rows are still there are as good as gone."""
    query = unit_vectors(1, seed=2)[0]
    vectors = LiveVectors(database, database.path.parent / "indexes")
    assert vectors.search(collection, query, 5) == []
    version, _ = stage_long(store, collection)
    document = version.activate()
    monkeypatch.setattr(documents, "prune", lambda *_: None)
    store.delete(collection, [document.id])
    assert rows(database)[3] == 30
    assert vectors.search(collection, query, 5) == []
    assert FtsIndex(database).search(collection, "piece", 5) == []
    assert store.hydrate(collection, list(range(100))) == []
    assert store.status(collection).documents == 0
    monkeypatch.undo()
    assert store.discard_abandoned(collection) == 1
    assert rows(database) == [0, 0, 0, 0, 0]


def test_two_writers_of_one_source_do_not_mix(store, collection, small_batches):
    first, _ = stage_long(store, collection)
    second, pieces = stage_long(store, collection)
    with pytest.raises(IngestInProgress, match="/long"):
        first.activate()
    second.activate()
    assert [chunk.text for chunk, _ in store.hydrate(collection, chunk_ids(store, collection))] == pieces


@pytest.fixture
def purged(database, tmp_path):
    def run(collection, document_id):
        home = tmp_path / "home"
        places = {"home": home, "indexes": home / "indexes", "blobs": Blobs(home / "blobs"), "erase": list}
        vectors = LiveVectors(database, places["indexes"])
        try:
            return purge.purge(database, vectors, collection, [document_id], **places)
        finally:
            vectors.close()

    return run


@pytest.mark.parametrize("goes_on", ["activate", "write"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_is_purged_while_it_is_written_never_becomes_active(
    database, store, collection, small_batches, purged, monkeypatch, goes_on, moment
):
    kept = ingest(store, collection, "/a", ["kept"])
    before = ingest(store, collection, "/long", ["before"])
    version, pieces = stage_long(store, collection)

    def go_on():
        ways = {"activate": version.activate, "write": lambda: version.add_text(len("".join(pieces)), "more " * 20)}
        with pytest.raises(SourcePurged, match="/long was purged while it was taken in"):
            ways[goes_on]()
        assert store.documents(collection) == [kept]

    def prune(database, version_ids):
        if moment == "before":
            go_on()
        retirement.prune(database, version_ids)

    monkeypatch.setattr(purge, "prune", prune)
    searched = purged(collection, before.id)
    if moment == "after":
        go_on()
    version.discard()
    assert not any(place.left for place in searched)
    assert rows(database) == [1, 1, 1, 1, 1]
    assert store.documents(collection) == [kept]


def test_what_was_staged_and_is_active_is_not_pruned(database, store, collection, small_batches):
    version, pieces = stage_long(store, collection)
    version_id = version._draft.place.version_id
    version.activate()
    retirement.prune(database, [version_id, version_id + 1])
    assert [chunk.text for chunk, _ in store.hydrate(collection, chunk_ids(store, collection))] == pieces


def test_an_activation_that_found_the_database_locked_can_be_tried_again(database, store, collection):
    text = "one"
    with store.stage(collection, source("/a", text)) as version:
        version.add_text(0, text)
        version.add_chunks(drafts([text]), unit_vectors(1, seed=0))
        with database.write(), pytest.raises(DatabaseBusy):
            version.activate()
        document = version.activate()
    assert store.source_text(document.id, Span(start=0, end=3)) == text
    assert document.chunk_count == 1


@pytest.mark.parametrize("embedder", ["embedder-2", "embedder-1"])
@pytest.mark.parametrize("spilled", [False, True])
def test_a_version_of_before_a_reembedding_cannot_be_activated(
    database, store, collection, tmp_path, monkeypatch, embedder, spilled
):
    """Not one that is half on the disk either, though the same model has embedded both: its vectors are elsewhere."""
    if spilled:
        monkeypatch.setattr(staging, "_HELD_CHUNKS", 1)
    ingest(store, collection, "/a", ["one"])
    changed = fingerprint(embedder=embedder)
    with store.stage(collection, source("/b")) as version:
        version.add_chunks(drafts(["two"]), unit_vectors(1, seed=0))
        swap_in(database, tmp_path / "indexes", collection, changed, unit_vectors(1, seed=3))
        if changed == fingerprint() and not spilled:  # nothing of it is written yet
            version.activate()
        else:
            with pytest.raises(EmbedderChanged):
                version.activate()
    with database.read() as connection:
        sets = connection.scalars(select(EmbeddingRow.set_id).distinct()).all()
    assert len(store.documents(store.collection("handbook"))) == (2 if changed == fingerprint() and not spilled else 1)
    assert len(sets) == 2  # the live and the previous one, and nothing that belongs to neither
    assert_every_chunk_has_a_vector(database, store)


def assert_every_chunk_has_a_vector(database, store):
    assert reembedding.wrong_vectors(database, store.collection("handbook")) == 0
