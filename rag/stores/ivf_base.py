"""The base of a large index: short codes in inverted lists find candidates, stored vectors put them in order.

A search passes over the codes of the ``probes`` lists nearest to the query (inverted file, Jegou et al., "Product
quantization for nearest neighbor search", TPAMI 2011; codes compared in registers, Andre et al., "Cache locality is
not enough", VLDB 2015), reads the float16 vectors of the best from the file and compares these exactly. In memory are
the codes and centroids, about a thirteenth of float32 vectors; the vectors stay on disk and in the page cache.
"""

from __future__ import annotations

import math
import os
import weakref
from typing import TYPE_CHECKING, Any, Final

import faiss
import msgspec
import numpy as np

from rag.stores.recall import recall
from rag.stores.vector_rows import slices
from rag.stores.vectors import STORED, from_stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.stores.recall import Sample
    from rag.stores.vector_rows import VectorRows

KIND: Final = "ivf"
_INDEX, _IDS, _VECTORS, _TUNING = "index.faiss", "ids.npy", "vectors.f16", "search.json"

# Four bits for two or more dimensions; sums of more codes than this lose precision in fast scan's 16 bits.
_CODE_BITS = 4
_MOST_CODES = 256

# Of training: k-means gains little from more, and time and memory grow with all three.
_LISTS_PER_ROOT = 4  # of the square root of the number of vectors
_POINTS_PER_LIST = 40
_ITERATIONS = 8
_CODE_TRAINING = 65_536
_SEED = 1

# Candidates whose vectors are read; more where codes tell neighbours apart too badly.
_CANDIDATES, _MOST_CANDIDATES = 100, 800
_RECALL = 0.997  # the sample that tunes is not what users ask: some more than what is promised

# Up to this share of the rows, reading the vectors of all that are wanted is faster than passing over all codes.
_SCANNED_SHARE = 0.005


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """How it is searched: lists looked through, and candidates compared exactly for the ten best."""

    probes: int
    candidates: int


class IvfBase:
    """Implements ``rag.stores.bases.Base`` over the files that ``write`` made."""

    kind = KIND

    def __init__(self, index: Any, ids: NDArray[np.int64], vectors: StoredVectors, tuning: Tuning) -> None:  # noqa: ANN401
        self._index = index
        self._vectors = vectors
        self.tuning = tuning
        self.ids = ids
        self.dimension: int = index.d
        self.scanned = int(_SCANNED_SHARE * len(ids))

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return self._vectors.take(rows)

    def leaving_out(self, dead: NDArray[np.intp]) -> Any:  # noqa: ANN401
        gone = np.zeros(len(self.ids), np.bool_)
        gone[dead] = True
        return gone

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
        lists, count = self._index.nlist, len(self.ids)
        live = count if among is None else len(among)
        if among is None and skip is not None:
            live -= int(np.count_nonzero(skip))
        selector = None if among is None else _only(among, count)
        # The fewer rows count, the further away are the nearest of them.
        probes = min(lists, self.tuning.probes * count // live)
        wanted = self.tuning.candidates + 2 * k
        search_parameters: Any = faiss.SearchParametersIVF  # its Python constructor takes names its stubs do not know
        while True:
            parameters = search_parameters(nprobe=probes, sel=selector)
            rows = self._index.search(vector[np.newaxis], min(wanted, count), params=parameters)[1][0]
            rows = rows[rows >= 0]
            exhausted = len(rows) < wanted
            if among is None and skip is not None:
                rows = rows[~skip[rows]]
            if len(rows) >= min(k, live) or (exhausted and probes == lists):
                break
            probes = lists if exhausted else probes
            wanted *= 4
        scores = self._vectors.take(rows) @ vector
        best = np.argsort(-scores, kind="stable")[:k]
        return rows[best], scores[best]


class StoredVectors:
    """The rows of a file of float16 vectors, read when they are asked for."""

    def __init__(self, path: Path, count: int, dimension: int) -> None:
        """Open it. Raises ValueError if it has another size."""
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)  # searches of other threads may still read when it is replaced
        self._row_bytes = dimension * STORED.itemsize
        self._dimension = dimension
        found = os.fstat(self._file).st_size
        if found != count * self._row_bytes:
            raise ValueError(f"{path} has {found} bytes, not {count * self._row_bytes}")

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """As ``VectorRows.take``. Not mapped: pages once touched would count as memory of every process for good."""
        size, file, read = self._row_bytes, self._file, os.pread
        if len(rows) > 1 and np.all(np.diff(rows) == 1):
            content = read(file, size * len(rows), size * int(rows[0]))
        else:
            content = b"".join([read(file, size, size * row) for row in rows.tolist()])
        return from_stored(content, len(rows), self._dimension)


