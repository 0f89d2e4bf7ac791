"""The change feed: what a reader must know to bring an index of its own up to a collection's ``seq``.

Every activation, retirement and re-embedding raises ``seq`` by one. Since a given seq, chunks were *added* (their
version was activated later and is active) and *removed* (their tombstone is later). Chunk ids are never used again,
so no id is both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
from sqlalchemy import bindparam, delete, exists, func, insert, select, text

from rag.stores.collection_rows import change_collection, collection_row
from rag.stores.embeddings.embedding_sets import require_live_set, require_whole
from rag.stores.index.vectors import decode
from rag.stores.tables import (
    ChunkRow,
    CollectionRow,
    EmbeddingRow,
    GenerationRow,
    TombstoneRow,
    VersionRow,
    VersionStatus,
)
from rag.stores.visibility import ACTIVE
from rag.types import GenerationInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Connection, Select

    from rag.stores.index.generations import Generation

_BATCH = 4096
_ASKED = 500  # ids in one statement


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationPointer:
    """A row of ``index_generations``; ``directory`` is relative to the index directory."""

    id: int
    directory: str
    seq: int
    count: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionState:
    """A collection as an index sees it. The feed is complete since ``feed_floor`` and not before.

    An index that was loaded in another ``epoch`` may come from a generation that was withdrawn.
    """

    seq: int
    feed_floor: int
    epoch: int
    embedder: str
    dimension: int
    generation: GenerationPointer | None


# Made once, as ``rag.stores.reading.ACTIVE_PASSAGES`` is.
_GENERATIONS: Final = (
    select(
        GenerationRow.id,
        GenerationRow.directory,
        GenerationRow.seq,
        GenerationRow.count.label("vectors"),
        GenerationRow.size,
        GenerationRow.sha256,
    )
    .where(GenerationRow.collection_id == bindparam("collection_id"), GenerationRow.seq >= bindparam("since"))
    .order_by(GenerationRow.seq.desc(), GenerationRow.id.desc())
)


def collection_state(connection: Connection, collection_id: int, name: str) -> CollectionState:
    """Read where a collection is. Raises UnknownCollection, DatabaseDamaged."""
    row = collection_row(connection, collection_id, name)
    return CollectionState(
        seq=row.seq,
        feed_floor=row.feed_floor,
        epoch=row.index_epoch,
        embedder=row.embedder,
        dimension=row.dimension,
        generation=next(iter(generations(connection, collection_id, since=row.feed_floor)), None),
    )


def generations(connection: Connection, collection_id: int, *, since: int = 0) -> list[GenerationPointer]:
    """The generations the feed can bring up to date (their seq is at least ``since``), newest first."""
    rows = connection.execute(_GENERATIONS, {"collection_id": collection_id, "since": since})
    return [
        GenerationPointer(
            id=row.id, directory=row.directory, seq=row.seq, count=row.vectors, size=row.size, sha256=row.sha256
        )
        for row in rows
    ]


def current_index(connection: Connection, collection_id: int) -> GenerationInfo | None:
    """What is noted of the newest generation."""
    newest = select(GenerationRow).where(GenerationRow.collection_id == collection_id)
    row = connection.execute(newest.order_by(GenerationRow.seq.desc(), GenerationRow.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    count = row._mapping["count"]  # ``row.count`` is a method of tuples
    return GenerationInfo(seq=row.seq, count=count, size=row.size, kind=row.kind, recall_at_10=row.recall_at_10)


def point_to(connection: Connection, collection_id: int, written: Generation) -> None:
    """Note a generation that is complete on disk; it is the current one if none has a higher seq."""
    manifest = written.manifest
    connection.execute(
        insert(GenerationRow).values(
            collection_id=collection_id,
            directory=written.directory,
            seq=manifest.seq,
            count=manifest.count,
            size=manifest.size,
            sha256=written.sha256,
            kind=manifest.kind,
            recall_at_10=manifest.recall_at_10,
            created_at=datetime.now(UTC),
        )
    )


def withdraw(connection: Connection, collection_id: int, generation_ids: Iterable[int]) -> None:
    """Forget generations, and have every process let go of what it loaded before, whichever it was."""
    connection.execute(delete(GenerationRow).where(GenerationRow.id.in_(list(generation_ids))))
    row = collection_row(connection, collection_id)
    change_collection(connection, row, seq=row.seq + 1, index_epoch=row.index_epoch + 1)


def forget_indexes(connection: Connection, collection_id: int) -> None:
    """Make every reader load anew: no generation and no feed leads from what was to what is."""
    row = collection_row(connection, collection_id)
    change_collection(connection, row, seq=row.seq + 1, feed_floor=row.seq + 1)
    connection.execute(delete(GenerationRow).where(GenerationRow.collection_id == collection_id))
    connection.execute(delete(TombstoneRow).where(TombstoneRow.collection_id == collection_id))


def active_chunks(connection: Connection, collection_id: int) -> int:
    """How many chunks a collection's active versions have."""
    count = func.coalesce(func.sum(VersionRow.chunk_count), 0)
    active = (VersionRow.collection_id == collection_id, VersionRow.status == VersionStatus.ACTIVE)
    return connection.execute(select(count).where(*active)).scalar_one()


