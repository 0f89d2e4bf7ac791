"""A generation on its way into use: its files are written, then SQL points to it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import delete

from rag.errors import EmbedderChanged, IndexDamaged, StorageError
from rag.stores.changes import collection_state, generations, point_to
from rag.stores.collection_rows import change_collection, collection_row
from rag.stores.index.generations import remove_except, require_unchanged, write_generation, writing
from rag.stores.index.recall import LEAST
from rag.stores.tables import GenerationRow, TombstoneRow
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from rag.stores.changes import CollectionState
    from rag.stores.index.generations import Generation, Manifest
    from rag.stores.index.vector_rows import VectorRows
    from rag.stores.sqlite.database import Database
    from rag.types import Collection

# Generations kept in SQL and on disk: the current one, and the one that a slower process may be about to load.
_KEPT = 2

_log = get_logger("stores")


class Withdrawn(Exception):  # nothing went wrong: what was to be written is out of date
    """A generation was withdrawn since the index was loaded, so what comes of it must not be written."""


def publish(
    database: Database,
    root: Path,
    collection: Collection,
    rows: VectorRows,
    *,
    epoch: int,
    seq: int,
    mending: bool = False,
) -> Generation:
    """Write ``rows``, the collection as of ``seq``, and point to them; returns them as opened from the files.

    Takes as long as building the index does, but locks the database only at its end. Whatever is raised, what was
    written is removed. With ``mending``, generations that are damaged are forgotten.

    Raises:
        Withdrawn: the index's epoch is another by now.
        EmbedderChanged, UnknownCollection: the collection is another one, or gone.
        DiskFull, DataDirectoryUnwritable, DatabaseBusy: the files or the database could not be written.
    """
    with writing(root, collection.id):
        with database.read() as connection:
            _require_current(connection, collection, epoch)
        remove_unknown(database, root, collection.id)  # what a killed process left may take the room that is needed
        written = write_generation(root, collection.id, rows, embedder=collection.fingerprint.embedder, seq=seq)
        unusable = _damaged(database, root, collection.id) if mending else set()
        with leaving_nothing(database, root, collection.id), database.write() as connection:
            _require_current(connection, collection, epoch)
            kept = _make_current(connection, collection.id, written, unusable)
        remove_except(root, collection.id, kept)
    _tell_recall(collection, written.manifest)
    return written


def _tell_recall(collection: Collection, manifest: Manifest) -> None:
    """It serves all the same: the one before may be as poor, and without any, searches compare every vector."""
    if manifest.recall_at_10 < LEAST:
        _log.warning(
            "the index finds too few of the nearest neighbours",
            collection=collection.name,
            recall_at_10=round(manifest.recall_at_10, 4),
            least=LEAST,
            kind=manifest.kind,
            passages=manifest.count,
        )


def remove_unknown(database: Database, root: Path, collection_id: int) -> None:
    """Delete the generations that SQL does not point to. Only for the holder of the collection's write lock."""
    with database.read() as connection:
        known = generations(connection, collection_id)
    remove_except(root, collection_id, [generation.directory for generation in known])


@contextmanager
def leaving_nothing(database: Database, root: Path, collection_id: int) -> Iterator[None]:
    """Have the block, if it raises, leave no generation that SQL does not point to. For the holder as above."""
    try:
        yield
    except BaseException:
        with suppress(StorageError):  # the block's own error tells more
            remove_unknown(database, root, collection_id)
        raise


def _require_current(connection: Connection, collection: Collection, epoch: int) -> None:
    state = collection_state(connection, collection.id, collection.name)
    require_embedder(collection, state)
    if state.epoch != epoch:
        raise Withdrawn


def require_embedder(collection: Collection, state: CollectionState) -> None:
    """Raise EmbedderChanged unless the collection's vectors are of the model that its value names."""
    fingerprint = collection.fingerprint
    if (fingerprint.embedder, fingerprint.dimension) != (state.embedder, state.dimension):
        raise EmbedderChanged(
            f"The collection {collection.name!r} was embedded anew with {state.embedder}.",
            hint="Ask again: the collection is read anew with every question.",
        )


def _damaged(database: Database, root: Path, collection_id: int) -> set[str]:
    """Directories of generations that are not as they were written."""
    found = set()
    with database.read() as connection:
        known = generations(connection, collection_id)
    for generation in known:
        try:
            require_unchanged(root, generation.directory, sha256=generation.sha256)
        except IndexDamaged:
            found.add(generation.directory)
    return found


def _make_current(
    connection: Connection, collection_id: int, written: Generation, unusable: Container[str] = ()
) -> list[str]:
    """Make a generation current, forget those no reader needs or can use; returns the directories that are kept."""
    point_to(connection, collection_id, written)
    known = generations(connection, collection_id)
    kept = [generation for generation in known if generation.directory not in unusable][:_KEPT]
    old = [generation for generation in known if generation not in kept]
    connection.execute(delete(GenerationRow).where(GenerationRow.id.in_([generation.id for generation in old])))
    if old:
        # A reader behind the oldest generation that is kept loads a newer one; nobody needs these tombstones.
        floor = kept[-1].seq
        gone = delete(TombstoneRow).where(TombstoneRow.collection_id == collection_id, TombstoneRow.seq <= floor)
        connection.execute(gone)
        row = collection_row(connection, collection_id)
        change_collection(connection, row, feed_floor=max(floor, row.feed_floor))
    return [generation.directory for generation in kept]
