"""Documents out of everything that is stored, now and for certain: rows, full text, index files, freed bytes.

A plain delete takes a document from the readers and keeps it for questions about the past; its vectors stay in index
files until these are written anew. A purge ends all of that, then looks whether it has. That one is under way is a row,
written with the first change and deleted after the last: what a process that died has not finished, the next one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

import numpy as np
from sqlalchemy import delete, exists, func, insert, select, text

from rag.errors import Conflict, IndexDamaged, UnknownCollection
from rag.stores.changes import generations
from rag.stores.collection_rows import being_purged, collection_row
from rag.stores.collections.holding import alone
from rag.stores.collections.ingest_lock import ReembeddingLock
from rag.stores.embeddings.reembedding import remove_unfinished
from rag.stores.full_text.lexical import FULL_TEXT_TABLE
from rag.stores.index.generations import load_generation
from rag.stores.jobs.purge import Forgotten, forget, former_addresses, require_no_upload, search_jobs, search_uploads
from rag.stores.jobs.queue import JobQueue
from rag.stores.reading import to_collection, within
from rag.stores.scratch import SCRATCH
from rag.stores.tables import (
    ChunkKeyRow,
    ChunkRow,
    ChunkTermsRow,
    DocumentRow,
    EmbeddingRow,
    MetadataRow,
    OutlineRow,
    PurgeRow,
    TextRow,
    VersionRow,
    VersionStatus,
)
from rag.stores.versions.history import unknown_version
from rag.stores.versions.retirement import leaving, let_go, next_change, prune, retire
from rag.version_types import Searched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.orm import InstrumentedAttribute

    from rag.stores.jobs.blobs import Blobs
    from rag.stores.live_vectors import LiveVectors
    from rag.stores.sqlite.database import Database
    from rag.types import Collection

_BATCH: Final = 500  # ids in one statement
_DOING: Final = "purging documents of"
# Pages of full text that are merged in one transaction: others may write in between.
_MERGED_PAGES: Final = 500
# What migrations, restores, repairs and killed backups leave beside the data; it may hold anything that was there then.
_COPIES: Final = ("*.before-*", "*.damaged-*", "*.restoring", "*.part", f"{SCRATCH}*")
_MERGE = text(f"INSERT INTO {FULL_TEXT_TABLE}({FULL_TEXT_TABLE}, rank) VALUES ('merge', :pages)")  # noqa: S608  # a constant
_NEXT: Final = "a running service, or the next `indexer` command that writes,"
_NOT_REWRITTEN: Final = (
    "Writing it anew takes twice its size of free space for a while, and no other program that writes meanwhile; "
    f"{_NEXT} does it."
)
_NOT_EMPTIED: Final = f"Another program reads it just now; {_NEXT} empties it."
_IN_FULL_TEXT = f"SELECT count(*) FROM {FULL_TEXT_TABLE}_docsize WHERE id = :id"  # noqa: S608  # a constant


class Places(TypedDict):
    """What every removal is told: the data directory, that of the generations, and what removes what is stored of
    deleted passages outside the database, and tells what it searched.
    """

    home: Path
    indexes: Path
    erase: Callable[[], Sequence[Searched]]


def purge(
    database: Database,
    vectors: LiveVectors,
    collection: Collection,
    document_ids: Sequence[int],
    *,
    home: Path,
    indexes: Path,
    blobs: Blobs,
    erase: Callable[[], Sequence[Searched]],
) -> list[Searched]:
    """Remove all versions of documents, those from the past included, then look for what is left of them.

    ``home`` is the data directory, ``indexes`` that of the generations, ``blobs`` has the uploads; ``erase`` removes
    what is stored of deleted passages outside the database, and tells what it searched. Running programs go on; they
    search without the documents from their next search on. What is not finished, ``finish_purges`` finishes.

    Raises:
        UnknownDocument: the collection has no version of one of them, so nothing was purged.
        Conflict: the collection is being embedded anew, and the index that is made meanwhile may hold them; or a job
            that has not ended brings one of them again.
        DatabaseBusy, DiskFull, DataDirectoryUnwritable: as any write, and what ``erase`` raises.
    """
    with alone(database, home, collection.id, collection.name, ReembeddingLock, doing=_DOING):
        hidden = _hide(database, collection, document_ids)
        versions, chunks = hidden.versions, hidden.chunks
        remove_unfinished(indexes, collection)
        removed = _remove(database, vectors, collection, versions)
        erased = erase()
        if removed.all:
            _end(database, collection)
    return [
        *search_rows(database, versions, chunks),
        search_full_text(database, chunks),
        _index_files(database, indexes, collection, chunks, removed.index_files),
        *search_files(rewritten=removed.rewritten, emptied=removed.emptied),
        search_jobs(database, collection.name, hidden.jobs),
        search_uploads(blobs, JobQueue(database).blobs(), hidden.sha256s | hidden.jobs.uploads),
        copies_beside(database, home),
        *erased,
    ]


def finish_purges(
    database: Database, vectors: LiveVectors, *, home: Path, indexes: Path, erase: Callable[[], Sequence[Searched]]
) -> None:
    """Bring the purges to their end that processes have died in.

    One that another process is at, and one of a collection that is being embedded anew, is left for another time.
    Raises as ``purge``.
    """
    with database.read() as connection:
        begun = [to_collection(row) for row in being_purged(connection)]
    for collection in begun:
        try:
            with alone(database, home, collection.id, collection.name, ReembeddingLock, doing=_DOING):
                remove_unfinished(indexes, collection)
                with database.read() as connection:
                    versions = leaving(connection, collection.id)
                removed = _remove(database, vectors, collection, versions)
                erase()
                if removed.all:
                    _end(database, collection)
        except (Conflict, UnknownCollection):
            continue


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removed:
    """How many index files were given up, and of which files of the database the former bytes are gone."""

    index_files: int
    rewritten: bool
    emptied: bool

    @property
    def all(self) -> bool:
        return self.rewritten and self.emptied


def _remove(database: Database, vectors: LiveVectors, collection: Collection, versions: Sequence[int]) -> _Removed:
    """Delete what nobody reads any more."""
    prune(database, versions)
    merge_full_text(database)
    forgotten = vectors.forget_former(collection)
    rewritten = database.rewrite()
    return _Removed(index_files=forgotten, rewritten=rewritten, emptied=database.truncate_log())


def _end(database: Database, collection: Collection) -> None:
    """Once nothing is left to do: from then on no start finishes it."""
    with database.write() as connection:
        connection.execute(delete(PurgeRow).where(PurgeRow.collection_id == collection.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hidden:
    """What nobody reads any more: ids of versions and of their chunks, hashes of their sources, and what jobs said."""

    versions: list[int]
    chunks: list[int]
    sha256s: frozenset[str]
    jobs: Forgotten


def _hide(database: Database, collection: Collection, document_ids: Sequence[int]) -> _Hidden:
    """In one transaction nobody reads any of it any more, and no job tells of it."""
    with database.write() as connection:
        mine = DocumentRow.collection_id == collection.id
        uris = _uris(connection, collection, document_ids)
        require_no_upload(connection, collection.name, uris)
        members = [row for uri in uris for row in connection.scalars(select(DocumentRow.id).where(mine, within(uri)))]
        document_ids = [*dict.fromkeys([*document_ids, *members])]
        columns = (VersionRow.id, VersionRow.status, VersionRow.sha256)
        mine_too = VersionRow.collection_id + 0 == collection.id  # or SQLite goes through all of the collection
        query = select(*columns).where(mine_too)
        rows = [
            row
            for some in _batches(document_ids)
            for row in connection.execute(query.where(VersionRow.document_id.in_(some)))
        ]
        versions = [row.id for row in rows]
        chunks = [
            chunk
            for some in _batches(versions)
            for chunk in connection.scalars(select(ChunkRow.id).where(ChunkRow.version_id.in_(some)))
        ]
        former = [uri for some in _batches(document_ids) for uri in former_addresses(connection, collection, some)]
        jobs = forget(connection, collection.name, [*uris, *former])
        if versions:
            seq, at, _ = next_change(connection, collection_row(connection, collection.id))
            active = [row.id for row in rows if row.status == VersionStatus.ACTIVE]
            retire(connection, active, collection.id, seq, at, keep=True)
            let_go(connection, versions, collection.id)
            begun = select(PurgeRow.collection_id).where(PurgeRow.collection_id == collection.id)
            if connection.scalar(begun) is None:
                connection.execute(insert(PurgeRow).values(collection_id=collection.id))
    sha256s = frozenset(row.sha256 for row in rows)
    return _Hidden(versions=versions, chunks=chunks, sha256s=sha256s, jobs=jobs)


def _uris(connection: Connection, collection: Collection, document_ids: Sequence[int]) -> list[str]:
    """Where the documents are from. Raises UnknownDocument if the collection has no version of one: ids are of all
    collections, and one of another must not take out what has the same URI here.
    """
    versions = exists().where(VersionRow.document_id == DocumentRow.id)
    query = select(DocumentRow.id, DocumentRow.uri).where(DocumentRow.collection_id == collection.id, versions)
    found = {
        row.id: row.uri
        for some in _batches(document_ids)
        for row in connection.execute(query.where(DocumentRow.id.in_(some)))
    }
    if unknown := [document_id for document_id in document_ids if document_id not in found]:
        raise unknown_version(unknown[0], collection)
    return list(found.values())


def merge_full_text(database: Database) -> None:
    """Bring full text into one segment: deleted entries stay in those they came with until these are merged.

    In steps, as SQLite's documentation of FTS5's ``merge`` command has it.
    """
    pages = -_MERGED_PAGES  # the first step marks all segments for merging
    more = True
    while more:
        with database.write() as connection:
            before = database.changes_of(connection)
            connection.execute(_MERGE, {"pages": pages})
            more = database.changes_of(connection) - before >= 2
        pages = _MERGED_PAGES


def search_rows(database: Database, versions: list[int], chunks: list[int]) -> Iterator[Searched]:
    """What rows there are still of these versions and chunks."""
    by_version = (VersionRow.id, TextRow.version_id, OutlineRow.version_id, MetadataRow.version_id)
    by_chunk = (ChunkRow.id, EmbeddingRow.chunk_id, ChunkKeyRow.chunk_id)
    with database.read() as connection:
        for place, ids, columns in (("versions", versions, by_version), ("chunks", chunks, by_chunk)):
            left = sum(_count(connection, column, ids) for column in columns)
            yield _searched(place, len(ids), left)


def search_full_text(database: Database, chunks: list[int]) -> Searched:
    """Whether full text knows any of these chunks still."""
    with database.read() as connection:
        left = _count(connection, ChunkTermsRow.chunk_id, chunks)
        left += sum(connection.execute(text(_IN_FULL_TEXT), {"id": chunk}).scalar_one() for chunk in chunks)
    return _searched("full text", len(chunks), left)


def _index_files(
    database: Database, indexes: Path, collection: Collection, chunks: list[int], forgotten: int
) -> Searched:
    """Every index that is left is opened and searched; one that cannot be read counts as left."""
    with database.read() as connection:
        known = generations(connection, collection.id)
    left = 0
    for each in known:
        try:
            found = load_generation(
                indexes, each.directory, sha256=each.sha256, embedder=collection.fingerprint.embedder
            )
        except IndexDamaged:
            left += 1
        else:
            left += bool(np.isin(chunks, found.base.ids).any())
    note = f"Run `indexer rebuild --collection {collection.name}` and the purge again." if left else ""
    return Searched(place="index files", searched=len(known) + forgotten, removed=forgotten, left=left, note=note)


def search_files(*, rewritten: bool, emptied: bool) -> Iterator[Searched]:
    """What is left in the database's own files of rows that are deleted."""
    for place, done, note in (
        ("the database file", rewritten, _NOT_REWRITTEN),
        ("the write-ahead log", emptied, _NOT_EMPTIED),
    ):
        yield Searched(place=place, searched=1, removed=int(done), left=int(not done), note="" if done else note)


def copies_beside(database: Database, home: Path) -> Searched:
    """What no purge reaches, named."""
    folders = (home, database.path.parent)
    copies = sorted({path.name for folder in folders for pattern in _COPIES for path in folder.glob(pattern)})
    note = f"Remove them if you do not need them: {', '.join(copies)}." if copies else ""
    return Searched(place="copies beside the database", searched=0, removed=0, left=0, note=note)


def _searched(place: str, count: int, left: int) -> Searched:
    note = "Run `indexer verify --repair` and the purge again." if left else ""
    return Searched(place=place, searched=count, removed=max(count - left, 0), left=left, note=note)


def _count(connection: Connection, column: InstrumentedAttribute[int], ids: Sequence[int]) -> int:
    counts = (connection.scalar(select(func.count()).where(column.in_(some))) for some in _batches(ids))
    return sum(count or 0 for count in counts)


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
