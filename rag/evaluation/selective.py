"""Knowing when not to answer: how well a confidence orders questions by what answering them would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def area_under_roc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """Probability that a random positive scores above a random negative, ties half; ``None`` without both kinds."""
    if not positives or not negatives:
        return None
    scores = np.asarray(negatives, dtype=np.float64)
    scores.sort()
    below = np.searchsorted(scores, positives, side="left")
    not_above = np.searchsorted(scores, positives, side="right")
    return float((below + not_above).sum() / 2 / (len(positives) * len(negatives)))


def risk_coverage_area(confidences: Sequence[float], losses: Sequence[float]) -> float | None:
    """Mean, over every coverage 1/n, 2/n .. 1, of the mean loss of the most confident questions; lower is better.

    The area under the risk-coverage curve (El-Yaniv and Wiener, JMLR 2010; Geifman and El-Yaniv, NeurIPS 2017).
    Questions of equal confidence count with their group's mean loss, so that file order decides nothing.
    """
    if not losses:
        return None
    confidence = np.asarray(confidences, dtype=np.float64)
    loss = _tied_means(confidence, np.asarray(losses, dtype=np.float64))[np.argsort(-confidence, kind="stable")]
    return float((np.cumsum(loss) / np.arange(1, len(loss) + 1)).mean())


def _tied_means(confidence: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.float64]:
    _, group = np.unique(confidence, return_inverse=True)
    means: NDArray[np.float64] = np.bincount(group, weights=loss) / np.bincount(group)
    return means[group]
