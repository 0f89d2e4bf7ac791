"""The base of a large index: short codes in inverted lists find candidates, stored vectors put them in order.

A search passes over the codes of the lists nearest to the query (inverted file, Jegou et al., "Product quantization for
nearest neighbor search", TPAMI 2011; codes compared in registers, Andre et al., "Cache locality is not enough", VLDB
2015), reads the float16 vectors of the best from the file and compares these exactly. In memory are the codes and
centroids, about a thirteenth of float32 vectors; the vectors stay on disk and in the page cache.
"""

from __future__ import annotations

import math
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import faiss
import msgspec
import numpy as np

from rag.stores.index.reach import Counted, Spread, enough_candidates, threshold
from rag.stores.index.stored_vectors import StoredVectors
from rag.stores.index.tuning import Tuning, tuned
from rag.stores.index.vector_rows import MergedRows, gathered, slices
from rag.stores.index.vectors import STORED

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.stores.index.recall import Sample
    from rag.stores.index.vector_rows import VectorRows

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

# Where no more of the nearest are left out, in shares of what is asked for, a search goes as far as tuning found.
_FEW = 0.5
# Where rows are left out: candidates at most, and rows that tell how scores are spread.
_MOST_READ = 16_384
_SPREAD_ROWS = 2048

# Lists of which so many times more must be looked through than at first are made anew.
_WORN = 2

# What was trained serves until this share of the rows it was trained for has come since, or has gone.
_NEW_SHARE = 0.5

# Up to this share of the rows, reading the vectors of all that are wanted is faster than passing over all codes.
_SCANNED_SHARE = 0.005


