"""Bounded concurrency: a query beyond the bound is turned away at once, with a time to come back at."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from typing import Self

from rag.errors import Overloaded

_REMEMBERED_DURATIONS = 32
_MAX_RETRY_AFTER_S = 60


class NoPlaceFree(Overloaded):
    """Every place is taken; ``retry_after_s`` is a fair time to come back."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message, hint=f"Try again in about {retry_after_s} s, or raise RAG_MAX_CONCURRENT_QUERIES.")
        self.retry_after_s = retry_after_s


class Slot:
    """One admitted query's place. Releasing it again does nothing."""

    __slots__ = ("_admission", "_started")

    def __init__(self, admission: Admission) -> None:
        self._admission: Admission | None = admission
        self._started = time.monotonic()

    def release(self) -> None:
        if self._admission is not None:
            self._admission.leave(time.monotonic() - self._started)
            self._admission = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Admission:
    """Counts queries running and waiting on one event loop (it is not thread-safe)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.active = 0
        self._durations: deque[float] = deque(maxlen=_REMEMBERED_DURATIONS)

    def enter(self) -> Slot:
        """Admit a query.

        Raises:
            NoPlaceFree: ``limit`` queries are already running or waiting.
        """
        if self.active >= self.limit:
            raise NoPlaceFree(f"All {self.limit} places for queries are taken.", retry_after_s=self.retry_after_s)
        self.active += 1
        return Slot(self)

    def leave(self, duration_s: float) -> None:
        self.active -= 1
        self._durations.append(duration_s)

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until a place is likely to be free: the median query's time over the places."""
        if not self._durations:
            return 1
        return min(_MAX_RETRY_AFTER_S, max(1, math.ceil(statistics.median(self._durations) / self.limit)))
