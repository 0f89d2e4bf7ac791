"""The disk tier of model state: files within a budget, those of other models evicted first, then the least used.

    <directory>/<identity>/<key>.kv      both in hexadecimal, 16 bytes each

A file comes under its name complete or not at all. It is not synced: one that a power cut tears fails its checks.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from dataclasses import dataclass
from os import scandir, utime
from pathlib import Path
from typing import TYPE_CHECKING

from rag.inference.kv.snapshot_files import SnapshotDamaged, file_bytes, read_header, read_snapshot, write_snapshot
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from rag.inference.kv.snapshot_files import Snapshot
    from rag.model_types import Gone

FOLDER_NAME = re.compile(r"[0-9a-f]{32}")
FILE_NAME = re.compile(r"(?P<key>[0-9a-f]{32})\.kv|\.[0-9a-f]{32}-[0-9a-f]{16}\.unfinished")
# After a crash, the order among files may be this much out of date; a clean stop records it exactly.
_RECORD_EVERY_NS = 60 * 10**9

_log = get_logger("inference")


@dataclass(slots=True, kw_only=True)
class StoredFile:
    """A file that counts against the budget; ``key`` is None where it is of no use here. Times since the epoch."""

    path: Path
    key: bytes | None
    size: int
    used_ns: int
    recorded_ns: int
    chunks: frozenset[int] = frozenset()


class SnapshotFolder:
    """The files of one identity, and the account of all. Its methods may be called from any thread.

    Nothing is raised for what the file system does: after an error ``error`` says it and nothing more is written;
    what can be read is still served. Other processes may use the directory. What they delete is a miss here; what
    they add counts from the next start on. A budget of 0 leaves the directory alone.
    """

    def __init__(self, directory: Path | None, identity: bytes, budget: int) -> None:
        self.error: str | None = None
        self.corrupt = 0
        self.used_bytes = 0
        self._directory = directory
        self._name = identity.hex()
        self._identity = identity
        self._budget = budget if directory is not None else 0
        self._lock = threading.RLock()
        self._own: dict[bytes, StoredFile] = {}
        self._useless: list[StoredFile] = []  # other identities' and unfinished files
        self._lost: list[bytes] = []

    def __contains__(self, key: bytes) -> bool:
        return key in self._own

    def scan(self) -> list[Snapshot]:
        """Take stock, delete what is damaged or beyond the budget, and return what can be served, oldest first."""
        found = []
        with self._lock:
            try:
                files = sorted(self._files(), key=lambda file: file.recorded_ns)
            except OSError as error:
                self._fail(error)
                return []
            for file in files:
                self.used_bytes += file.size
                if (snapshot := self._take_in(file)) is not None:
                    found.append(snapshot)
            self._make_room(0, self.newest_ns)
            self._lost.clear()
            return [snapshot for snapshot in found if snapshot.key in self._own]

    @property
    def newest_ns(self) -> int:
        return max((file.used_ns for file in self._own.values()), default=0)

    def could_hold(self, snapshot: Snapshot, state_bytes: int) -> bool:
        return self.error is None and file_bytes(snapshot, state_bytes) <= self._budget

    def take_lost(self) -> list[bytes]:
        """The keys evicted since the last call."""
        with self._lock:
            lost, self._lost = self._lost, []
            return lost

    def use(self, key: bytes, used_ns: int) -> None:
        with self._lock:
            if file := self._own.get(key):
                file.used_ns = used_ns
                if used_ns - file.recorded_ns >= _RECORD_EVERY_NS:
                    _record_use(file)

    def record_order(self) -> None:
        """Make the files' times say in which order they were used, for the next start."""
        with self._lock:
            for file in self._own.values():
                if file.used_ns != file.recorded_ns:
                    _record_use(file)

    def load(self, key: bytes) -> tuple[Snapshot, NDArray[np.uint8]] | None:
        """None if it is not there, not readable or not what it should be; in the last case it is deleted."""
        with self._lock:
            file = self._own.get(key)
        if file is None:
            return None
        try:
            return read_snapshot(file.path, self._identity)
        except FileNotFoundError:
            self.discard(key)
        except SnapshotDamaged as reason:
            self._report(file, reason)
            self.discard(key)
        except OSError as error:
            with self._lock:
                self._fail(error)
                self._own.pop(key, None)
        return None

    def write(self, snapshot: Snapshot, state: NDArray[np.uint8], used_ns: int) -> StoredFile | None:
        """Write a file that counts but is not served yet: `admit` or `remove` it. None if it cannot be had.

        Room is made only of what is of no use and of what was used less recently.
        """
        if self._directory is None:
            return None
        size = file_bytes(snapshot, len(state))
        with self._lock:
            if not self._make_room(size, used_ns):
                return None
            self.used_bytes += size
        name = snapshot.key.hex()
        unfinished = self._directory / self._name / f".{name}-{secrets.token_hex(8)}.unfinished"
        file = StoredFile(
            path=unfinished,
            key=snapshot.key,
            size=size,
            used_ns=used_ns,
            recorded_ns=used_ns,
            chunks=snapshot.chunks,
        )
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.parent.mkdir(mode=0o700, exist_ok=True)
            write_snapshot(unfinished, self._identity, snapshot, state)
            utime(unfinished, ns=(used_ns, used_ns))
            file.path = unfinished.replace(unfinished.with_name(f"{name}.kv"))
        except OSError as error:
            # Another process may have deleted the unfinished file for room: then only this one is lost.
            if not isinstance(error, FileNotFoundError):
                self._fail(error)
            self.remove(file)
            return None
        return file

    def admit(self, file: StoredFile, key: bytes, used_ns: int) -> None:
        """Serve a file that `write` has written."""
        with self._lock:
            file.used_ns = used_ns
            self._own[key] = file

    def discard(self, key: bytes) -> None:
        with self._lock:
            if file := self._own.pop(key, None):
                self.remove(file)

    def erase(self, gone: Gone) -> None:
        """Delete what depends on chunks that are gone."""
        with self._lock:
            for key in [key for key, file in self._own.items() if gone.touches(file.chunks)]:
                self.discard(key)

    def remove(self, file: StoredFile) -> None:
        """Delete a file that is not served. One that cannot be deleted goes on counting."""
        with self._lock:
            try:
                file.path.unlink(missing_ok=True)
            except OSError as error:
                self._fail(error)
            else:
                self.used_bytes -= file.size

    def _files(self) -> Iterator[StoredFile]:
        """What is named as a snapshot is; all else in the directory is not ours to count or delete."""
        if not self._budget or self._directory is None or not self._directory.exists():
            return
        with scandir(self._directory) as folders:
            named = [entry for entry in folders if FOLDER_NAME.fullmatch(entry.name)]
            ours = [entry for entry in named if entry.is_dir(follow_symlinks=False)]
        for folder in ours:
            with scandir(folder) as entries:
                for entry in entries:
                    match = FILE_NAME.fullmatch(entry.name)
                    with contextlib.suppress(FileNotFoundError):  # another process has just deleted it
                        if match and entry.is_file(follow_symlinks=False):
                            stat = entry.stat(follow_symlinks=False)
                            yield StoredFile(
                                path=Path(entry.path),
                                key=bytes.fromhex(match["key"]) if match["key"] and folder.name == self._name else None,
                                size=stat.st_size,
                                used_ns=stat.st_mtime_ns,
                                recorded_ns=stat.st_mtime_ns,
                            )

    def _take_in(self, file: StoredFile) -> Snapshot | None:
        if file.key is None:
            self._useless.append(file)
            return None
        try:
            snapshot = read_header(file.path, self._identity)
        except FileNotFoundError:
            self.remove(file)
        except SnapshotDamaged as reason:
            self._report(file, reason)
            self.remove(file)
        except OSError as error:
            self._fail(error)
        else:
            file.chunks = snapshot.chunks
            self._own[file.key] = file
            return snapshot
        return None

    def _make_room(self, size: int, used_ns: int) -> bool:
        if self.error is not None or size > self._budget:
            return False
        victims = []
        excess = self.used_bytes + size - self._budget
        if excess > 0:
            for file in [*self._useless, *sorted(self._own.values(), key=lambda file: file.used_ns)]:
                if excess <= 0 or (file.key is not None and file.used_ns > used_ns):
                    break
                victims.append(file)
                excess -= file.size
        if excess > 0:
            return False
        for file in victims:
            self._evict(file)
        return self.used_bytes + size <= self._budget

    def _evict(self, file: StoredFile) -> None:
        if file.key is None:
            self._useless.remove(file)
            self.remove(file)
            if file.path.parent.name != self._name:
                with contextlib.suppress(OSError):  # most often it holds more, and then it stays
                    file.path.parent.rmdir()
        else:
            del self._own[file.key]
            self._lost.append(file.key)
            self.remove(file)

    def _report(self, file: StoredFile, reason: SnapshotDamaged) -> None:
        self.corrupt += 1
        _log.warning("a file of stored model state is not served but deleted", file=str(file.path), reason=str(reason))

    def _fail(self, error: OSError) -> None:
        if self.error is None:
            self.error = str(error)
            _log.warning(
                "model state cannot be kept on disk; memory alone is used until the next start",
                directory=str(self._directory),
                error=self.error,
                hint="Make room there or change its permissions, or point to another directory.",
            )


def _record_use(file: StoredFile) -> None:
    file.recorded_ns = file.used_ns
    with contextlib.suppress(OSError):  # gone, or read-only: what is lost is its place in the order after a restart
        utime(file.path, ns=(file.used_ns, file.used_ns))
