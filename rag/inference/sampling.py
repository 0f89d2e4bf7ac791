"""Choosing the next token from logits, and ending a text at stop strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rag.errors import GenerationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rag.types import SamplingParams

_NUCLEUS_GUESS = 1024  # top-p sets are almost always smaller; sorting a whole vocabulary takes milliseconds


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax in double precision, shape as given."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max()
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum()
    return shifted


class Sampler:
    """One request's choices. The same seed and logits give the same tokens."""

    def __init__(self, params: SamplingParams) -> None:
        self._temperature = params.temperature
        self._top_p = params.top_p
        self._random = np.random.default_rng(params.seed)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """The next token's id; the lowest among equals when greedy.

        Raises:
            GenerationFailed: the logits are not numbers.
        """
        best = int(np.argmax(logits))
        if not np.isfinite(logits[best]):  # argmax returns the first NaN there is
            raise GenerationFailed("The model's output is not a number: the model file or the build is broken.")
        if self._temperature <= 0:
            return best
        # The largest logit is taken off before the division: a tiny temperature then cannot overflow.
        weights = probabilities((logits - logits[best]) / np.float32(max(self._temperature, 1e-4)))
        ids = _nucleus(weights, self._top_p)
        cumulative = np.cumsum(weights if ids is None else weights[ids])
        drawn = int(np.searchsorted(cumulative, self._random.random() * cumulative[-1], side="right"))
        drawn = min(drawn, len(cumulative) - 1)
        return drawn if ids is None else int(ids[drawn])


def _nucleus(weights: NDArray[np.float64], top_p: float) -> NDArray[np.intp] | None:
    """The most probable ids that together reach ``top_p``, best first; None for all of them."""
    if top_p >= 1:
        return None
    for size in (min(_NUCLEUS_GUESS, len(weights)), len(weights)):
        ids = np.argpartition(weights, len(weights) - size)[-size:]
        ids = ids[np.lexsort((ids, -weights[ids]))]  # ties by id, so that a seed means the same everywhere
        cumulative = np.cumsum(weights[ids])
        if cumulative[-1] >= top_p:
            break
    return ids[: int(np.searchsorted(cumulative, top_p)) + 1]


class StopMatcher:
    """Cuts a growing text before the first stop string. Text that may begin one is held back until it is decided."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(s for s in stop if s)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The text that is now certain to be part of the result."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for s in self._stop if (at := self._held.find(s)) >= 0]
        if found:
            self.stopped = True
            certain, self._held = self._held[: min(found)], ""
            return certain
        keep = max((_overlap(self._held, s) for s in self._stop), default=0)
        split = len(self._held) - keep
        certain, self._held = self._held[:split], self._held[split:]
        return certain

    def flush(self) -> str:
        """What was held back when the text ends without a stop string."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Length of the longest proper beginning of ``stop`` that ``text`` ends with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
