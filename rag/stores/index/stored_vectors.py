"""Vectors in a file: rows read when they are asked for, and a file of them as the database stores them."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Self

import numpy as np

from rag.stores.index.vectors import STORED, from_stored

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class StoredVectors:
    """The rows of a file of float16 vectors, read when they are asked for."""

    def __init__(self, file: int, count: int, dimension: int) -> None:
        """Over a descriptor, which is closed when nothing refers to the rows any more.

        Raises:
            ValueError: the file is not of this size.
        """
        self._file = file
        weakref.finalize(self, os.close, file)  # searches of other threads may still read when it is replaced
        self._row_bytes = dimension * STORED.itemsize
        self.dimension = dimension
        self.count = count
        found = os.fstat(file).st_size
        if found != count * self._row_bytes:
            raise ValueError(f"the file of vectors has {found} bytes, not {count * self._row_bytes}")

    @classmethod
    def open(cls, path: Path, count: int, dimension: int) -> Self:
        """Open a file of ``count`` rows. Raises OSError, and ValueError as the constructor."""
        return cls(os.open(path, os.O_RDONLY), count, dimension)

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """As ``VectorRows.take``."""
        return from_stored(read_rows(self._file, rows, self._row_bytes), len(rows), self.dimension)


def read_rows(file: int, rows: NDArray[np.intp], size: int) -> bytearray:
    """Rows of so many bytes each, one after another, of a descriptor's file.

    Not mapped: pages once touched would count as memory of every process for good.
    """
    read = os.pread
    firsts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # of each run of rows that lie one after the other
    lengths = np.diff(firsts, append=len(rows))
    runs = zip(rows[firsts].tolist(), lengths.tolist(), strict=True)
    return bytearray().join([read(file, size * length, size * first) for first, length in runs])
