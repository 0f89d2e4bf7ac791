"""The dense leg's share for one collection, chosen on labelled queries and guarded against chance.

The gain is measured on queries that had no part in the choice (five-fold cross-validation), and a weight is changed
only if the 99% bootstrap interval of that gain is above 0. Without this guard, weights chosen on 30 queries won nothing
in the mean of ten labelled sets and lost up to .056 nDCG@10 (docs/lab-log.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from rag.errors import InvalidRequest
from rag.evaluation.fusion import WEIGHTS, ndcg_table
from rag.evaluation.intervals import mean_interval
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rag.evaluation.fusion import Legs

MIN_QUERIES: Final = 50
# Less is not worth a setting of its own, however sure it is.
MIN_GAIN: Final = 0.005
_FOLDS = 5
# Where neither leg finds anything, 95% would move the weight in 3 to 7 of 100 tries, 99% in 1 to 2 (docs/lab-log.md).
_CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """nDCG@10 with the weight so far and with the best of those tried, each with its 95% interval.

    ``gain`` is what choosing a weight won on queries that had no part in the choice, with its 99% interval; the
    difference of the two means, chosen and measured on the same queries, is larger. ``clear``: worth a change.
    """

    queries: int
    before: float
    before_ndcg: float
    before_interval: tuple[float, float]
    best: float
    best_ndcg: float
    best_interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]

    @property
    def clear(self) -> bool:
        return self.best != self.before and self.gain >= MIN_GAIN and self.gain_interval[0] > 0


def require_enough(queries: int) -> None:
    """Raises InvalidRequest if so few queries tell nothing."""
    if queries < MIN_QUERIES:
        raise InvalidRequest(
            f"Nothing is tuned with {plural(queries, 'labelled query')}: it takes at least {MIN_QUERIES}, each counted "
            "once.",
            hint="With fewer, chance decides. Label others, or leave the weight as it is.",
        )


def tune(found: Sequence[Legs], before: float) -> Tuning:
    """Choose among ``WEIGHTS`` and the weight so far.

    Raises:
        InvalidRequest: there are fewer than ``MIN_QUERIES`` queries.
    """
    require_enough(len(found))
    # The nearer to what there is, the earlier: argmax takes the first of equals.
    weights = sorted({before, *WEIGHTS}, key=lambda weight: (abs(weight - before), weight))
    table = ndcg_table(found, weights)
    gains = _held_out_gains(table)
    best = int(table.mean(axis=0).argmax())
    return Tuning(
        queries=len(found),
        before=before,
        before_ndcg=float(table[:, 0].mean()),
        before_interval=_interval(table[:, 0]),
        best=weights[best],
        best_ndcg=float(table[:, best].mean()),
        best_interval=_interval(table[:, best]),
        gain=float(gains.mean()),
        gain_interval=_interval(gains, _CONFIDENCE),
    )


def _held_out_gains(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """By query: what the weight that is best on the other folds wins over the first."""
    folds = np.arange(len(table)) % _FOLDS
    gains = np.zeros(len(table))
    for fold in range(_FOLDS):
        held_out = folds == fold
        chosen = int(table[~held_out].mean(axis=0).argmax())
        gains[held_out] = table[held_out, chosen] - table[held_out, 0]
    return gains


def _interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    interval = mean_interval(values.tolist(), confidence=confidence)
    assert interval is not None  # noqa: S101 - there are values
    return interval
