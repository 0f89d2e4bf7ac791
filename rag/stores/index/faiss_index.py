"""Nearest neighbours: an immutable base plus what changed since it was built.

The *base* is usually opened from files. Later vectors stand in a growing array (the *delta*); ids that left the base
are in a set that its search skips. Searches run on an immutable snapshot and take no lock.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.ranking import Ranking
from rag.stores.index import flat_base
from rag.stores.index.vector_rows import ArrayRows, MergedRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.stores.index.bases import Base

_FIRST_CAPACITY = 16
_ENTRY_BYTES = 100  # of a dictionary from int to int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    base: Base
    dead: NDArray[np.intp]  # rows of the base that are gone, ascending
    skip: Any  # what leaves them out of its search
    ids: NDArray[np.int64] = field(repr=False)
    vectors: NDArray[np.float32] = field(repr=False)
    alive: NDArray[np.bool_] = field(repr=False)


class FaissIndex:
    """Implements ``rag.protocols.VectorIndex``. Safe to share between threads."""

    def __init__(self, dimension: int, *, base: Base | None = None) -> None:
        self.dimension = dimension
        self._writing = threading.Lock()
        self._rows: dict[int, int] = {}  # row in the delta of each id that is alive there
        nothing = ArrayRows(np.empty(0, np.int64), np.empty((0, dimension), np.float32))
        self._snapshot = self._start_from(base or flat_base.build(nothing))

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
            different = np.fromiter(last, np.int64, len(last))
            self._snapshot = self._changed(self._snapshot, removed, different, vectors[list(last.values())])

    def search(self, vector: NDArray[np.float32], k: int, *, among: NDArray[np.int64] | None = None) -> Ranking:
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

    @property
    def memory_bytes(self) -> int:
        """About what it takes, mapped files included."""
        buffers = self._id_buffer.nbytes + self._vector_buffer.nbytes + _ENTRY_BYTES * len(self._rows)
        return self._snapshot.base.memory_bytes + buffers

    def flush(self) -> None:
        """Bring all changes into a new base in memory."""
        before = self.view()
        self.rebase(before, flat_base.build(before.rows()))

    def rebase(self, before: View, base: Base) -> None:
        """Go on from ``base``, which holds the rows of ``before``; what changed since then stands beside it.

        Building a base takes long, and neither searches nor changes need wait for it.

        Raises:
            ValueError: the index has another base by now than it had before.
        """
        with self._writing:
            now, then = self._snapshot, before.snapshot
            if now.base is not then.base:
                raise ValueError("a view of this index before it went on from another base")
            later = len(then.ids) + np.flatnonzero(now.alive[len(then.ids) :])
            present = np.concatenate([np.delete(now.base.ids, now.dead), now.ids[now.alive]])
            ids, vectors = now.ids[later], now.vectors[later]
            gone = np.setdiff1d(base.ids, present, assume_unique=True)
            self._snapshot = self._changed(self._start_from(base), gone, ids, vectors)

    def _start_from(self, base: Base) -> _Snapshot:
        self._rows.clear()
        self._id_buffer = np.empty(0, np.int64)
        self._vector_buffer = np.empty((0, self.dimension), np.float32)
        return _Snapshot(
            base=base,
            dead=np.empty(0, np.intp),
            skip=None,
            ids=self._id_buffer,
            vectors=self._vector_buffer,
            alive=np.empty(0, np.bool_),
        )

    def _changed(
        self, snapshot: _Snapshot, removed: NDArray[np.int64], ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> _Snapshot:
        snapshot = self._without(snapshot, np.concatenate([removed, ids]))
        return self._with(snapshot, ids, vectors) if len(ids) else snapshot

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
        dead = np.union1d(snapshot.dead, _rows_of(snapshot.base.ids, np.unique(ids)))
        if len(dead) > len(snapshot.dead):
            snapshot = replace(snapshot, dead=dead, skip=snapshot.base.leaving_out(dead))
        return snapshot


def _rows_of(base_ids: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.intp]:
    """The rows of those ids that the base has; both ascending."""
    if not len(base_ids):
        return np.empty(0, np.intp)
    rows = np.searchsorted(base_ids, ids)
    found: NDArray[np.intp] = rows[base_ids[np.minimum(rows, len(base_ids) - 1)] == ids]
    return found


_Found = tuple["NDArray[np.int64]", "NDArray[np.float32]"]


class View:
    """One state of an index, for searches that must agree with something else of that moment."""

    def __init__(self, snapshot: _Snapshot) -> None:
        self.snapshot = snapshot

    def rows(self) -> MergedRows:
        """All vectors that are found, for a new base."""
        snapshot = self.snapshot
        kept = np.ones(len(snapshot.base.ids), np.bool_)
        kept[snapshot.dead] = False
        alive = np.flatnonzero(snapshot.alive)
        return MergedRows(snapshot.base, np.flatnonzero(kept), snapshot.ids, snapshot.vectors, alive)

    def search(self, vector: NDArray[np.float32], k: int, *, among: NDArray[np.int64] | None = None) -> Ranking:
        """As ``FaissIndex.search``."""
        if k < 1:
            return Ranking.of(())
        snapshot = self.snapshot
        found = [_search_base(snapshot, vector, k, among), _search_delta(snapshot, vector, k, among)]
        ids = np.concatenate([part[0] for part in found])
        scores = np.concatenate([part[1] for part in found])
        return Ranking.ordered(ids, scores, k)


def _search_base(snapshot: _Snapshot, vector: NDArray[np.float32], k: int, among: NDArray[np.int64] | None) -> _Found:
    base = snapshot.base
    live, wanted = len(base.ids) - len(snapshot.dead), None
    if among is not None:
        wanted = np.setdiff1d(_rows_of(base.ids, among), snapshot.dead, assume_unique=True)
        live = len(wanted)
        if live <= base.scanned:
            return _best(base.ids[wanted], base.take(wanted) @ vector, k)
    if live == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    rows, scores = base.search(vector, min(k, live), skip=snapshot.skip, among=wanted)
    return base.ids[rows], scores


def _search_delta(snapshot: _Snapshot, vector: NDArray[np.float32], k: int, among: NDArray[np.int64] | None) -> _Found:
    rows = np.flatnonzero(snapshot.alive if among is None else snapshot.alive & np.isin(snapshot.ids, among))
    vectors = snapshot.vectors if len(rows) == len(snapshot.ids) else snapshot.vectors[rows]
    return _best(snapshot.ids[rows], vectors @ vector, k)


def _best(ids: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> _Found:
    if len(ids) > k:
        rows = np.argpartition(-scores, k - 1)[:k]
        return ids[rows], scores[rows]
    return ids, scores