class IvfBase:
    """Implements ``rag.stores.index.bases.Base`` over the files that ``write`` made."""

    kind = KIND

    def __init__(self, index: Any, ids: NDArray[np.int64], vectors: StoredVectors, tuning: Tuning) -> None:  # noqa: ANN401
        self._index = index
        self._vectors = vectors
        self.tuning = tuning
        self.ids = ids
        self.count = len(ids)
        self.dimension: int = index.d
        self.scanned = int(_SCANNED_SHARE * len(ids))

    @property
    def memory_bytes(self) -> int:
        centroids = self._index.nlist * self.dimension * np.dtype(np.float32).itemsize
        rows = self._index.code_size + np.dtype(np.int32).itemsize  # codes, and the lists they are in
        spread = _SPREAD_ROWS * self.dimension * np.dtype(np.float32).itemsize
        return int(self.count * rows + 2 * centroids + spread + 2 * self.ids.nbytes)  # FAISS has the ids as well

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return self._vectors.take(rows)

    def leaving_out(self, dead: NDArray[np.intp]) -> Any:  # noqa: ANN401
        chosen = np.ones(self.count, np.bool_)
        chosen[dead] = False
        gone = np.bincount(self._lists[dead], minlength=self._index.nlist)
        return Counted(_selector(chosen), self._sizes - gone, self.count - len(dead))

    def filled_with(self, vectors: StoredVectors, before: NDArray[np.intp]) -> Any:  # noqa: ANN401
        """A FAISS index with the same lists and codes, of other vectors; ``before`` are their rows here, or -1."""
        old = self._index
        quantizer: Any = faiss.clone_index(old.quantizer)
        pack: Any = faiss.IndexIVFPQFastScan
        unpacked: Any = faiss.IndexIVFPQ(
            quantizer, self.dimension, old.nlist, old.M, _CODE_BITS, faiss.METRIC_INNER_PRODUCT
        )
        unpacked.by_residual, unpacked.pq, unpacked.is_trained = old.by_residual, old.pq, True
        known = self._lists.astype(np.int64)
        faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
        start = 0
        for block in slices(vectors):
            rows = np.arange(start, start + len(block), dtype=np.int64)
            places = before[start : start + len(block)]
            lists = known[places]
            new = places < 0
            if new.any():
                lists[new] = quantizer.search(block[new], 1)[1][:, 0]
            unpacked.add_core(len(block), *(faiss.swig_ptr(array) for array in (block, rows, lists)))
            start += len(block)
        index = pack(unpacked)
        index.own_fields = True  # packing only borrows the centroids
        quantizer.this.disown()
        return index

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
        counted = skip if among is None else self._counted(among)
        if counted is not None:
            return self._search_counted(vector, k, counted)
        scores, wanted = self._centroids @ vector, self.tuning.candidates + 2 * k
        near = np.flatnonzero(scores >= threshold(scores, self.tuning.reach, k))
        rows, _ = self._candidates(vector, wanted, near, scores)
        if len(rows) < min(k, self.count):
            rows, _ = self._candidates(vector, wanted, np.arange(len(scores)), scores)
        return _best(rows, self._vectors.take(rows) @ vector, k)

    def _search_counted(
        self, vector: NDArray[np.float32], k: int, counted: Counted
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """As ``search``, of some rows: how far to look depends on where they lie (``rag.stores.index.reach``)."""
        lists, k = self._index.nlist, min(k, counted.live)
        scores = self._centroids @ vector
        order = np.argsort(-scores)
        ranked, of_lists = scores[order], counted.of_lists[order]
        near = int(np.count_nonzero(ranked >= threshold(scores, self.tuning.reach, k)))
        looked_through = int(self._sizes[order[:near]].sum())
        left_out = looked_through - int(of_lists[:near].sum())
        # As many rows that count as are looked through where all do.
        probes = int(np.searchsorted(np.cumsum(of_lists), looked_through)) + 1
        probes, wanted = min(lists, probes), self.tuning.candidates + 2 * k
        as_tuned = left_out <= _FEW * k  # the best that count are hardly further away than the best of all
        spread: Spread | None = None
        while True:
            rows, coded = self._candidates(vector, wanted, order[:probes], scores, counted.selector)
            exact = self._vectors.take(rows) @ vector
            needed, more = lists, False
            if len(rows) >= k:
                if as_tuned:
                    return _best(rows, exact, k)
                if spread is None:
                    some, their_lists = self._some
                    spread = Spread(scores[their_lists], some @ vector)
                least = float(np.partition(exact, -k)[-k])
                within = int(np.count_nonzero(ranked >= least - self.tuning.below))
                needed = max(within, spread.lists_needed(ranked, of_lists, least=least, k=k, probes=probes))
                full = len(rows) == wanted < min(_MOST_READ, self.count)
                more = full and not enough_candidates(coded, exact, least=least, k=k)
            if needed == probes and not more:
                return _best(rows, exact, k)
            probes, wanted = needed, 2 * wanted if more else wanted

    def _candidates(
        self,
        vector: NDArray[np.float32],
        wanted: int,
        lists: NDArray[np.intp],
        scores: NDArray[np.float32],
        selector: Any = None,  # noqa: ANN401
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The best by their codes in some lists, and their scores by these. ``scores`` are those of all centroids."""
        wanted = min(wanted, self.count)
        search_parameters: Any = faiss.SearchParametersIVF  # its Python constructor takes names its stubs do not know
        parameters = search_parameters(nprobe=len(lists), sel=selector)
        coded, rows = np.empty(wanted, np.float32), np.empty(wanted, np.int64)
        arrays = (vector, lists.astype(np.int64, copy=False), scores[lists], coded, rows)
        query, numbers, centroids, *found = (faiss.swig_ptr(array) for array in arrays)
        self._index.search_preassigned_c(1, query, wanted, numbers, centroids, *found, False, parameters)  # noqa: FBT003  # C++
        there = rows >= 0
        return rows[there], coded[there]

    def _counted(self, rows: NDArray[np.intp]) -> Counted:
        chosen = np.zeros(self.count, np.bool_)
        chosen[rows] = True
        return Counted(_selector(chosen), np.bincount(self._lists[rows], minlength=self._index.nlist), len(rows))

    @cached_property
    def _centroids(self) -> NDArray[np.float32]:
        return _centroids_of(self._index)

    # What only searches need that leave rows out, made by the first of them.

    @cached_property
    def _lists(self) -> NDArray[np.int32]:
        return _lists_of(self._index)

    @cached_property
    def _sizes(self) -> NDArray[np.intp]:
        return np.bincount(self._lists, minlength=self._index.nlist)

    @cached_property
    def _some(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Vectors of some rows, and the lists these are in."""
        rows = np.random.default_rng(_SEED).choice(self.count, min(self.count, _SPREAD_ROWS), replace=False)
        rows.sort()
        return self._vectors.take(rows), self._lists[rows]


def _best(rows: NDArray[np.intp], scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    best = np.argsort(-scores, kind="stable")[:k]
    return rows[best], scores[best]


def _centroids_of(index: Any) -> NDArray[np.float32]:  # noqa: ANN401
    return index.quantizer.reconstruct_n(0, index.nlist)  # type: ignore[no-any-return]


def _lists_of(index: Any) -> NDArray[np.int32]:  # noqa: ANN401
    """The list that each row is in."""
    lists = np.empty(index.ntotal, np.int32)
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            lists[faiss.rev_swig_ptr(index.invlists.get_ids(number), size)] = number
    return lists


def write(rows: VectorRows, directory: Path, measured: Sample) -> None:
    """Train, fill and tune an index, and write its files. Memory beyond the codes is bounded by the sample.

    Rows that come for the most part from such a base keep its lists and codes, which saves most of the time.

    Raises:
        OSError, RuntimeError: a file could not be written.
    """
    with (directory / _VECTORS).open("wb") as file:
        for block in slices(rows):
            file.write(block.astype(STORED).tobytes())
    vectors = StoredVectors.open(directory / _VECTORS, len(rows.ids), rows.dimension)

    def measured_for(index: Any, start: Tuning) -> tuple[Any, Tuning]:  # noqa: ANN401
        centroids = _centroids_of(index)
        return index, tuned(lambda tuning: IvfBase(index, rows.ids, vectors, tuning), centroids, measured, start)

    kept = _taken_over(rows, vectors)
    index, tuning = measured_for(*(kept or _trained(vectors)))
    if kept and _worn(index.nlist, tuning):
        index, tuning = measured_for(*_trained(vectors))
    faiss.write_index(index, str(directory / _INDEX))
    np.save(directory / _IDS, rows.ids)
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
    return IvfBase(index, ids, StoredVectors.open(directory / _VECTORS, len(ids), index.d), tuning)


def can_hold(dimension: int) -> bool:
    """Whether vectors of this dimension can be coded."""
    return dimension % 2 == 0


def _trained(vectors: StoredVectors) -> tuple[Any, Tuning]:
    """An index of all rows, with lists and codes made for them, and the tuning to begin with."""
    count, dimension = vectors.count, vectors.dimension
    lists = 1 << max(2, round(math.log2(_LISTS_PER_ROOT * math.sqrt(count))))
    generator = np.random.default_rng(_SEED)
    points = generator.choice(count, min(count, _POINTS_PER_LIST * lists), replace=False)
    points.sort()
    sample = gathered(vectors, points)
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
    for block in slices(vectors):
        index.add(block)
    return index, Tuning(trained=count)


def _taken_over(rows: VectorRows, vectors: StoredVectors) -> tuple[Any, Tuning] | None:
    """An index of all rows with the lists and codes of the base they come from; none if these do not suit any more."""
    if not isinstance(rows, MergedRows) or not isinstance(base := rows.base, IvfBase):
        return None
    before = rows.rows_of_base()
    tuning = msgspec.structs.replace(base.tuning, since=base.tuning.since + int(np.count_nonzero(before < 0)))
    fewest = (1 - _NEW_SHARE) * tuning.trained
    if tuning.since > _NEW_SHARE * tuning.trained or len(before) < fewest:
        return None
    return base.filled_with(vectors, before), tuning


def _worn(lists: int, tuning: Tuning) -> bool:
    """Whether lists that were kept need so many more looked through than when they were made that new ones pay."""
    return tuning.probes > max(lists // 4, _WORN * tuning.first)


def _selector(chosen: NDArray[np.bool_]) -> Any:  # noqa: ANN401
    """FAISS's selector of these rows: a bit for each of all."""
    selector: Any = faiss.IDSelectorBitmap
    return selector(np.packbits(chosen, bitorder="little"))
