"""Vectors on their way into an index file."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from rag.stores.index.spool import Spool
from rag.stores.index.vector_rows import gathered

DIMENSION = 8


@pytest.fixture
def spooled(tmp_path):
    generator = np.random.default_rng(0)
    ids = generator.permutation(1000).astype(np.int64)
    vectors = generator.standard_normal((1000, DIMENSION), dtype=np.float32)
    batches = [(ids[start : start + 300], vectors[start : start + 300]) for start in range(0, 1000, 300)]
    with Spool(tmp_path, DIMENSION, batches) as spool:
        yield spool, vectors[np.argsort(ids)]


@pytest.mark.parametrize("rows", [[], [0], [999, 0, 1, 2, 500, 500], list(range(1000))])
def test_rows_are_those_of_ascending_ids(spooled, rows):
    spool, vectors = spooled
    assert spool.ids.tolist() == list(range(1000))
    np.testing.assert_array_equal(spool.take(np.array(rows, np.intp)), vectors[rows])


def test_the_file_is_not_mapped_where_it_would_count_as_memory(spooled, tmp_path):
    spool, _ = spooled
    spool.take(np.arange(1000))
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_nothing_is_spooled_as_well(tmp_path):
    with Spool(tmp_path, DIMENSION, []) as spool:
        assert spool.take(np.empty(0, np.intp)).shape == (0, DIMENSION)


def test_many_rows_are_gathered_without_room_for_all_of_them_twice():
    class Rows:
        dimension = 256
        count = 1 << 15

        def take(self, rows):
            return np.repeat(rows[:, np.newaxis], self.dimension, axis=1).astype(np.float32)

    rows = np.arange(1 << 15)[::-1]
    tracemalloc.start()
    try:
        vectors = gathered(Rows(), rows)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(vectors[:, 7], rows)
    assert most < 1.6 * vectors.nbytes
