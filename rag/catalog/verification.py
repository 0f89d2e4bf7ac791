"""Whether a file holds the bytes it should: hashes, and a memory of the hashes already taken.

Hashing a model of a gigabyte takes seconds, so a hash is remembered together with the file's size and modification
time and believed while both stay the same. ``rag models verify`` always hashes anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

_log = get_logger("catalog")

_BLOCK_BYTES = 1 << 20


def hash_file(path: Path, advance: Callable[[int], None] | None = None) -> str:
    """Return the sha256 of a file's bytes; ``advance`` is told how many bytes have been read in all."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            if advance:
                advance(done)
    return digest.hexdigest()


class HashMemory:
    """Remembers the sha256 of files by size and modification time, one small JSON file each."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self._folder = models_dir / ".verified"

    def recall(self, path: Path) -> str | None:
        """Return the hash taken of this file as it is now, or None."""
        record = self._record(path)
        try:
            known = json.loads(record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("a remembered hash cannot be read; the file is hashed again", record=str(record), error=error)
            return None
        status = path.stat()
        digest = known.get("sha256") if isinstance(known, dict) else None
        if not isinstance(digest, str) or known != self._known(path, status, digest):
            return None
        return digest

    def remember(self, path: Path, digest: str) -> None:
        """Keep a hash just taken. Where the models directory cannot be written, the next start hashes again."""
        known = self._known(path, path.stat(), digest)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._record(path), json.dumps(known, indent=1).encode())
        except OSError as error:
            _log.warning("the hash of a model file cannot be remembered", file=str(path), error=str(error))

    def digest(self, path: Path) -> str:
        """Return the file's sha256, from memory if the file has not changed since it was taken."""
        known = self.recall(path)
        if known is None:
            known = hash_file(path)
            self.remember(path, known)
        return known

    def forget(self, path: Path) -> None:
        self._record(path).unlink(missing_ok=True)

    def _known(self, path: Path, status: os.stat_result, digest: str) -> dict[str, str | int]:
        """With a checksum: by a digit that flips a model that is whole would be told to be damaged."""
        known: dict[str, str | int] = {
            "file": self._key(path),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "sha256": digest,
        }
        return {**known, "crc32": crc32(json.dumps(known).encode())}

    def _key(self, path: Path) -> str:
        # Relative inside the models directory, so that it may be mounted or moved elsewhere.
        absolute = path.absolute()
        if absolute.is_relative_to(self._models_dir.absolute()):
            return absolute.relative_to(self._models_dir.absolute()).as_posix()
        return absolute.as_posix()

    def _record(self, path: Path) -> Path:
        return self._folder / f"{hashlib.sha256(self._key(path).encode()).hexdigest()[:32]}.json"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a small file so that readers see the old content or the new one, never a torn one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
