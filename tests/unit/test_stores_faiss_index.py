from __future__ import annotations

import tracemalloc

import numpy as np

from rag.stores import flat_base, vector_rows
from rag.stores.faiss_index import FaissIndex
from tests.contracts.store_builders import unit_vectors


def test_flushing_holds_the_vectors_once_more_and_not_again():
    vectors = unit_vectors(20_000, seed=1, dimension=128)
    index = FaissIndex(128)
    index.upsert(np.arange(len(vectors)), vectors)
    tracemalloc.start()  # sees what numpy allocates; the new index itself is FAISS's
    try:
        index.flush()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert index.count() == len(vectors)
    assert peak < vectors.nbytes


def test_a_flush_merges_rows_of_any_order_over_many_slices(monkeypatch):
    monkeypatch.setattr(vector_rows, "_SLICE", 7)
    persisted = []
    index = FaissIndex(8, persist=lambda rows: persisted.append(flat_base.build(rows)) or persisted[-1])
    vectors = unit_vectors(100, seed=2)
    shuffled = np.random.default_rng(3).permutation(100)
    index.upsert(shuffled[:60], vectors[shuffled[:60]])
    index.flush()
    index.delete(np.array([shuffled[0], shuffled[1]]))
    index.upsert(shuffled[60:], vectors[shuffled[60:]])
    index.delete(shuffled[-1:])
    index.flush()
    alive = np.sort(shuffled[2:-1])
    assert persisted[-1].ids.tolist() == alive.tolist()
    assert np.array_equal(persisted[-1].vectors, vectors[alive])
