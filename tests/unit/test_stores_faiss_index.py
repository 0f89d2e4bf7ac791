from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from rag.stores.index import flat_base, vector_rows
from rag.stores.index.faiss_index import FaissIndex
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
    index = FaissIndex(8)
    vectors = unit_vectors(100, seed=2)
    shuffled = np.random.default_rng(3).permutation(100)
    index.upsert(shuffled[:60], vectors[shuffled[:60]])
    index.flush()
    index.delete(np.array([shuffled[0], shuffled[1]]))
    index.upsert(shuffled[60:], vectors[shuffled[60:]])
    index.delete(shuffled[-1:])
    index.flush()
    alive = np.sort(shuffled[2:-1])
    base = index.view().snapshot.base
    assert base.ids.tolist() == alive.tolist()
    assert np.array_equal(base.vectors, vectors[alive])


def test_changes_while_a_base_is_built_stand_beside_it():
    vectors = unit_vectors(12, seed=4)
    index = FaissIndex(8)
    index.upsert(np.arange(6), vectors[:6])
    index.flush()
    index.upsert(np.arange(6, 8), vectors[6:8])
    before = index.view()
    base = flat_base.build(before.rows())
    index.delete(np.array([0, 6]))  # of the old base, and of what was new
    index.upsert(np.array([1, 7, 9]), vectors[[10, 11, 9]])
    index.rebase(before, base)
    expected = {1: 10, 2: 2, 3: 3, 4: 4, 5: 5, 7: 11, 9: 9}
    assert index.count() == len(expected)
    for chunk_id, row in expected.items():
        best = index.search(vectors[row], 1)[0]
        assert (best.chunk_id, round(best.score, 5)) == (chunk_id, 1.0)
    index.delete(np.array([9, 2]))
    assert {hit.chunk_id for hit in index.search(vectors[0], 20)} == {1, 3, 4, 5, 7}
    with pytest.raises(ValueError, match="another base"):
        index.rebase(before, base)
