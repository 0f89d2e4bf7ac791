"""The processes that hold model state over a data directory, and how far each has followed the deletions.

    <directory>/<id>.lock      locked for as long as the process lives: the system lets go when it dies
    <directory>/<id>.json      its process id, and the seq of each collection up to which it has erased what was deleted

The second comes only once the lock is held, so whoever finds it unlocked knows that the process is gone.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A process as others see it. ``seen`` is None until it has loaded its model."""

    id: str
    pid: int
    seen: Mapping[int, int] | None

    def has_seen(self, seqs: Mapping[int, int]) -> bool:
        """Whether it has erased what was deleted up to these seqs, by collection."""
        return self.seen is not None and all(self.seen.get(collection, 0) >= seq for collection, seq in seqs.items())


class Registration:
    """The place of this process among the followers. Its methods raise OSError where they cannot write."""

    def __init__(self, directory: Path) -> None:
        """Take a place; ``confirm`` fills it."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.id = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._entry = directory / f"{self.id}.json"
        self._lock = FileLock(_lock_of(self._entry), thread_local=False)  # whoever closes may be another thread
        self._lock.acquire(timeout=0)
        try:
            self._write(None)
        except OSError:
            self.close()
            raise

    def confirm(self, seen: Mapping[int, int]) -> None:
        """Tell that what was deleted up to these seqs, by collection, is erased here."""
        self._write(seen)

    def close(self) -> None:
        """Leave: nothing is held any more."""
        self._entry.unlink(missing_ok=True)
        _lock_of(self._entry).unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _write(self, seen: Mapping[int, int] | None) -> None:
        unfinished = self._entry.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"pid": os.getpid(), "seen": seen}), encoding="utf-8")
        unfinished.replace(self._entry)


def followers(directory: Path) -> list[Follower]:
    """The processes that live; what the others left is removed. Raises OSError."""
    alive = []
    for entry in sorted(directory.glob("*.json")):
        if _left_by_the_dead(entry):
            continue
        try:
            said = json.loads(entry.read_text(encoding="utf-8"))
        except FileNotFoundError:  # it has just left
            continue
        seen = said["seen"]
        alive.append(
            Follower(
                id=entry.stem,
                pid=said["pid"],
                seen=None if seen is None else {int(collection): seq for collection, seq in seen.items()},
            )
        )
    return alive


def _left_by_the_dead(entry: Path) -> bool:
    lock = FileLock(_lock_of(entry))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    entry.unlink(missing_ok=True)
    entry.with_suffix(".unfinished").unlink(missing_ok=True)
    _lock_of(entry).unlink(missing_ok=True)
    lock.release()
    return True


def _lock_of(entry: Path) -> Path:
    return entry.with_suffix(".lock")
