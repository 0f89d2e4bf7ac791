"""How many chunks say the same as others, or are no text. Counted when it is asked, for documents come and go."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, bindparam, func, select, tuple_
from sqlalchemy.orm import aliased

from rag.quality_types import Quality
from rag.stores.tables import ChunkKeyRow, ChunkRow, VersionRow
from rag.stores.visibility import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select
    from sqlalchemy.orm import InstrumentedAttribute

# A notice, a licence, a footer; fewer are copies of a document. Files that are equal as a whole count once.
_BOILERPLATE_FILES: Final = 10
_LOOKED_AT: Final = 200
_BATCH: Final = 500  # ids in one statement


_key, _chunk, _version = aliased(ChunkKeyRow), aliased(ChunkRow), aliased(VersionRow)
_COLLECTION: Final = bindparam("collection", type_=Integer)
_MINE: Final = (
    VersionRow.collection_id == _COLLECTION,
    VersionRow.document_id.in_(bindparam("documents", expanding=True)),
    visible(),
)


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


def _keys(*others: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Of documents, a row for each chunk that has words: whether one of ``others`` says the same, and how many do."""
    elsewhere = _alike(_key.key).where(_version.document_id != VersionRow.document_id, *others).exists()
    return _keyed(VersionRow.document_id, elsewhere.label("elsewhere"), _files().label("files")).where(*_MINE)


# Made once, as all that is asked for each document: see ``rag.stores.reading.ACTIVE_PASSAGES``.
_KEYS: Final = _keys()
_KEYS_BEFORE: Final = _keys(
    tuple_(_version.activated_seq, _version.id) < tuple_(VersionRow.activated_seq, VersionRow.id),
)


def _flaws(*by: Any) -> Select[*tuple[Any, ...]]:  # noqa: ANN401  # columns
    """How many chunks have which flaw, and of which of these columns."""
    chunks = select(*by, ChunkRow.flaw, func.count()).join(VersionRow, VersionRow.id == ChunkRow.version_id)
    return chunks.where(ChunkRow.flaw.is_not(None)).group_by(*by, ChunkRow.flaw).order_by(ChunkRow.flaw)


_DOCUMENT_FLAWS: Final = _flaws(VersionRow.document_id).where(*_MINE)


def document_qualities(
    connection: Connection, collection_id: int, document_ids: Sequence[int], *, as_they_came: bool = False
) -> list[Quality]:
    """Of the active chunks of documents, in their order; all zero for one that is not there.

    ``as_they_came``: a chunk is a duplicate of what was there before it, be it that it came in the same change.
    """
    keys: defaultdict[int, list[Row[*tuple[Any, ...]]]] = defaultdict(list)
    flaws: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for start in range(0, len(document_ids), _BATCH):
        mine = {"collection": collection_id, "documents": document_ids[start : start + _BATCH]}
        for row in connection.execute(_KEYS_BEFORE if as_they_came else _KEYS, mine):
            keys[row.document_id].append(row)
        for document_id, flaw, count in connection.execute(_DOCUMENT_FLAWS, mine):
            flaws[document_id][flaw] = count
    return [
        Quality(
            duplicates=sum(row.elsewhere for row in keys[document_id]),
            boilerplate=sum(row.elsewhere and row.files >= _BOILERPLATE_FILES for row in keys[document_id]),
            flaws=flaws[document_id],
        )
        for document_id in document_ids
    ]


def collection_quality(connection: Connection, collection_id: int) -> Quality:
    """Of all of a collection's active chunks. Reads a row of each."""
    mine = (VersionRow.collection_id == collection_id, visible())
    documents, files = (func.count(column.distinct()) for column in (VersionRow.document_id, VersionRow.sha256))
    groups = _keyed(func.count(), documents, files).where(*mine).group_by(ChunkKeyRow.key)
    found = connection.execute(groups.having(documents > 1)).all()
    return Quality(
        duplicates=sum(chunks for chunks, _, _ in found),
        boilerplate=sum(chunks for chunks, _, files in found if files >= _BOILERPLATE_FILES),
        flaws=dict(map(tuple, connection.execute(_flaws().where(*mine)))),
    )
