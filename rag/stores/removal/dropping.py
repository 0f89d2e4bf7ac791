"""Collections out of everything that is stored: all versions of all documents, index files, the collection itself.

One transaction takes all of it from the readers and notes what is under way. Rows and files go after it, the
collection's own row last: until then it is an empty one. What a process that died has not finished, the next one does.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from rag.errors import Conflict, UnknownCollection
from rag.stores.changes import forget_indexes
from rag.stores.collection_rows import being_dropped, change_collection, collection_row
from rag.stores.collections.holding import alone
from rag.stores.collections.ingest_lock import IngestLock, ReembeddingLock
from rag.stores.collections.registry import is_empty
from rag.stores.embeddings.reembedding import remove_unfinished
from rag.stores.index.generations import writing
from rag.stores.jobs.purge import Forgotten, forget_all, require_no_job, search_uploads
from rag.stores.jobs.queue import JobQueue
from rag.stores.reading import to_collection
from rag.stores.removal.purge import copies_beside, merge_full_text, search_files, search_full_text, search_rows
from rag.stores.tables import (
    ChunkRow,
    CollectionRow,
    DocumentRow,
    DropRow,
    EmbeddingSetRow,
    GenerationRow,
    LanguageRow,
    PurgeRow,
    TombstoneRow,
    VersionRow,
    VersionStatus,
)
from rag.stores.versions.retirement import leaving, next_change, prune
from rag.version_types import Dropped, Searched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from rag.stores.jobs.blobs import Blobs
    from rag.stores.live_vectors import LiveVectors
    from rag.stores.sqlite.database import Database
    from rag.types import Collection

_AGAIN = "A running service, or the next `indexer` command that writes, goes on with it."


def drop(
    database: Database,
    vectors: LiveVectors,
    collection: Collection,
    *,
    purge: bool,
    home: Path,
    indexes: Path,
    blobs: Blobs,
    erase: Callable[[], Sequence[Searched]],
) -> Dropped:
    """Remove a collection with all that is in it, past versions included, then look for what is left of it.

    With ``purge`` the bytes of what is deleted are overwritten, too, and what jobs tell of it goes, as in
    ``rag.stores.removal.purge.purge``, whose other arguments these are. Running programs go on: they find an empty
    collection, then none. What is not finished, ``finish_drops`` finishes.

    Raises:
        UnknownCollection: it is gone.
        Conflict: another process ingests into it or embeds it anew, or a job that has not ended would bring it back.
        DatabaseBusy, DiskFull, DataDirectoryUnwritable: as any write, and what ``erase`` raises.
    """
    with alone(database, home, collection.id, collection.name, IngestLock, ReembeddingLock, doing="dropping"):
        hidden = _hide(database, collection, purge=purge)
        removed = _remove(database, vectors, collection, indexes=indexes, erase=erase)
    folder = _folder(indexes, collection)
    left, note = (1, f"Remove {folder}.") if folder.exists() else (0, "")
    searched = [
        *search_rows(database, hidden.versions, hidden.chunks),
        search_full_text(database, hidden.chunks),
        Searched(place="index files", searched=1, removed=1 - left, left=left, note=note),
    ]
    if hidden.jobs is not None:
        searched += [
            *search_files(rewritten=removed.rewritten, emptied=removed.emptied),
            Searched(place="jobs", searched=hidden.jobs.mentions, removed=hidden.jobs.mentions, left=0),
            search_uploads(blobs, JobQueue(database).blobs(), hidden.sha256s | hidden.jobs.uploads),
            copies_beside(database, home),
        ]
    left, note = (0, "") if removed.gone else (1, _AGAIN)
    searched.append(Searched(place="the collection", searched=1, removed=1 - left, left=left, note=note))
    return Dropped(
        collection=collection.name,
        documents=hidden.documents,
        chunks=len(hidden.chunks),
        searched=(*searched, *removed.erased),
    )


def finish_drops(
    database: Database, vectors: LiveVectors, *, indexes: Path, home: Path, erase: Callable[[], Sequence[Searched]]
) -> None:
    """Bring to an end what processes have died in. What another process is at is left to it. Raises as ``drop``."""
    with database.read() as connection:
        begun = [to_collection(row) for row in being_dropped(connection)]
    for collection in begun:
        try:
            with alone(database, home, collection.id, collection.name, IngestLock, ReembeddingLock, doing="dropping"):
                _remove(database, vectors, collection, indexes=indexes, erase=erase)
        except (Conflict, UnknownCollection):
            continue


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hidden:
    """What nobody reads any more: ids of versions and of their chunks, hashes of sources, and, of a purge, the jobs."""

    documents: int
    versions: list[int]
    chunks: list[int]
    sha256s: frozenset[str]
    jobs: Forgotten | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removed:
    gone: bool
    rewritten: bool
    emptied: bool
    erased: Sequence[Searched]


def _hide(database: Database, collection: Collection, *, purge: bool) -> _Hidden:
    """In one transaction the collection is empty, now and in the past, and its indexes are nobody's."""
    mine = VersionRow.collection_id == collection.id
    with database.write() as connection:
        require_no_job(connection, collection.name)
        at = next_change(connection, collection_row(connection, collection.id, collection.name)).at
        active = select(func.count()).where(mine, VersionRow.status == VersionStatus.ACTIVE)
        documents = connection.scalar(active) or 0
        versions = connection.execute(select(VersionRow.id, VersionRow.sha256).where(mine)).all()
        of_these = select(VersionRow.id).where(mine)
        chunks = connection.scalars(select(ChunkRow.id).where(ChunkRow.version_id.in_(of_these))).all()
        connection.execute(update(VersionRow).where(mine).values(status=VersionStatus.LEAVING))
        forget_indexes(connection, collection.id)
        row = collection_row(connection, collection.id)
        # The epoch: an index that somebody is just writing is written no more.
        change_collection(connection, row, history_floor=at, index_epoch=row.index_epoch + 1)
        for table in (DropRow, PurgeRow) if purge else (DropRow,):
            if connection.scalar(select(table.collection_id).where(table.collection_id == collection.id)) is None:
                connection.execute(insert(table).values(collection_id=collection.id))
        jobs = forget_all(connection, collection.name) if purge else None
    return _Hidden(
        documents=documents,
        versions=[row.id for row in versions],
        chunks=list(chunks),
        sha256s=frozenset(row.sha256 for row in versions),
        jobs=jobs,
    )


