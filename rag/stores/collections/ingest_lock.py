"""One writer at a time: two ingests into a collection would parse and embed the same files twice."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Self

from filelock import FileLock, Timeout

from rag.errors import Conflict, DataDirectoryUnwritable, IngestInProgress
from rag.stores.sqlite.room import disk_full, is_full

if TYPE_CHECKING:
    from types import TracebackType

    from filelock import BaseFileLock

    from rag.errors import DiskFull


def lock_not_written(lock: BaseFileLock, error: OSError) -> DiskFull | DataDirectoryUnwritable:
    """The error for a lock whose file could not be made or written."""
    directory = Path(lock.lock_file).parent
    if is_full(directory, error):
        return disk_full(directory)
    return DataDirectoryUnwritable(
        f"The lock file {lock.lock_file} cannot be written: {error.strerror or error}.",
        hint="Correct the owner or permissions of the data directory, or set RAG_HOME to another one.",
    )


class IngestLock:
    """Held by the process that ingests into a collection; the system frees it when the process dies.

    ``home`` is the data directory. The holder's process id, its host (a container has both of its own) and what it is
    ``doing`` to the collection, if that is something else, are in a file beside the lock, for the error message alone.
    """

    _name = "ingest"

    def __init__(self, home: Path, collection: str, *, doing: str = "") -> None:
        name = hashlib.sha256(collection.encode()).hexdigest()[:16]  # a collection's name may hold any character
        self._collection = collection
        self._doing = doing
        self._directory = home / "locks"
        self._lock = FileLock(self._directory / f"{self._name}-{name}.lock")
        self._holder = self._directory / f"{self._name}-{name}.pid"

    def __enter__(self) -> Self:
        """Take the lock, or raise IngestInProgress at once."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._holder.write_text(f"{os.getpid()} {socket.gethostname()} {self._doing}")
        except Timeout as error:
            raise self._refusal(*self._held_by()) from error
        except OSError as error:
            self._lock.release()
            raise lock_not_written(self._lock, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._holder.unlink(missing_ok=True)  # before the release: afterwards it may be the next holder's
        self._lock.release()

    def _refusal(self, pid: str, doing: str) -> Conflict:
        return IngestInProgress(
            f"Process {pid} is {doing or 'already ingesting into'} the collection {self._collection!r}.",
            hint="Wait for it to finish, or end it, and try again.",
        )

    def _held_by(self) -> tuple[str, str]:
        try:
            pid, host, doing = [*self._holder.read_text(errors="replace").split(" ", 2), "", "", ""][:3]
        except FileNotFoundError:  # it has the lock and has not yet written its id, or is about to let go
            return "unknown", ""
        return f"{pid} on {host}" if host not in ("", socket.gethostname()) else pid or "unknown", doing


class ReembeddingLock(IngestLock):
    """Held by the process that embeds a collection anew; documents may come and go meanwhile."""

    _name = "reembed"

    def _refusal(self, pid: str, doing: str) -> Conflict:
        name = self._collection
        if doing:
            return Conflict(f"Process {pid} is {doing} the collection {name!r}.", hint="Wait for it, and try again.")
        return Conflict(
            f"Process {pid} is already embedding the collection {name!r} anew.",
            hint=f"Wait for it to finish; what it does is shown by: indexer reembed --collection {name} --status",
        )
