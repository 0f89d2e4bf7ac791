"""Embedding anew: all or nothing, while documents come and go."""

from __future__ import annotations

import numpy as np
import pytest

from rag.errors import Conflict
from rag.stores.database import Database
from rag.stores.documents import SqlDocumentStore
from rag.stores.live_vectors import LiveVectors
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest, settings_in, unit_vectors

NEW = fingerprint(embedder="embedder-2")


@pytest.fixture
def database(tmp_path):
    database = Database.open(settings_in(tmp_path / "home"), busy_timeout_s=0.05)
    yield database
    database.close()


@pytest.fixture
def store(database):
    return SqlDocumentStore(database)


@pytest.fixture
def collection(store):
    return store.ensure_collection("handbook", fingerprint())


def new_vectors(store, collection):
    ids = np.array(chunk_ids(store, collection), np.int64)
    return ids, unit_vectors(len(ids), seed=42)


def test_a_document_added_meanwhile_stops_the_swap(store, collection):
    ingest(store, collection, "/a", ["one"])

    def batches():
        yield new_vectors(store, collection)
        ingest(store, collection, "/b", ["two"])

    with pytest.raises(Conflict, match="1 chunks were added"):
        store.replace_embeddings(collection, NEW, batches())
    assert store.collection("handbook").fingerprint == fingerprint()


def test_a_document_deleted_meanwhile_does_not(database, store, collection, tmp_path):
    gone = ingest(store, collection, "/a", ["one", "two"])
    ingest(store, collection, "/b", ["three"])

    def batches():
        yield new_vectors(store, collection)
        store.delete(collection, [gone.id])  # also shows that nothing is locked while the model works

    changed = store.replace_embeddings(collection, NEW, batches())
    vectors = LiveVectors(database, tmp_path / "home" / "indexes")
    hits = vectors.search(changed, unit_vectors(1, seed=1)[0], 10)
    assert [hit.chunk_id for hit in hits] == chunk_ids(store, collection)


def test_a_model_that_fails_changes_nothing(store, collection):
    ingest(store, collection, "/a", ["one", "two"])
    before = store.collection("handbook")

    def batches():
        yield new_vectors(store, collection)
        raise RuntimeError("no more memory")

    with pytest.raises(RuntimeError, match="no more memory"):
        store.replace_embeddings(collection, NEW, batches())
    assert store.collection("handbook") == before


def test_more_chunks_than_a_batch(store, collection):
    ingest(store, collection, "/a", [f"text {number}" for number in range(1100)])
    assert store.replace_embeddings(collection, NEW, [new_vectors(store, collection)]).fingerprint == NEW
    assert len(chunk_ids(store, collection)) == 1100


def test_an_embedder_for_an_emptied_collection(store, collection):
    document = ingest(store, collection, "/a", ["one"])
    store.delete(collection, [document.id])
    assert store.ensure_collection("handbook", NEW).fingerprint == NEW
