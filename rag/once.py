"""Values that are made when they are first needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Once(Generic[T]):
    """A value made on first use, by one thread only."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self.value: T | None = None

    def __call__(self) -> T:
        with self._lock:
            if self.value is None:
                self.value = self._make()
            return self.value
