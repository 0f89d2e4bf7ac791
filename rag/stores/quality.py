"""How many chunks say the same as others, or are no text. Counted when it is asked, for documents come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, bindparam, func, select
from sqlalchemy.orm import aliased

from rag.quality_types import Quality
from rag.stores.tables import ChunkKeyRow, ChunkRow, VersionRow
from rag.stores.visibility import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, Row, Select
    from sqlalchemy.orm import InstrumentedAttribute

# A notice, a licence, a footer; fewer are copies of a document. Files that are equal as a whole count once.
_BOILERPLATE_FILES: Final = 10
_LOOKED_AT: Final = 200


_key, _chunk, _version = aliased(ChunkKeyRow), aliased(ChunkRow), aliased(VersionRow)
_COLLECTION, _DOCUMENT = bindparam("collection", type_=Integer), bindparam("document", type_=Integer)
_MINE: Final = (VersionRow.collection_id == _COLLECTION, VersionRow.document_id == _DOCUMENT, visible())


def _alike(column: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[Any]:
    """Of versions that hold what the chunk at hand says, a row for each such chunk."""
    chunks = select(column).select_from(_key).join(_chunk, _chunk.id == _key.chunk_id)
    same = (_key.key == ChunkKeyRow.key, _version.collection_id == _COLLECTION, _version.status == VersionRow.status)
    return chunks.join(_version, _version.id == _chunk.version_id).where(*same).correlate(ChunkKeyRow, VersionRow)


def _files() -> ColumnElement[Any]:
    """How many different files hold what the chunk at hand says, as far as it matters, of so many that hold it."""
    held = _alike(_version.sha256).limit(_LOOKED_AT).subquery()
    different = select(held.c.sha256).distinct().limit(_BOILERPLATE_FILES).subquery()
    return select(func.count()).select_from(different).scalar_subquery()


def _keyed(*columns: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[*tuple[Any, ...]]:
    """Of versions, a row for each chunk that has words."""
    chunks = select(*columns).select_from(VersionRow).join(ChunkRow, ChunkRow.version_id == VersionRow.id)
    return chunks.join(ChunkKeyRow, ChunkKeyRow.chunk_id == ChunkRow.id).where(ChunkKeyRow.key >= 0)


def _flaws(*mine: ColumnElement[bool]) -> Select[str | None, int]:
    counts = select(ChunkRow.flaw, func.count()).join(VersionRow, VersionRow.id == ChunkRow.version_id)
    return counts.where(*mine, ChunkRow.flaw.is_not(None)).group_by(ChunkRow.flaw).order_by(ChunkRow.flaw)


# Made once, as all that is asked for each document: see ``rag.stores.reading.ACTIVE_PASSAGES``.
_KEYS: Final = _keyed(
    _alike(_key.key).where(_version.document_id != _DOCUMENT).exists().label("elsewhere"), _files().label("files")
).where(*_MINE)
_DOCUMENT_FLAWS: Final = _flaws(*_MINE)


def document_quality(connection: Connection, collection_id: int, document_id: int) -> Quality:
    """Of a document's active chunks; all zero for one that is not there."""
    mine = {"collection": collection_id, "document": document_id}
    found = connection.execute(_KEYS, mine).all()
    return Quality(
        duplicates=sum(row.elsewhere for row in found),
        boilerplate=sum(row.elsewhere and row.files >= _BOILERPLATE_FILES for row in found),
        flaws=_counts(connection.execute(_DOCUMENT_FLAWS, mine)),
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
        flaws=_counts(connection.execute(_flaws(*mine))),
    )


def _counts(rows: Iterable[Row[*tuple[Any, ...]]]) -> dict[str, int]:
    return dict(map(tuple, rows))
