"""Drafts from the passages' own words, and whether trying them pays (prompt lookup: Saxena, 2023).

Small models quote. When the last tokens of an answer stand somewhere in the prompt, what follows there is a likely
continuation, and one step can verify many tokens. But a wrong draft costs: on two cores a step of 16 rows takes five
to six times as long as one of a single row. So every guess is compared with what the model says, verified or not,
which tells how often guesses are right for each length of match, and a draft is only tried where the expected tokens
for each millisecond rise.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_KEY = 2  # tokens that must match for a guess to be made
_LONGEST_MATCH = 32
LONGEST_DRAFT = 31
# Lengths of match (in tokens) that are told apart, and how often guesses were right before anything was measured.
_LENGTHS = (2, 3, 4, 6, 9, 16)
_PRIOR_RIGHT = (0.25, 0.4, 0.5, 0.65, 0.8, 0.9)
_PRIOR_WEIGHT = 8.0
_HALF_LIFE = 256.0  # guesses after which an older one counts half: what is asked changes
_LEAST_GAIN = 1.08


class PromptLookup:
    """Guesses the continuation of one text from the tokens of its prompt and of itself."""

    def __init__(self, prompt: NDArray[np.int32]) -> None:
        self._tokens: list[int] = prompt.tolist()
        self._places: dict[tuple[int, ...], int] = {}
        for end in range(_KEY, len(self._tokens)):
            self._places[tuple(self._tokens[end - _KEY : end])] = end

    def append(self, token: int) -> None:
        """A token was generated."""
        self._tokens.append(token)
        end = len(self._tokens) - 1
        if end >= _KEY:
            self._places[tuple(self._tokens[end - _KEY : end])] = end

    def guess(self, longest: int) -> tuple[list[int], int]:
        """What may follow, at most ``longest`` tokens, and how many tokens before it match; empty for no guess."""
        place = self._places.get(tuple(self._tokens[-_KEY:]))
        if place is None:
            return [], 0
        match, now = _KEY, len(self._tokens)
        while match < min(_LONGEST_MATCH, place) and self._tokens[place - match - 1] == self._tokens[now - match - 1]:
            match += 1
        return self._tokens[place : min(place + longest, now)], match


class StepCosts:
    """How long a step takes by its rows: measured once, then followed. Straight lines between the measured points."""

    def __init__(self, measured: dict[int, float]) -> None:
        self._rows = sorted(measured)
        self._ms = [measured[rows] for rows in self._rows]

    def of(self, rows: int) -> float:
        """Milliseconds of a step of so many rows."""
        return float(np.interp(rows, self._rows, self._ms)) * max(1.0, rows / self._rows[-1])

    def observe(self, rows: int, milliseconds: float) -> None:
        """Move the nearest measured point a little towards what a real step took."""
        at = min(range(len(self._rows)), key=lambda i: abs(self._rows[i] - rows))
        expected = self.of(rows)
        # A step that took many times as long was held up by something else than its rows.
        ratio = min(2.0, milliseconds / expected) if expected else 1.0
        self._ms[at] *= 1 + 0.05 * (ratio - 1)


class DraftPolicy:
    """Decides how long a draft to try, from what guesses were worth so far. One for all requests of an engine."""

    def __init__(self, costs: StepCosts) -> None:
        self.costs = costs
        self._right = [rate * _PRIOR_WEIGHT for rate in _PRIOR_RIGHT]
        self._tried = [_PRIOR_WEIGHT] * len(_LENGTHS)

    def length(self, guess: Sequence[int], match: int, *, other_rows: int) -> int:
        """Tokens of ``guess`` worth verifying, given the step's other rows; 0 where none pay."""
        plain = (1 + other_rows) / self.costs.of(1 + other_rows)
        best, longest = plain * _LEAST_GAIN, 0
        likely, expected = 1.0, 1.0
        for drafted in range(1, len(guess) + 1):
            likely *= self._rate(match + drafted - 1)
            expected += likely
            rate = (expected + other_rows) / self.costs.of(1 + other_rows + drafted)
            if rate > best:
                best, longest = rate, drafted
        return longest

    def learn(self, guess: Sequence[int], match: int, said: Sequence[int]) -> None:
        """Compare a guess with what was said instead, up to the first difference."""
        for i, (guessed, token) in enumerate(zip(guess, said, strict=False)):
            self._count(match + i, right=guessed == token)
            if guessed != token:
                return

    def _rate(self, match: int) -> float:
        at = _bucket(match)
        return self._right[at] / self._tried[at]

    def _count(self, match: int, *, right: bool) -> None:
        at = _bucket(match)
        keep = 0.5 ** (1 / _HALF_LIFE)
        self._right[at] = self._right[at] * keep + right
        self._tried[at] = self._tried[at] * keep + 1


def _bucket(match: int) -> int:
    return max(0, bisect_right(_LENGTHS, match) - 1)
