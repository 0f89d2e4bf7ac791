"""Whether what is stored agrees with itself: the database, full text, every chunk, and the vector index files.

SQL is the truth, so what is derived from it (full text, index files) can be repaired; rows that contradict each other
can only be told, with what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sqlalchemy import func, select, text

from rag.errors import DatabaseDamaged, IndexDamaged
from rag.stores.changes import added_since, collection_state, generations, removed_since, withdraw
from rag.stores.generations import load_generation
from rag.stores.tables import ChunkRow, DocumentRow, EmbeddingRow, TextRow, VersionRow, VersionStatus
from rag.stores.vectors import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from rag.stores.changes import GenerationPointer
    from rag.stores.database import Database
    from rag.types import Collection

Area = Literal["database", "full text", "documents", "embeddings", "index"]

# float16 in the table, float32 in the file, both made unit length: the same numbers but for rounding.
_SAME = 1e-5
_BATCH = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong. ``repairable``: it is derived from SQL and can be made anew; else ``advice`` says what to do."""

    area: Area
    message: str
    advice: str
    collection: str | None = None
    repairable: bool = False


def verify_database(database: Database) -> Iterator[Finding]:
    """The file's own structure, and full text against the chunks. Reads everything once."""
    broken = list(_structure(database))
    for problem in broken:
        yield Finding(area="database", message=problem, advice="Restore a backup, or ingest the documents anew.")
    if not broken and not _full_text_agrees(database):
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
    """Make the full-text index anew from the chunks."""
    with database.write() as connection:
        connection.execute(text("INSERT INTO chunks_fts(chunks_fts) VALUES ('rebuild')"))


def verify_documents(database: Database, collection: Collection, progress: Callable[[int], None]) -> Iterator[Finding]:
    """Every active document's chunks: their number, their text in the source, their embeddings.

    ``progress`` is told the chunks of each document that is done. One document at a time, each in a read of its own.
    """
    last = 0
    while True:
        with database.read() as connection:
            version = connection.execute(
                select(VersionRow.id, VersionRow.chunk_count, DocumentRow.uri)
                .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
                .where(VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE)
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


def verify_index(database: Database, directory: Path, collection: Collection) -> Iterator[Finding]:
    """Every generation that SQL points to: its checksum, and its vectors against the embeddings."""
    for _, problem in _damaged(database, directory, collection):
        yield Finding(
            area="index",
            collection=collection.name,
            message=problem,
            advice="Run `indexer verify --repair`.",
            repairable=True,
        )


def forget_damaged(database: Database, directory: Path, collection: Collection) -> None:
    """Let nobody load the generations that ``verify_index`` complains of. The caller writes a new one."""
    damaged = [generation_id for generation_id, _ in _damaged(database, directory, collection)]
    with database.write() as connection:
        withdraw(connection, collection.id, damaged)


def _damaged(database: Database, directory: Path, collection: Collection) -> list[tuple[int, str]]:
    with database.read() as connection:  # one snapshot: what is compared is of one moment
        state = collection_state(connection, collection.id, collection.name)
        try:
            problems = [
                (pointer.id, _generation_problem(connection, directory, collection, pointer, floor=state.feed_floor))
                for pointer in generations(connection, collection.id)
            ]
        except DatabaseDamaged:
            return []  # embeddings that nothing can be compared with; verify_documents names them
    return [(generation_id, problem) for generation_id, problem in problems if problem is not None]


def _full_text_agrees(database: Database) -> bool:
    """FTS5's own check, which reads every chunk; it takes the write lock and writes nothing."""
    try:
        with database.write() as connection:
            connection.execute(text("INSERT INTO chunks_fts(chunks_fts, rank) VALUES ('integrity-check', 1)"))
    except DatabaseDamaged:
        return False
    return True


_Problem = tuple[Area, str, str]
_AGAIN = "Delete the document and ingest it again."
_EMBED = "Run `indexer rebuild --embed`."


def _document_problems(
    connection: Connection, version_id: int, chunk_count: int, collection: Collection
) -> Iterator[_Problem]:
    chunks = _Chunks(connection, version_id)
    found = misplaced = 0
    for start, end, chunk_text in chunks.texts():
        found += 1
        misplaced += chunks.source(start, end) != chunk_text
    if found != chunk_count:
        yield "documents", f"it has {found} chunks, not {chunk_count}.", _AGAIN
    if misplaced:
        yield "documents", f"{misplaced} chunks are not what the source text has in their place.", _AGAIN
    wrong = 0
    embedded = 0
    for values in chunks.embeddings():
        embedded += len(values)
        try:
            rows = decode(values, collection.fingerprint.dimension)
        except DatabaseDamaged:
            wrong += sum(len(value) != 2 * collection.fingerprint.dimension for value in values)
            continue
        lengths = np.linalg.norm(rows, axis=1)
        wrong += int(np.sum(~(np.abs(lengths - 1) < 0.01)))
    if embedded != found:
        yield "embeddings", f"{found - embedded} chunks have no embedding.", _EMBED
    if wrong:
        yield "embeddings", f"{wrong} embeddings are of another length, zero or not finite.", _EMBED


class _Chunks:
    """A version's chunks and the text they are of, a part at a time."""

    def __init__(self, connection: Connection, version_id: int) -> None:
        self._connection = connection
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
            .where(ChunkRow.version_id == self._version_id)
        )
        for batch in self._connection.scalars(query.execution_options(yield_per=_BATCH)).partitions():
            yield list(batch)


def _generation_problem(
    connection: Connection, directory: Path, collection: Collection, pointer: GenerationPointer, *, floor: int
) -> str | None:
    embedder = collection.fingerprint.embedder
    try:
        generation = load_generation(directory, pointer.directory, sha256=pointer.sha256, embedder=embedder)
    except IndexDamaged as error:
        return error.message
    base = generation.base
    if pointer.seq < floor:
        return None  # the feed no longer leads from it to what is stored, and nobody loads it
    expected = np.setdiff1d(base.ids, removed_since(connection, collection.id, pointer.seq))
    seen = 0
    for ids, vectors in added_since(connection, collection.id, 0, collection.fingerprint.dimension):
        rows = np.searchsorted(base.ids, ids)
        rows[rows == len(base.ids)] = 0
        inside = base.ids[rows] == ids if len(base.ids) else np.zeros(len(ids), np.bool_)
        seen += int(inside.sum())
        if inside.any() and np.abs(base.vectors[rows[inside]] - vectors[inside]).max() > _SAME:
            return f"The index file {pointer.directory} holds other vectors than the database."
    later = sum(
        len(ids) for ids, _ in added_since(connection, collection.id, pointer.seq, collection.fingerprint.dimension)
    )
    active = connection.scalar(
        select(func.coalesce(func.sum(VersionRow.chunk_count), 0)).where(
            VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE
        )
    )
    if seen != len(expected) or seen + later != active:
        return (
            f"The index file {pointer.directory} with what came after it stands for {seen + later} of {active} chunks, "
            f"and holds {len(expected) - seen} that are gone."
        )
    return None
