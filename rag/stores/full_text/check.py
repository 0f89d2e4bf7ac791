"""Whether full text agrees with the chunks' terms, by FTS5's own check, beside writers.

The check is a command that FTS5 takes as an insert, so on the index itself it would hold the write lock for as long as
reading every term takes. On a copy of the index in SQLite's temporary database it only reads: the terms through a view.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from rag.stores.full_text.term_statistics import FULL_TEXT_TABLE

if TYPE_CHECKING:
    from pathlib import Path

_TABLES: Final = ("data", "idx", "docsize", "config")  # of every FTS5 index with external content
_COPY: Final = "full_text_copy"
_CHECK: Final = f"INSERT INTO temp.{_COPY}({_COPY}, rank) VALUES ('integrity-check', 1)"  # noqa: S608  # a constant
# FTS5 has no code of its own for a format that it does not know.
_WRONG: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
_PRIMARY_CODE: Final = 0xFF  # extended result codes keep the primary code in the low byte


def full_text_agrees(path: Path) -> bool:
    """Compare every term of one moment; ``path`` is the database. Needs room for the index among temporary files.

    Raises:
        sqlite3.Error: it could not be compared; OperationalError after ``interrupt`` or where there is no room.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return copied_full_text_agrees(connection)


def copied_full_text_agrees(connection: sqlite3.Connection) -> bool:
    """As ``full_text_agrees``, over a connection of the driver with no transaction begun. Nothing stays of the copy."""
    connection.execute("BEGIN")
    try:
        named = "SELECT sql FROM main.sqlite_schema WHERE name = ?"
        declared = connection.execute(named, [FULL_TEXT_TABLE]).fetchone()
        if declared is None:
            return False
        _, using, options = declared[0].partition(" USING ")
        # FTS5 looks for its content in the schema that the index is in.
        connection.execute("CREATE TEMP VIEW chunk_terms AS SELECT * FROM main.chunk_terms")
        connection.execute(f"CREATE VIRTUAL TABLE temp.{_COPY}{using}{options}")
        try:
            for table in _TABLES:
                connection.execute(f"DELETE FROM temp.{_COPY}_{table}")  # noqa: S608  # constants, as all here
                connection.execute(f"INSERT INTO temp.{_COPY}_{table} SELECT * FROM main.{FULL_TEXT_TABLE}_{table}")  # noqa: S608
            connection.execute(_CHECK)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE not in _WRONG:
                raise
            return False
        return True
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