def _remove(
    database: Database,
    vectors: LiveVectors,
    collection: Collection,
    *,
    indexes: Path,
    erase: Callable[[], Sequence[Searched]],
) -> _Removed:
    """Delete what nobody reads any more, and the collection. Models forget it while there is a seq to confirm."""
    remove_unfinished(indexes, collection)
    with database.read() as connection:
        versions = leaving(connection, collection.id)
        purged = PurgeRow.collection_id == collection.id
        purge = connection.scalar(select(PurgeRow.collection_id).where(purged)) is not None
    prune(database, versions)
    erased = erase()
    with writing(indexes, collection.id):
        _remove_files(indexes, collection)
    rewritten = emptied = True
    if purge:
        merge_full_text(database)
        rewritten, emptied = database.rewrite(), database.truncate_log()
    gone = False
    if rewritten and emptied:
        with writing(indexes, collection.id):
            _remove_files(indexes, collection)  # a command may have written an empty index meanwhile
            with database.write() as connection:
                gone = _forget(connection, collection.id)
        if gone:
            # Its id is never used again: who waits for the lock finds no collection.
            (indexes / f"{collection.id}.lock").unlink(missing_ok=True)
        vectors.open_indexes.drop(collection.id)
    return _Removed(gone=gone, rewritten=rewritten, emptied=emptied, erased=erased)


def _forget(connection: Connection, collection_id: int) -> bool:
    """Delete the collection's last rows; False if documents are taken into it again."""
    begun = select(DropRow.collection_id).where(DropRow.collection_id == collection_id)
    if connection.scalar(begun) is None or not is_empty(connection, collection_id):
        return False
    tables = (GenerationRow, TombstoneRow, LanguageRow, EmbeddingSetRow, DocumentRow, PurgeRow, DropRow)
    for table in tables:
        connection.execute(delete(table).where(table.collection_id == collection_id))
    connection.execute(delete(CollectionRow).where(CollectionRow.id == collection_id))
    return True


def _folder(indexes: Path, collection: Collection) -> Path:
    return indexes / str(collection.id)


def _remove_files(indexes: Path, collection: Collection) -> None:
    # What is left is told, and `indexer verify` finds it.
    shutil.rmtree(_folder(indexes, collection), ignore_errors=True)
