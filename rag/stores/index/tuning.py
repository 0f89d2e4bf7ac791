"""How an index of inverted lists is searched, found by trying it with questions whose answers are known."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from rag.stores.index.reach import gaps
from rag.stores.index.recall import recall

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rag.stores.index.recall import Sample, Searched

_RECALL: Final = 0.997  # the sample that tunes is not what users ask: some more than what is promised

# The first of the numbers of lists that are tried, one in so many, and how much greater each next one is.
_LEAST_SHARE: Final = 256
_GROWTH: Final = 1.25

# Candidates whose vectors are read; more where codes tell neighbours apart too badly.
_CANDIDATES: Final = 100
_MOST_CANDIDATES: Final = 800
# What twice the candidates must add to the recall to be worth reading.
_WORTH_MORE: Final = 0.0005

# The queries of the sample are harder than questions are: what most of them need is more than what these do.
_BELOW_PERCENTILE: Final = 25


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """How it is searched: its ``reach`` (``rag.stores.index.reach``), and candidates compared exactly for the ten best.

    ``below``: where rows are left out, how much lower than that of the last found the score of a list's centroid may
    be. ``probes``: the lists which half of the sample look through; ``first``: those when the lists were made;
    ``trained``: the number of rows that lists and codes were made for; ``since``: rows that came after that.
    """

    probes: int = 0
    reach: float = 0.0
    below: float = 0.0
    candidates: int = 0
    trained: int = 0
    since: int = 0
    first: int = 0


class _Step(NamedTuple):
    probes: int
    reach: float
    below: float


def tuned(
    searching: Callable[[Tuning], Searched], centroids: NDArray[np.float32], measured: Sample, start: Tuning
) -> Tuning:
    """The least work that finds what it should; the most there is if nothing does.

    Recall grows with the lists looked through, so the fewest are found by halving. More candidates are tried where many
    lists are needed, and kept if they help: where they do not, it is the lists that tell neighbours apart badly.
    """

    def at_step(step: _Step, candidates: int) -> Tuning:
        return msgspec.structs.replace(start, **step._asdict(), candidates=candidates)

    def found(step: _Step, candidates: int) -> float:
        return recall(searching(at_step(step, candidates)), measured)

    steps = _steps(centroids, measured)
    candidates = start.candidates or _CANDIDATES
    while True:
        at = bisect_left(steps, _RECALL, key=partial(found, candidates=candidates))
        if candidates >= _MOST_CANDIDATES or (at < len(steps) and steps[at].probes <= len(centroids) // 4):
            break
        fewer = steps[max(0, at - 1)]
        if found(fewer, 2 * candidates) < found(fewer, candidates) + _WORTH_MORE:
            break
        candidates *= 2
    step = steps[min(at, len(steps) - 1)]
    return msgspec.structs.replace(at_step(step, candidates), first=start.first or step.probes)


def _steps(centroids: NDArray[np.float32], measured: Sample) -> list[_Step]:
    """Numbers of lists, and the reach with which half of the queries look through as many; the last is all, with the
    reach at which each of them does. The first is of the lists that are looked through without any reach.
    """
    scores = measured.queries @ centroids.T
    further = gaps(scores)
    # By how much the best of the centroids are better than the last of the vectors that are to be found.
    ahead = further[:, 0] + scores.max(axis=1) - measured.last_scores

    def step(probes: int, reach: float) -> _Step:
        return _Step(probes, reach, float(np.percentile(reach - ahead, _BELOW_PERCENTILE)))

    probes = max(1, len(centroids) // _LEAST_SHARE)
    steps = []
    while probes < len(centroids):
        if (reach := float(np.median(further[:, probes - 1]))) >= 0:
            steps.append(step(probes, reach))
        probes = math.ceil(probes * _GROWTH)
    return [*steps, step(len(centroids), float(further.max()))]
