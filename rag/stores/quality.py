"""How many chunks say the same as others, or are no text. Counted when it is asked, for documents come and go."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, Text, bindparam, cast, func, select, tuple_
from sqlalchemy.orm import aliased

from rag.quality_types import Quality
from rag.stores.copies import about_as_long, near_copies
from rag.stores.reading import plain
from rag.stores.tables import ChunkKeyRow, ChunkRow, VersionRow
from rag.stores.visibility import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Select, SQLColumnExpression
    from sqlalchemy.orm import InstrumentedAttribute

# A notice, a licence, a footer; fewer are copies of a document. Files that are equal as a whole count once.
_BOILERPLATE_FILES: Final = 10
_LOOKED_AT: Final = 200
# Chunks that share a statement: the newest, for a group of documents that are stored together brings up to 64; and of
# these those that are compared, for one that nearly says the same is enough.
_NEWEST: Final = 100
_COMPARED: Final = 10
_BATCH: Final = 500  # ids in one statement


_key, _chunk, _version = aliased(ChunkKeyRow), aliased(ChunkRow), aliased(VersionRow)
_COLLECTION: Final = bindparam("collection", type_=Integer)
_WHOLE: Final = ChunkKeyRow.key >= 0  # of all that a chunk says, not of a statement
_MINE: Final = (
    VersionRow.collection_id + 0 == _COLLECTION,  # or SQLite goes through all of the collection
    VersionRow.document_id.in_(bindparam("documents", expanding=True)),
    visible(),
)


def _keyed(*columns: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[*tuple[Any, ...]]:
    """Of versions, a row for each key of each chunk."""
    chunks = select(*columns).select_from(VersionRow).join(ChunkRow, ChunkRow.version_id == VersionRow.id)
    return chunks.join(ChunkKeyRow, ChunkKeyRow.chunk_id == ChunkRow.id)


# All that documents say, each thing once, however many of them say it.
_things: Final = _keyed(ChunkKeyRow.key, VersionRow.status).where(_WHOLE, *_MINE).distinct().subquery()


def _alike(
    column: SQLColumnExpression[Any], key: SQLColumnExpression[int], status: SQLColumnExpression[str]
) -> Select[Any]:
    """Of versions that hold what has this key, a row for each chunk that says it."""
    chunks = select(column).select_from(_key).join(_chunk, _chunk.id == _key.chunk_id)
    chunks = chunks.join(_version, _version.id == _chunk.version_id)
    return chunks.where(_key.key == key, _version.collection_id == _COLLECTION, _version.status == status)


def _thing() -> Select[*tuple[Any, ...]]:
    """Of each thing that documents say, two documents that say it, separated by a comma, or the one; and how many
    different files hold it, as far as it matters, of so many that hold it.
    """
    holding = _alike(cast(_version.document_id, Text).label("id"), _things.c.key, _things.c.status).correlate(_things)
    two = holding.distinct().limit(2).subquery()
    files = _alike(_version.sha256, _things.c.key, _things.c.status).correlate(_things).limit(_LOOKED_AT).subquery()
    different = select(files.c.sha256).distinct().limit(_BOILERPLATE_FILES).subquery()
    return select(
        _things.c.key,
        _things.c.status,
        select(func.aggregate_strings(two.c.id, ",")).scalar_subquery().label("documents"),
        select(func.count()).select_from(different).scalar_subquery().label("files"),
    )


def _near(*others: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Of chunks, a row for each statement by which they are found: the chunks of ``others`` that may nearly say the
    same, separated by commas; null for none.

    Of a statement's key the newest rows alone: one that stands everywhere must not cost more and more.
    """
    keyed = select(_key.chunk_id, _key.length).where(_key.key == ChunkKeyRow.key, _key.chunk_id != ChunkKeyRow.chunk_id)
    looked_at = keyed.order_by(_key.chunk_id.desc()).limit(_NEWEST).correlate(ChunkKeyRow).subquery()
    chunks = select(cast(looked_at.c.chunk_id, Text).label("id")).select_from(looked_at)
    chunks = chunks.join(_chunk, _chunk.id == looked_at.c.chunk_id).join(_version, _version.id == _chunk.version_id)
    beside = (_version.collection_id == _COLLECTION, _version.status == VersionRow.status)
    elsewhere = (*beside, _version.document_id != VersionRow.document_id, *others)
    comparable = (_chunk.flaw.is_(None), about_as_long(ChunkKeyRow.length, looked_at.c.length))
    found = chunks.where(*elsewhere, *comparable).limit(_COMPARED).correlate(ChunkKeyRow, VersionRow).subquery()
    near = select(func.aggregate_strings(found.c.id, ",")).scalar_subquery()
    these = ChunkRow.id.in_(bindparam("chunks", expanding=True))
    return _keyed(ChunkRow.id.label("chunk_id"), near.label("near")).where(these, ~_WHOLE, ChunkRow.flaw.is_(None))


