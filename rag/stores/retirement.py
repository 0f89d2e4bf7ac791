"""How versions leave: readers lose them in one transaction, their rows go in batches after it.

Deleting the rows of a long document takes seconds; batches keep the write lock free for others in between. A crash
in the middle leaves rows that no reader sees and that the next prune removes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, insert, literal, select, update

from rag.stores.collection_rows import change_collection, collection_row
from rag.stores.tables import (
    ChunkRow,
    ChunkTermsRow,
    DocumentRow,
    EmbeddingRow,
    MetadataRow,
    TextRow,
    TombstoneRow,
    VersionRow,
    VersionStatus,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from rag.stores.database import Database

_BATCH = 2000


def next_seq(connection: Connection, collection_id: int) -> int:
    """Raise the collection's seq by one and return it."""
    row = collection_row(connection, collection_id)
    change_collection(connection, row, seq=row.seq + 1)
    return int(row.seq) + 1


def retire(connection: Connection, version_id: int, collection_id: int, seq: int) -> None:
    """Take an active version from the readers; leave a tombstone for each of its chunks."""
    connection.execute(
        update(VersionRow).where(VersionRow.id == version_id).values(status=VersionStatus.RETIRED, retired_seq=seq)
    )
    connection.execute(
        insert(TombstoneRow).from_select(
            ["chunk_id", "collection_id", "seq"],
            select(ChunkRow.id, literal(collection_id), literal(seq)).where(ChunkRow.version_id == version_id),
        )
    )


def prune_some(connection: Connection, version_id: int) -> bool:
    """Delete a batch of the rows of a version that is staged or retired; returns whether any are left."""
    ids = connection.scalars(select(ChunkRow.id).where(ChunkRow.version_id == version_id).limit(_BATCH)).all()
    connection.execute(delete(EmbeddingRow).where(EmbeddingRow.chunk_id.in_(ids)))
    connection.execute(delete(ChunkTermsRow).where(ChunkTermsRow.chunk_id.in_(ids)))
    connection.execute(delete(ChunkRow).where(ChunkRow.id.in_(ids)))
    if len(ids) == _BATCH:
        return True
    document = connection.scalar(select(VersionRow.document_id).where(VersionRow.id == version_id))
    connection.execute(delete(TextRow).where(TextRow.version_id == version_id))
    connection.execute(delete(MetadataRow).where(MetadataRow.version_id == version_id))
    connection.execute(delete(VersionRow).where(VersionRow.id == version_id))
    without_versions = ~exists().where(VersionRow.document_id == DocumentRow.id)
    connection.execute(delete(DocumentRow).where(DocumentRow.id == document, without_versions))
    return False


def prune(database: Database, version_ids: Sequence[int]) -> None:
    """Delete all rows of versions that are staged or retired, in batches."""
    for version_id in version_ids:
        more = True
        while more:
            with database.write() as connection:
                more = prune_some(connection, version_id)
