"""Exact nearest neighbours: an immutable FAISS index plus what changed since it was built.

The *base* is a flat FAISS index, usually mapped from a file. Later vectors stand in a growing array (the *delta*);
ids that left the base are in a set that its search skips. Searches run on an immutable snapshot and take no lock.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from rag.types import Hit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_FIRST_CAPACITY = 256
# Up to this share of the base, reading the wanted rows one by one is faster than passing over all of them.
_SCANNED_SHARE = 0.2
_SLICE = 4096  # rows copied at a time into a new base: large indexes are never in memory once more than needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A read-only FAISS index of unit vectors. ``ids`` are ascending, row for row those of ``vectors``."""

    index: Any
    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    base: Base
    dead: NDArray[np.int64]  # ids of the base that are gone, ascending
    skip_dead: Any  # FAISS search parameters that leave them out
    ids: NDArray[np.int64] = field(repr=False)
    vectors: NDArray[np.float32] = field(repr=False)
    alive: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Some rows of an array of vectors, with their ids."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    chosen: NDArray[np.intp]


def build(ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> Base:
    """A base in memory of rows in any order, ``vectors`` of shape ``(n, dimension)``."""
    nothing = _Rows(ids=ids[:0], vectors=vectors[:0], chosen=np.empty(0, np.intp))
    return _merge(_Rows(ids=ids, vectors=vectors, chosen=np.arange(len(ids))), nothing)


def _merge(first: _Rows, second: _Rows) -> Base:
    """A base in memory of the rows of both."""
    ids = np.concatenate([first.ids[first.chosen], second.ids[second.chosen]])
    order = np.argsort(ids, kind="stable")
    dimension = first.vectors.shape[1]
    flat: Any = faiss.IndexFlatIP(dimension)
    # Room for all rows at once: grown by slices, the array would be copied time and again, and end too large.
    flat.codes.resize(len(ids) * flat.code_size)
    flat.codes.clear()
    index: Any = faiss.IndexIDMap(flat)
    for start in range(0, len(ids), _SLICE):
        rows = order[start : start + _SLICE]
        of_first = rows < len(first.chosen)
        block = np.empty((len(rows), dimension), np.float32)
        block[of_first] = first.vectors[first.chosen[rows[of_first]]]
        block[~of_first] = second.vectors[second.chosen[rows[~of_first] - len(first.chosen)]]
        index.add_with_ids(block, ids[rows])
    return _view(index)


def write(base: Base, path: Path) -> None:
    """Write a base as a FAISS index file."""
    faiss.write_index(base.index, str(path))


def load(path: Path) -> Base:
    """Map a file that ``write`` made. The pages are shared between processes and read when they are needed.

    Raises:
        ValueError: it is not such a file.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:  # FAISS raises nothing narrower
        raise ValueError(f"{path} is not a FAISS index: {error}") from error
    flat = isinstance(index, faiss.IndexIDMap) and isinstance(faiss.downcast_index(index.index), faiss.IndexFlatIP)
    if not flat:
        raise ValueError(f"{path} holds another kind of index: {type(index).__name__}")
    return _view(index)


def _view(index: Any) -> Base:  # noqa: ANN401  # FAISS is untyped
    flat: Any = faiss.downcast_index(index.index)
    count, dimension = index.ntotal, index.d
    if count == 0:
        return Base(index=index, ids=np.empty(0, np.int64), vectors=np.empty((0, dimension), np.float32))
    vectors = faiss.rev_swig_ptr(flat.get_xb(), count * dimension).reshape(count, dimension)
    return Base(index=index, ids=faiss.vector_to_array(index.id_map), vectors=vectors)


class FaissIndex:
    """Implements ``rag.protocols.VectorIndex``. Safe to share between threads.

    ``persist`` is given a base that holds everything, and returns the one to go on with (read back from disk); without
    it ``flush`` only builds the base in memory.
    """

    def __init__(
        self, dimension: int, *, base: Base | None = None, persist: Callable[[Base], Base] | None = None
    ) -> None:
        self.dimension = dimension
        self._persist = persist
        self._writing = threading.Lock()
        self._rows: dict[int, int] = {}  # row in the delta of each id that is alive there
        self._snapshot: _Snapshot
        self._start_from(base or build(np.empty(0, np.int64), np.empty((0, dimension), np.float32)))

    def upsert(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add unit vectors of shape ``(len(ids), dimension)``, in place of those of the same ids."""
        self.apply(removed=np.empty(0, np.int64), ids=ids, vectors=vectors)

    def delete(self, ids: NDArray[np.int64]) -> None:
        """Ids that are not there are ignored."""
        nothing = np.empty(0, np.int64)
        self.apply(removed=ids, ids=nothing, vectors=np.empty((0, self.dimension), np.float32))

    def apply(self, *, removed: NDArray[np.int64], ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Delete ``removed`` and upsert ``ids`` as one change: a search sees both or neither."""
        if vectors.shape != (len(ids), self.dimension):
            raise ValueError(f"{len(ids)} ids of dimension {self.dimension} do not fit vectors of {vectors.shape}")
        last = {int(chunk_id): row for row, chunk_id in enumerate(ids)}  # of an id given twice the last one counts
        with self._writing:
            snapshot = self._without(self._snapshot, np.concatenate([removed, ids]))
            if last:
                snapshot = self._with(snapshot, np.fromiter(last, np.int64, len(last)), vectors[list(last.values())])
            self._snapshot = snapshot

    def search(self, vector: NDArray[np.float32], k: int, *, among: NDArray[np.int64] | None = None) -> list[Hit]:
        """At most ``k`` hits by inner product, best first, equal ones by id; fewer only if the index holds fewer.

        ``among`` are ascending ids: only these count, and those that are not in the index are ignored.
        """
        return self.view().search(vector, k, among=among)

    def view(self) -> View:
        """The index as it is now: later changes are not seen by searches of the view."""
        return View(self._snapshot)

    def count(self) -> int:
        snapshot = self._snapshot
        return len(snapshot.base.ids) - len(snapshot.dead) + int(snapshot.alive.sum())

    @property
    def changes(self) -> int:
        """Rows that the next flush would bring into, or take out of, the base."""
        return len(self._snapshot.ids) + len(self._snapshot.dead)

    def flush(self) -> None:
        """Bring all changes into a new base and persist it. Searches go on meanwhile."""
        with self._writing:
            snapshot = self._snapshot
            kept = np.flatnonzero(~np.isin(snapshot.base.ids, snapshot.dead, assume_unique=True))
            compacted = _merge(
                _Rows(ids=snapshot.base.ids, vectors=snapshot.base.vectors, chosen=kept),
                _Rows(ids=snapshot.ids, vectors=snapshot.vectors, chosen=np.flatnonzero(snapshot.alive)),
            )
            self._start_from(self._persist(compacted) if self._persist else compacted)

    def _start_from(self, base: Base) -> None:
        self._rows.clear()
        self._id_buffer = np.empty(0, np.int64)
        self._vector_buffer = np.empty((0, self.dimension), np.float32)
        self._snapshot = _Snapshot(
            base=base,
            dead=np.empty(0, np.int64),
            skip_dead=None,
            ids=self._id_buffer,
            vectors=self._vector_buffer,
            alive=np.empty(0, np.bool_),
        )

    def _with(self, snapshot: _Snapshot, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> _Snapshot:
        used = len(snapshot.ids)
        needed = used + len(ids)
        if needed > len(self._id_buffer):
            self._grow(used, max(needed, 2 * len(self._id_buffer), _FIRST_CAPACITY))
        # Snapshots in use end before these rows, so writing here changes nothing that a search can see.
        self._id_buffer[used:needed] = ids
        self._vector_buffer[used:needed] = vectors
        self._rows.update((int(chunk_id), used + row) for row, chunk_id in enumerate(ids))
        return replace(
            snapshot,
            ids=self._id_buffer[:needed],
            vectors=self._vector_buffer[:needed],
            alive=np.concatenate([snapshot.alive, np.ones(len(ids), np.bool_)]),
        )

    def _grow(self, used: int, capacity: int) -> None:
        ids, vectors = np.empty(capacity, np.int64), np.empty((capacity, self.dimension), np.float32)
        ids[:used], vectors[:used] = self._id_buffer[:used], self._vector_buffer[:used]
        self._id_buffer, self._vector_buffer = ids, vectors

    def _without(self, snapshot: _Snapshot, ids: NDArray[np.int64]) -> _Snapshot:
        rows = [row for chunk_id in ids if (row := self._rows.pop(int(chunk_id), None)) is not None]
        if rows:
            alive = snapshot.alive.copy()
            alive[rows] = False
            snapshot = replace(snapshot, alive=alive)
        dead = np.union1d(snapshot.dead, np.intersect1d(snapshot.base.ids, ids))
        if len(dead) > len(snapshot.dead):
            snapshot = replace(snapshot, dead=dead, skip_dead=_skipping(dead))
        return snapshot


def _skipping(dead: NDArray[np.int64]) -> Any:  # noqa: ANN401  # FAISS is untyped
    parameters: Any = faiss.SearchParameters  # its Python constructor takes names that its stubs do not know
    return parameters(sel=faiss.IDSelectorNot(faiss.IDSelectorBatch(dead)))


_Found = tuple["NDArray[np.int64]", "NDArray[np.float32]"]


class View:
    """One state of an index, for searches that must agree with something else of that moment."""

    def __init__(self, snapshot: _Snapshot) -> None:
        self._snapshot = snapshot

    def search(self, vector: NDArray[np.float32], k: int, *, among: NDArray[np.int64] | None = None) -> list[Hit]:
        """As ``FaissIndex.search``."""
        if k < 1:
            return []
        snapshot = self._snapshot
        found = [_search_base(snapshot, vector, k, among), _search_delta(snapshot, vector, k, among)]
        ids = np.concatenate([part[0] for part in found])
        scores = np.concatenate([part[1] for part in found])
        order = np.lexsort((ids, -scores))[:k]
        return [Hit(chunk_id=int(ids[i]), score=float(scores[i])) for i in order]


def _search_base(snapshot: _Snapshot, vector: NDArray[np.float32], k: int, among: NDArray[np.int64] | None) -> _Found:
    live = len(snapshot.base.ids) - len(snapshot.dead)
    if among is not None:
        among = np.setdiff1d(among, snapshot.dead, assume_unique=True)
        rows = np.searchsorted(snapshot.base.ids, among)
        rows = rows[snapshot.base.ids[np.minimum(rows, len(snapshot.base.ids) - 1)] == among] if live else rows[:0]
        if len(rows) <= _SCANNED_SHARE * live:
            return _best(snapshot.base.ids[rows], snapshot.base.vectors[rows] @ vector, k)
        among, live = snapshot.base.ids[rows], len(rows)
    if live == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    # One query cannot be split between threads; a pool of spinning ones would only take cores from the model.
    faiss.omp_set_num_threads(1)
    chosen = snapshot.skip_dead if among is None else _only(among)
    scores, ids = snapshot.base.index.search(vector[np.newaxis], min(k, live), params=chosen)
    return ids[0], scores[0]


def _search_delta(snapshot: _Snapshot, vector: NDArray[np.float32], k: int, among: NDArray[np.int64] | None) -> _Found:
    rows = np.flatnonzero(snapshot.alive if among is None else snapshot.alive & np.isin(snapshot.ids, among))
    vectors = snapshot.vectors if len(rows) == len(snapshot.ids) else snapshot.vectors[rows]
    return _best(snapshot.ids[rows], vectors @ vector, k)


def _best(ids: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> _Found:
    if len(ids) > k:
        rows = np.argpartition(-scores, k - 1)[:k]
        return ids[rows], scores[rows]
    return ids, scores


def _only(ids: NDArray[np.int64]) -> Any:  # noqa: ANN401  # FAISS is untyped
    """Search parameters that let only these ids through: a bit for each id up to the last."""
    last = int(ids[-1])
    chosen = np.zeros(last + 1, np.bool_)
    chosen[ids] = True
    selector: Any = faiss.IDSelectorBitmap  # the stubs know neither constructor as it is in Python
    parameters: Any = faiss.SearchParameters
    return parameters(sel=selector(np.packbits(chosen, bitorder="little")))
