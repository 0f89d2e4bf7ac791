"""How many chunks say the same as others, or are no text. Counted when it is asked, for documents come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from rag.quality_types import Quality
from rag.stores.tables import ChunkKeyRow, ChunkRow, VersionRow
from rag.stores.visibility import visible

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select
    from sqlalchemy.orm import InstrumentedAttribute

# A notice, a licence, a footer; fewer are copies of a document. Files that are equal as a whole count once.
_BOILERPLATE_FILES: Final = 10
_LOOKED_AT: Final = 200


def document_quality(connection: Connection, collection_id: int, document_id: int) -> Quality:
    """Of a document's active chunks; all zero for one that is not there."""
    mine = (VersionRow.collection_id == collection_id, VersionRow.document_id == document_id, visible())
    key, chunk, version = aliased(ChunkKeyRow), aliased(ChunkRow), aliased(VersionRow)
    elsewhere = (
        select(key.key)
        .join(chunk, chunk.id == key.chunk_id)
        .join(version, version.id == chunk.version_id)
        .where(key.key == ChunkKeyRow.key, version.collection_id == collection_id, version.status == VersionRow.status)
        .where(version.document_id != document_id)
    )
    # Others are looked for only until there are enough: a notice may stand in all documents there are.
    enough = elsewhere.limit(1).offset(_BOILERPLATE_FILES - 2).scalar_subquery()
    keyed = _keyed(ChunkKeyRow.key, elsewhere.exists(), enough).where(*mine)
    found = connection.execute(keyed).all()
    frequent = {key for key, _, last in found if last is not None}
    boilerplate = {key for key in frequent if _files(connection, collection_id, key) >= _BOILERPLATE_FILES}
    return Quality(
        duplicates=sum(duplicate for _, duplicate, _ in found),
        boilerplate=sum(key in boilerplate for key, _, _ in found),
        flaws=_flaws(connection, *mine),
    )


def collection_quality(connection: Connection, collection_id: int) -> Quality:
    """Of all of a collection's active chunks. Reads a row of each."""
    mine = (VersionRow.collection_id == collection_id, visible())
    documents, files = (func.count(column.distinct()) for column in (VersionRow.document_id, VersionRow.sha256))
    groups = _keyed(func.count(), documents, files).where(*mine).group_by(ChunkKeyRow.key)
    found = connection.execute(groups.having(documents > 1)).all()
    return Quality(
        duplicates=sum(chunks for chunks, _, _ in found),
        boilerplate=sum(chunks for chunks, _, files in found if files >= _BOILERPLATE_FILES),
        flaws=_flaws(connection, *mine),
    )


def _keyed(*columns: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[*tuple[Any, ...]]:
    """Of versions, a row for each chunk that has words."""
    chunks = select(*columns).select_from(VersionRow).join(ChunkRow, ChunkRow.version_id == VersionRow.id)
    return chunks.join(ChunkKeyRow, ChunkKeyRow.chunk_id == ChunkRow.id).where(ChunkKeyRow.key >= 0)


def _files(connection: Connection, collection_id: int, key: int) -> int:
    """How many different files hold a passage, of so many documents."""
    held = _keyed(VersionRow.sha256).where(ChunkKeyRow.key == key, VersionRow.collection_id == collection_id, visible())
    return len(set(connection.scalars(held.limit(_LOOKED_AT))))


def _flaws(connection: Connection, *mine: ColumnElement[bool]) -> dict[str, int]:
    counts: Any = select(ChunkRow.flaw, func.count()).join(VersionRow, VersionRow.id == ChunkRow.version_id)
    counted = counts.where(*mine, ChunkRow.flaw.is_not(None)).group_by(ChunkRow.flaw).order_by(ChunkRow.flaw)
    return dict(map(tuple, connection.execute(counted)))
