"""The index of a set of embeddings that does not serve yet, made beside the one that does, and the swap of the two.

The files are made in a directory of their own, ``building``, for in that of the collection a writer removes what SQL
does not know; with the swap they move there.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sqlalchemy import delete, select

from rag.errors import DatabaseDamaged
from rag.stores.changes import added_since, collection_state, point_to
from rag.stores.checksums import vector_checksum
from rag.stores.collection_rows import change_collection, collection_row
from rag.stores.embeddings import cuts, embedding_sets
from rag.stores.index.generations import load_generation, move_generation, remove_except, write_generation, writing
from rag.stores.index.spool import Spool
from rag.stores.index.vectors import LENGTH_TOLERANCE, decode, wrong
from rag.stores.publication import leaving_nothing
from rag.stores.reading import require_chunk, require_version, select_passages
from rag.stores.tables import ChunkRow, EmbeddingRow, GenerationRow, VersionRow, VersionStatus
from rag.stores.visibility import ACTIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Row

    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.stores.index.generations import Generation
    from rag.stores.sqlite.database import Database
    from rag.types import Collection

    _Batch = tuple[NDArray[np.int64], NDArray[np.float32]]

BUILDING: Final = "building"
_BATCH: Final = 4096


class Swap(StrEnum):
    """What came of trying: done, or what has to be done before."""

    DONE = "done"
    CHUNKS_MISSING = "chunks missing"
    INDEX_STALE = "index stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class NextIndex:
    """A generation of a set that does not serve, opened from its files; ``root`` is where it is for now."""

    generation: Generation
    root: Path


def wrong_vectors(database: Database, collection: Collection) -> int:
    """How many active chunks have no vector that serves, or one that is damaged or no unit vector of the dimension."""
    with database.read() as connection:
        dimension = collection_state(connection, collection.id, collection.name).dimension
        serving = EmbeddingRow.set_id == embedding_sets.live_set(collection.id)
        rows = connection.execute(
            select(EmbeddingRow)
            .select_from(ChunkRow)
            .join(VersionRow, VersionRow.id == ChunkRow.version_id)
            .outerjoin(EmbeddingRow, (EmbeddingRow.chunk_id == ChunkRow.id) & serving)
            .where(VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE)
            .execution_options(yield_per=_BATCH)
        )
        return sum(_wrong(batch, dimension) for batch in rows.partitions())


def _wrong(rows: Sequence[Row[*tuple[Any, ...]]], dimension: int) -> int:
    whole = [
        row.vector
        for row in rows
        if row.vector is not None and vector_checksum(row.set_id, row.chunk_id, row.vector) == row.checksum
    ]
    return len(rows) - len(whole) + wrong(whole, dimension)


def build_index(database: Database, indexes: Path, collection: Collection, target: EmbeddingSet) -> NextIndex | None:
    """Write a generation of the set as of now; ``None`` if a chunk has no vector in it yet.

    Raises:
        DatabaseDamaged: a vector is not one of the set's dimension, of unit length and finite.
        DiskFull, DataDirectoryUnwritable: the file system refused; nothing is left behind.
    """
    with database.read() as connection:  # one snapshot: seq, chunks and vectors agree
        seq = collection_state(connection, collection.id, collection.name).seq
        if connection.scalars(embedding_sets.missing(target)).one():
            return None
        active = cuts.active_of(target)
        vectors = added_since(connection, collection.id, 0, target.dimension, set_id=target.id, versions=active)
        spool = Spool(indexes, target.dimension, _whole(vectors, target))
    root = indexes / BUILDING
    with spool:
        written = write_generation(root, collection.id, spool, embedder=target.embedder, seq=seq)
    opened = load_generation(root, written.directory, sha256=written.sha256, embedder=target.embedder)
    return NextIndex(generation=opened, root=root)


def _whole(batches: Iterable[_Batch], target: EmbeddingSet) -> Iterator[_Batch]:
    """The batches. Decoding makes any finite numbers a unit vector again, but neither zeros nor what is not finite."""
    for ids, vectors in batches:
        if not np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1) < LENGTH_TOLERANCE):
            raise DatabaseDamaged(
                f"Some of the embeddings of {target.collection!r} by {target.embedder} are zero or not finite.",
                hint=f"Begin anew: indexer reembed --collection {target.collection} --cancel, then without --cancel.",
            )
        yield ids, vectors


def remove_unfinished(indexes: Path, collection: Collection) -> None:
    """Remove what was built and not swapped in. Only for the holder of the collection's re-embedding lock."""
    shutil.rmtree(indexes / BUILDING / str(collection.id), ignore_errors=True)  # the next run tries again


