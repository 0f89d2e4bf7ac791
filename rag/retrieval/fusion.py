"""Two rankings into one: a convex combination of normalised scores.

Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 42(1), 2023: a convex
combination keeps what rank-only fusion throws away, the size of the lead. Dense scores are min-max normalised over
the ranking (cosines of one query crowd into a narrow band), BM25 scores are divided by the best one (0 means no match).
"""

from __future__ import annotations

import math
from heapq import nlargest
from typing import TYPE_CHECKING

from rag.types import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.types import Hit

# Within .01 nDCG@10 of the best fixed weight on most labelled sets tried; see docs/evaluation.md.
DENSE_WEIGHT = 0.5


def fuse(
    dense: Sequence[Hit], lexical: Sequence[Hit], *, weight: float | None = None, k: int | None = None
) -> list[tuple[int, Scores]]:
    """The ``k`` best chunk ids (all if ``None``) with all their scores, best first.

    ``weight`` (above 0, below 1) is the dense leg's share, ``DENSE_WEIGHT`` if ``None``; ties go to lower ids.
    """
    weight = DENSE_WEIGHT if weight is None else weight
    raw_dense = {hit.chunk_id: hit.score for hit in dense}
    raw_lexical = {hit.chunk_id: hit.score for hit in lexical}
    low = min(raw_dense.values(), default=0.0)
    width = max(raw_dense.values(), default=0.0) - low
    best = max(raw_lexical.values(), default=0.0)
    fused = {chunk_id: weight * ((score - low) / width if width > 0 else 1.0) for chunk_id, score in raw_dense.items()}
    for chunk_id, score in raw_lexical.items():
        fused[chunk_id] = fused.get(chunk_id, 0.0) + ((1 - weight) * score / best if best > 0 else 0.0)
    # Of some hundred hits a handful is asked for: neither all of them are sorted nor made into values.
    count = len(fused) if k is None else k
    least = min(nlargest(count, fused.values()), default=math.inf)
    ranked = sorted((-score, chunk_id) for chunk_id, score in fused.items() if score >= least)[:count]
    return [
        (chunk_id, Scores(dense=raw_dense.get(chunk_id), lexical=raw_lexical.get(chunk_id), fused=-score))
        for score, chunk_id in ranked
    ]
