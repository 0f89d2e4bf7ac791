"""Index files that keep up with changes while a service runs, written by a thread of low priority."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Final

from rag.errors import EmbedderChanged, RagError, UnknownCollection
from rag.priority import give_way
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from rag.stores.live_vectors import LiveVectors
    from rag.types import Collection

# After a failure (the disk is full, say), in seconds.
_RETRY_S: Final = 60.0

_log = get_logger("stores")


class Compaction:
    """Compacts each index that has grown, one at a time. Start it once, and stop it before the database is closed."""

    def __init__(self, vectors: LiveVectors) -> None:
        self._vectors = vectors
        self._grown: queue.SimpleQueue[Collection | None] = queue.SimpleQueue()
        self._waiting: set[int] = set()
        self._not_before: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, name="index-compaction", daemon=True)

    def start(self) -> None:
        self._vectors.follow_grown(self._put)
        self._thread.start()

    def stop(self) -> None:
        """Let what is under way end, which may take as long as building an index does, and nothing more begin."""
        self._grown.put(None)
        self._thread.join()

    def _put(self, collection: Collection) -> None:
        known = self._waiting
        if collection.id not in known and time.monotonic() >= self._not_before.get(collection.id, 0.0):
            known.add(collection.id)
            self._grown.put(collection)

    def _run(self) -> None:
        give_way()
        while (collection := self._grown.get()) is not None:
            try:
                self._vectors.compact(collection)
            except (EmbedderChanged, UnknownCollection):  # since it was searched; a next search brings it here again
                continue
            except RagError as error:  # searches go on from memory
                _log.error("index not compacted", collection=collection.name, code=error.code, detail=str(error))
                self._not_before[collection.id] = time.monotonic() + _RETRY_S
            except Exception:  # noqa: BLE001  # logged; other collections still need this thread
                _log.exception("index not compacted", collection=collection.name)
                self._not_before[collection.id] = time.monotonic() + _RETRY_S
            finally:
                self._waiting.discard(collection.id)
