"""Two rankings into one: a convex combination of normalised scores.

Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 42(1), 2023: a convex
combination keeps what rank-only fusion throws away, the size of the lead. Dense scores are min-max normalised over
the ranking (cosines of one query crowd into a narrow band), BM25 scores are divided by the best one (0 means no match).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.types import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.types import Hit

# Within .01 nDCG@10 of the best fixed weight on most labelled sets tried; see docs/evaluation.md.
DENSE_WEIGHT = 0.5


def fuse(dense: Sequence[Hit], lexical: Sequence[Hit], *, weight: float | None = None) -> list[tuple[int, Scores]]:
    """Chunk ids with all their scores, best first.

    ``weight`` (above 0, below 1) is the dense leg's share, ``DENSE_WEIGHT`` if ``None``; ties go to lower ids.
    """
    weight = DENSE_WEIGHT if weight is None else weight
    raw_dense = {hit.chunk_id: hit.score for hit in dense}
    raw_lexical = {hit.chunk_id: hit.score for hit in lexical}
    low = min(raw_dense.values(), default=0.0)
    width = max(raw_dense.values(), default=0.0) - low
    best = max(raw_lexical.values(), default=0.0)

    def fused(chunk_id: int) -> float:
        score = 0.0
        if chunk_id in raw_dense:
            score += weight * ((raw_dense[chunk_id] - low) / width if width > 0 else 1.0)
        if chunk_id in raw_lexical and best > 0:
            score += (1 - weight) * raw_lexical[chunk_id] / best
        return score

    ranked = [
        (chunk_id, Scores(dense=raw_dense.get(chunk_id), lexical=raw_lexical.get(chunk_id), fused=fused(chunk_id)))
        for chunk_id in raw_dense.keys() | raw_lexical.keys()
    ]
    return sorted(ranked, key=lambda row: (-row[1].fused, row[0]))
