"""A document's text in other chunks, read from what is stored and written beside the active version.

It is written in short transactions, and seen by nobody. Where the document is replaced or deleted meanwhile, what was
written leaves with it, and the rest is not written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, insert, select, update

from rag.stores.checksums import RowDamaged, damaged, outline_checksum, text_checksum
from rag.stores.embeddings import cuts
from rag.stores.reading import outlined, require_version
from rag.stores.tables import DocumentRow, MetadataRow, OutlineRow, TextRow, VersionRow, VersionStatus
from rag.stores.versions import tenures
from rag.stores.versions.retirement import leaving, prune
from rag.stores.versions.rows import change_version, outline_row, text_row
from rag.stores.visibility import ACTIVE
from rag.stores.writing.chunk_rows import ChunksOf, insert_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Row
    from sqlalchemy.orm import InstrumentedAttribute

    from rag.errors import DatabaseDamaged
    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.stores.sqlite.database import Database
    from rag.stores.writing.chunk_rows import NewChunk
    from rag.types import Collection

_DOCUMENTS: Final = 100  # in one read
_PARTS: Final = 32  # of text or outline copied in one transaction: 2 MB of text
_AGAIN: Final = "Delete the document with --purge and ingest it again, or restore a backup."

# What a cut has of its own; it has all else of the version that it is a cut of.
_OWN: Final = {"id", "status", "title", "chunker", "counted_by", "chunk_count", "owner", "checksum", "tenure_checksum"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSource:
    """An active version that is to be cut."""

    version_id: int
    uri: str
    title: str


def sources(database: Database, target: EmbeddingSet) -> Iterator[CutSource]:
    """The versions that the set's chunker has to cut, by id, in short reads.

    Raises:
        DatabaseDamaged: one is not as it was written.
    """
    last = 0
    query = select(VersionRow, DocumentRow.uri).join(DocumentRow, DocumentRow.id == VersionRow.document_id)
    query = query.where(cuts.uncut(target)).order_by(VersionRow.id).limit(_DOCUMENTS)
    while True:
        with database.read() as connection:
            rows = connection.execute(query.where(VersionRow.id > last)).all()
        if not rows:
            return
        for row in rows:
            require_version(row)
            yield CutSource(version_id=row.id, uri=row.uri, title=row.title)
        last = rows[-1].id


def progress(database: Database, target: EmbeddingSet) -> tuple[int, int]:
    """How many documents are cut as the set wants them, and how many there are."""
    mine = (VersionRow.collection_id == target.collection_id, ACTIVE)
    with database.read() as connection:
        total = connection.scalars(select(func.count()).select_from(VersionRow).where(*mine)).one()
        left = connection.scalars(cuts.count_uncut(target)).one()
        left += connection.scalars(cuts.count_without_outline(target)).one()
    return total - left, total


def is_active(database: Database, source: CutSource) -> bool:
    """Whether it is still the active version of its document."""
    with database.read() as connection:
        return connection.scalar(select(VersionRow.id).where(VersionRow.id == source.version_id, ACTIVE)) is not None


def outline_of(database: Database, source: CutSource) -> Iterator[bytes]:
    """The parts of its outline in order, in short reads. Raises RowDamaged."""
    yield from outlined(_parts(database, source, OutlineRow, OutlineRow.ordinal), source.uri)


def text_of(database: Database, source: CutSource) -> Iterator[str]:
    """The pieces of its text in order, in short reads. Raises RowDamaged."""
    expected = 0
    for row in _parts(database, source, TextRow, TextRow.start):
        if row.start != expected or text_checksum(source.version_id, expected, row.text) != row.checksum:
            raise _damaged(source)
        yield row.text
        expected += len(row.text)


def _parts(
    database: Database, source: CutSource, table: type[OutlineRow | TextRow], key: InstrumentedAttribute[int]
) -> Iterator[Row[*tuple[Any, ...]]]:
    last = -1
    query = select(table.__table__).where(table.version_id == source.version_id).order_by(key).limit(_PARTS)
    while True:
        with database.read() as connection:
            rows = connection.execute(query.where(key > last)).all()
        if not rows:
            return
        yield from rows
        last = rows[-1]._mapping[key.key]


def _damaged(source: CutSource) -> DatabaseDamaged:
    return damaged(f"What chunks of {source.uri!r} are made of", _AGAIN, RowDamaged)


def remove_unfinished(database: Database, collection: Collection) -> None:
    """Remove what a run that died was writing. Only for the holder of the collection's re-embedding lock."""
    with database.write() as connection:
        cuts.drop(connection, collection.id, VersionStatus.CUTTING)
        unfinished = leaving(connection, collection.id)
    prune(database, unfinished)


