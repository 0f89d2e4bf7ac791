"""The base of a small index: every vector is compared, in float32. Exact, and nothing to tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import faiss
import numpy as np

from rag.stores.index.vector_rows import slices

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.stores.index.vector_rows import VectorRows

KIND: Final = "flat"
_INDEX = "index.faiss"

# Up to this share of the base, reading the wanted rows one by one is faster than passing over all of them.
_SCANNED_SHARE = 0.2


class FlatBase:
    """Implements ``rag.stores.index.bases.Base`` over a flat FAISS index, usually mapped from a file."""

    kind = KIND

    def __init__(self, index: Any) -> None:  # noqa: ANN401  # FAISS is untyped
        flat: Any = faiss.downcast_index(index.index)
        count = index.ntotal
        self._index, self._flat = index, flat
        self.count: int = count
        self.dimension: int = index.d
        self.ids: NDArray[np.int64] = faiss.vector_to_array(index.id_map) if count else np.empty(0, np.int64)
        self.vectors: NDArray[np.float32] = (
            faiss.rev_swig_ptr(flat.get_xb(), count * self.dimension).reshape(count, self.dimension)
            if count
            else np.empty((0, self.dimension), np.float32)
        )
        self.scanned = int(_SCANNED_SHARE * count)

    @property
    def memory_bytes(self) -> int:
        return int(self.vectors.nbytes) + 2 * int(self.ids.nbytes)  # FAISS has the ids as well

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return self.vectors[rows]

    def leaving_out(self, dead: NDArray[np.intp]) -> Any:  # noqa: ANN401
        return _parameters(faiss.IDSelectorNot(faiss.IDSelectorBatch(dead)))

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        *,
        skip: Any,  # noqa: ANN401
        among: NDArray[np.intp] | None,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        # One query cannot be split between threads; a pool of spinning ones would only take cores from the model.
        faiss.omp_set_num_threads(1)
        chosen = skip if among is None else _only(among, len(self.ids))
        scores, rows = self._flat.search(vector[np.newaxis], k, params=chosen)
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]


def build(rows: VectorRows) -> FlatBase:
    """A base in memory."""
    return FlatBase(_filled(rows))


def write(rows: VectorRows, directory: Path) -> None:
    """Write the files of a base."""
    faiss.write_index(_filled(rows), str(directory / _INDEX))


def load(directory: Path) -> FlatBase:
    """Map what ``write`` made. The pages are shared between processes and read when they are needed.

    Raises:
        ValueError: it is not such a file.
    """
    path = directory / _INDEX
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:  # FAISS raises nothing narrower
        raise ValueError(f"{path} is not a FAISS index: {error}") from error
    flat = isinstance(index, faiss.IndexIDMap) and isinstance(faiss.downcast_index(index.index), faiss.IndexFlatIP)
    if not flat:
        raise ValueError(f"{path} holds another kind of index: {type(index).__name__}")
    return FlatBase(index)


def _filled(rows: VectorRows) -> Any:  # noqa: ANN401
    flat: Any = faiss.IndexFlatIP(rows.dimension)
    # Room for all rows at once: grown by slices, the array would be copied time and again, and end too large.
    flat.codes.resize(len(rows.ids) * flat.code_size)
    flat.codes.clear()
    index: Any = faiss.IndexIDMap(flat)
    start = 0
    for block in slices(rows):
        index.add_with_ids(np.ascontiguousarray(block), rows.ids[start : start + len(block)])
        start += len(block)
    return index


def _parameters(selector: Any) -> Any:  # noqa: ANN401
    parameters: Any = faiss.SearchParameters  # its Python constructor takes names that its stubs do not know
    return parameters(sel=selector)


def _only(rows: NDArray[np.intp], count: int) -> Any:  # noqa: ANN401
    """Search parameters that let only these rows through: a bit for each of all rows."""
    chosen = np.zeros(count, np.bool_)
    chosen[rows] = True
    selector: Any = faiss.IDSelectorBitmap
    return _parameters(selector(np.packbits(chosen, bitorder="little")))
