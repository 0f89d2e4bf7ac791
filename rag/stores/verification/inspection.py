"""What no reader can notice, looked for while a service runs: damage that takes rows out of what is found.

Rows have checksums, and a row that is read is compared. A row that the database's own trees or full text no longer lead
to is read by nobody. A thread of the lowest priority reads these structures at once and then every day.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rag.errors import IndexDamaged, RagError
from rag.priority import give_way
from rag.stores.changes import generations
from rag.stores.collection_rows import collection_rows
from rag.stores.full_text.check import copied_full_text_agrees
from rag.stores.index.generations import require_unchanged
from rag.stores.sqlite.errors import translated
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.stores.sqlite.database import Database

_EVERY_S: Final = 24 * 3600.0
_RETRY_S: Final = 3600.0
_REPAIR: Final = "Run `indexer verify --repair`."
_RESTORE: Final = "Run `indexer verify`; restore a backup if it says so."

_log = get_logger("stores")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What was found when everything was looked through the last time; ``problems`` say what to do."""

    at: datetime
    seconds: float
    problems: tuple[str, ...]


class Inspection:
    """Looks through a data directory again and again. Start it once, and stop it before the database is closed."""

    def __init__(self, database: Database, indexes: Path, *, every_s: float = _EVERY_S) -> None:
        self._database = database
        self._indexes = indexes
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inspection", daemon=True)
        self._connection: sqlite3.Connection | None = None
        self.last: Inspected | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End what is under way, within moments."""
        self._stopped.set()
        while self._thread.is_alive():
            connection = self._connection
            if connection is not None:
                connection.interrupt()
            self._thread.join(0.05)

    def inspect(self) -> Inspected:
        """Look once. Minutes for a million passages; nobody is kept from writing meanwhile.

        Raises:
            StorageError: it could not be looked at: there is no room for a copy of full text, say.
        """
        began = datetime.now(UTC)
        problems = tuple(self._problems())
        ended = datetime.now(UTC)
        return Inspected(at=ended, seconds=(ended - began).total_seconds(), problems=problems)

    def _problems(self) -> Iterator[str]:
        path = self._database.path
        # A connection of its own, for no other must be interrupted; its thread is not the one that stops it.
        with (
            translated(str(path)),
            closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as own,
        ):
            self._connection = own
            try:
                wrong = [row[0] for row in own.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
                if wrong:  # nothing that is read through these trees could be trusted
                    yield f"The database is damaged: {'; '.join(wrong)}. {_RESTORE}"
                elif not copied_full_text_agrees(own):
                    yield f"The full-text index does not agree with the chunks. {_REPAIR}"
            finally:
                self._connection = None
        yield from self._files()

    def _files(self) -> Iterator[str]:
        """Index files are compared when they are opened; a service may go on with them for months."""
        with self._database.read() as connection:
            known = [
                (each, pointer) for each in collection_rows(connection) for pointer in generations(connection, each.id)
            ]
        for collection, pointer in known:
            if self._stopped.is_set():
                return
            try:
                require_unchanged(self._indexes, pointer.directory, sha256=pointer.sha256)
            except IndexDamaged as error:
                with self._database.read() as connection:  # it may have been replaced meanwhile
                    current = {each.id for each in generations(connection, collection.id)}
                if pointer.id in current:
                    yield f"{collection.name}: {error.message} {_REPAIR}"

    def _run(self) -> None:
        give_way()
        while not self._stopped.is_set():
            wait = self._every_s
            try:
                found = self.inspect()
                if self._stopped.is_set():
                    return
                self.last = found
                for problem in found.problems:
                    _log.error("stored data damaged", detail=problem)
                if not found.problems:
                    _log.info("stored data inspected", seconds=round(found.seconds, 1))
            except RagError as error:
                if self._stopped.is_set():  # interrupted
                    return
                wait = min(wait, _RETRY_S)
                _log.error("stored data not inspected", code=error.code, detail=str(error))
            except Exception:  # noqa: BLE001  # logged; the next time is another try
                wait = min(wait, _RETRY_S)
                _log.exception("stored data not inspected")
            self._stopped.wait(wait)
