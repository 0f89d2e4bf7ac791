"""Whether what is stored agrees with itself: what is found, and the database and full text as a whole.

Documents are verified in ``document_verification``, collections in ``collection_verification``, index files in
``index_verification``, and what takes space for nothing in ``leftovers``.

SQL is the truth, so what is derived from it (full text, index files) can be repaired; rows that contradict each other
can only be told, with what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import text

from rag.errors import DatabaseDamaged
from rag.plurals import plural
from rag.stores.full_text.analysis import add_missing_terms, missing_terms
from rag.stores.full_text.check import full_text_agrees
from rag.stores.full_text.lexical import FULL_TEXT_TABLE
from rag.stores.sqlite.errors import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.stores.sqlite.database import Database

Severity = Literal["damage", "leftover"]
Area = Literal[
    "database", "collection", "full text", "documents", "embeddings", "index", "versions", "files", "uploads", "jobs"
]

# FTS5's commands are inserts into the column that is named like the table.
_FULL_TEXT_REBUILD = f"INSERT INTO {FULL_TEXT_TABLE}({FULL_TEXT_TABLE}) VALUES ('rebuild')"  # noqa: S608  # a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong, or (``leftover``) something that is of no use, does no harm and takes space.

    ``repairable``: it is derived from SQL and can be made anew, or removed; else ``advice`` says what to do.
    """

    area: Area
    message: str
    advice: str
    collection: str | None = None
    repairable: bool = False
    severity: Severity = "damage"


def verify_database(database: Database) -> Iterator[Finding]:
    """The file's own structure, and full text against the chunks. Reads everything once."""
    broken = list(_structure(database))
    for problem in broken:
        yield Finding(area="database", message=problem, advice="Restore a backup, or ingest the documents anew.")
    if not broken and not (_has_all_terms(database) and _full_text_agrees(database)):
        yield Finding(
            area="full text",
            message="The full-text index does not agree with the chunks.",
            advice="Run `indexer verify --repair`.",
            repairable=True,
        )


def _structure(database: Database) -> Iterator[str]:
    try:
        with database.read() as connection:
            problems = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
            dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    except DatabaseDamaged as error:  # too broken even for that
        yield error.message
        return
    yield from (problem for problem in problems if problem != "ok")
    if dangling:
        tables = ", ".join(sorted({str(row[0]) for row in dangling}))
        yield f"{plural(len(dangling), 'reference')} to rows that are not there (in {tables})."


def rebuild_full_text(database: Database) -> None:
    """Make the full-text index anew from the chunks' terms, and terms for the chunks that have none."""
    with database.write() as connection:
        connection.execute(text(_FULL_TEXT_REBUILD))
        add_missing_terms(connection)


def _has_all_terms(database: Database) -> bool:
    with database.read() as connection:
        return missing_terms(connection) == 0


def _full_text_agrees(database: Database) -> bool:
    with translated(str(database.path)):
        return full_text_agrees(database.path)
