"""How sure a mean over questions is: percentile bootstrap (Efron, 1979), reproducible by a fixed seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESAMPLES = 2000
_SEED = 20_240_229
_CONFIDENCE = 0.95


def mean_interval(values: Sequence[float], *, confidence: float = _CONFIDENCE) -> tuple[float, float] | None:
    """Bounds of the interval of the mean, or ``None`` without values. The questions are what is resampled."""
    if not values:
        return None
    sample = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(_SEED).integers(len(sample), size=(_RESAMPLES, len(sample)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(sample[picks].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
