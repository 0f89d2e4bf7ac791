"""Requests that wait for the model: by priority, then what is begun, then equal shares for every key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.inference.requests import Request

_REMEMBERED_KEYS = 1024


class FairQueue:
    """A queue whose order counts what each key has had: the virtual token counter of Sheng et al., OSDI 2024.

    The key that was served the fewest tokens is next. A key that comes back after a pause starts level with the least
    served of those waiting or running: a pause earns no credit. Used by one thread.

    Shares decide which query is begun; one that is begun is finished first. A request that continues a query goes ahead
    of all of its priority that begin one, and among such the query that arrived first: its prompt is in the cells now,
    and would make room there for prompts read in between. What it takes is charged all the same, so a key is ahead by
    no more than the queries it has begun, and pays for them before it begins another.
    """

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._served: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)

    def push(self, request: Request, *, running: set[str]) -> None:
        """Put a request in line. ``running`` are the keys being served now."""
        key = request.caller.key
        active = running | {waiting.caller.key for waiting in self._requests}
        if key not in active:
            level = min((self._served.get(other, 0.0) for other in active), default=0.0)
            self._served[key] = max(self._served.get(key, 0.0), level)
            if len(self._served) > _REMEMBERED_KEYS:
                self._served = {other: had for other, had in self._served.items() if other in active or other == key}
        self._requests.append(request)

    def first(self, *, lane_is_free: bool = True) -> Request | None:
        """Who is next; None if nobody waits. Those who wait for a busy deterministic lane hold up nobody."""
        waiting = (request for request in self._requests if lane_is_free or not request.deterministic)
        return min(waiting, key=self._rank, default=None)

    def remove(self, request: Request) -> None:
        self._requests.remove(request)

    def charge(self, key: str, tokens: int) -> None:
        """Count tokens that were read or generated for a key."""
        self._served[key] = self._served.get(key, 0.0) + tokens

    def _rank(self, request: Request) -> tuple[int, bool, float, float]:
        caller = request.caller
        had = 0.0 if caller.continues else self._served.get(caller.key, 0.0)
        return caller.priority, not caller.continues, had, request.began
