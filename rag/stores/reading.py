"""Rows to domain values. Readers see active versions, or those that were active at a moment they ask about."""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, and_, bindparam, exists, func, or_, select
from sqlalchemy.orm import aliased

from rag.stores.checksums import (
    RowDamaged,
    chunk_checksum,
    damaged,
    outline_checksum,
    text_checksum,
    version_checksum,
)
from rag.stores.filtering import condition
from rag.stores.tables import ChunkRow, DocumentRow, EmbeddingRow, VersionRow, VersionStatus
from rag.stores.visibility import visible
from rag.times import rfc3339
from rag.types import MEMBER_MARK, Chunk, Collection, Document, Fingerprint, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import BindParameter, ColumnElement, Connection, Result, Row, Select

    from rag.types import Filter

_BATCH = 500  # ids in one statement
# What comes after all that begins with the mark.
_AFTER_MARK: Final = MEMBER_MARK[:-1] + chr(ord(MEMBER_MARK[-1]) + 1)
AGAIN = "Delete the document with --purge and ingest it again, or restore a backup."

# By readers the first two; by a re-embedding the others, too.
_READ = {VersionStatus.ACTIVE, VersionStatus.RETIRED, VersionStatus.PREPARED, VersionStatus.SHELVED}

_DOCUMENT = (
    DocumentRow.id,
    DocumentRow.uri,
    VersionRow.document_id,
    VersionRow.collection_id,
    VersionRow.status,
    VersionRow.mtime_ns,
    VersionRow.parser,
    VersionRow.chunker,
    VersionRow.language,
    VersionRow.activated_seq,
    VersionRow.checksum,
    VersionRow.title,
    VersionRow.media_type,
    VersionRow.sha256,
    VersionRow.size,
    VersionRow.chunk_count,
    VersionRow.created_at,
    VersionRow.details.label("metadata"),
)
_CHUNK = (
    ChunkRow.id.label("chunk_id"),
    ChunkRow.version_id,
    ChunkRow.checksum.label("chunk_checksum"),
    ChunkRow.ordinal,
    ChunkRow.text,
    ChunkRow.start,
    ChunkRow.end,
    ChunkRow.page,
    ChunkRow.heading_path,
    ChunkRow.token_count,
)


def to_collection(row: Row[*tuple[Any, ...]]) -> Collection:
    fingerprint = Fingerprint(parser=row.parser, chunker=row.chunker, embedder=row.embedder, dimension=row.dimension)
    return Collection(id=row.id, name=row.name, fingerprint=fingerprint, seq=row.seq, dense_weight=row.dense_weight)


def _documents(collection_id: int | BindParameter[int]) -> Select[*tuple[Any, ...]]:
    return (
        select(*_DOCUMENT)
        .join(VersionRow, VersionRow.document_id == DocumentRow.id)
        .where(DocumentRow.collection_id == collection_id, visible())
    )


_ACTIVE_DOCUMENTS: Final = _documents(bindparam("collection")).where(
    DocumentRow.id.in_(bindparam("documents", expanding=True))
)


def select_documents(collection: Collection) -> Select[*tuple[Any, ...]]:
    """The active documents of a collection."""
    return _documents(collection.id)


def require_version(row: Row[*tuple[Any, ...]]) -> None:
    """Raise DatabaseDamaged unless a visible version, with its document's uri, is as it was written."""
    if row.status not in _READ or version_checksum(row) != row.checksum:
        raise damaged(f"What is stored of the document {row.uri!r}", AGAIN, RowDamaged)


def to_document(row: Row[*tuple[Any, ...]], collection: Collection, *, damaged_too: bool = False) -> Document:
    """Raises DatabaseDamaged, but for ``damaged_too``: what is to be deleted need not be whole."""
    if not damaged_too:
        require_version(row)
    return Document(
        id=row.id,
        collection=collection.name,
        uri=row.uri,
        title=row.title,
        media_type=row.media_type,
        sha256=row.sha256,
        size=row.size,
        chunk_count=row.chunk_count,
        updated_at=rfc3339(row.created_at),
        metadata=row.metadata,
        language=row.language,
    )


def active_documents(connection: Connection, collection: Collection, document_ids: Sequence[int]) -> list[Document]:
    """In the order of the ids. Raises KeyError if one is not active."""
    rows = connection.execute(_ACTIVE_DOCUMENTS, {"collection": collection.id, "documents": document_ids})
    found = {row.id: to_document(row, collection) for row in rows}
    return [found[document_id] for document_id in document_ids]