def removed_since(connection: Connection, collection_id: int, seq: int, *, shelved: bool = False) -> NDArray[np.int64]:
    """Ids of the chunks that were removed after ``seq``; with ``shelved``, of those too that other cuts replaced.

    Where these are replaced every index is another one, and none of those that follow holds them.

    A tombstone has no checksum; one that is damaged must not hide a chunk that is active.
    """
    left_out = [VersionStatus.ACTIVE] if shelved else [VersionStatus.ACTIVE, VersionStatus.SHELVED]
    active = (
        exists()
        .where(ChunkRow.id == TombstoneRow.chunk_id)
        .where(VersionRow.id == ChunkRow.version_id, VersionRow.status.in_(left_out))
    )
    ids = connection.scalars(
        select(TombstoneRow.chunk_id).where(
            TombstoneRow.collection_id == collection_id, TombstoneRow.seq > seq, ~active
        )
    )
    return np.fromiter(ids, dtype=np.int64)


def feeds(connection: Connection) -> dict[int, tuple[int, int]]:
    """Of every collection by id: its seq, and since which one its feed is complete."""
    table = CollectionRow
    return {
        row.id: (row.seq, row.feed_floor) for row in connection.execute(select(table.id, table.seq, table.feed_floor))
    }


def chunks_there(connection: Connection, among: Iterable[int]) -> set[int]:
    """Which of these chunks a version holds that is active, is being written, or waits to take the place of one.

    Not those of versions that are kept for questions about the past: what such a question needs is computed again.
    """
    wanted = sorted(among)
    found: set[int] = set()
    for start in range(0, len(wanted), _ASKED):
        found.update(connection.scalars(_chunks_there().where(ChunkRow.id.in_(wanted[start : start + _ASKED]))))
    return found


def all_chunks(connection: Connection) -> tuple[frozenset[int], int]:
    """Every chunk that is there, as `chunks_there` takes it, and the highest id that a chunk has or ever had."""
    there: frozenset[int] = frozenset(connection.scalars(_chunks_there().execution_options(yield_per=_BATCH)))
    used = text("SELECT seq FROM sqlite_sequence WHERE name = :table")
    return there, connection.scalar(used, {"table": ChunkRow.__tablename__}) or 0


def _chunks_there() -> Select[int]:
    version = VersionRow
    return (
        select(ChunkRow.id)
        .join(version, version.id == ChunkRow.version_id)
        .where(version.status.in_((VersionStatus.ACTIVE, VersionStatus.STAGED, VersionStatus.PREPARED)))
    )


def added_since(
    connection: Connection,
    collection_id: int,
    seq: int,
    dimension: int,
    *,
    set_id: int | None = None,
    versions: ColumnElement[bool] = ACTIVE,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Batches of ids and unit vectors of the active chunks that were added after ``seq``; all of them since 0.

    The vectors are those of the live set, or of the set ``set_id``; ``versions`` are those that are active when that
    one serves. Raises DatabaseDamaged.
    """
    if set_id is None:
        set_id = require_live_set(connection, collection_id)
    found = select(EmbeddingRow.chunk_id, EmbeddingRow.vector, EmbeddingRow.checksum).where(
        EmbeddingRow.set_id == set_id
    )
    added = (
        VersionRow.collection_id == collection_id,
        versions,
        VersionRow.activated_seq > seq,
    )
    if seq > 0:
        # From the few versions to their vectors. Left to itself, SQLite goes through all vectors of the set for that.
        chunks = select(ChunkRow.id).join(VersionRow, VersionRow.id == ChunkRow.version_id).where(*added)
        found = found.where(EmbeddingRow.chunk_id.in_(chunks))
    else:
        found = found.join(ChunkRow, ChunkRow.id == EmbeddingRow.chunk_id)
        found = found.join(VersionRow, VersionRow.id == ChunkRow.version_id).where(*added)
    rows = connection.execute(found.execution_options(yield_per=_BATCH))
    for batch in rows.partitions():
        require_whole(set_id, batch)
        yield (
            np.array([row.chunk_id for row in batch], dtype=np.int64),
            decode([row.vector for row in batch], dimension),
        )
