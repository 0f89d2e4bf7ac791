"""Whether what is stored agrees with itself: the database, full text, and every chunk with source and embedding.

The index files are verified in ``index_verification``, what takes space for nothing in ``leftovers``.

SQL is the truth, so what is derived from it (full text, index files) can be repaired; rows that contradict each other
can only be told, with what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, select, text

from rag.errors import DatabaseDamaged
from rag.stores.analysis import add_missing_terms, missing_terms
from rag.stores.embedding_sets import live_set
from rag.stores.lexical import FULL_TEXT_TABLE
from rag.stores.tables import KEPT, ChunkRow, DocumentRow, EmbeddingRow, TextRow, VersionRow
from rag.stores.vectors import wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from rag.stores.database import Database
    from rag.types import Collection

Severity = Literal["damage", "leftover"]
Area = Literal["database", "full text", "documents", "embeddings", "index", "versions"]

_BATCH = 2000

# FTS5's commands are inserts into the column that is named like the table.
_FULL_TEXT_REBUILD = f"INSERT INTO {FULL_TEXT_TABLE}({FULL_TEXT_TABLE}) VALUES ('rebuild')"  # noqa: S608  # a constant
_FULL_TEXT_CHECK = f"INSERT INTO {FULL_TEXT_TABLE}({FULL_TEXT_TABLE}, rank) VALUES ('integrity-check', 1)"  # noqa: S608


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
        yield f"{len(dangling)} rows refer to rows that are not there (in {tables})."


def rebuild_full_text(database: Database) -> None:
    """Make the full-text index anew from the chunks' terms, and terms for the chunks that have none."""
    with database.write() as connection:
        connection.execute(text(_FULL_TEXT_REBUILD))
        add_missing_terms(connection)


def verify_documents(database: Database, collection: Collection, progress: Callable[[int], None]) -> Iterator[Finding]:
    """The chunks of every version that is kept: their number, their text in the source, their embeddings.

    ``progress`` is told the chunks of each document that is done. One document at a time, each in a read of its own.
    """
    last = 0
    while True:
        with database.read() as connection:
            version = connection.execute(
                select(VersionRow.id, VersionRow.chunk_count, DocumentRow.uri)
                .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
                .where(VersionRow.collection_id == collection.id, VersionRow.status.in_(KEPT))
                .where(VersionRow.id > last)
                .order_by(VersionRow.id)
                .limit(1)
            ).one_or_none()
            if version is None:
                return
            area_and_messages = list(_document_problems(connection, version.id, version.chunk_count, collection))
        for area, message, advice in area_and_messages:
            yield Finding(area=area, collection=collection.name, message=f"{version.uri}: {message}", advice=advice)
        progress(version.chunk_count)
        last = version.id


def _has_all_terms(database: Database) -> bool:
    with database.read() as connection:
        return missing_terms(connection) == 0


def _full_text_agrees(database: Database) -> bool:
    """FTS5's own check, which reads every chunk; it takes the write lock and writes nothing."""
    try:
        with database.write() as connection:
            connection.execute(text(_FULL_TEXT_CHECK))
    except DatabaseDamaged:
        return False
    return True


_Problem = tuple[Area, str, str]
_AGAIN = "Delete the document and ingest it again."
_EMBED = "Run `indexer reembed`."


def _document_problems(
    connection: Connection, version_id: int, chunk_count: int, collection: Collection
) -> Iterator[_Problem]:
    chunks = _Chunks(connection, version_id, collection.id)
    found = misplaced = 0
    for start, end, chunk_text in chunks.texts():
        found += 1
        misplaced += chunks.source(start, end) != chunk_text
    if found != chunk_count:
        yield "documents", f"it has {found} chunks, not {chunk_count}.", _AGAIN
    if misplaced:
        yield "documents", f"{misplaced} chunks are not what the source text has in their place.", _AGAIN
    misshapen = embedded = 0
    for values in chunks.embeddings():
        embedded += len(values)
        misshapen += wrong(values, collection.fingerprint.dimension)
    if embedded != found:
        yield "embeddings", f"{found - embedded} chunks have no embedding.", _EMBED
    if misshapen:
        yield "embeddings", f"{misshapen} embeddings have another dimension, are not of length 1 or not finite.", _EMBED


class _Chunks:
    """A version's chunks and the text they are of, a part at a time."""

    def __init__(self, connection: Connection, version_id: int, collection_id: int) -> None:
        self._connection = connection
        self._collection_id = collection_id
        self._version_id = version_id
        self._start, self._text = 0, ""

    def texts(self) -> Iterator[tuple[int, int, str]]:
        query = select(ChunkRow.start, ChunkRow.end, ChunkRow.text).where(ChunkRow.version_id == self._version_id)
        rows = self._connection.execute(query.order_by(ChunkRow.ordinal).execution_options(yield_per=_BATCH))
        for row in rows:
            yield row.start, row.end, row.text

    def source(self, start: int, end: int) -> str:
        """The source text from ``start`` to ``end``; the pieces last read are kept, for chunks come in order."""
        if not (self._start <= start and end <= self._start + len(self._text)):
            mine = TextRow.version_id == self._version_id
            first = self._connection.scalar(select(func.max(TextRow.start)).where(mine, TextRow.start <= start)) or 0
            pieces = select(TextRow.text).where(mine, TextRow.start >= first, TextRow.start < end)
            self._text = "".join(self._connection.scalars(pieces.order_by(TextRow.start)))
            self._start = first
        return self._text[start - self._start : end - self._start]

    def embeddings(self) -> Iterator[list[bytes]]:
        query = (
            select(EmbeddingRow.vector)
            .join(ChunkRow, ChunkRow.id == EmbeddingRow.chunk_id)
            .where(ChunkRow.version_id == self._version_id, EmbeddingRow.set_id == live_set(self._collection_id))
        )
        for batch in self._connection.scalars(query.execution_options(yield_per=_BATCH)).partitions():
            yield list(batch)
