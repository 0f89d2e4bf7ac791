"""The indexes that a process has open: those searched last, as far as they fit into a number of bytes.

Of a thousand small collections each takes little, and all of them much. One that is let go is opened again by the next
search of it, from its files or from SQL; a search that is at work with it goes on, for what it sees never changes.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container

    import numpy as np
    from numpy.typing import NDArray

    from rag.stores.index.faiss_index import FaissIndex

# Of an index that holds nothing: objects of Python's and FAISS's (docs/lab-log.md, 2026-11-25).
_EMPTY_BYTES: Final = 16 << 10

# Filters whose chunks are remembered until the collection changes: callers ask with the same few time and again.
_FILTERS_HELD: Final = 32
_FILTER_BYTES: Final = 32 << 20


@dataclass(slots=True, kw_only=True)
class OpenIndex:
    """One collection's index in this process, complete up to ``seq``; its base is complete up to ``base_seq``.

    ``passed``: removals since the base that changed nothing here; a new generation frees those who open it of them.
    ``replaces_damaged``: it was built because the generation it should have come from cannot be used.
    """

    index: FaissIndex
    embedder: str
    epoch: int
    seq: int
    base_seq: int
    passed: int = 0
    replaces_damaged: bool = False
    _filtered: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # what filters let through at _filtered_seq
    _filtered_seq: int = -1

    @property
    def changes(self) -> int:
        """What has to be gone through because it came after the base."""
        return self.index.changes + self.passed

    @property
    def memory_bytes(self) -> int:
        """About what it takes, mapped files included."""
        return _EMPTY_BYTES + self.index.memory_bytes + self._filter_bytes()

    def filtered(self, key: str) -> NDArray[np.int64] | None:
        """The chunks that a filter lets through as of ``seq``, if they are remembered."""
        return self._filtered.get(key) if self._filtered_seq == self.seq else None

    def remember(self, key: str, chunks: NDArray[np.int64]) -> None:
        """Keep what a filter lets through as of ``seq``, as long as nothing changes and there is room."""
        full = len(self._filtered) >= _FILTERS_HELD or self._filter_bytes() > _FILTER_BYTES
        if self._filtered_seq != self.seq or full:
            self._filtered.clear()
            self._filtered_seq = self.seq
        self._filtered[key] = chunks

    def _filter_bytes(self) -> int:
        """With the keys: a filter may list ten thousand values."""
        return sum(sys.getsizeof(key) + chunks.nbytes for key, chunks in self._filtered.items())


class OpenIndexes:
    """Indexes by collection id. Safe to share between threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._open: OrderedDict[int, tuple[OpenIndex, int]] = OrderedDict()  # with its bytes; searched last at the end
        self._bytes = 0
        self._lock = threading.Lock()

    def of(self, collection_id: int) -> OpenIndex | None:
        """The index, if it is open; it counts as searched now."""
        with self._lock:
            found = self._open.get(collection_id)
            if found is None:
                return None
            self._open.move_to_end(collection_id)
            return found[0]

    def put(self, collection_id: int, index: OpenIndex) -> None:
        """Hold an index that was opened or has changed; those searched longest ago go, until all fit or it is alone."""
        with self._lock:
            self._remove(collection_id)
            size = index.memory_bytes
            self._open[collection_id] = (index, size)
            self._bytes += size
            while self._bytes > self._most_bytes and len(self._open) > 1:
                self._remove(next(iter(self._open)))

    def drop(self, collection_id: int) -> None:
        """Let go of an index."""
        with self._lock:
            self._remove(collection_id)

    def keep_only(self, collection_ids: Container[int]) -> None:
        """Let go of those of all other collections."""
        with self._lock:
            for collection_id in [each for each in self._open if each not in collection_ids]:
                self._remove(collection_id)

    def clear(self) -> None:
        """Let go of all of them."""
        with self._lock:
            self._open.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def memory_bytes(self) -> int:
        """About what all of them take."""
        return self._bytes

    def _remove(self, collection_id: int) -> None:
        _, size = self._open.pop(collection_id, (None, 0))
        self._bytes -= size
