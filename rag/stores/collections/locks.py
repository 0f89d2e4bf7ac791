"""A lock for each collection, there for as long as somebody holds it or waits for it."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary


class CollectionLocks:
    """Locks by collection id: for ``with locks.of(collection_id):``."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[int, threading.Lock] = WeakValueDictionary()
        self._adding = threading.Lock()

    def of(self, collection_id: int) -> threading.Lock:
        with self._adding:
            return self._locks.setdefault(collection_id, threading.Lock())

    def __len__(self) -> int:
        return len(self._locks)
