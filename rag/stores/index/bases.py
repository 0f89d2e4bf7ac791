"""The immutable part of an index, and which kind of it suits how many vectors.

Comparing every vector is exact and quick enough up to some tens of thousands; beyond, inverted lists of short codes
find candidates and only these are compared. ``docs/decisions/0012-index-kinds.md`` has the measurements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from rag.stores.index import flat_base, ivf_base

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from rag.stores.index.recall import Sample
    from rag.stores.index.vector_rows import VectorRows

FLAT_UP_TO = 50_000


class Base(Protocol):
    """Unit vectors that can be searched. Rows are numbered in the order of their ascending ids."""

    kind: str
    ids: NDArray[np.int64]
    count: int
    dimension: int
    scanned: int  # so many rows are compared one by one sooner than the search finds them among all

    @property
    def memory_bytes(self) -> int:
        """About what it takes, mapped files included."""
        ...

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The vectors of some rows, in their order; of shape ``(len(rows), dimension)``."""
        ...

    def leaving_out(self, dead: NDArray[np.intp]) -> Any:  # noqa: ANN401  # known to its kind alone
        """What ``search`` needs as ``skip`` in order to leave out these rows."""
        ...

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        *,
        skip: Any,  # noqa: ANN401
        among: NDArray[np.intp] | None,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Rows and inner products of the best, in no order; at most ``k``, which are at least 1 and so many there are.

        ``among`` are the ascending rows that count, all if ``None``; then those that ``skip`` stands for do not.
        """
        ...


def kind_for(count: int, dimension: int) -> str:
    """The kind that suits so many vectors."""
    large = count > FLAT_UP_TO and ivf_base.can_hold(dimension)
    return ivf_base.KIND if large else flat_base.KIND


def write(rows: VectorRows, directory: Path, kind: str, measured: Sample) -> None:
    """Write the files of a base into an empty directory; those that are tuned are tuned with ``measured``.

    Raises:
        OSError, RuntimeError: the file system refused.
    """
    if kind == ivf_base.KIND:
        ivf_base.write(rows, directory, measured)
    else:
        flat_base.write(rows, directory)


def load(directory: Path, kind: str) -> Base:
    """Open what ``write`` made.

    Raises:
        OSError, ValueError: it is not there, or not what was written.
    """
    if kind == ivf_base.KIND:
        return ivf_base.load(directory)
    if kind == flat_base.KIND:
        return flat_base.load(directory)
    raise ValueError(f"{kind!r} is no kind of index that this program knows")
