"""How far a search among inverted lists has to look.

A query that lies within a cluster has its neighbours in few lists, one between clusters in hundreds. So what is tuned
is no number of lists but how much worse than the best of them the last one may be, by the scores of their centroids:
the reach (query-aware dynamic pruning, Chen et al., "SPANN: Highly-efficient billion-scale approximate nearest neighbor
search", NeurIPS 2021, with a difference of scores for a ratio of distances).

What tuning found is for searches of everything. Where rows are left out, by a filter or because they are gone, that are
near to the question, the best of the rest are not in its nearest lists, and codes tell them apart worse the further
away they are. So such a search estimates, from what it has found, how many of the best it has missed, and looks further
until these are few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The mean of so many is the best score that others are compared with: one centroid may be near by chance.
_BEST: Final = 5
# Of more than the ten that tuning looks for, the last are further away; measured with up to 200.
_TUNED_FOR: Final = 10
_DEEPER: Final = 0.08

# Of the best that are asked for, what may be missed in lists that were not looked through, and again by codes.
_MISSED: Final = 0.003
# Vectors are not as evenly spread as a normal distribution has it, and there are more of them the further away it is.
_WIDER: Final = 1.15
_DENSER: Final = 2.0
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Counted:
    """The rows that count: FAISS's selector of them, how many each list has, and how many there are."""

    selector: Any
    of_lists: NDArray[np.intp]
    live: int


def threshold(scores: NDArray[np.float32], reach: float, k: int) -> float:
    """The score that a list's centroid must have for the list to be looked through for the ``k`` best.

    It is never above the mean of the best centroids, as older tunings have it: no list may reach that, and the larger
    ``k``, the fewer.
    """
    best = float(_best(scores[np.newaxis])[0])
    return best - max(reach, 0.0) * math.pow(max(1.0, k / _TUNED_FOR), _DEEPER)


def gaps(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """For queries and their scores of centroids, of shape ``(n, lists)``: the reach that each list needs, ascending."""
    ranked = -np.sort(-scores, axis=1)
    return _best(scores)[:, np.newaxis] - ranked


def _best(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    some = min(_BEST, scores.shape[1])
    return np.partition(scores, -some, axis=1)[:, -some:].mean(axis=1)  # type: ignore[no-any-return]


class Spread:
    """How the scores of rows lie around those of their lists, for one question."""

    def __init__(self, lists: NDArray[np.float32], rows: NDArray[np.float32]) -> None:
        """``rows`` are scores of some rows of the index, ``lists`` those of the centroids they belong to."""
        apart = rows - lists
        centred = lists - lists.mean()
        self._slope = float(centred @ apart) / max(float(centred @ centred), _TINY)
        self._offset = float(apart.mean() - self._slope * lists.mean())
        self._width = _WIDER * max(float(np.std(apart - self._slope * lists)), _TINY)

    def lists_needed(
        self, scores: NDArray[np.float32], counted: NDArray[np.intp], *, least: float, k: int, probes: int
    ) -> int:
        """Of lists in the order of their scores, how many to look through so that few of the ``k`` best are missed.

        ``least`` is the score of the last one found in the first ``probes`` of them, ``counted`` the rows in each.
        """
        expected = self._offset + (1 + self._slope) * scores[probes:]
        missed = counted[probes:] * _beyond((least - expected) / self._width)
        behind = np.cumsum(missed[::-1])[::-1]  # in each of them and all after it
        return probes + int(np.count_nonzero(behind > _MISSED * k))


def enough_candidates(coded: NDArray[np.float32], exact: NDArray[np.float32], *, least: float, k: int) -> bool:
    """Whether few of the ``k`` best lie behind the candidates, whose scores by their codes and exact ones these are."""
    error = float(np.sqrt(np.mean((exact - coded) ** 2)))
    last = coded.min()
    if error == 0:
        return True
    z = (least - last) / error
    close = np.count_nonzero(coded <= last + error)
    # Rows as dense as there go on below; of each, how likely it is that its code errs so much.
    missed = _DENSER * close * (math.exp(-z * z / 2) / math.sqrt(2 * math.pi) - z * float(_beyond(np.float64(z))))
    return bool(missed <= _MISSED * k)


def _beyond(z: Any) -> Any:  # noqa: ANN401  # arrays and numbers
    """The share of a normal distribution above ``z`` (Börjesson and Sundberg, IEEE Trans. Commun. 27(3), 1979)."""
    size = np.abs(z)
    upper = np.exp(-size * size / 2) / ((0.661 * size + 0.339 * np.sqrt(size * size + 5.51)) * math.sqrt(2 * math.pi))
    return np.where(np.asarray(z) < 0, 1 - upper, upper)
