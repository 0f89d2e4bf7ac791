"""Embedding a collection anew while it serves.

The new vectors are computed one batch after another and spooled to a temporary file; only then one transaction swaps
them in, so that readers have either all old or all new vectors and nobody waits while the model works.
"""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from rag.errors import Conflict
from rag.stores.reading import select_passages
from rag.stores.retirement import next_seq
from rag.stores.tables import (
    ChunkRow,
    CollectionRow,
    EmbeddingRow,
    GenerationRow,
    TombstoneRow,
    VersionRow,
    VersionStatus,
)
from rag.stores.vectors import encode
from rag.types import EmbeddingInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from rag.stores.database import Database
    from rag.types import Collection, Fingerprint

_BATCH = 512
_ID_BYTES = 8


def inputs(database: Database, collection: Collection) -> Iterator[EmbeddingInput]:
    """The active chunks by id, read in short transactions."""
    last = 0
    while True:
        query = select_passages(collection).where(ChunkRow.id > last).order_by(ChunkRow.id).limit(_BATCH)
        with database.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return
        for row in rows:
            yield EmbeddingInput(
                chunk_id=row.chunk_id, title=row.title, heading_path=tuple(row.heading_path), text=row.text
            )
        last = rows[-1].chunk_id


def replace(
    database: Database,
    collection: Collection,
    fingerprint: Fingerprint,
    batches: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]],
) -> None:
    """Swap in the vectors of ``batches`` (ids and rows of the fingerprint's dimension), all at once.

    Raises:
        Conflict: an active chunk has no new vector, because a document was added meanwhile.
        ValueError: ids and vectors do not agree in shape, or a vector is zero or not finite.
    """
    with tempfile.TemporaryFile(dir=database.path.parent) as spool:
        for ids, vectors in batches:
            if vectors.shape != (len(ids), fingerprint.dimension):
                raise ValueError(f"{len(ids)} ids do not fit vectors of shape {vectors.shape}")
            for chunk_id, value in zip(ids, encode(vectors), strict=True):
                spool.write(int(chunk_id).to_bytes(_ID_BYTES, "little") + value)
        with database.write() as connection:
            _swap(connection, collection, fingerprint, spool)


def forget_indexes(connection: Connection, collection_id: int) -> None:
    """Make every reader load anew: no generation and no feed leads from the old vectors to the new ones."""
    seq = next_seq(connection, collection_id)
    connection.execute(update(CollectionRow).where(CollectionRow.id == collection_id).values(feed_floor=seq))
    connection.execute(delete(GenerationRow).where(GenerationRow.collection_id == collection_id))
    connection.execute(delete(TombstoneRow).where(TombstoneRow.collection_id == collection_id))


def _swap(connection: Connection, collection: Collection, fingerprint: Fingerprint, spool: IO[bytes]) -> None:
    active = (
        select(ChunkRow.id)
        .join(VersionRow, VersionRow.id == ChunkRow.version_id)
        .where(VersionRow.collection_id == collection.id)
    )
    connection.execute(delete(EmbeddingRow).where(EmbeddingRow.chunk_id.in_(active)))
    for rows in _spooled(spool, fingerprint.dimension):
        present = set(connection.scalars(active.where(ChunkRow.id.in_([chunk_id for chunk_id, _ in rows]))))
        # A document that was deleted meanwhile is no loss; one that was added is, and is counted below.
        values = [{"chunk_id": chunk_id, "vector": vector} for chunk_id, vector in rows if chunk_id in present]
        if values:
            connection.execute(insert(EmbeddingRow), values)
    missing = connection.scalars(
        select(func.count())
        .select_from(ChunkRow)
        .join(VersionRow, VersionRow.id == ChunkRow.version_id)
        .outerjoin(EmbeddingRow, EmbeddingRow.chunk_id == ChunkRow.id)
        .where(VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE)
        .where(EmbeddingRow.chunk_id.is_(None))
    ).one()
    if missing:
        raise Conflict(
            f"{missing} chunks were added to {collection.name!r} while it was embedded anew.",
            hint="Run the command again when no ingest is running.",
        )
    forget_indexes(connection, collection.id)
    connection.execute(
        update(CollectionRow)
        .where(CollectionRow.id == collection.id)
        .values(embedder=fingerprint.embedder, dimension=fingerprint.dimension, dense_weight=None)
    )


def _spooled(spool: IO[bytes], dimension: int) -> Iterator[list[tuple[int, bytes]]]:
    spool.seek(0)
    size = _ID_BYTES + 2 * dimension
    while block := spool.read(size * _BATCH):
        records = [block[start : start + size] for start in range(0, len(block), size)]
        yield [(int.from_bytes(record[:_ID_BYTES], "little"), record[_ID_BYTES:]) for record in records]
