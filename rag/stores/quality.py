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
_ELSEWHERE: Final = (
    select(_key.key)
    .join(_chunk, _chunk.id == _key.chunk_id)
    .join(_version, _version.id == _chunk.version_id)
    .where(_key.key == ChunkKeyRow.key, _version.collection_id == _COLLECTION, _version.status == VersionRow.status)
    .where(_version.document_id != _DOCUMENT)
)


def _keyed(*columns: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[*tuple[Any, ...]]:
    """Of versions, a row for each chunk that has words."""
    chunks = select(*columns).select_from(VersionRow).join(ChunkRow, ChunkRow.version_id == VersionRow.id)
    return chunks.join(ChunkKeyRow, ChunkKeyRow.chunk_id == ChunkRow.id).where(ChunkKeyRow.key >= 0)


def _flaws(*mine: ColumnElement[bool]) -> Select[str | None, int]:
    counts = select(ChunkRow.flaw, func.count()).join(VersionRow, VersionRow.id == ChunkRow.version_id)
    return counts.where(*mine, ChunkRow.flaw.is_not(None)).group_by(ChunkRow.flaw).order_by(ChunkRow.flaw)


# Made once, as all that is asked for each document: see ``rag.stores.reading.ACTIVE_PASSAGES``. Others are looked for
# only until there are enough: a notice may stand in all documents there are.
_KEYS: Final = _keyed(
    ChunkKeyRow.key, _ELSEWHERE.exists(), _ELSEWHERE.limit(1).offset(_BOILERPLATE_FILES - 2).scalar_subquery()
).where(*_MINE)
_DOCUMENT_FLAWS: Final = _flaws(*_MINE)


def document_quality(connection: Connection, collection_id: int, document_id: int) -> Quality:
    """Of a document's active chunks; all zero for one that is not there."""
    mine = {"collection": collection_id, "document": document_id}
    found = connection.execute(_KEYS, mine).all()
    frequent = {key for key, _, last in found if last is not None}
    boilerplate = {key for key in frequent if _files(connection, collection_id, key) >= _BOILERPLATE_FILES}
    return Quality(
        duplicates=sum(duplicate for _, duplicate, _ in found),
        boilerplate=sum(key in boilerplate for key, _, _ in found),
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


def _files(connection: Connection, collection_id: int, key: int) -> int:
    """How many different files hold a passage, of so many documents."""
    held = _keyed(VersionRow.sha256).where(ChunkKeyRow.key == key, VersionRow.collection_id == collection_id, visible())
    return len(set(connection.scalars(held.limit(_LOOKED_AT))))


def _counts(rows: Iterable[Row[*tuple[Any, ...]]]) -> dict[str, int]:
    return dict(map(tuple, rows))
