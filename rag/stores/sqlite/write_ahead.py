"""Whether SQLite's write-ahead log holds every change that was acknowledged.

SQLite reads the log up to the first frame whose checksum is wrong and takes the rest for what a crash cut off. A byte
that flips in it would so undo, in silence, all changes that came after. What tells the two apart: the index beside the
log (``-shm``) says how many frames were committed; without it, that whole commits follow the frame, for each is on the
disk before the next is begun. The formats: https://www.sqlite.org/fileformat2.html#walformat and walformat.html.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from rag.errors import DatabaseBusy, DatabaseDamaged
from rag.stores.sqlite.errors import translated

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_MAGIC: Final = 0x377F0682  # its last bit says that checksums are of big-endian words
_AT_ONCE: Final = 1024  # frames read at a time
_ATTEMPTS: Final = 3  # somebody may begin the log anew while it is read

# The log's index begins with its header twice, alike unless somebody is writing it, in the machine's byte order.
_INDEX_HEADER: Final = 48
_INDEX_FRAMES: Final = slice(16, 20)
_INDEX_SALTS: Final = slice(32, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """``valid`` frames, to the last commit before the first that is not as it was written; ``later`` commits follow."""

    salts: bytes
    valid: int
    later: int


def require_whole_log(database: Path) -> None:
    """Raise DatabaseDamaged if changes that were acknowledged can no longer be read from the log."""
    for _ in range(_ATTEMPTS):
        index = _index(database)
        log = _read(log_of(database))
        if index != _index(database):
            continue
        if log is not None and _is_damaged(log, index):
            raise DatabaseDamaged(
                f"The write-ahead log {log_of(database)} is damaged: the last changes can no longer be read.",
                hint="Restore a backup. Or go on with what can be read: `indexer verify --repair` keeps a copy of the "
                "log; ingest again what was ingested last, and delete again what was deleted.",
            )
        return


def set_log_aside(database: Path) -> Path:
    """Keep a copy of a damaged log and have the database go on without what cannot be read; returns the copy.

    Raises:
        DatabaseBusy: another process has the database open, or has just closed it.
    """
    log = log_of(database)
    kept = log.with_name(f"{log.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    with translated(str(database)), closing(sqlite3.connect(database, isolation_level=None, timeout=0)) as connection:
        try:
            shutil.copyfile(log, kept)  # before SQLite first looks at it
        except FileNotFoundError as error:
            raise DatabaseBusy(
                f"Another process has closed the database {database} and removed its log meanwhile.",
                hint="Try again when nothing else has it open.",
            ) from error
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return kept


def log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _is_damaged(log: _Log, index: bytes) -> bool:
    if index and index[_INDEX_SALTS] == log.salts:
        return log.valid < int.from_bytes(index[_INDEX_FRAMES], sys.byteorder)
    # The frame in question may be of a commit that was under way when the power failed; one before it was not.
    return log.later > 1


def _index(database: Path) -> bytes:
    """The header of the log's index, or nothing if there is none that can be trusted."""
    try:
        with database.with_name(f"{database.name}-shm").open("rb") as file:
            first, second = file.read(_INDEX_HEADER), file.read(_INDEX_HEADER)
    except OSError:  # there is none, or SQLite itself will say why it cannot be read
        return b""
    return first if first == second and len(first) == _INDEX_HEADER and any(first) else b""


def _read(path: Path) -> _Log | None:
    """What the log holds; ``None`` if it holds nothing."""
    try:
        file = path.open("rb")
    except OSError:  # as with the index; whoever closes the database last removes both
        return None
    import numpy as np  # takes longer than opening a database that has no log

    with file:
        header = file.read(_HEADER)
        magic, page = int.from_bytes(header[:4]), int.from_bytes(header[8:12])
        salts = header[16:24]
        order = ">u4" if magic & 1 else "<u4"
        size = _FRAME_HEADER + page
        if len(header) < _HEADER or os.fstat(file.fileno()).st_size < _HEADER + _FRAME_HEADER + 512:
            return None
        state = _sums(np.frombuffer(header[:24], order).reshape(1, -1))[0]
        if magic & ~1 != _MAGIC or _stored(header, 24) != tuple(state):
            return _Log(salts=salts, valid=0, later=2)  # SQLite would read nothing of it
        step = _coefficients(2 + page // 4)[1]
        valid = seen = later = 0
        broken = False
        while content := file.read(size * _AT_ONCE):
            count = len(content) // size
            frames = np.frombuffer(content[: count * size], np.uint8).reshape(count, size)
            words = np.concatenate([frames[:, :8], frames[:, _FRAME_HEADER:]], axis=1)
            sums = _sums(np.ascontiguousarray(words).view(order))
            for number in range(count):
                head = frames[number, :_FRAME_HEADER].tobytes()
                seen += 1
                mine, commits = head[8:16] == salts, head[4:8] != bytes(4)
                if not broken:
                    state = step @ state + sums[number]
                    broken = not mine or _stored(head, 16) != tuple(state)
                if not broken:
                    valid = seen if commits else valid
                elif mine and commits:
                    later += 1
    return _Log(salts=salts, valid=valid, later=later)


def _stored(header: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(header[at : at + 4]), int.from_bytes(header[at + 4 : at + 8])


def _sums(words: NDArray[Any]) -> NDArray[np.uint32]:
    """What each row of words adds to the checksum, of shape ``(rows, 2)``; all is modulo 2**32."""
    return words.astype("u4") @ _coefficients(words.shape[1])[0]


@lru_cache(maxsize=4)
def _coefficients(words: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The checksum as what it is, a linear function: of so many words, and of the checksum before them.

    Of every two words ``x0, x1``: ``s0 += x0 + s1``, then ``s1 += x1 + s0``.
    """
    import numpy as np

    step, first = np.array([[1, 1], [1, 2]], np.uint32), np.array([[1, 0], [1, 1]], np.uint32)
    power, parts = np.eye(2, dtype=np.uint32), []
    for _ in range(words // 2):
        parts.append((power @ first).T)
        power = power @ step
    return np.concatenate(parts[::-1]), power
