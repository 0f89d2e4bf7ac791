"""How many chunks say the same as others, or are no text. Counted when it is asked, for documents come and go."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, Text, bindparam, cast, func, select, tuple_
from sqlalchemy.orm import aliased

from rag.quality_types import Quality
from rag.stores.copies import about_as_long, near_copies
from rag.stores.reading import plain, plain_parts
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


# What each document says, each thing once, however often it says it: a chunk of those that do, and how many do.
_said: Final = (
    _keyed(
        VersionRow.document_id,
        VersionRow.id.label("version_id"),
        VersionRow.activated_seq,
        VersionRow.status,
        ChunkKeyRow.key,
        func.min(ChunkRow.id).label("chunk_id"),
        func.count().label("chunks"),
    )
    .where(_WHOLE, *_MINE)
    .group_by(VersionRow.document_id, VersionRow.id, VersionRow.activated_seq, VersionRow.status, ChunkKeyRow.key)
    .subquery()
)
# Things that documents say, by chunks that say one each.
_things: Final = (
    _keyed(ChunkKeyRow.key, VersionRow.status)
    .where(_WHOLE, ChunkRow.id.in_(bindparam("chunks", expanding=True)))
    .subquery()
)


def _alike(
    column: SQLColumnExpression[Any], key: SQLColumnExpression[int], status: SQLColumnExpression[str]
) -> Select[Any]:
    """Of versions that hold what has this key, a row for each chunk that says it."""
    chunks = select(column).select_from(_key).join(_chunk, _chunk.id == _key.chunk_id)
    chunks = chunks.join(_version, _version.id == _chunk.version_id)
    return chunks.where(_key.key == key, _version.collection_id == _COLLECTION, _version.status == status)


def _saying(*others: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """What each document says, and whether another of ``others`` says it, too."""
    alike = _alike(_key.key, _said.c.key, _said.c.status)
    elsewhere = alike.where(_version.document_id != _said.c.document_id, *others)
    columns = (_said.c.document_id, _said.c.key, _said.c.status, _said.c.chunk_id, _said.c.chunks)
    return select(*columns, elsewhere.correlate(_said).exists().label("elsewhere"))


def _held() -> Select[*tuple[Any, ...]]:
    """How many different files hold each thing, as far as it matters, of so many that hold it."""
    files = _alike(_version.sha256, _things.c.key, _things.c.status).correlate(_things).limit(_LOOKED_AT).subquery()
    different = select(files.c.sha256).distinct().limit(_BOILERPLATE_FILES).subquery()
    count = select(func.count()).select_from(different).scalar_subquery()
    return select(_things.c.key, _things.c.status, count.label("files"))


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
_SAYING: Final = _saying()
_SAYING_BEFORE: Final = _saying(
    tuple_(_version.activated_seq, _version.id) < tuple_(_said.c.activated_seq, _said.c.version_id)
)
_HELD: Final = _held()
_NEAR: Final = _near()
_NEAR_BEFORE: Final = _near(
    tuple_(_version.activated_seq, _version.id) < tuple_(VersionRow.activated_seq, VersionRow.id)
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
    Near duplicates are looked for among the newest of the chunks that share a statement's key: one whose keys all stand
    in a hundred chunks of other texts may be missed.
    """
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    flaws: defaultdict[int, dict[str, int]] = defaultdict(dict)
    boilerplate: set[tuple[int, str]] = set()
    for start in range(0, len(document_ids), _BATCH):
        mine = {"collection": collection_id, "documents": document_ids[start : start + _BATCH]}
        said = connection.execute(_SAYING_BEFORE if as_they_came else _SAYING, mine)
        for rows in plain_parts(said, _BATCH):  # all that a long document says would be a lot of memory
            repeated = {(row.key, row.status): row.chunk_id for row in rows if row.elsewhere}
            new = [chunk_id for thing, chunk_id in repeated.items() if thing not in boilerplate]
            boilerplate |= _boilerplate(connection, collection_id, new)
            alone = {row.chunk_id: row for row in rows if not row.elsewhere}
            for row in rows:
                if row.elsewhere:
                    counts[row.document_id]["duplicates"] += row.chunks
                    counts[row.document_id]["boilerplate"] += row.chunks * ((row.key, row.status) in boilerplate)
            sharing = _sharing(connection, collection_id, list(alone), as_they_came=as_they_came)
            for chunk_id in near_copies(connection, sharing):
                counts[alone[chunk_id].document_id]["near_duplicates"] += alone[chunk_id].chunks
        for document_id, flaw, count in connection.execute(_DOCUMENT_FLAWS, mine):
            flaws[document_id][flaw] = count
    return [Quality(**counts[document_id], flaws=flaws[document_id]) for document_id in document_ids]


def _boilerplate(connection: Connection, collection_id: int, chunk_ids: Sequence[int]) -> set[tuple[int, str]]:
    """Of what chunks say, the keys and states of what many files hold."""
    if not chunk_ids:
        return set()
    held = plain(connection.execute(_HELD, {"collection": collection_id, "chunks": chunk_ids}))
    return {(row.key, row.status) for row in held if row.files >= _BOILERPLATE_FILES}


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
