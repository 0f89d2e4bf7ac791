"""A collection's documents as records, to be written in an open format and taken in elsewhere.

One header; then each document followed by its source text in pieces and by its chunks; then an end, by which a reader
knows that nothing is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from sqlalchemy import and_, func, literal, select

from rag.stores.checksums import damaged
from rag.stores.collection_rows import collection_row
from rag.stores.embeddings.embedding_sets import no_embedding, require_live_set, require_whole
from rag.stores.reading import AGAIN, joined, outlined, require_chunk, require_version, to_collection
from rag.stores.tables import ChunkRow, DocumentRow, EmbeddingRow, OutlineRow, TextRow, VersionRow, VersionStatus
from rag.times import now, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sqlalchemy import Connection, Row

    from rag.stores.sqlite.database import Database
    from rag.types import Collection

# Bump when an older program would misread the records. New fields with a default do not ask for it.
FORMAT_VERSION: Final = 1

_ROWS = 500

# What the database can hold.
_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


class ExportHeader(_Record, frozen=True, tag="export"):
    """``embedder`` is the identity that made the vectors; ``created`` an RFC 3339 time in UTC.

    ``dense_weight`` was tuned for that embedder; ``None`` is the default. ``chunker`` is what its documents
    are cut by from now on, each may have been cut by another; ``None`` in files of older programs.
    """

    format_version: _Count
    program: str
    created: str
    collection: str
    embedder: str
    dimension: _Count
    documents: _Count
    dense_weight: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    chunker: str | None = None


class ExportedDocument(_Record, frozen=True, tag="document"):
    """``sha256``, ``size`` in bytes and ``mtime_ns`` are the source's; ``parser`` and ``chunker`` it was made with.

    ``members_failed``: documents in it that could not be taken in. ``outline`` is what the chunker needs besides the
    text to cut it anew, and ``counted_by`` the identity of the embedder whose tokens its chunks are measured in, if
    known.
    """

    uri: str
    title: str
    media_type: str
    sha256: str
    size: _Count
    mtime_ns: _Number
    parser: str
    chunker: str
    updated_at: str
    metadata: dict[str, str | int | float | bool]
    members_failed: _Count = 0
    counted_by: str | None = None
    outline: tuple[bytes, ...] = ()


class ExportedText(_Record, frozen=True, tag="text"):
    """A piece of the source text; ``start`` is its character offset."""

    uri: str
    start: _Count
    text: str


class ExportedChunk(_Record, frozen=True, tag="chunk"):
    """``text`` is the source text from ``start`` to ``end``; ``vector`` is unit length, float16, little endian.

    ``context`` is what full text searches besides the text; it follows from title and headings.
    """

    uri: str
    ordinal: _Count
    start: _Count
    end: _Count
    page: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None
    heading_path: tuple[str, ...]
    context: str
    token_count: _Count
    text: str
    vector: bytes


class ExportEnd(_Record, frozen=True, tag="end"):
    documents: _Count
    chunks: _Count


Record = ExportHeader | ExportedDocument | ExportedText | ExportedChunk | ExportEnd


def records(database: Database, collection: Collection, *, program: str) -> Iterator[Record]:
    """Everything active, by document id, as of one moment; read as it is asked for.

    Raises:
        DatabaseDamaged: something of it is not as it was written, or not there.
    """
    active = (VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE)
    with database.read() as connection:
        # Again: since it was read, somebody may have embedded it anew.
        current = to_collection(collection_row(connection, collection.id, collection.name))
        count = connection.scalar(select(func.count()).select_from(VersionRow).where(*active)) or 0
        yield ExportHeader(
            format_version=FORMAT_VERSION,
            program=program,
            created=now(),
            collection=collection.name,
            embedder=current.fingerprint.embedder,
            dimension=current.fingerprint.dimension,
            documents=count,
            dense_weight=current.dense_weight,
            chunker=current.fingerprint.chunker,
        )
        set_id = require_live_set(connection, collection.id)
        chunks = 0
        query = select(VersionRow, DocumentRow.uri).join(DocumentRow, DocumentRow.id == VersionRow.document_id)
        versions = query.where(*active).order_by(VersionRow.document_id).execution_options(yield_per=_ROWS)
        for version in connection.execute(versions):
            require_version(version)
            yield _document(version, _outline(connection, version.id, version.uri))
            yield from _texts(connection, version.id, version.uri)
            of_this = 0
            for chunk in _chunks(connection, version.id, version.uri, set_id):
                of_this += 1
                yield chunk
            if of_this != version.chunk_count:
                raise damaged(f"The list of passages of {version.uri!r}", AGAIN)
            chunks += of_this
        yield ExportEnd(documents=count, chunks=chunks)


def _document(version: Row[*tuple[Any, ...]], outline: tuple[bytes, ...]) -> ExportedDocument:
    return ExportedDocument(
        uri=version.uri,
        title=version.title,
        media_type=version.media_type,
        sha256=version.sha256,
        size=version.size,
        mtime_ns=version.mtime_ns,
        parser=version.parser,
        chunker=version.chunker,
        updated_at=rfc3339(version.created_at),
        metadata=version.metadata,
        members_failed=version.members_failed,
        counted_by=version.counted_by,
        outline=outline,
    )


def _outline(connection: Connection, version_id: int, uri: str) -> tuple[bytes, ...]:
    query = select(OutlineRow.__table__).where(OutlineRow.version_id == version_id).order_by(OutlineRow.ordinal)
    return tuple(outlined(connection.execute(query), uri))


def _texts(connection: Connection, version_id: int, uri: str) -> Iterator[ExportedText]:
    query = select(TextRow).where(TextRow.version_id == version_id).order_by(TextRow.start)
    end = 0
    for row in connection.execute(query.execution_options(yield_per=_ROWS)):
        text = joined([row], end)
        end += len(text)
        yield ExportedText(uri=uri, start=row.start, text=text)


def _chunks(connection: Connection, version_id: int, uri: str, set_id: int) -> Iterator[ExportedChunk]:
    query = (
        select(
            ChunkRow.id.label("chunk_id"),
            ChunkRow.version_id,
            ChunkRow.checksum.label("chunk_checksum"),
            EmbeddingRow.checksum,
            literal(uri).label("uri"),
            ChunkRow.ordinal,
            ChunkRow.start,
            ChunkRow.end,
            ChunkRow.page,
            ChunkRow.heading_path,
            ChunkRow.context,
            ChunkRow.token_count,
            ChunkRow.text,
            EmbeddingRow.vector,
        )
        .outerjoin(EmbeddingRow, and_(EmbeddingRow.chunk_id == ChunkRow.id, EmbeddingRow.set_id == set_id))
        .where(ChunkRow.version_id == version_id)
        .order_by(ChunkRow.ordinal)
    )
    for row in connection.execute(query.execution_options(yield_per=_ROWS)):
        require_chunk(row)
        if row.vector is None:
            raise no_embedding(1)
        require_whole(set_id, [row])
        yield ExportedChunk(
            uri=uri,
            ordinal=row.ordinal,
            start=row.start,
            end=row.end,
            page=row.page,
            heading_path=tuple(row.heading_path),
            context=row.context,
            token_count=row.token_count,
            text=row.text,
            vector=row.vector,
        )
