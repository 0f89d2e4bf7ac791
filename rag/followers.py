"""The processes that hold model state over a data directory, and how far each has followed the deletions.

    <directory>/<id>.lock      locked for as long as the process lives: the system lets go when it dies
    <directory>/<id>.json      its process id, and with a checksum the seq of each collection up to which it has erased
                               what was deleted

The second comes only once the lock is held, so whoever finds it unlocked knows that the process is gone.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from zlib import crc32

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A process as others see it. ``seen`` is None until it has loaded its model.

    ``unreadable`` is its entry, where that does not say what it should: nobody knows what it has seen.
    """

    id: str
    pid: int
    seen: Mapping[int, int] | None
    unreadable: Path | None = None

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
        known = None if seen is None else {str(collection): seq for collection, seq in seen.items()}
        entry = {"pid": os.getpid(), "seen": known, "crc32": _checksum(known)}
        unfinished.write_text(json.dumps(entry), encoding="utf-8")
        unfinished.replace(self._entry)


def followers(directory: Path) -> list[Follower]:
    """The processes that live; what the others left is removed. Raises OSError."""
    alive = []
    for entry in sorted(directory.glob("*.json")):
        if _left_by_the_dead(entry):
            continue
        try:
            alive.append(_read(entry))
        except FileNotFoundError:  # it has just left
            continue
    return alive


def _read(entry: Path) -> Follower:
    """What a living process says; one that cannot be understood has confirmed nothing."""
    content = entry.read_bytes()
    try:
        said = json.loads(content)
        seen = said["seen"]
        if said["crc32"] != _checksum(seen):
            raise ValueError("it is not as it was written")
        known = None if seen is None else {int(collection): int(seq) for collection, seq in seen.items()}
        return Follower(id=entry.stem, pid=_pid_of(entry), seen=known)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Follower(id=entry.stem, pid=_pid_of(entry), seen=None, unreadable=entry)


def _pid_of(entry: Path) -> int:
    """As its name has it."""
    pid = entry.stem.partition("-")[0]
    return int(pid) if pid.isascii() and pid.isdecimal() else 0


def _checksum(seen: Mapping[str, int] | None) -> int:
    """A digit that flips would confirm what was not erased."""
    return crc32(json.dumps(seen, sort_keys=True).encode())


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