# Made once, as all that is asked for each document: see ``rag.stores.reading.ACTIVE_PASSAGES``.
_BEFORE: Final = tuple_(_version.activated_seq, _version.id) < tuple_(VersionRow.activated_seq, VersionRow.id)
_SAID: Final = _keyed(VersionRow.document_id, ChunkRow.id.label("chunk_id"), ChunkKeyRow.key, VersionRow.status).where(
    _WHOLE, *_MINE
)
_SAID_BEFORE: Final = _SAID.add_columns(
    _alike(_key.key, ChunkKeyRow.key, VersionRow.status)
    .where(_version.document_id != VersionRow.document_id, _BEFORE)
    .correlate(ChunkKeyRow, VersionRow)
    .exists()
    .label("before")
)
_THINGS: Final = _thing()
_NEAR: Final = _near()
_NEAR_BEFORE: Final = _near(_BEFORE)


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
    Near duplicates are looked for among the newest of the chunks that share a statement's key: one whose keys all stand
    in a hundred chunks of other texts may be missed.
    """
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    flaws: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for start in range(0, len(document_ids), _BATCH):
        mine = {"collection": collection_id, "documents": document_ids[start : start + _BATCH]}
        said = plain(connection.execute(_SAID_BEFORE if as_they_came else _SAID, mine))
        asked = not as_they_came or any(row.before for row in said)
        things = {(row.key, row.status): row for row in plain(connection.execute(_THINGS, mine))} if asked else {}
        owners: dict[int, int] = {}  # of the chunks that are no duplicates
        for row in said:
            if row.before if as_they_came else things[row.key, row.status].documents != str(row.document_id):
                counts[row.document_id]["duplicates"] += 1
                files = things[row.key, row.status].files
                counts[row.document_id]["boilerplate"] += files >= _BOILERPLATE_FILES
            else:
                owners[row.chunk_id] = row.document_id
        sharing = _sharing(connection, collection_id, list(owners), as_they_came=as_they_came)
        for chunk_id in near_copies(connection, sharing):
            counts[owners[chunk_id]]["near_duplicates"] += 1
        for document_id, flaw, count in connection.execute(_DOCUMENT_FLAWS, mine):
            flaws[document_id][flaw] = count
    return [Quality(**counts[document_id], flaws=flaws[document_id]) for document_id in document_ids]


def _sharing(
    connection: Connection, collection_id: int, chunk_ids: Sequence[int], *, as_they_came: bool
) -> dict[int, set[int]]:
    """Of chunks those that share a statement with others, each with these."""
    sharing: defaultdict[int, set[int]] = defaultdict(set)
    for start in range(0, len(chunk_ids), _BATCH):
        some = {"collection": collection_id, "chunks": chunk_ids[start : start + _BATCH]}
        for row in plain(connection.execute(_NEAR_BEFORE if as_they_came else _NEAR, some)):
            if row.near:
                sharing[row.chunk_id].update(map(int, row.near.split(",")))
    return sharing


def collection_quality(connection: Connection, collection_id: int) -> Quality:
    """Of all of a collection's active chunks, but for near duplicates. Reads a row of each.

    Near duplicates would take comparing the texts of all that share a statement.
    """
    mine = (VersionRow.collection_id == collection_id, visible())
    documents, files = (func.count(column.distinct()) for column in (VersionRow.document_id, VersionRow.sha256))
    groups = _keyed(func.count(), documents, files).where(_WHOLE, *mine).group_by(ChunkKeyRow.key)
    found = connection.execute(groups.having(documents > 1)).all()
    return Quality(
        duplicates=sum(chunks for chunks, _, _ in found),
        boilerplate=sum(chunks for chunks, _, files in found if files >= _BOILERPLATE_FILES),
        flaws=dict(map(tuple, connection.execute(_flaws().where(*mine)))),
    )
