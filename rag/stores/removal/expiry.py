"""Versions that were kept long enough are deleted while a service runs, by a thread of its own."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final

from rag.errors import DatabaseDamaged, RagError, UnknownCollection
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from rag.stores.documents import SqlDocumentStore
    from rag.types import Collection

# Retention counts in days; an hour more or less is nobody's loss.
_EVERY_S: Final = 3600.0
# An index of a collection that another process has dropped takes memory, and its files, mapped, take disk.
_LET_GO_EVERY_S: Final = 60.0

_log = get_logger("stores")


class Expiry:
    """Expires all collections, finishes purges and forgets jobs, at once and then every hour; each minute it lets go of
    what is held of collections that are gone: all but those that ``keep_only`` is told. Stop it before closing the
    database.
    """

    def __init__(
        self,
        store: SqlDocumentStore,
        *,
        finish_purges: Callable[[], None],
        keep_only: Callable[[Container[int]], None],
        forget_jobs: Callable[[], None],
        every_s: float = _EVERY_S,
        let_go_every_s: float = _LET_GO_EVERY_S,
    ) -> None:
        self._store = store
        self._finish_purges = finish_purges
        self._keep_only = keep_only
        self._forget_jobs = forget_jobs
        self._every_s = every_s
        self._let_go_every_s = let_go_every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="version-expiry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the deletion that is under way end, and nothing more begin."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        expired_at = -math.inf
        while True:
            try:
                if due := time.monotonic() - expired_at >= self._every_s:
                    expired_at = time.monotonic()
                    self._finish_purges()
                collections = self._store.collections()
                self._keep_only({collection.id for collection in collections})
                if due:
                    for collection in collections:
                        if self._stopped.is_set():
                            return
                        self._expire(collection)
                    self._forget_jobs()
            except RagError as error:  # busy, or the disk is full: they are as well deleted an hour later
                _log.error("versions not expired", code=error.code, detail=str(error))
            except Exception:  # noqa: BLE001  # logged; the next hour is another try
                _log.exception("versions not expired")
            if self._stopped.wait(min(self._every_s, self._let_go_every_s)):
                return

    def _expire(self, collection: Collection) -> None:
        try:
            if gone := self._store.expire(collection):
                _log.info("versions expired", collection=collection.name, versions=gone)
        except UnknownCollection:
            _log.info("a collection was dropped before its versions expired", collection=collection.name)
        except DatabaseDamaged as error:  # of this collection: the others go on
            _log.error("not all versions expired", collection=collection.name, code=error.code, detail=str(error))
