"""A process that works at jobs, as others see it: by a lock in the data directory, which all of them share."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from filelock import FileLock, Timeout

from rag.stores.collections.ingest_lock import lock_not_written

if TYPE_CHECKING:
    from pathlib import Path


class WorkerPlace:
    """A worker's name, and the lock that the system frees when its process ends: others see that it is gone by that."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "locks"
        self.owner = secrets.token_hex(8)
        self._lock = FileLock(self._path(self.owner))

    def __enter__(self) -> Self:
        """Raises DiskFull or DataDirectoryUnwritable."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except OSError as error:
            with suppress(OSError):
                self._path(self.owner).unlink()
            raise lock_not_written(self._lock, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._path(self.owner).unlink(missing_ok=True)

    def gone(self, owner: str) -> bool:
        """Whether the process that had this name has ended."""
        path = self._path(owner)
        if owner == self.owner or not path.exists():
            return owner != self.owner
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise lock_not_written(lock, error) from error
        lock.release()
        path.unlink(missing_ok=True)
        return True

    def _path(self, owner: str) -> Path:
        return self._directory / f"worker-{owner}.lock"