def write(rows: VectorRows, directory: Path, measured: Sample) -> None:
    """Train, fill and tune an index, and write its files. Memory beyond the codes is bounded by the sample.

    Raises:
        OSError, RuntimeError: a file could not be written.
    """
    index = _trained(rows)
    with (directory / _VECTORS).open("wb") as file:
        for block in slices(rows):
            index.add(np.ascontiguousarray(block))
            file.write(block.astype(STORED).tobytes())
    faiss.write_index(index, str(directory / _INDEX))
    np.save(directory / _IDS, rows.ids)
    vectors = StoredVectors(directory / _VECTORS, len(rows.ids), rows.dimension)
    tuning = _tuned(lambda tuning: IvfBase(index, rows.ids, vectors, tuning), index.nlist, measured)
    (directory / _TUNING).write_bytes(msgspec.json.encode(tuning))


def load(directory: Path) -> IvfBase:
    """Read the codes, and open the vectors.

    Raises:
        ValueError: these are not such files, or they do not belong together.
    """
    path = directory / _INDEX
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:  # FAISS raises nothing narrower
        raise ValueError(f"{path} is not a FAISS index: {error}") from error
    ids = np.load(directory / _IDS, allow_pickle=False)
    if not isinstance(index, faiss.IndexIVFPQFastScan) or index.ntotal != len(ids):
        raise ValueError(f"{path} holds another index: {type(index).__name__} of {index.ntotal} vectors")
    tuning = msgspec.json.decode((directory / _TUNING).read_bytes(), type=Tuning)
    return IvfBase(index, ids, StoredVectors(directory / _VECTORS, len(ids), index.d), tuning)


def can_hold(dimension: int) -> bool:
    """Whether vectors of this dimension can be coded."""
    return dimension % 2 == 0


def _trained(rows: VectorRows) -> Any:  # noqa: ANN401
    count, dimension = len(rows.ids), rows.dimension
    lists = 1 << max(2, round(math.log2(_LISTS_PER_ROOT * math.sqrt(count))))
    generator = np.random.default_rng(_SEED)
    points = generator.choice(count, min(count, _POINTS_PER_LIST * lists), replace=False)
    points.sort()
    sample = rows.take(points)
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    means: Any = faiss.Kmeans
    clusters = means(dimension, lists, niter=_ITERATIONS, spherical=True, seed=1, min_points_per_centroid=1)
    clusters.train(sample)
    quantizer: Any = faiss.IndexFlatIP(dimension)
    quantizer.add(clusters.centroids)
    codes = max(size for size in range(1, min(_MOST_CODES, dimension // 2) + 1) if dimension % size == 0)
    fast_scan: Any = faiss.IndexIVFPQFastScan
    index = fast_scan(quantizer, dimension, lists, codes, _CODE_BITS, faiss.METRIC_INNER_PRODUCT)
    index.train(sample[generator.permutation(len(sample))[:_CODE_TRAINING]])
    return index


def _tuned(searching: Callable[[Tuning], IvfBase], lists: int, measured: Sample) -> Tuning:
    """The least work that finds what it should; the most there is if nothing does."""
    candidates = _CANDIDATES
    while True:
        probes = max(1, lists // 256)
        while True:
            tuning = Tuning(probes=probes, candidates=candidates)
            enough = recall(searching(tuning), measured) >= _RECALL
            if enough or probes == lists:
                break
            probes = min(lists, math.ceil(probes * 1.25))
        if (enough and probes <= lists // 4) or candidates >= _MOST_CANDIDATES:
            return tuning
        candidates *= 2


def _only(rows: NDArray[np.intp], count: int) -> Any:  # noqa: ANN401
    """A selector of these rows: a bit for each of all."""
    chosen = np.zeros(count, np.bool_)
    chosen[rows] = True
    selector: Any = faiss.IDSelectorBitmap
    return selector(np.packbits(chosen, bitorder="little"))