def one_document(
    connection: Connection, collection: Collection, which: ColumnElement[bool], *, damaged_too: bool = False
) -> Document | None:
    row = connection.execute(select_documents(collection).where(which)).one_or_none()
    return None if row is None else to_document(row, collection, damaged_too=damaged_too)


def within(uri: str) -> ColumnElement[bool]:
    """Holds for the documents of the container with this URI, however deep."""
    return _is_within(**_member_range(uri))


def _member_range(uri: str) -> dict[str, Any]:
    prefix = uri + MEMBER_MARK
    return {"prefix": prefix, "after": uri + _AFTER_MARK, "length": len(prefix)}


def _is_within(prefix: Any, after: Any, length: Any) -> ColumnElement[bool]:  # noqa: ANN401 - values, or parameters
    # The range is what the unique index finds fast; the comparison stays exact under collations of other databases.
    return and_(DocumentRow.uri.between(prefix, after), func.substr(DocumentRow.uri, 1, length) == prefix)


_MEMBERS: Final = (
    select(func.count())
    .select_from(DocumentRow)
    .join(VersionRow, VersionRow.document_id == DocumentRow.id)
    .where(DocumentRow.collection_id == bindparam("collection"), visible())
    .where(_is_within(bindparam("prefix"), bindparam("after"), bindparam("length", type_=Integer)))
)


_container: Final = aliased(DocumentRow)
_WITHIN_CONTAINER: Final = and_(
    DocumentRow.collection_id == _container.collection_id,
    _is_within(
        _container.uri.concat(MEMBER_MARK),
        _container.uri.concat(_AFTER_MARK),
        func.length(_container.uri) + len(MEMBER_MARK),
    ),
)
_MEMBERS_OF: Final = select(
    _container.id,
    select(func.count())
    .select_from(DocumentRow)
    .join(VersionRow, VersionRow.document_id == DocumentRow.id)
    .where(_WITHIN_CONTAINER, visible())
    .correlate(_container)
    .scalar_subquery()
    .label("members"),
).where(_container.id.in_(bindparam("documents", expanding=True)))
_IDS_WITHIN: Final = (
    select(DocumentRow.id)
    .join(_container, _WITHIN_CONTAINER)
    .where(
        _container.id.in_(bindparam("documents", expanding=True)),
        _container.collection_id + 0 == bindparam("collection"),  # or SQLite goes through all of the collection
    )
)


def member_count(connection: Connection, collection_id: int, uri: str) -> int:
    """How many active documents the container with this URI holds, however deep."""
    return connection.execute(_MEMBERS, {"collection": collection_id, **_member_range(uri)}).scalar_one()


def member_counts(connection: Connection, document_ids: Sequence[int]) -> dict[int, int]:
    """As ``member_count``, of many documents by their ids."""
    return dict(map(tuple, connection.execute(_MEMBERS_OF, {"documents": document_ids})))


def with_members(connection: Connection, collection: Collection, document_ids: Sequence[int]) -> list[int]:
    """These ids and those of the documents within these documents."""
    found = dict.fromkeys(document_ids)
    for start in range(0, len(document_ids), _BATCH):
        some = {"collection": collection.id, "documents": document_ids[start : start + _BATCH]}
        found.update(dict.fromkeys(connection.scalars(_IDS_WITHIN, some)))
    return list(found)


