"""What was erased lately: a request that was under way then may still bring a passage that is gone."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rag.model_types import Gone

# Longer than any query lives, from finding its passages to the end of its last request, the time in line included.
_REMEMBERED_S = 3600.0


class Erased:
    """The chunks that went within the last hour, or a little longer ago. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[int, float] = {}
        self._lists: deque[tuple[float, Gone]] = deque()

    def add(self, gone: Gone) -> None:
        now = time.monotonic()
        with self._lock:
            self._lists.append((now, gone))
            self._times.update(dict.fromkeys(gone.ids, now))
            self._forget(now - _REMEMBERED_S)

    def touches(self, chunks: frozenset[int]) -> bool:
        """Whether one of these chunks went lately."""
        if not chunks or not self._lists:  # the usual case takes no lock
            return False
        with self._lock:
            if not self._times.keys().isdisjoint(chunks):
                return True
            return any(gone.touches(chunks) for _, gone in self._lists if gone.kept is not None)

    def _forget(self, before: float) -> None:
        while self._lists[0][0] < before:
            when, gone = self._lists.popleft()
            for chunk in gone.ids:
                if self._times.get(chunk) == when:  # it may have gone once more
                    del self._times[chunk]