def vectors_of(database: Database, target: EmbeddingSet, ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """The set's unit vectors of some chunks, as far as it has them."""
    query = select(EmbeddingRow.chunk_id, EmbeddingRow.vector, EmbeddingRow.checksum).where(
        EmbeddingRow.chunk_id.in_(ids)
    )
    with database.read() as connection:
        rows = connection.execute(query.where(EmbeddingRow.set_id == target.id)).all()
    embedding_sets.require_whole(target.id, rows)
    vectors = decode([row.vector for row in rows], target.dimension)
    return {row.chunk_id: vector for row, vector in zip(rows, vectors, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedText:
    """Text that is in one chunk of a set that does not serve, and in an active one: mostly the same chunk."""

    chunk_id: int
    active_id: int
    text: str


def shared_texts(database: Database, target: EmbeddingSet, chunk_ids: Sequence[int]) -> list[SharedText]:
    """What some chunks of the set have in common with those that serve; without those that are gone.

    Raises:
        DatabaseDamaged: a chunk or its document is not as it was written.
    """
    passages = select_passages(target.collection_id, cuts.active_of(target))
    found = []
    with database.read() as connection:
        for row in connection.execute(passages.where(ChunkRow.id.in_(chunk_ids)).order_by(ChunkRow.id)):
            require_version(row)
            require_chunk(row)
            if row.status == VersionStatus.ACTIVE:
                found.append(SharedText(chunk_id=row.chunk_id, active_id=row.chunk_id, text=row.text))
                continue
            middle = (row.start + row.end) // 2
            active = select(ChunkRow.id, ChunkRow.start, ChunkRow.end).join(VersionRow)
            active = active.where(VersionRow.document_id == row.document_id, ACTIVE)
            there = (ChunkRow.start <= middle, ChunkRow.end > middle)
            other = connection.execute(active.where(*there).limit(1)).one_or_none()
            if other is not None:
                text = row.text[max(0, other.start - row.start) : other.end - row.start]
                found.append(SharedText(chunk_id=row.chunk_id, active_id=other.id, text=text))
    return found


def complete_at(
    database: Database, collection: Collection, target: EmbeddingSet, *, cutting: bool = False
) -> int | None:
    """The collection's seq if the set has a vector of every chunk and, if ``cutting``, every document is cut as it is
    to be; else ``None``.
    """
    with database.read() as connection:
        seq = collection_state(connection, collection.id, collection.name).seq
        if connection.scalars(embedding_sets.missing(target)).one():
            return None
        return None if cutting and connection.scalars(cuts.count_uncut(target)).one() else seq


def swap(
    database: Database, indexes: Path, collection: Collection, target: EmbeddingSet, index: NextIndex, *, seen: int
) -> Swap:
    """Have the set serve with its index and its cuts, if it is still complete; ``seen`` is the seq at which it was.

    Whatever is raised, the former set goes on serving with its index, and the next one's has to be built again.

    Raises:
        Conflict: the set was cancelled meanwhile.
        DatabaseBusy, DiskFull, DataDirectoryUnwritable: as any write.
    """
    with writing(indexes, collection.id):
        with leaving_nothing(database, indexes, collection.id), database.write() as connection:
            outcome = _swapped(connection, indexes, collection, target, index, seen=seen)
        if outcome is Swap.DONE:
            remove_except(indexes, collection.id, [index.generation.directory])
    return outcome


def _swapped(
    connection: Connection,
    indexes: Path,
    collection: Collection,
    target: EmbeddingSet,
    index: NextIndex,
    *,
    seen: int,
) -> Swap:
    generation = index.generation
    embedding_sets.require(connection, target)
    state = collection_state(connection, collection.id, collection.name)
    if generation.manifest.seq < state.feed_floor:
        return Swap.INDEX_STALE
    # Whatever it had it still has; so only what changed since is looked at while the others wait. A document that is to
    # be cut and came since has no vector in the set.
    if connection.scalars(embedding_sets.missing(target, since=seen)).one():
        return Swap.CHUNKS_MISSING
    row = collection_row(connection, collection.id, collection.name)
    same = (row.embedder, row.dimension) == (target.embedder, target.dimension)
    cuts.exchange(connection, target, row.seq + 1)
    embedding_sets.make_live(connection, target, chunker=row.chunker)
    change_collection(
        connection,
        row,
        seq=row.seq + 1,
        chunker=target.chunker or row.chunker,
        embedder=target.embedder,
        dimension=target.dimension,
        dense_weight=row.dense_weight if same else None,  # it was tuned for the embedder
        # Keeps a process that is writing an index of the old vectors from pointing to it.
        index_epoch=row.index_epoch + 1,
    )
    connection.execute(delete(GenerationRow).where(GenerationRow.collection_id == collection.id))
    move_generation(index.root, indexes, generation.directory)
    point_to(connection, collection.id, generation)
    return Swap.DONE
