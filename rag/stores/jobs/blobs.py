"""Files that were handed over and wait to be taken in: below ``blobs`` in the data directory."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final

from rag.errors import DataDirectoryUnwritable, SourceEmpty, SourceTooLarge
from rag.stores.sqlite.room import disk_full, is_full

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_BLOCK: Final = 1 << 20
_UNFINISHED: Final = ".unfinished"
# Whoever puts a file there queues its job right after; until then nobody says that the file is needed.
_GRACE_S: Final = 3600.0
_SETTLED_S: Final = 60.0  # far longer than it takes from the last of its files to the job


class Blobs:
    """The waiting files. Several processes may use the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, file: BinaryIO, *, name: str, max_bytes: int) -> tuple[str, str, int]:
        """Copy a file in, from where it stands; returns its name here, its SHA-256 and its size in bytes.

        It is on the disk when this returns. The name is new each time: nobody else removes it.

        Raises:
            SourceEmpty, SourceTooLarge: ``name`` is for the message.
            DiskFull, DataDirectoryUnwritable.
        """
        blob = secrets.token_hex(16)
        target = self.made() / blob
        unfinished = target.with_suffix(_UNFINISHED)
        try:
            sha256, size = _copy(file, unfinished, name=name, max_bytes=max_bytes)
            unfinished.rename(target)
            _sync(self._directory)
        except OSError as error:
            if is_full(self._directory, error):
                raise disk_full(self._directory) from error
            raise DataDirectoryUnwritable(
                f"The upload {name} could not be kept in {self._directory}: {error.strerror or error}.",
                hint="Correct the owner or permissions of the data directory.",
            ) from error
        finally:
            with suppress(OSError):  # it was renamed, or whatever refused it was told already
                unfinished.unlink(missing_ok=True)
        return blob, sha256, size

    def made(self) -> Path:
        """The directory, which is there from now on.

        Raises:
            DiskFull, DataDirectoryUnwritable.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            if is_full(self._directory, error):
                raise disk_full(self._directory) from error
            raise DataDirectoryUnwritable(
                f"{self._directory} cannot be made: {error.strerror or error}.",
                hint="Correct the owner or permissions of the data directory.",
            ) from error
        return self._directory

    def path(self, blob: str) -> Path:
        return self._directory / blob

    def remove(self, blob: str) -> None:
        """Let go of a file; one that is not there is not missed."""
        self.path(blob).unlink(missing_ok=True)

    def remove_except(self, needed: Collection[str]) -> int:
        """Remove the files that nobody needs any more, those of killed programs; returns how many."""
        gone = [path for path, age in self._without_job(needed) if age > _GRACE_S]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)

    def purge(self, needed: Collection[str], sha256s: Collection[str]) -> tuple[int, int, int]:
        """As ``remove_except``, and remove what has one of these hashes and is not just being handed over; returns how
        many files that nobody needs there were, how many were removed, and how many with such a hash are left.
        """
        there = self._without_job(needed)
        left = 0
        gone = [path for path, age in there if age > _GRACE_S]
        for path, age in there:
            if path not in gone and _sha256_of(path) in sha256s:
                if age > _SETTLED_S:
                    gone.append(path)
                else:
                    left += 1
        for path in gone:
            path.unlink(missing_ok=True)
        return len(there), len(gone), left

    def _without_job(self, needed: Collection[str]) -> list[tuple[Path, float]]:
        """The files that nobody needs, with their age in seconds. One that vanishes meanwhile is not missed."""
        found = []
        now = time.time()
        for path in self._directory.iterdir() if self._directory.is_dir() else ():
            if path.name not in needed:
                with suppress(FileNotFoundError):
                    found.append((path, now - path.stat().st_mtime))
        return found


def _copy(file: BinaryIO, target: Path, *, name: str, max_bytes: int) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    with target.open("xb") as copy:
        while block := file.read(_BLOCK):
            size += len(block)
            if size > max_bytes:
                raise SourceTooLarge(
                    f"{name} has more than the {max_bytes:,} bytes that are taken.",
                    hint="Split the file, or raise RAG_MAX_FILE_BYTES.",
                )
            digest.update(block)
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())
    if not size:
        raise SourceEmpty(f"{name} is empty.", hint="Upload a file that holds something.")
    return digest.hexdigest(), size


def _sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
