"""Ways to make one ranking of two legs, and how good each is on labelled queries, by the dense leg's share.

Every way is a weighted sum of two normalised scores, so a search is done once and all ways are arithmetic. Rank fusion
is Cormack, Clarke and Büttcher, SIGIR 2009; the convex combinations are as in Bruch, Gai and Ingber, "An Analysis of
Fusion Functions for Hybrid Retrieval", ACM TOIS 42(1), 2023; ``distribution`` is the distribution-based score fusion of
vector databases: three standard deviations around the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from rag.ranking import Ranking

    Normalisation = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# Shares of the dense leg that are tried; the ends are left out, because a leg without a share cannot order what only it
# has found.
WEIGHTS: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))
_CUT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Legs:
    """What both legs found for one query: ids in ascending order, each leg's score of each (NaN where it has none),
    the judgment each id satisfies (-1 where none), the grades by judgment, and the discounted gain of the best
    possible ten.
    """

    ids: NDArray[np.int64]
    dense: NDArray[np.float64]
    lexical: NDArray[np.float64]
    judgments: NDArray[np.int64]
    grades: NDArray[np.float64]
    ideal: float


def legs(dense: Ranking, lexical: Ranking, judgments: Mapping[int, int], grades: Sequence[float]) -> Legs:
    """``grades`` are those of what should be found, all above 0; ``judgments`` maps chunk ids to places in them.

    Several chunks may satisfy one judgment, such as those of a relevant document: the best of them counts.
    """
    ids = np.unique(np.concatenate([dense.ids, lexical.ids]))
    best = np.array(sorted(grades, reverse=True)[:_CUT], dtype=np.float64)
    return Legs(
        ids=ids,
        dense=_scores(ids, dense),
        lexical=_scores(ids, lexical),
        judgments=np.array([judgments.get(int(chunk_id), -1) for chunk_id in ids], dtype=np.int64),
        grades=np.array(grades, dtype=np.float64),
        ideal=float((best * _discounts(len(best))).sum()),
    )


def _scores(ids: NDArray[np.int64], ranking: Ranking) -> NDArray[np.float64]:
    found = np.full(len(ids), np.nan)
    found[np.searchsorted(ids, ranking.ids)] = ranking.scores
    return found


def _discounts(count: int) -> NDArray[np.float64]:
    return np.asarray(1 / np.log2(np.arange(2, count + 2)), dtype=np.float64)


def min_max(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lowest score found becomes 0, the highest 1."""
    return _between(scores, scores.min(), scores.max())


def from_floor(floor: float) -> Normalisation:
    """Theoretical min-max: the lowest score there can be becomes 0, the highest found 1."""
    return lambda scores: _between(scores, floor, scores.max())


def distribution(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Three standard deviations below the mean become 0, three above it 1."""
    mean, spread = scores.mean(), 3 * scores.std()
    return _between(scores, mean - spread, mean + spread)


def reciprocal_rank(k: int) -> Normalisation:
    """1 / (k + rank), the best being of rank 1; equal scores rank by id, as searches return them."""

    def ranked(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        places = np.empty(len(scores))
        places[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
        return np.asarray(1 / (k + places), dtype=np.float64)

    return ranked


def _between(scores: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return (scores - low) / (high - low) if high > low else np.ones(len(scores))


# The lowest cosine there can be is -1, the lowest BM25 score 0. The first is what searches do (rag.retrieval.fusion).
CONVEX: Final = "convex"
METHODS: Final[Mapping[str, tuple[Normalisation, Normalisation]]] = {
    CONVEX: (min_max, from_floor(0)),
    "min-max": (min_max, min_max),
    "theoretical": (from_floor(-1), from_floor(0)),
    "distribution": (distribution, distribution),
    "rank 10": (reciprocal_rank(10), reciprocal_rank(10)),
    "rank 60": (reciprocal_rank(60), reciprocal_rank(60)),
    "rank 100": (reciprocal_rank(100), reciprocal_rank(100)),
}


def best_ten(found: Legs, weight: float, method: str = CONVEX) -> NDArray[np.int64]:
    """Places in ``found.ids`` of the ten that rank first; equal scores rank by id."""
    by_dense, by_lexical = METHODS[method]
    dense, lexical = _normalised(found.dense, by_dense), _normalised(found.lexical, by_lexical)
    return np.argsort(-(weight * dense + (1 - weight) * lexical), kind="stable")[:_CUT]


def ndcg(found: Legs, weight: float, method: str = CONVEX) -> float:
    """nDCG@10 of one query (gain: the grade, as trec_eval's)."""
    satisfied = found.judgments[best_ten(found, weight, method)]
    judgments, ranks = np.unique(satisfied, return_index=True)
    counted = judgments >= 0
    gains = found.grades[judgments[counted]] * _discounts(_CUT)[ranks[counted]]
    return float(gains.sum() / found.ideal)


def _normalised(scores: NDArray[np.float64], normalisation: Normalisation) -> NDArray[np.float64]:
    present = ~np.isnan(scores)
    values = np.zeros(len(scores))
    if present.any():
        values[present] = normalisation(scores[present])
    return values


def ndcg_table(found: Sequence[Legs], weights: Sequence[float] = WEIGHTS, method: str = CONVEX) -> NDArray[np.float64]:
    """nDCG@10 of shape ``(queries, weights)``."""
    values = [[ndcg(each, weight, method) for weight in weights] for each in found]
    return np.array(values, dtype=np.float64).reshape(len(found), len(weights))
