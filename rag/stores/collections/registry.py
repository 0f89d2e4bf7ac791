"""Collections: how they begin, are found by their names, and go over to what documents are made with now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from rag.errors import EmbedderChanged, UnknownCollection
from rag.stores.changes import forget_indexes
from rag.stores.collection_rows import (
    change_collection,
    collection_row,
    collection_row_named,
    insert_collection,
    look_alike,
    require_free_name,
)
from rag.stores.embeddings.embedding_sets import change_live, create_live
from rag.stores.reading import to_collection
from rag.stores.tables import CollectionRow, DocumentRow, DropRow, EmbeddingSetRow, LanguageRow, VersionRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from rag.types import Collection, Fingerprint


def ensure_collection(
    connection: Connection, name: str, fingerprint: Fingerprint, *, retention_days: float
) -> Collection:
    """As ``rag.protocols.DocumentStore.ensure_collection``; ``retention_days`` are for a new one."""
    found = _find(connection, name)
    if found is None:
        require_free_name(connection, name)
        collection_id = insert_collection(connection, name, fingerprint, retention_days=retention_days)
        create_live(connection, collection_id, fingerprint.embedder, fingerprint.dimension)
    else:
        # Whoever takes documents in wants the collection, though somebody died over dropping it.
        connection.execute(delete(DropRow).where(DropRow.collection_id == found.id))
        if found.fingerprint != fingerprint:
            _change(connection, found, fingerprint)
    return require_collection(connection, name)


def require_collection(connection: Connection, name: str) -> Collection:
    """The collection with this name. Raises UnknownCollection."""
    found = _find(connection, name)
    if found is None:
        other = look_alike(connection, name)
        raise UnknownCollection(
            f"There is no collection {name!r}.",
            hint="`indexer status` lists those there are; `indexer ingest PATH --collection NAME` creates one."
            if other is None
            else f"There is {other!r}, whose letters are composed otherwise: copy its name from `indexer status`.",
        )
    return found


def collection_of(connection: Connection, document_id: int) -> Collection | None:
    """The collection that a document with this id belongs to."""
    found = connection.scalar(select(DocumentRow.collection_id).where(DocumentRow.id == document_id))
    return None if found is None else to_collection(collection_row(connection, found))


def remove_unused(connection: Connection, collection_id: int) -> None:
    """Delete a collection that no document was ever in. Does nothing to others."""
    if collection_row(connection, collection_id).seq or not is_empty(connection, collection_id):
        return
    for table in (LanguageRow, EmbeddingSetRow):
        connection.execute(delete(table).where(table.collection_id == collection_id))
    connection.execute(delete(CollectionRow).where(CollectionRow.id == collection_id))


def is_empty(connection: Connection, collection_id: int) -> bool:
    """Whether it has no version of any document."""
    return connection.scalar(select(VersionRow.id).where(VersionRow.collection_id == collection_id).limit(1)) is None


def _find(connection: Connection, name: str) -> Collection | None:
    row = collection_row_named(connection, name)
    return None if row is None else to_collection(row)


def _change(connection: Connection, found: Collection, wanted: Fingerprint) -> None:
    old = (found.fingerprint.embedder, found.fingerprint.dimension)
    new = (wanted.embedder, wanted.dimension)
    changed = old != new
    if changed and not is_empty(connection, found.id):
        raise EmbedderChanged(
            f"The collection {found.name!r} was embedded with {old[0]} (dimension {old[1]}); "
            f"the settings name {new[0]} (dimension {new[1]}).",
            hint=f"Set RAG_EMBEDDER back, or run `indexer reembed --collection {found.name}`.",
        )
    if changed:
        forget_indexes(connection, found.id)
        change_live(connection, found.id, wanted.embedder, wanted.dimension)
    change_collection(
        connection,
        collection_row(connection, found.id),
        parser=wanted.parser,
        chunker=wanted.chunker,
        embedder=wanted.embedder,
        dimension=wanted.dimension,
        # It was tuned for the other embedder.
        dense_weight=None if changed else found.dense_weight,
    )


def set_dense_weight(connection: Connection, collection: Collection, weight: float | None) -> Collection:
    """As ``rag.stores.documents.SqlDocumentStore`` has it."""
    if weight is not None and not 0 < weight < 1:
        raise ValueError(f"a weight is above 0 and below 1, not {weight}")
    current = to_collection(collection_row(connection, collection.id, collection.name))
    if current.fingerprint.embedder != collection.fingerprint.embedder:
        raise EmbedderChanged(f"The collection {collection.name!r} was embedded anew meanwhile.", hint="Tune it again.")
    change_collection(connection, collection_row(connection, current.id), dense_weight=weight)
    return to_collection(collection_row(connection, current.id))
