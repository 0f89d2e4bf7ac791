"""Turns the database driver's errors into ours, in this one place."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from rag.errors import DatabaseBusy, DatabaseDamaged, DataDirectoryUnwritable, StorageError
from rag.stores.room import disk_full, is_full

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRITING = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_PRIMARY_CODE = 0xFF  # extended result codes keep the primary code in the low byte


def storage_error(error: sqlite3.Error, where: str) -> StorageError:
    """Return our error for one of SQLite's; ``where`` names the database for the reader."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return DatabaseBusy(
            f"The database {where} is locked by another process.",
            hint="Wait for it to finish (an ingest, a backup) and try again.",
        )
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return DatabaseDamaged(
            f"The database {where} is damaged ({error}).",
            hint="Restore a backup, or move the file away and ingest the documents again.",
        )
    # On a full disk a database cannot even be opened for reading, and not every refusal says why.
    if code == sqlite3.SQLITE_FULL or (code in _WRITING and is_full(Path(where).parent, error)):
        return disk_full(Path(where).parent)
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return DataDirectoryUnwritable(
            f"The database {where} cannot be opened for writing ({error}).",
            hint="Check the owner and permissions of the data directory, or set RAG_HOME to another one.",
        )
    return StorageError(f"The database {where} failed: {error}.", hint="Run `rag doctor` to see what is wrong.")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise our errors for the driver's within the block. Broken constraints are left to the caller."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error) and not isinstance(error.orig, sqlite3.IntegrityError):
            raise storage_error(error.orig, where) from error
        raise
    except sqlite3.Error as error:
        raise storage_error(error, where) from error
