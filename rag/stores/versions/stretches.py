"""What stands around chunks: their neighbours in the same version, and the source text that they are slices of."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select, true
from sqlalchemy.orm import aliased

from rag.stores.checksums import RowDamaged, damaged
from rag.stores.filtering import condition
from rag.stores.reading import AGAIN, joined, require_version, select_passages, to_chunk
from rag.stores.tables import ChunkRow, TextRow
from rag.stores.visibility import visible
from rag.types import Span
from rag.version_types import Stretch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection, Row

    from rag.types import Collection, Filter


def stretches(
    connection: Connection,
    collection: Collection,
    chunk_ids: Sequence[int],
    reach: int,
    *,
    where: Filter | None,
    as_of: datetime | None,
) -> list[Stretch]:
    """The chunks up to ``reach`` places from those named, of their versions, where these are visible.

    Raises:
        DatabaseDamaged: a chunk, its document or the text is not as it was written.
    """
    hit, near = aliased(ChunkRow), aliased(ChunkRow)
    nearby = (
        select(near.id)
        .join(
            hit, and_(near.version_id == hit.version_id, near.ordinal.between(hit.ordinal - reach, hit.ordinal + reach))
        )
        .where(hit.id.in_(chunk_ids))
    )
    query = (
        select_passages(collection.id, visible(as_of))
        .where(ChunkRow.id.in_(nearby), true() if where is None else condition(where))
        .order_by(ChunkRow.version_id, ChunkRow.ordinal)
    )
    return [_stretch(connection, rows) for rows in _runs(connection.execute(query).all())]


def text_of(connection: Connection, version_id: int, span: Span) -> str:
    """The text within the span of a version's source; cut where the text ends. Raises DatabaseDamaged."""
    mine = TextRow.version_id == version_id
    before = select(func.max(TextRow.start)).where(mine, TextRow.start <= span.start)
    first = connection.scalar(before) or 0
    further = (TextRow.start >= first, TextRow.start < span.end)
    pieces = connection.execute(select(TextRow).where(mine, *further).order_by(TextRow.start))
    text = joined(pieces.all(), first)
    if first + len(text) < span.end:
        last = select(ChunkRow.end).where(ChunkRow.version_id == version_id).order_by(ChunkRow.ordinal.desc()).limit(1)
        if first + len(text) < min(span.end, connection.scalar(last) or 0):  # a list of rows that is broken hides some
            raise damaged("A document's source text", AGAIN)
    return text[span.start - first : span.end - first]


def _runs(rows: Sequence[Row[*tuple[Any, ...]]]) -> Iterator[list[Row[*tuple[Any, ...]]]]:
    """Rows of one version whose ordinals have no gap."""
    numbered = enumerate(rows)
    for _, run in groupby(numbered, key=lambda each: (each[1].version_id, each[1].ordinal - each[0])):
        yield [row for _, row in run]


def _stretch(connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]]) -> Stretch:
    require_version(rows[0])
    chunks = tuple(to_chunk(row) for row in rows)
    span = Span(start=chunks[0].span.start, end=chunks[-1].span.end)
    stretch = Stretch(chunks=chunks, text=text_of(connection, rows[0].version_id, span))
    if any(stretch.slice(chunk.span) != chunk.text for chunk in chunks):  # a piece of the text is missing
        raise damaged(f"The source text of the document {rows[0].uri!r}", AGAIN, RowDamaged)
    return stretch
