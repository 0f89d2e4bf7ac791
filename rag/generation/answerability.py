"""How sure the pipeline is that the passages hold the answer, before one is written.

The model's "Yes" against "No" separates answerable from unanswerable questions, and so does the best passage's cosine;
together they do better than either. On 77 ClapNQ questions (49 answerable) the area under the ROC curve was .851 for
the model alone and .866 together; at the default threshold of .6 the two refuse 4% of the answerable questions and 54%
of the unanswerable ones, where the model alone refuses 10% and 46% (docs/lab-log.md).
"""

from __future__ import annotations

import math

# Log-odds per unit of cosine, and the cosine that says nothing either way: for all-MiniLM-L6-v2.
_COSINE_WEIGHT = 3.0
_NEUTRAL_COSINE = 0.5
_TINY = 1e-9


def answer_confidence(yes: float, no: float, best_dense: float | None) -> float:
    """Confidence (0..1) from the probabilities of "Yes" and "No" and the best cosine, if there is one."""
    log_odds = math.log((yes + _TINY) / (no + _TINY))
    if best_dense is not None:
        log_odds += _COSINE_WEIGHT * (best_dense - _NEUTRAL_COSINE)
    return 1 / (1 + math.exp(-log_odds))
