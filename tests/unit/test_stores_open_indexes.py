"""Open indexes: those searched last, as many as fit; what is let go is found again, and no search loses its own."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rag.stores.collections.locks import CollectionLocks
from rag.stores.documents import SqlDocumentStore
from rag.stores.index.faiss_index import FaissIndex
from rag.stores.index.open_indexes import OpenIndex, OpenIndexes
from rag.stores.live_vectors import LiveVectors
from rag.types import Comparison
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest, unit_vectors

QUERY = unit_vectors(1, seed=99)[0]


def opened(count, dimension=64):
    index = FaissIndex(dimension)
    index.upsert(np.arange(count), unit_vectors(count, seed=count, dimension=dimension))
    return OpenIndex(index=index, embedder="e", epoch=0, seq=1, base_seq=0)


def held(indexes, *ids):
    return [each for each in ids if each in indexes._open]


def test_those_searched_longest_ago_go_when_there_is_no_room():
    size = opened(100).memory_bytes
    indexes = OpenIndexes(3 * size)
    for number in (1, 2, 3):
        indexes.put(number, opened(100))
    assert indexes.of(1) is not None
    indexes.put(4, opened(100))
    assert held(indexes, 1, 2, 3, 4) == [1, 3, 4]
    assert indexes.memory_bytes == 3 * size
    indexes.drop(3)
    assert (len(indexes), indexes.memory_bytes) == (2, 2 * size)
    indexes.clear()
    assert (len(indexes), indexes.memory_bytes) == (0, 0)


def test_many_small_ones_do_not_push_out_a_large_one_while_all_fit():
    large = opened(20_000)
    indexes = OpenIndexes(large.memory_bytes + 100 * opened(10).memory_bytes)
    indexes.put(0, large)
    for number in range(1, 101):
        indexes.put(number, opened(10))
    assert len(indexes) == 101
    assert indexes.of(0) is large


def test_one_that_is_larger_than_the_room_is_held_alone():
    indexes = OpenIndexes(1)
    indexes.put(1, opened(10))
    indexes.put(2, opened(10))
    assert held(indexes, 1, 2) == [2]


def test_what_an_index_takes_grows_with_it_and_is_counted_anew():
    index = opened(10)
    indexes = OpenIndexes(1 << 30)
    indexes.put(1, index)
    before = indexes.memory_bytes
    index.index.upsert(np.arange(100, 1100), unit_vectors(1000, seed=1, dimension=64))
    indexes.put(1, index)
    assert indexes.memory_bytes >= before + 1000 * 64 * 4


def test_filters_are_forgotten_when_the_index_changes_and_when_they_are_too_many_or_too_large(monkeypatch):
    index = opened(10)
    index.remember("a", np.arange(5))
    assert index.filtered("a").tolist() == [0, 1, 2, 3, 4]
    for number in range(40):
        index.remember(str(number), np.arange(5))
    assert index.filtered("a") is None
    index.remember("large", np.zeros(1 << 23, np.int64))
    index.remember("b", np.arange(1))
    assert index.filtered("large") is None
    assert index.memory_bytes < 1 << 20
    index.seq += 1
    assert index.filtered("b") is None


@pytest.fixture
def store(database, tmp_path):
    return SqlDocumentStore(database), LiveVectors(database, tmp_path / "indexes", most_bytes=40 << 10)


def test_what_is_remembered_of_a_filter_of_many_values_is_counted():
    index = opened(5)
    before = index.memory_bytes
    index.remember("v" * 100_000, np.empty(0, np.int64))
    assert index.memory_bytes > before + 100_000


def test_every_search_finds_all_however_few_indexes_fit(store):
    documents, vectors = store
    collections = [documents.ensure_collection(f"c{number}", fingerprint()) for number in range(8)]
    for number, collection in enumerate(collections):
        ingest(documents, collection, "/a", ["one", "two", "three"], seed=number)
        if number % 2:  # from files and from SQL
            vectors.flush(collection, force=True)
    expected = {collection.id: set(chunk_ids(documents, collection)) for collection in collections}
    wanted = Comparison(field="ordinal", operator=">=", value=0)

    def search(number):
        collection = collections[number % 8]
        hits = vectors.search(collection, QUERY, 10, where=wanted if number % 3 == 0 else None)
        return {hit.chunk_id for hit in hits} == expected[collection.id]

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(search, range(200)))
    assert 1 <= len(vectors.open_indexes) < 8


def test_a_search_goes_on_with_an_index_that_is_let_go(store):
    documents, vectors = store
    first, second = (documents.ensure_collection(name, fingerprint()) for name in ("a", "b"))
    for collection in (first, second):
        ingest(documents, collection, "/a", ["one", "two"])
    vectors.flush(first, force=True)
    view = vectors._followed(first).index.view()
    vectors.open_indexes.clear()
    vectors.search(second, QUERY, 10)
    gc.collect()
    assert {hit.chunk_id for hit in view.search(QUERY, 10)} == set(chunk_ids(documents, first))


def test_a_lock_is_there_while_somebody_holds_it():
    locks = CollectionLocks()
    with locks.of(1):
        assert locks.of(1).locked()
        assert not locks.of(2).locked()
        entered = threading.Event()
        thread = threading.Thread(target=lambda: locks.of(1).acquire() and entered.set())
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(10)
    thread.join()
    gc.collect()
    assert len(locks) == 0
