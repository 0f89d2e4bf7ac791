"""How many chunks say the same as others, or are no text. Counted when it is asked, for documents come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import aliased

from rag.quality_types import Quality
from rag.stores.tables import ChunkKeyRow, ChunkRow, VersionRow
from rag.stores.visibility import visible

if TYPE_CHECKING:
    from sqlalchemy import Connection

# A notice, a licence, a footer; fewer are copies of a document. Files that are equal as a whole count once.
_BOILERPLATE_FILES: Final = 10


def document_quality(connection: Connection, collection_id: int, document_id: int) -> Quality:
    """Of a document's active chunks; all zero for one that is not there."""
    key, chunk, version = aliased(ChunkKeyRow), aliased(ChunkRow), aliased(VersionRow)
    elsewhere = (
        select(version.sha256)
        .select_from(key)
        .join(chunk, chunk.id == key.chunk_id)
        .join(version, version.id == chunk.version_id)
        .where(key.key == ChunkKeyRow.key, version.collection_id == collection_id, version.status == VersionRow.status)
        .where(version.document_id != document_id)
    )
    # Looked for only until there are enough: a notice may stand in all documents there are.
    another_file = elsewhere.where(version.sha256 != VersionRow.sha256).distinct().limit(1)
    enough = another_file.offset(_BOILERPLATE_FILES - 2).scalar_subquery()
    mine = (VersionRow.collection_id == collection_id, VersionRow.document_id == document_id, visible())
    chunks = select(elsewhere.exists(), enough.is_not(None)).select_from(VersionRow)
    chunks = chunks.join(ChunkRow, ChunkRow.version_id == VersionRow.id)
    keyed = chunks.join(ChunkKeyRow, ChunkKeyRow.chunk_id == ChunkRow.id).where(*mine, ChunkKeyRow.key >= 0)
    found = connection.execute(keyed).all()
    return Quality(
        duplicates=sum(duplicate for duplicate, _ in found),
        boilerplate=sum(boilerplate for _, boilerplate in found),
        flaws=_flaws(connection, *mine),
    )


def collection_quality(connection: Connection, collection_id: int) -> Quality:
    """Of all of a collection's active chunks. Reads a row of each."""
    mine = (VersionRow.collection_id == collection_id, visible())
    groups = (
        select(func.count(), func.count(VersionRow.document_id.distinct()), func.count(VersionRow.sha256.distinct()))
        .select_from(VersionRow)
        .join(ChunkRow, ChunkRow.version_id == VersionRow.id)
        .join(ChunkKeyRow, ChunkKeyRow.chunk_id == ChunkRow.id)
        .where(*mine, ChunkKeyRow.key >= 0)
        .group_by(ChunkKeyRow.key)
        .having(func.count(VersionRow.document_id.distinct()) > 1)
    )
    found = connection.execute(groups).all()
    return Quality(
        duplicates=sum(chunks for chunks, _, _ in found),
        boilerplate=sum(chunks for chunks, _, files in found if files >= _BOILERPLATE_FILES),
        flaws=_flaws(connection, *mine),
    )


def _flaws(connection: Connection, *mine: ColumnElement[bool]) -> dict[str, int]:
    counts: Any = select(ChunkRow.flaw, func.count()).join(VersionRow, VersionRow.id == ChunkRow.version_id)
    counted = counts.where(*mine, ChunkRow.flaw.is_not(None)).group_by(ChunkRow.flaw).order_by(ChunkRow.flaw)
    return dict(map(tuple, connection.execute(counted)))
