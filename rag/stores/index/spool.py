"""Vectors from the database on their way into an index file: held in a temporary file, not in memory."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import numpy as np

from rag.stores.index.generations import write_error
from rag.stores.index.stored_vectors import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray


class Spool:
    """Implements ``rag.stores.index.vector_rows.VectorRows``. A context manager: its space is free when it ends."""

    def __init__(
        self, directory: Path, dimension: int, batches: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]
    ) -> None:
        """Take up all ids and unit vectors, which come in any order.

        Raises:
            DiskFull, DataDirectoryUnwritable: the directory's disk refused.
        """
        ids = [np.empty(0, np.int64)]
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed by close()
        except OSError as error:
            raise write_error(directory, error) from error
        try:
            for some, vectors in batches:
                ids.append(some)
                self._file.write(vectors.astype(np.float32).tobytes())
            self._file.flush()
        except BaseException as error:
            with suppress(OSError):  # it tries once more to write what it holds
                self._file.close()
            if isinstance(error, OSError):
                raise write_error(directory, error) from error
            raise
        arrived = np.concatenate(ids)
        self._order = np.argsort(arrived, kind="stable")
        self.ids: NDArray[np.int64] = arrived[self._order]
        self.count = len(arrived)
        self.dimension = dimension

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """As ``VectorRows.take``."""
        # Not as the database stores them: what was made unit length would be rounded a second time.
        row_bytes = self.dimension * np.dtype(np.float32).itemsize
        content = read_rows(self._file.fileno(), self._order[rows], row_bytes)
        return np.frombuffer(content, np.float32).reshape(len(rows), self.dimension)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()