class CutVersion:
    """A cut while it is written, for the set ``target``. Its methods are each for a transaction that writes."""

    def __init__(self, target: EmbeddingSet, source: CutSource, title: str) -> None:
        """``title`` is what its chunks were made to fit with."""
        status = cuts.cut_status(target)
        if status is None:
            raise ValueError("this set comes with no other chunks")
        self._target, self._status = target, status
        self._source, self._title = source, title
        self._id: int | None = None
        self._language: str | None = None
        self._chunks = 0
        self._copied: dict[type[OutlineRow | TextRow], int] = {}
        self._gone = False

    def add(self, connection: Connection, chunks: Sequence[NewChunk]) -> None:
        """Append chunks, in their order. Nothing is written if the document has another version by now."""
        if not self._begun(connection):
            return
        mine = ChunksOf(chunks, self._require_id(), self._title, self._language)
        insert_chunks(connection, [mine], collection_id=self._target.collection_id, set_id=self._target.id)
        self._chunks += len(chunks)

    def finish(self, connection: Connection) -> bool:
        """Copy some of the text, and with the last of it have the cut wait for the swap; returns whether it does."""
        if not self._begun(connection):
            return True
        if self._copy(connection, OutlineRow, OutlineRow.ordinal) or self._copy(connection, TextRow, TextRow.start):
            return False
        version_id, table = self._require_id(), VersionRow.__table__
        origin = self._origin(connection)
        if origin is None:
            raise AssertionError("what ends a version ends its cuts")
        values = {name: value for name, value in origin._mapping.items() if name not in _OWN}
        values |= {"status": self._status, "chunk_count": self._chunks, "owner": None}
        connection.execute(
            update(VersionRow).where(table.c.id == version_id).values({table.c[k]: v for k, v in values.items()})
        )
        metadata = select(MetadataRow.__table__).where(MetadataRow.version_id == self._source.version_id)
        rows = [{**row._mapping, "version_id": version_id} for row in connection.execute(metadata)]
        if rows:
            connection.execute(insert(MetadataRow), rows)
        change_version(connection, version_id)
        tenures.seal(connection, [version_id])
        return True

    def _begun(self, connection: Connection) -> bool:
        """Whether there is a row of it, made with the first call, and the version that it is a cut of is active."""
        if self._id is None and not self._gone:
            self._create(connection)
        elif not self._gone:
            status = connection.scalar(select(VersionRow.status).where(VersionRow.id == self._id))
            self._gone = status != VersionStatus.CUTTING
        return not self._gone

    def _create(self, connection: Connection) -> None:
        origin = self._origin(connection)
        if origin is None:
            self._gone = True
            return
        self._language = origin.language
        table = VersionRow.__table__
        values = {name: value for name, value in origin._mapping.items() if name not in _OWN}
        values |= {
            "status": VersionStatus.CUTTING,
            "title": self._title,
            "chunker": self._target.chunker,
            "counted_by": self._target.embedder,
            "owner": str(os.getpid()),
        }
        inserted = insert(VersionRow).values({table.c[k]: v for k, v in values.items()}).returning(VersionRow.id)
        self._id = connection.scalars(inserted).one()

    def _origin(self, connection: Connection) -> Row[*tuple[Any, ...]] | None:
        mine = select(VersionRow.__table__).where(VersionRow.id == self._source.version_id, ACTIVE)
        return connection.execute(mine).one_or_none()

    def _copy(self, connection: Connection, table: type[OutlineRow | TextRow], key: InstrumentedAttribute[int]) -> bool:
        """Copy some of what follows; returns whether there may be more. Raises RowDamaged."""
        last, version_id = self._copied.get(table, -1), self._require_id()
        mine = select(table.__table__).where(table.version_id == self._source.version_id, key > last)
        rows = connection.execute(mine.order_by(key).limit(_PARTS)).all()
        if rows:
            connection.execute(insert(table), [_copied(row, version_id, self._source) for row in rows])
            self._copied[table] = rows[-1]._mapping[key.key]
        return len(rows) == _PARTS

    def _require_id(self) -> int:
        if self._id is None:
            raise AssertionError("a cut that was begun has a row")
        return self._id


def _copied(row: Row[*tuple[Any, ...]], version_id: int, source: CutSource) -> dict[str, Any]:
    """The row as another version's."""
    if "text" in row._mapping:
        whole = text_checksum(row.version_id, row.start, row.text) == row.checksum
        copy = text_row(version_id, row.start, row.text)
    else:
        whole = outline_checksum(row.version_id, row.ordinal, row.outline) == row.checksum
        copy = outline_row(version_id, row.ordinal, row.outline)
    if not whole:
        raise _damaged(source)
    return copy
