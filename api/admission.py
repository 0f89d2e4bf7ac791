"""Bounded admission: a query beyond the bound is turned away at once, with a time to come back at."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections import deque
from typing import Self

from rag.errors import Overloaded, ShuttingDown

_REMEMBERED_DURATIONS = 32
_MAX_RETRY_AFTER_S = 60


class Slot:
    """One admitted query's place. Releasing it again does nothing."""

    __slots__ = ("_admission", "started")

    def __init__(self, admission: Admission) -> None:
        self._admission: Admission | None = admission
        self.started = time.monotonic()

    def release(self) -> None:
        if self._admission is not None:
            self._admission.leave(self)
            self._admission = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Admission:
    """Counts the queries and searches in the service, on one event loop (it is not thread-safe).

    The bound is the generator's own, ``running`` and ``queued`` together, but it stands at the door: embedding and
    search cost, too, and what the model could not take is not even searched for. Which of those let in runs next is
    the generator's to say.
    """

    def __init__(self, *, running: int, queued: int) -> None:
        self.limit = running + queued
        self.rejected = 0
        self._running = running
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._slots: set[Slot] = set()
        self._durations: deque[float] = deque(maxlen=_REMEMBERED_DURATIONS)

    def enter(self) -> Slot:
        """Admit a query.

        Raises:
            Overloaded: ``limit`` queries are already running or waiting.
            ShuttingDown: nothing is admitted any more.
        """
        if self._closed:
            raise ShuttingDown("The service is shutting down.", hint="Ask again when it is back.")
        if self.active >= self.limit:
            self.rejected += 1
            after = self.retry_after_s
            raise Overloaded(
                f"All {self.limit} places for queries are taken.",
                hint=f"Try again in about {after} s, or raise RAG_MAX_QUEUED.",
                retry_after_s=after,
                queue_position=self.active - self._running + 1,
            )
        slot = Slot(self)
        self._slots.add(slot)
        self._empty.clear()
        return slot

    def leave(self, slot: Slot) -> None:
        self._slots.remove(slot)
        self._durations.append(time.monotonic() - slot.started)
        if not self._slots:
            self._empty.set()

    @property
    def active(self) -> int:
        """How many are in the service."""
        return len(self._slots)

    def close(self) -> None:
        """Admit nothing more."""
        self._closed = True

    async def emptied(self) -> None:
        """Wait until nothing admitted is left."""
        await self._empty.wait()

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until a place is likely to be free: the median query's time over the places. Before the first
        has ended, as long again as the first has been there.
        """
        if self._durations:
            seconds = statistics.median(self._durations) / self.limit
        else:
            seconds = time.monotonic() - min((slot.started for slot in self._slots), default=time.monotonic())
        return min(_MAX_RETRY_AFTER_S, max(1, math.ceil(seconds)))
