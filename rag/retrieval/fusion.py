"""Two rankings into one: a convex combination of normalised scores.

Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 42(1), 2023: a convex
combination keeps what rank-only fusion throws away, the size of the lead. Dense scores are min-max normalised over
the ranking (cosines of one query crowd into a narrow band), BM25 scores are divided by the best one (0 means no match).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rag.types import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rag.ranking import Ranking

# Within .01 nDCG@10 of the best fixed weight on most labelled sets tried; see docs/evaluation.md.
DENSE_WEIGHT = 0.5


def fuse(
    dense: Ranking,
    lexical: Ranking,
    *,
    weight: float | None = None,
    k: int | None = None,
    without: Sequence[int] = (),
) -> list[tuple[int, Scores]]:
    """The ``k`` best chunk ids (all if ``None``) with all their scores, best first.

    ``weight`` (above 0, below 1) is the dense leg's share, ``DENSE_WEIGHT`` if ``None``; ties go to lower ids. Those
    ``without`` which the ranking is made count where scores are normalised, as if they were in it.
    """
    weight = DENSE_WEIGHT if weight is None else weight
    ids, place = np.unique(np.concatenate([dense.ids, lexical.ids]), return_inverse=True)
    of_dense, of_lexical = place[: len(dense)], place[len(dense) :]
    fused = np.zeros(len(ids))
    fused[of_dense] = weight * _between_least_and_best(dense.scores)
    fused[of_lexical] += _of_the_best(lexical.scores, 1 - weight)
    left_out = np.isin(ids, without)
    fused[left_out] = -1.0
    count = len(ids) - int(left_out.sum())
    count = count if k is None else min(k, count)
    if not count:
        return []
    # Of some hundred hits a handful is asked for: neither all of them are sorted nor made into values.
    least = np.partition(fused, len(ids) - count)[len(ids) - count]
    candidates = np.flatnonzero(fused >= least)
    ranked = candidates[np.lexsort((candidates, -fused[candidates]))][:count]
    raw = np.full((2, len(ids)), np.nan)
    raw[0, of_dense], raw[1, of_lexical] = dense.scores, lexical.scores
    rows = zip(ids[ranked].tolist(), *raw[:, ranked].tolist(), fused[ranked].tolist(), strict=True)
    return [(chunk_id, Scores(dense=_known(a), lexical=_known(b), fused=score)) for chunk_id, a, b, score in rows]


def _between_least_and_best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least becomes 0 and the best 1; all of them 1 where they are equal."""
    if not len(scores):
        return scores
    low = scores.min()
    width = scores.max() - low
    return (scores - low) / width if width > 0 else np.ones(len(scores))


def _of_the_best(scores: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    best = scores.max(initial=0.0)
    return share * scores / best if best > 0 else np.zeros(len(scores))


def _known(score: float) -> float | None:
    return None if math.isnan(score) else score
