"""What every vector index must do, whichever library keeps it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag.protocols import VectorIndex
from rag.stores.index import bases, recall
from rag.stores.index.faiss_index import FaissIndex
from tests.contracts.store_builders import DIMENSION, unit_vectors

if TYPE_CHECKING:
    from collections.abc import Callable


def _faiss_in_memory(_: Path) -> VectorIndex:
    return FaissIndex(DIMENSION)


FEWEST = {"flat": 0, "ivf": 30}  # there is nothing to learn codes from in fewer


class OnDisk(FaissIndex):
    """Goes on from files after every flush."""

    def __init__(self, directory: Path, kind: str) -> None:
        super().__init__(DIMENSION)
        self._directory, self._kind = directory, kind

    def flush(self) -> None:
        before = self.view()
        rows = before.rows()
        # A directory for each: nothing is written over files that are open.
        place = Path(tempfile.mkdtemp(dir=self._directory))
        suited = self._kind if len(rows.ids) >= FEWEST[self._kind] else "flat"
        bases.write(rows, place, suited, recall.sample(rows))
        self.rebase(before, bases.load(place, suited))


def _on_disk(kind: str) -> Callable[[Path], VectorIndex]:
    def start(directory: Path) -> VectorIndex:
        return OnDisk(directory, kind)

    start.__name__ = kind
    return start


@pytest.fixture(params=[_faiss_in_memory, _on_disk("flat"), _on_disk("ivf")])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> VectorIndex:
    make: Callable[[Path], VectorIndex] = request.param
    return make(tmp_path)


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def found(index: VectorIndex, vector: np.ndarray, k: int) -> list[int]:
    return [hit.chunk_id for hit in index.search(vector, k)]


def test_it_satisfies_the_protocol(index):
    assert isinstance(index, VectorIndex)


def test_an_empty_index_finds_nothing(index):
    assert index.search(unit_vectors(1, seed=0)[0], 5) == []
    index.flush()
    assert index.search(unit_vectors(1, seed=0)[0], 5) == []
    assert index.count() == 0


@pytest.mark.parametrize("flush", [False, True])
def test_hits_are_the_best_inner_products_in_order(index, flush):
    vectors = unit_vectors(50, seed=1)
    index.upsert(np.arange(100, 150), vectors)
    if flush:
        index.flush()
    query = unit_vectors(1, seed=2)[0]
    exact = vectors @ query
    hits = index.search(query, 7)
    assert [hit.chunk_id for hit in hits] == [100 + int(row) for row in np.argsort(-exact)[:7]]
    assert [hit.score for hit in hits] == pytest.approx(sorted(exact, reverse=True)[:7], abs=1e-6)


def test_fewer_hits_only_if_it_holds_fewer(index):
    index.upsert(ids(1, 2, 3), unit_vectors(3, seed=1))
    index.flush()
    index.upsert(ids(4, 5), unit_vectors(2, seed=2))
    query = unit_vectors(1, seed=3)[0]
    assert sorted(found(index, query, 10)) == [1, 2, 3, 4, 5]
    assert len(found(index, query, 4)) == 4
    assert found(index, query, 0) == []


def test_deleted_vectors_do_not_take_the_place_of_others(index):
    vectors = unit_vectors(40, seed=4)
    index.upsert(np.arange(40), vectors)
    index.flush()
    query = vectors[0]
    nearest = found(index, query, 30)
    index.delete(np.array(nearest))
    assert len(found(index, query, 10)) == 10
    assert not set(found(index, query, 40)) & set(nearest)
    assert index.count() == 10


def test_deleting_what_is_not_there_is_ignored(index):
    index.upsert(ids(1), unit_vectors(1, seed=1))
    index.delete(ids(7, 8))
    index.delete(ids(1, 1))
    index.delete(ids(1))
    assert index.count() == 0


@pytest.mark.parametrize("flush", [False, True])
def test_upsert_replaces_the_vector_of_an_id(index, flush):
    first, second = unit_vectors(2, seed=5)
    index.upsert(ids(9), first[np.newaxis])
    if flush:
        index.flush()
    index.upsert(ids(9), second[np.newaxis])
    assert index.count() == 1
    assert index.search(second, 5)[0].score == pytest.approx(1.0, abs=1e-6)
    index.flush()
    assert [(hit.chunk_id, round(hit.score, 5)) for hit in index.search(second, 5)] == [(9, 1.0)]


def test_of_an_id_given_twice_the_last_vector_counts(index):
    first, second = unit_vectors(2, seed=5)
    index.upsert(ids(9, 9), np.stack([first, second]))
    assert index.count() == 1
    assert index.search(second, 1)[0].score == pytest.approx(1.0, abs=1e-6)


def test_flush_changes_no_result(index):
    index.upsert(np.arange(30), unit_vectors(30, seed=6))
    index.flush()
    index.delete(np.arange(0, 30, 3))
    index.upsert(np.arange(30, 45), unit_vectors(15, seed=7))
    index.delete(ids(31, 44))
    query = unit_vectors(1, seed=8)[0]
    before = found(index, query, 50)
    index.flush()
    assert found(index, query, 50) == before
    assert index.count() == len(before) == 33


def test_ids_may_be_any_64_bit_key(index):
    index.upsert(ids(2**62, 5), unit_vectors(2, seed=1))
    index.flush()
    assert sorted(found(index, unit_vectors(1, seed=1)[0], 5)) == [5, 2**62]


def test_shapes_that_do_not_agree_are_refused(index):
    with pytest.raises(ValueError, match="do not fit"):
        index.upsert(ids(1, 2), unit_vectors(1, seed=1))
    assert index.count() == 0


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_only_the_ids_asked_for_count(index, share):
    vectors = unit_vectors(300, seed=3)
    index.upsert(np.arange(1, 201), vectors[:200])
    index.flush()
    index.upsert(np.arange(201, 301), vectors[200:])
    index.delete(ids(7, 250))
    rng = np.random.default_rng(5)
    among = np.sort(rng.choice(np.arange(1, 301), size=int(300 * share), replace=False))
    query = unit_vectors(1, seed=4)[0]
    live = [int(chunk_id) for chunk_id in among if chunk_id not in {7, 250}]
    best = sorted(live, key=lambda chunk_id: -float(vectors[chunk_id - 1] @ query))
    for k in (1, 5, 1000):
        hits = index.search(query, k, among=np.union1d(among, [7, 999]))
        assert [hit.chunk_id for hit in hits if hit.chunk_id != 7] == best[:k]


def test_no_ids_asked_for_means_no_hits(index):
    index.upsert(ids(1, 2), unit_vectors(2, seed=0))
    index.flush()
    assert index.search(unit_vectors(1, seed=0)[0], 5, among=ids()) == []