def select_passages(collection_id: int | BindParameter[int], counts: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """The chunks of a collection that count, by their versions mostly, each with its document."""
    mine = or_(VersionRow.collection_id == collection_id, DocumentRow.collection_id == collection_id)
    return (
        select(*_CHUNK, *_DOCUMENT)
        # A chunk without a version, and one that is in two collections, are damaged and shall be told.
        .outerjoin(VersionRow, VersionRow.id == ChunkRow.version_id)
        .outerjoin(DocumentRow, DocumentRow.id == VersionRow.document_id)
        .where(or_(DocumentRow.id.is_(None), and_(mine, counts)))
    )


def select_found(where: Filter | None = None, as_of: datetime | None = None) -> Select[*tuple[Any, ...]]:
    """The chunks of ``collection_id`` that are visible, now or then, and that the filter lets through."""
    return select_passages(
        bindparam("collection_id"), visible(as_of) if where is None else and_(visible(as_of), condition(where))
    )


THESE_CHUNKS: Final = ChunkRow.id.in_(bindparam("chunk_ids", expanding=True))
# What every search ends with. Made once: SQLAlchemy needs longer to put a statement together, and to see that it knows
# it, than SQLite to answer it.
ACTIVE_PASSAGES: Final = select_found().where(THESE_CHUNKS)


def found_passages(
    connection: Connection,
    collection: Collection,
    chunk_ids: Sequence[int],
    where: Filter | None,
    as_of: datetime | None,
) -> list[tuple[Chunk, Document]]:
    """Of these chunks those that ``select_found`` has, in their order, each with its document.

    Raises:
        DatabaseDamaged: one, or its document, is not as it was written, or is not there and its embedding is.
    """
    query = select_found(where, as_of).where(THESE_CHUNKS) if where or as_of else ACTIVE_PASSAGES
    found: dict[int, tuple[Chunk, Document]] = {}
    for start in range(0, len(chunk_ids), _BATCH):
        some = {"collection_id": collection.id, "chunk_ids": chunk_ids[start : start + _BATCH]}
        for row in plain(connection.execute(query, some)):
            found[row.chunk_id] = (to_chunk(row), to_document(row, collection))
    if gone := [chunk_id for chunk_id in chunk_ids if chunk_id not in found]:
        _require_gone(connection, gone)
    return [found[chunk_id] for chunk_id in chunk_ids if chunk_id in found]


def plain(rows: Result[*tuple[Any, ...]]) -> list[Any]:
    """The rows, all of them, as named tuples: those of SQLAlchemy take far longer to tell the value of a column."""
    return list(map(_named(tuple(rows.keys()))._make, rows.all()))


def plain_parts(rows: Result[*tuple[Any, ...]], size: int) -> Iterator[list[Any]]:
    """As ``plain``, so many at a time, read as they are asked for."""
    for part in rows.partitions(size):
        yield list(map(_named(tuple(rows.keys()))._make, part))


@cache
def _named(columns: tuple[str, ...]) -> Any:  # noqa: ANN401  # a type that is made here
    return namedtuple("_Plain", columns)  # noqa: PYI024  # its fields are the columns of a statement


def require_chunk(of: Row[*tuple[Any, ...]]) -> None:
    """Raise DatabaseDamaged unless a chunk is as it was written."""
    found = chunk_checksum(
        of.version_id, of.ordinal, of.start, of.end, of.page, of.heading_path, of.token_count, of.text
    )
    if found != of.chunk_checksum:
        raise damaged(f"A passage of the document {of.uri!r}", AGAIN)


def _require_gone(connection: Connection, chunk_ids: Sequence[int]) -> None:
    """Raise DatabaseDamaged if one of these chunks is not there but its embedding is: they go together."""
    there = exists().where(ChunkRow.id == EmbeddingRow.chunk_id)
    for start in range(0, len(chunk_ids), _BATCH):
        mine = EmbeddingRow.chunk_id.in_(chunk_ids[start : start + _BATCH])
        if connection.scalar(select(EmbeddingRow.chunk_id).where(mine, ~there).limit(1)) is not None:
            raise damaged("The list of passages", "Restore a backup.")


def joined(pieces: Iterable[Row[*tuple[Any, ...]]], start: int) -> str:
    """The source text from ``start``. Raises DatabaseDamaged unless its pieces are as they were written."""
    texts = []
    for piece in pieces:
        if piece.start != start or text_checksum(piece.version_id, start, piece.text) != piece.checksum:
            raise damaged("A document's source text", AGAIN)
        texts.append(piece.text)
        start += len(piece.text)
    return "".join(texts)


def outlined(parts: Iterable[Row[*tuple[Any, ...]]], uri: str) -> Iterator[bytes]:
    """The parts of a version's outline. Raises RowDamaged unless they are all from the first, as they were written."""
    for number, part in enumerate(parts):
        if part.ordinal != number or outline_checksum(part.version_id, number, part.outline) != part.checksum:
            raise damaged(f"What chunks of {uri!r} are made of", AGAIN, RowDamaged)
        yield part.outline


def to_chunk(row: Row[*tuple[Any, ...]]) -> Chunk:
    """Raises DatabaseDamaged."""
    require_chunk(row)
    return Chunk(
        id=row.chunk_id,
        document_id=row.id,
        ordinal=row.ordinal,
        text=row.text,
        span=Span(start=row.start, end=row.end),
        page=row.page,
        heading_path=tuple(row.heading_path),
        token_count=row.token_count,
    )
