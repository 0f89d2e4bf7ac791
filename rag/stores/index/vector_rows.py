"""Vectors by row, wherever they are: what an index file is built from, and what is read back from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SLICE = 4096  # rows that are in memory at a time: large indexes are never there once more than needed


class VectorRows(Protocol):
    """Unit vectors in rows; ``ids`` are ascending, row for row."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """Of shape ``(n,)``."""
        ...

    @property
    def count(self) -> int:
        """Number of rows."""
        ...

    @property
    def dimension(self) -> int:
        """Length of each vector."""
        ...

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The vectors of some rows, in their order; of shape ``(len(rows), dimension)``."""
        ...


class _Rows(Protocol):
    @property
    def count(self) -> int: ...
    @property
    def dimension(self) -> int: ...
    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]: ...


def slices(source: _Rows) -> Iterator[NDArray[np.float32]]:
    """All vectors in order, a few thousand at a time."""
    for start in range(0, source.count, _SLICE):
        yield source.take(np.arange(start, min(start + _SLICE, source.count)))


def gathered(source: _Rows, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """As ``take``, of many rows: reading and converting them takes room for a few thousand beside the result."""
    vectors = np.empty((len(rows), source.dimension), np.float32)
    for start in range(0, len(rows), _SLICE):
        vectors[start : start + _SLICE] = source.take(rows[start : start + _SLICE])
    return vectors


@dataclass(frozen=True, slots=True)
class ArrayRows:
    """Rows that are in memory; ``ids`` must be ascending."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]

    @property
    def count(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return self.vectors[rows]


class MergedRows:
    """Some rows of a base and some of an array whose ids are in any order; no id is in both."""

    def __init__(
        self,
        base: VectorRows,
        kept: NDArray[np.intp],
        ids: NDArray[np.int64],
        vectors: NDArray[np.float32],
        alive: NDArray[np.intp],
    ) -> None:
        together = np.concatenate([base.ids[kept], ids[alive]])
        self._order = np.argsort(together, kind="stable")
        self.base, self._kept = base, kept
        self._vectors, self._alive = vectors, alive
        self.ids: NDArray[np.int64] = together[self._order]
        self.count = len(self.ids)
        self.dimension = base.dimension

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        places = self._order[rows]
        of_base = places < len(self._kept)
        found = np.empty((len(rows), self.dimension), np.float32)
        found[of_base] = self.base.take(self._kept[places[of_base]])
        found[~of_base] = self._vectors[self._alive[places[~of_base] - len(self._kept)]]
        return found

    def rows_of_base(self) -> NDArray[np.intp]:
        """The row in ``base`` of each row; -1 for those that are of the array."""
        rows = np.full(len(self._order), -1, np.intp)
        of_base = self._order < len(self._kept)
        rows[of_base] = self._kept[self._order[of_base]]
        return rows
