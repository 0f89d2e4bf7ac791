"""Rows to domain values. Readers see active versions only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from rag.stores.tables import ChunkRow, CollectionRow, DocumentRow, VersionRow, VersionStatus
from rag.types import MEMBER_MARK, Chunk, Collection, Document, Fingerprint, Span

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Row, Select

_DOCUMENT = (
    DocumentRow.id,
    DocumentRow.uri,
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
    ChunkRow.ordinal,
    ChunkRow.text,
    ChunkRow.start,
    ChunkRow.end,
    ChunkRow.page,
    ChunkRow.heading_path,
    ChunkRow.token_count,
)


def select_collections() -> Select[*tuple[Any, ...]]:
    return select(
        CollectionRow.id,
        CollectionRow.name,
        CollectionRow.parser,
        CollectionRow.chunker,
        CollectionRow.embedder,
        CollectionRow.dimension,
        CollectionRow.seq,
        CollectionRow.dense_weight,
    ).order_by(CollectionRow.name)


def to_collection(row: Row[*tuple[Any, ...]]) -> Collection:
    fingerprint = Fingerprint(parser=row.parser, chunker=row.chunker, embedder=row.embedder, dimension=row.dimension)
    return Collection(id=row.id, name=row.name, fingerprint=fingerprint, seq=row.seq, dense_weight=row.dense_weight)


def select_documents(collection: Collection) -> Select[*tuple[Any, ...]]:
    """The active documents of a collection."""
    return (
        select(*_DOCUMENT)
        .join(VersionRow, VersionRow.document_id == DocumentRow.id)
        .where(DocumentRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE)
    )


def to_document(row: Row[*tuple[Any, ...]], collection: Collection) -> Document:
    return Document(
        id=row.id,
        collection=collection.name,
        uri=row.uri,
        title=row.title,
        media_type=row.media_type,
        sha256=row.sha256,
        size=row.size,
        chunk_count=row.chunk_count,
        updated_at=row.created_at.isoformat(timespec="seconds"),
        metadata=row.metadata,
    )


def one_document(connection: Connection, collection: Collection, condition: ColumnElement[bool]) -> Document | None:
    row = connection.execute(select_documents(collection).where(condition)).one_or_none()
    return None if row is None else to_document(row, collection)


def within(uri: str) -> ColumnElement[bool]:
    """Holds for the documents of the container with this URI, however deep."""
    prefix = uri + MEMBER_MARK
    # The range is what the unique index finds fast; the comparison stays exact under collations of other databases.
    after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    in_range = DocumentRow.uri.between(prefix, after)
    return in_range & (func.substr(DocumentRow.uri, 1, len(prefix)) == prefix)


def select_passages(collection: Collection) -> Select[*tuple[Any, ...]]:
    """The chunks of a collection's active documents, each with its document."""
    return (
        select(*_CHUNK, *_DOCUMENT)
        .join(VersionRow, VersionRow.id == ChunkRow.version_id)
        .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
        .where(VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE)
    )


def to_chunk(row: Row[*tuple[Any, ...]]) -> Chunk:
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
