"""Turns the database driver's errors into ours, in this one place."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from rag.errors import DatabaseBusy, DatabaseDamaged, DataDirectoryUnwritable, StorageError
from rag.stores.checksums import RowDamaged
from rag.stores.sqlite.room import disk_full, is_full

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRITING = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
# A row that contradicts the rules it was written under: of ours, none breaks them.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
_UNDECODABLE = "Could not decode to UTF-8"  # the driver's own words; SQLite does not look into texts
_RESTORE = (
    "`indexer verify --repair` makes full text and index files anew. If that does not help, restore a backup, or move "
    "the file away and ingest the documents again."
)
_NOTHING_LEFT = (
    "Nothing of it can be read, so nothing can be repaired: restore a backup (`rag restore --force`), or move the data "
    "directory away and ingest the documents again."
)
_PRIMARY_CODE = 0xFF  # extended result codes keep the primary code in the low byte


def storage_error(error: sqlite3.Error, where: str) -> StorageError:
    """Return our error for one of SQLite's; ``where`` names the database for the reader."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return DatabaseBusy(
            f"The database {where} is locked by another process.",
            hint="Wait for it to finish (an ingest, a backup) and try again.",
        )
    if code in _DAMAGED or _UNDECODABLE in str(error):
        kind = RowDamaged if _UNDECODABLE in str(error) else DatabaseDamaged
        hint = _NOTHING_LEFT if code == sqlite3.SQLITE_NOTADB else _RESTORE
        return kind(f"The database {where} is damaged ({error}).", hint=hint)
    # On a full disk a database cannot even be opened for reading, and not every refusal says why.
    if code == sqlite3.SQLITE_FULL or (code in _WRITING and is_full(Path(where).parent, error)):
        return disk_full(Path(where).parent)
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return DataDirectoryUnwritable(
            f"The database {where} cannot be opened for writing ({error}).",
            hint="Check the owner and permissions of the data directory, or set RAG_HOME to another one. What is only "
            "to be read (a mounted copy) is copied to where it can be written first.",
        )
    return StorageError(f"The database {where} failed: {error}.", hint="Run `rag doctor` to see what is wrong.")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise our errors for the driver's within the block."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise storage_error(error.orig, where) from error
        raise
    except sqlite3.Error as error:
        raise storage_error(error, where) from error
    except UnicodeDecodeError as error:  # of what SQLite says of a damaged schema
        raise DatabaseDamaged(f"The database {where} is damaged ({error.object!r}).", hint=_RESTORE) from error
