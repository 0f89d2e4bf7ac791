"""Whether what is said of collections is as it was written, whether one has the embeddings it says it has, and whether
ids are given once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from rag.errors import DatabaseDamaged, UnknownCollection
from rag.stores.collection_rows import collection_row
from rag.stores.embeddings import embedding_sets
from rag.stores.reading import to_collection
from rag.stores.tables import ChunkRow, CollectionRow, SetState, TombstoneRow
from rag.stores.verification.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.stores.sqlite.database import Database
    from rag.types import Collection


def whole_collections(database: Database) -> tuple[list[Collection], list[Finding]]:
    """The collections by name, and what is found of those whose row is not as it was written."""
    whole: list[Collection] = []
    found: list[Finding] = []
    with database.read() as connection:
        ids = connection.scalars(select(CollectionRow.id).order_by(CollectionRow.name)).all()
    for collection_id in ids:
        try:
            with database.read() as connection:
                whole.append(to_collection(collection_row(connection, collection_id)))
        except UnknownCollection:
            continue  # dropped since
        except DatabaseDamaged as error:
            found.append(Finding(area="collection", message=error.message, advice="Restore a backup."))
    return whole, found


def verify_collection(database: Database, collection: Collection) -> Iterator[Finding]:
    """The collection's row against its live set, and the next chunk id against those that were given."""
    with database.read() as connection:
        row = collection_row(connection, collection.id, collection.name)
        live = embedding_sets.find(connection, collection, SetState.LIVE)
        given = connection.scalars(
            select(
                func.max(
                    select(func.coalesce(func.max(ChunkRow.id), 0)).scalar_subquery(),
                    select(func.coalesce(func.max(TombstoneRow.chunk_id), 0)).scalar_subquery(),
                )
            )
        ).one()
        last = connection.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'")) or 0
    if live is None or (live.embedder, live.dimension) != (row.embedder, row.dimension):
        yield Finding(
            area="collection",
            collection=collection.name,
            message="The embeddings that serve are not listed as those of the collection's embedder.",
            advice="Restore a backup, or ingest the documents into another collection.",
        )
    if last < given:
        yield Finding(
            area="collection",
            collection=collection.name,
            message=f"The next passage would get the id {last + 1}, which another has or had.",
            advice="Restore a backup, or ingest the documents into a new data directory.",
        )
