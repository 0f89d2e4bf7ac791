"""Chunks that say the same as others: by what they are found, and which they are.

Every document keeps all of its own chunks: one of them may be deleted, left out by a filter, or asked about as of a
moment, without the others. Which of them a search shows is decided when it is asked (docs/decisions/0028).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import LargeBinary, Select, and_, bindparam, cast, delete, func, insert, select, true, update
from sqlalchemy.orm import aliased

from rag.quality_types import Likeness
from rag.retrieval.flaws import flaw_of
from rag.retrieval.statements import LEAST_SHARE, alike, finding_keys, holds, statements, whole_key
from rag.stores.reading import ACTIVE_PASSAGES, THESE_CHUNKS, plain, select_found, to_chunk, to_document
from rag.stores.tables import ChunkKeyRow, ChunkRow, VersionRow
from rag.stores.visibility import visible
from rag.types import MOST_SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, SQLColumnExpression

    from rag.types import Chunk, Collection, Document, Filter

_BATCH = 500  # ids in one statement
# Chunks that share a statement and about the length are read to compare them.
_COMPARED = 40


def about_as_long(length: SQLColumnExpression[int], other: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """Whether what two chunks say is near enough in length for one to hold the other."""
    return other.between(LEAST_SHARE * length, length / LEAST_SHARE)


_mine, _other, _chunk = aliased(ChunkKeyRow), aliased(ChunkKeyRow), aliased(ChunkRow)
_SHARED = and_(
    _other.key == _mine.key,
    _other.chunk_id != _mine.chunk_id,
    about_as_long(_mine.length, _other.length),
)


def _known(shared: ColumnElement[bool]) -> tuple[Any, ...]:
    """Of a chunk: why it is left out, the key of all of it (negative: it has none), and whether one is ``shared``."""
    mine = _mine.chunk_id == ChunkRow.id
    whole = select(func.max(_mine.key)).where(mine).scalar_subquery()
    return ChunkRow.flaw, whole.label("whole"), select(_mine.key).where(mine, shared).exists().label("shared")


# Made once: a search asks one of them each time, and making it takes longer than answering it. Of the present, what
# former versions say does not count; of the past, whoever asks for the copies finds out. From the newest on: behind
# thousands of former ones there may be one that is active.
_KNOWN_NOW: Final = _known(
    select(_other.key)
    .join(_chunk, _chunk.id == _other.chunk_id)
    .join(VersionRow, VersionRow.id == _chunk.version_id)
    .where(_SHARED, VersionRow.collection_id == bindparam("collection_id"), visible())
    .correlate(_mine)
    .order_by(_other.chunk_id.desc())
    .limit(1)
    .scalar_subquery()
    .is_not(None)
)
# Bytes: of a damaged text the driver would read none of the others in its batch.
_TEXTS: Final = select(ChunkRow.id, cast(ChunkRow.text, LargeBinary).label("text")).where(THESE_CHUNKS)
_NOW: Final = select(ChunkRow.id.label("chunk_id"), *_KNOWN_NOW).where(THESE_CHUNKS)
_AT_ANY_TIME: Final = select(
    ChunkRow.id.label("chunk_id"), *_known(select(_other.key).where(_SHARED).correlate(_mine).exists())
).where(THESE_CHUNKS)
_PASSAGES_NOW: Final = ACTIVE_PASSAGES.add_columns(*_KNOWN_NOW)
SAYING: Final = select(ChunkKeyRow.chunk_id).where(ChunkKeyRow.key.in_(bindparam("wholes", expanding=True)))
# To the word, and in part: apart, for many of the one must not leave none of the other.
_SHARING: Final = tuple(
    select(_other.chunk_id).join(_mine, _SHARED).where(_mine.chunk_id == bindparam("chunk_id"), kind)
    for kind in (_mine.key >= 0, _mine.key < 0)
)


def _copies_of(passages: Select[*tuple[Any, ...]]) -> tuple[Select[*tuple[Any, ...]], ...]:
    """Statements for the chunk asked about, those that share it all with it, and those that share a part; of these."""
    others = passages.where(ChunkRow.flaw.is_(None)).order_by(ChunkRow.id).limit(_COMPARED)
    asked = passages.where(ChunkRow.id == bindparam("chunk_id"))
    return asked, *(others.where(ChunkRow.id.in_(sharing)) for sharing in _SHARING)


_COPIES_NOW: Final = _copies_of(select_found())


def key_rows(chunk_id: int, text: str) -> list[dict[str, Any]]:
    """Rows of ``chunk_keys``."""
    said = statements(text)
    whole = whole_key(said)
    keys = [] if whole is None else [whole, *finding_keys(said)]
    return [{"key": key, "chunk_id": chunk_id, "length": len(said)} for key in keys]


def likenesses(
    connection: Connection,
    collection: Collection,
    chunk_ids: Sequence[int],
    where: Filter | None,
    as_of: datetime | None,
    *,
    passages: bool = False,
) -> dict[int, Likeness]:
    """What is known of chunks without reading them, by id; those that are not there are left out.

    With ``passages``, which is of the present, those that no other is like and that have no flaw are read with it, and
    those that are not visible, or that the filter does not let through, are left out, too.

    Raises:
        DatabaseDamaged: a chunk that was read, or its document, is not as it was written.
    """
    passages = passages and as_of is None
    if passages:
        query = _PASSAGES_NOW if where is None else select_found(where).where(THESE_CHUNKS).add_columns(*_KNOWN_NOW)
    else:
        query = _NOW if as_of is None else _AT_ANY_TIME
    found: dict[int, Likeness] = {}
    for start in range(0, len(chunk_ids), _BATCH):
        given = {"collection_id": collection.id, "chunk_ids": list(chunk_ids[start : start + _BATCH])}
        for row in plain(connection.execute(query, given)):
            whole = None if row.whole is None or row.whole < 0 else row.whole  # without words there is none
            alone = not row.shared and row.flaw is None
            passage = (to_chunk(row), to_document(row, collection)) if passages and alone else None
            found[row.chunk_id] = Likeness(flaw=row.flaw, whole=whole, shared=bool(row.shared), passage=passage)
    return found


def copies(
    connection: Connection, collection: Collection, chunk_id: int, where: Filter | None, as_of: datetime | None
) -> list[tuple[Chunk, Document]]:
    """A chunk, if it is visible, and those that say the same, at most ``MOST_SOURCES``; each with its document.

    The first says all that the others say: the chunk itself, or one that holds it and a little more.

    Raises:
        DatabaseDamaged.
    """
    if where is None and as_of is None:
        this, *others = _COPIES_NOW
    else:
        this, *others = _copies_of(select_found(where, as_of))
    given = {"collection_id": collection.id, "chunk_id": chunk_id}
    found = plain(connection.execute(this, given))
    if not found:
        return []
    asked = found[0]
    by_id = {row.chunk_id: row for query in others for row in plain(connection.execute(query, given))}
    said = statements(asked.text)
    longer, shorter = [], []
    for row in by_id.values():
        of = statements(row.text)
        if not alike(said, of):
            continue
        if len(of) > len(said):
            longer.append((of, row))
        else:
            shorter.append(row)
    rows = [asked, *shorter]
    if longer:
        longest, first = max(longer, key=lambda each: (len(each[0]), -each[1].chunk_id))
        rows = [first, asked, *(row for of, row in longer if row is not first and holds(longest, of)), *shorter]
    return [(to_chunk(row), to_document(row, collection)) for row in rows[: MOST_SOURCES + 1]]


def near_copies(connection: Connection, sharing: Mapping[int, Iterable[int]]) -> set[int]:
    """Of chunks, each with those that share a statement and about the length with it: which are like one of these.

    One that is damaged is compared as it reads: only `indexer verify` asks whether texts are as they were written, and
    what is stored of another document must not fail the one that comes in.
    """
    wanted = sorted({*sharing, *(other for others in sharing.values() for other in others)})
    texts: dict[int, str] = {}
    for start in range(0, len(wanted), _BATCH):
        rows = connection.execute(_TEXTS, {"chunk_ids": wanted[start : start + _BATCH]})
        texts.update((row.id, row.text.decode(errors="replace")) for row in rows if row.text is not None)

    @cache
    def said(chunk_id: int) -> str:
        return statements(texts[chunk_id])

    return {
        chunk_id
        for chunk_id in sharing.keys() & texts.keys()
        if any(alike(said(chunk_id), said(other)) for other in sharing[chunk_id] if other in texts)
    }


def derive_again(connection: Connection, version_id: int | None = None) -> None:
    """Make keys and flaws of all chunks anew, or of those of a version."""
    mine = true() if version_id is None else ChunkRow.version_id == version_id
    stale = select(ChunkRow.id).where(mine)
    connection.execute(delete(ChunkKeyRow).where(ChunkKeyRow.chunk_id.in_(stale)))
    for chunks in _in_batches(connection, mine):
        rows = [row for chunk in chunks for row in key_rows(chunk.id, chunk.text)]
        if rows:
            connection.execute(insert(ChunkKeyRow), rows)
        for chunk in chunks:
            flaw = flaw_of(chunk.text)
            if flaw != chunk.flaw:
                connection.execute(update(ChunkRow).where(ChunkRow.id == chunk.id).values(flaw=flaw))


def wrongly_derived(connection: Connection, version_id: int) -> bool:
    """Whether keys or flaws of a version's chunks do not follow from their texts."""
    for chunks in _in_batches(connection, ChunkRow.version_id == version_id):
        ids = [chunk.id for chunk in chunks]
        stored = select(ChunkKeyRow.chunk_id, ChunkKeyRow.key, ChunkKeyRow.length).where(ChunkKeyRow.chunk_id.in_(ids))
        found = {tuple(row) for row in connection.execute(stored)}
        rows = (row for chunk in chunks for row in key_rows(chunk.id, chunk.text))
        wanted = {(row["chunk_id"], row["key"], row["length"]) for row in rows}
        if found != wanted or any(flaw_of(chunk.text) != chunk.flaw for chunk in chunks):
            return True
    return False


def _in_batches(connection: Connection, mine: ColumnElement[bool]) -> Iterator[Sequence[Row[int, str, str | None]]]:
    last = 0
    query = select(ChunkRow.id, ChunkRow.text, ChunkRow.flaw).where(mine).order_by(ChunkRow.id).limit(_BATCH)
    while chunks := connection.execute(query.where(ChunkRow.id > last)).all():
        yield chunks
        last = chunks[-1].id
