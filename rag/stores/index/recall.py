"""Recall of an index, measured against exact search with queries that are as far from its vectors as questions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from rag.stores.index.vector_rows import slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.stores.index.vector_rows import VectorRows

AT: Final = 10
LEAST: Final = 0.99  # an index that finds less is told
_QUERIES = 400
_SEED = 0
# Float32 sums in another order, and float16 rounded twice; neighbours this close are interchangeable.
_SAME_SCORE = 1e-5


class Searched(Protocol):
    """What is measured."""

    def search(
        self, vector: NDArray[np.float32], k: int, *, skip: None, among: None
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Rows and scores of the best."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """Queries of shape ``(n, dimension)``, and the exact score of each one's tenth neighbour, or its last."""

    queries: NDArray[np.float32]
    last_scores: NDArray[np.float32]
    k: int


def sample(rows: VectorRows) -> Sample:
    """Draw queries and search exactly, reading every vector once.

    A query lies between two stored vectors: stored vectors themselves would be found too easily, for most have near
    duplicates, and questions have not.
    """
    count = len(rows.ids)
    if not count:
        return Sample(np.empty((0, rows.dimension), np.float32), np.empty(0, np.float32), 0)
    generator = np.random.default_rng(_SEED)
    first, second = (rows.take(np.sort(generator.integers(0, count, min(_QUERIES, count)))) for _ in range(2))
    queries = first + second[generator.permutation(len(second))]
    queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    k = min(AT, count)
    best = np.full((len(queries), 0), -np.inf, np.float32)
    for block in slices(rows):
        best = np.concatenate([best, queries @ block.T], axis=1)
        if best.shape[1] > k:
            best = np.partition(best, -k, axis=1)[:, -k:]
    return Sample(queries, best.min(axis=1), k)


def recall(base: Searched, measured: Sample) -> float:
    """The share of the exact nearest neighbours that are found, ties counted as found; 1.0 for an empty index."""
    if not len(measured.queries):
        return 1.0
    found = 0
    for query, last in zip(measured.queries, measured.last_scores, strict=True):
        _, scores = base.search(query, measured.k, skip=None, among=None)
        found += int(np.sum(scores >= last - _SAME_SCORE))
    return found / (measured.k * len(measured.queries))
