"""What is of no use any more and takes space: versions and cuts nobody finished or pruned, unknown index directories.

The one who is writing them now holds a lock; so what looks left over is looked at again while holding that lock.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from rag.errors import Conflict, UnknownCollection
from rag.plurals import plural
from rag.stores.changes import generations
from rag.stores.collections.holding import alone
from rag.stores.collections.ingest_lock import IngestLock, ReembeddingLock
from rag.stores.documents import SqlDocumentStore
from rag.stores.embeddings import embedding_sets
from rag.stores.index.generations import remove_except, writing
from rag.stores.tables import ChunkRow, SetState, VersionRow, VersionStatus
from rag.stores.verification.findings import Area, Finding
from rag.stores.visibility import UNSEEN
from rag.stores.writing import recutting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.stores.sqlite.database import Database
    from rag.types import Collection

_DOING = "removing leftovers of"


def find_leftovers(database: Database, home: Path, indexes: Path, collection: Collection) -> Iterator[Finding]:
    """What ``remove_leftovers`` would remove. ``home`` is the data directory, ``indexes`` that of the generations."""
    versions, chunks = _versions(database, collection)
    if versions and not _is_held(database, home, collection, IngestLock):
        versions, chunks = _versions(database, collection)  # again: the ingest may have ended in between
        if versions:
            unfinished = plural(versions, "version")
            message = f"{unfinished} of documents not finished, or not yet removed: {plural(chunks, 'chunk')}."
            yield _leftover("versions", collection, message)
    if _directories(database, indexes, collection):
        with writing(indexes, collection.id):
            names = _directories(database, indexes, collection)
        if names:
            message = f"index directories that the database does not know: {', '.join(names)}."
            yield _leftover("index", collection, message)

    if _of_reembedding(database, collection) and not _is_held(database, home, collection, ReembeddingLock):
        if cuts := _unfinished_cuts(database, collection):
            yield _leftover(
                "versions", collection, f"{plural(cuts, 'document')} with other chunks that were not finished."
            )
        if _dropped(database, collection):
            message = "embeddings that were dropped and are not yet removed."
            yield _leftover("embeddings", collection, message)


def remove_leftovers(database: Database, home: Path, indexes: Path, collection: Collection) -> None:
    """Remove them; what a running ingest has staged is left to it."""
    if _versions(database, collection)[0]:
        with ExitStack() as held:
            if _taken(held, database, home, collection, IngestLock):
                SqlDocumentStore(database).discard_abandoned(collection)
    if _directories(database, indexes, collection):
        with writing(indexes, collection.id):
            remove_except(indexes, collection.id, _known(database, collection))
    if _of_reembedding(database, collection):
        with ExitStack() as held:
            if _taken(held, database, home, collection, ReembeddingLock):
                embedding_sets.delete_dropped(database, collection)
                recutting.remove_unfinished(database, collection)


def _leftover(area: Area, collection: Collection, message: str) -> Finding:
    return Finding(
        area=area,
        collection=collection.name,
        message=message,
        advice="It does no harm. `indexer verify --repair` frees the space.",
        repairable=True,
        severity="leftover",
    )


def _is_held(database: Database, home: Path, collection: Collection, lock: type[IngestLock]) -> bool:
    with ExitStack() as held:
        return not _taken(held, database, home, collection, lock)


def _taken(held: ExitStack, database: Database, home: Path, collection: Collection, lock: type[IngestLock]) -> bool:
    try:
        held.enter_context(alone(database, home, collection.id, collection.name, lock, doing=_DOING))
    except (Conflict, UnknownCollection):
        return False  # whoever holds it has removed what others had left when it began
    return True


def _dropped(database: Database, collection: Collection) -> bool:
    with database.read() as connection:
        return embedding_sets.find(connection, collection, SetState.DROPPED) is not None


def _of_reembedding(database: Database, collection: Collection) -> bool:
    return _dropped(database, collection) or _unfinished_cuts(database, collection) > 0


def _unfinished_cuts(database: Database, collection: Collection) -> int:
    mine = (VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.CUTTING)
    with database.read() as connection:
        return connection.scalars(select(func.count()).select_from(VersionRow).where(*mine)).one()


def _versions(database: Database, collection: Collection) -> tuple[int, int]:
    """Versions that no reader sees, and their chunks."""
    query = (
        select(func.count(VersionRow.id.distinct()), func.count(ChunkRow.id))
        .select_from(VersionRow)
        .outerjoin(ChunkRow, ChunkRow.version_id == VersionRow.id)
        .where(VersionRow.collection_id == collection.id, UNSEEN)
    )
    with database.read() as connection:
        versions, chunks = connection.execute(query).one()
    return versions, chunks


def _directories(database: Database, indexes: Path, collection: Collection) -> list[str]:
    parent = indexes / str(collection.id)
    if not parent.is_dir():
        return []
    known = _known(database, collection)
    return sorted(
        path.name for path in parent.iterdir() if path.is_dir() and f"{collection.id}/{path.name}" not in known
    )


def _known(database: Database, collection: Collection) -> list[str]:
    with database.read() as connection:
        return [generation.directory for generation in generations(connection, collection.id)]
