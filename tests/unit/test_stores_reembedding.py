"""A set of embeddings beside the one that serves: grows in pieces, follows the documents, takes its place at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from sqlalchemy import func, select

from rag.errors import Conflict, DatabaseDamaged, DiskFull, EmbedderChanged
from rag.stores.documents import SqlDocumentStore
from rag.stores.embeddings import embedding_sets, reembedding
from rag.stores.embeddings.reembedding import Swap
from rag.stores.index.vectors import encode
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite import schema
from rag.stores.sqlite.database import Database
from rag.stores.tables import EmbeddingRow, EmbeddingSetRow, SetState
from tests.contracts.store_builders import (
    chunk_ids,
    fingerprint,
    ingest,
    settings_in,
    swap_in,
    unit_vectors,
)

NEW = fingerprint(embedder="embedder-2", dimension=4)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def database(home):
    database = Database.open(settings_in(home), busy_timeout_s=0.05)
    yield database
    database.close()


@pytest.fixture
def collection(store):
    return store.ensure_collection("handbook", fingerprint())


@pytest.fixture
def target(database, collection):
    return embedding_sets.begin(database, collection, NEW.embedder, NEW.dimension)


def embed(database, store, collection, target):
    """Embed what is missing, and return its ids."""
    ids = [item.chunk_id for item in store.embedding_inputs(collection, lacking=target)]
    values = encode(np.concatenate([unit_vectors(1, seed=each, dimension=target.dimension) for each in ids]))
    assert embedding_sets.add(database, target, ids, values, too_long=0) == len(ids)
    return ids


def sets(database, collection):
    with database.read() as connection:
        found = (embedding_sets.find(connection, collection, state) for state in SetState)
        return {each.state: each.embedder for each in found if each is not None}


def test_documents_that_come_and_go_meanwhile_are_caught_up_with(database, store, collection, target, home):
    gone = ingest(store, collection, "/a", ["one", "two"])
    ingest(store, collection, "/b", ["three"])
    assert len(embed(database, store, collection, target)) == 3
    index = reembedding.build_index(database, home / "indexes", collection, target)
    seen = reembedding.complete_at(database, collection, target)
    store.delete(collection, [gone.id])
    ingest(store, collection, "/c", ["four", "five"])

    def swap(seen):
        return reembedding.swap(database, home / "indexes", collection, target, index, seen=seen)

    assert swap(seen) is Swap.CHUNKS_MISSING
    assert reembedding.complete_at(database, collection, target) is None
    assert store.collection("handbook").fingerprint == fingerprint()
    added = embed(database, store, collection, target)
    assert len(added) == 2
    assert swap(reembedding.complete_at(database, collection, target)) is Swap.DONE
    changed = store.collection("handbook")
    assert (changed.fingerprint.embedder, changed.fingerprint.dimension) == (NEW.embedder, NEW.dimension)
    vectors = LiveVectors(database, home / "indexes")
    hits = vectors.search(changed, unit_vectors(1, seed=added[0], dimension=4)[0], 10)
    assert (hits[0].chunk_id, round(hits[0].score, 3)) == (added[0], 1.0)
    assert sorted(hit.chunk_id for hit in hits) == chunk_ids(store, changed)
    assert vectors.open_indexes.of(collection.id).base_seq == index.generation.manifest.seq  # the files were used
    with pytest.raises(EmbedderChanged):
        vectors.search(collection, unit_vectors(1, seed=0)[0], 10)


def test_the_index_is_made_only_when_nothing_is_missing(database, store, collection, target, home):
    ingest(store, collection, "/a", ["one"])
    assert reembedding.build_index(database, home / "indexes", collection, target) is None


def test_an_index_that_the_feed_does_not_reach_is_made_anew(database, store, collection, target, home):
    """Two generations of the old vectors were written meanwhile, and what led to the first one was forgotten."""
    ingest(store, collection, "/a", ["one"])
    embed(database, store, collection, target)
    index = reembedding.build_index(database, home / "indexes", collection, target)
    old = LiveVectors(database, home / "indexes")
    for number in range(3):
        ingest(store, collection, f"/{number}", ["more"])
        old.flush(collection, force=True)
    embed(database, store, collection, target)
    seen = reembedding.complete_at(database, collection, target)
    arguments = (database, home / "indexes", collection, target)
    assert reembedding.swap(*arguments, index, seen=seen) is Swap.INDEX_STALE
    index = reembedding.build_index(*arguments)
    assert reembedding.swap(*arguments, index, seen=seen) is Swap.DONE


def test_a_swap_that_is_not_committed_leaves_only_the_index_that_serves(
    database, store, collection, target, home, monkeypatch
):
    ingest(store, collection, "/a", ["one"])
    old = LiveVectors(database, home / "indexes")
    old.flush(collection, force=True)
    folder = home / "indexes" / str(collection.id)
    before = [path.name for path in folder.iterdir()]
    embed(database, store, collection, target)
    index = reembedding.build_index(database, home / "indexes", collection, target)
    seen = reembedding.complete_at(database, collection, target)

    def refuse(*_):
        raise DiskFull("full", hint="none")

    monkeypatch.setattr(reembedding, "point_to", refuse)
    with pytest.raises(DiskFull):
        reembedding.swap(database, home / "indexes", collection, target, index, seen=seen)
    assert [path.name for path in folder.iterdir()] == before
    assert len(old.search(collection, unit_vectors(1, seed=0)[0], 3)) == 1


def test_what_was_done_is_taken_up_again(database, store, collection, target):
    ingest(store, collection, "/a", ["one", "two", "three"])
    first = next(store.embedding_inputs(collection, lacking=target)).chunk_id
    embedding_sets.add(database, target, [first], encode(unit_vectors(1, seed=0, dimension=4)), too_long=1)
    again = embedding_sets.begin(database, collection, NEW.embedder, NEW.dimension)
    assert (again.id, again.too_long) == (target.id, 1)
    assert first not in embed(database, store, collection, again)
    with pytest.raises(Conflict, match=r"embedder-2 already.*--cancel"):
        embedding_sets.begin(database, collection, "embedder-3", 4)


def test_a_cancelled_set_takes_nothing_more_and_leaves_nothing(database, store, collection, target, home):
    ingest(store, collection, "/a", ["one", "two"])
    ids = embed(database, store, collection, target)
    index = reembedding.build_index(database, home / "indexes", collection, target)
    assert embedding_sets.drop(database, collection, SetState.BUILDING) == target
    with pytest.raises(Conflict, match="cancelled"):
        embedding_sets.add(database, target, ids, encode(unit_vectors(2, seed=0, dimension=4)), too_long=0)
    with pytest.raises(Conflict, match="cancelled"):
        reembedding.swap(database, home / "indexes", collection, target, index, seen=1)
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(EmbeddingRow)) == 2
        assert connection.scalar(select(func.count()).select_from(EmbeddingSetRow)) == 1


def test_the_set_before_is_kept_until_the_next_swap(database, store, collection, home):
    ingest(store, collection, "/a", ["one"])
    for number in (2, 3):
        changed = fingerprint(embedder=f"embedder-{number}")
        swap_in(database, home / "indexes", store.collection("handbook"), changed, unit_vectors(1, seed=number))
    assert sets(database, collection) == {
        SetState.LIVE: "embedder-3", SetState.PREVIOUS: "embedder-2", SetState.DROPPED: "embedder-1",
    }  # fmt: skip
    embedding_sets.delete_dropped(database, collection)
    assert sets(database, collection) == {SetState.LIVE: "embedder-3", SetState.PREVIOUS: "embedder-2"}


def test_a_document_that_goes_takes_its_vectors_of_all_sets(database, store, collection, target):
    document = ingest(store, collection, "/a", ["one", "two"])
    embed(database, store, collection, target)
    store.delete(collection, [document.id])
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(EmbeddingRow)) == 0


@pytest.mark.parametrize("value", [bytes(8), np.full(4, np.nan, "<f2").tobytes(), b"short"])
def test_vectors_that_are_none_are_not_swapped_in(database, store, collection, target, home, value):
    ingest(store, collection, "/a", ["one"])
    (chunk_id,) = chunk_ids(store, collection)
    embedding_sets.add(database, target, [chunk_id], [value], too_long=0)
    with pytest.raises(DatabaseDamaged):
        reembedding.build_index(database, home / "indexes", collection, target)


def test_wrong_vectors_are_counted(database, store, collection):
    ingest(store, collection, "/a", ["one", "two", "three"])
    assert reembedding.wrong_vectors(database, collection) == 0
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("UPDATE embeddings SET vector = x'00' WHERE chunk_id = 1")
        connection.execute("DELETE FROM embeddings WHERE chunk_id = 2")
    assert reembedding.wrong_vectors(database, collection) == 2


def test_an_emptied_collection_may_take_another_embedder(database, store, collection, target):
    document = ingest(store, collection, "/a", ["one"])
    store.delete(collection, [document.id])
    changed = store.ensure_collection("handbook", NEW)
    assert changed.fingerprint == NEW
    assert sets(database, collection) == {SetState.LIVE: "embedder-2", SetState.DROPPED: "embedder-2"}
    ingest(store, changed, "/b", ["two"])


def test_embeddings_of_an_older_database_become_the_live_set(home, monkeypatch):
    settings = settings_in(home)
    with monkeypatch.context() as older:
        older.setattr(schema, "REVISIONS", schema.REVISIONS[: schema.REVISIONS.index("0007")])
        Database.open(settings).close()
    row = encode(unit_vectors(1, seed=1))[0]
    with closing(sqlite3.connect(home / "plumbline.db")) as connection, connection:
        connection.execute(
            "INSERT INTO collections (id, name, parser, chunker, embedder, dimension, seq, feed_floor, created_at)"
            " VALUES (3, 'handbook', 'p', 'k', 'embedder-1', 8, 1, 0, '2026-01-01 00:00:00')"
        )
        connection.execute("INSERT INTO documents (id, collection_id, uri) VALUES (5, 3, '/a')")
        connection.execute(
            "INSERT INTO document_versions (id, document_id, collection_id, status, title, media_type, sha256, size,"
            " mtime_ns, parser, chunker, chunk_count, activated_seq, created_at, metadata)"
            " VALUES (7, 5, 3, 'active', '', 'text/plain', '', 1, 1, 'p', 'k', 1, 1, '2026-01-01 00:00:00', '{}')"
        )
        connection.execute(
            "INSERT INTO chunks (id, version_id, ordinal, start, end, token_count, heading_path, context, text)"
            " VALUES (9, 7, 0, 0, 3, 1, '[]', '', 'one')"
        )
        connection.execute("INSERT INTO embeddings (chunk_id, vector) VALUES (9, ?)", (row,))
    database = Database.open(settings)
    collection = SqlDocumentStore(database).collection("handbook")
    hits = LiveVectors(database, home / "indexes").search(collection, unit_vectors(1, seed=1)[0], 3)
    assert [(hit.chunk_id, round(hit.score, 3)) for hit in hits] == [(9, 1.0)]
    assert sets(database, collection) == {SetState.LIVE: "embedder-1"}
    database.close()


def test_embedding_anew_forgets_the_dense_weight(tmp_path):
    home = tmp_path / "tuned"
    database = Database.open(settings_in(home))
    store = SqlDocumentStore(database)
    collection = store.ensure_collection("tuned", fingerprint())
    ingest(store, collection, "/a", ["one"])
    assert store.set_dense_weight(collection, 0.7).dense_weight == 0.7
    changed = fingerprint(embedder="embedder-2")
    swap_in(database, home / "indexes", collection, changed, unit_vectors(1, seed=1))
    assert store.collection("tuned").dense_weight is None
    database.close()
