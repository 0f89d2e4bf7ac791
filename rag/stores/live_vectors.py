"""Dense search that follows the database: what any process has committed is seen by the very next query."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import delete, update

from rag.errors import Conflict, EmbedderChanged, IndexDamaged, StorageError
from rag.stores.changes import added_since, collection_state, generations, point_to, removed_since, withdraw
from rag.stores.faiss_index import FaissIndex
from rag.stores.filtering import matching_chunks
from rag.stores.generations import load_generation, remove_except, write_generation, writing
from rag.stores.tables import CollectionRow, GenerationRow, TombstoneRow
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from rag.stores.bases import Base
    from rag.stores.changes import CollectionState, GenerationPointer
    from rag.stores.database import Database
    from rag.stores.faiss_index import View
    from rag.stores.generations import Generation
    from rag.stores.vector_rows import VectorRows
    from rag.types import Collection, Filter, Hit

# Changes since the last generation that are worth writing a new one: fewer cost little to search in memory, and so many
# (they are compared one by one) as much as searching a large base.
_FLUSH_AT = 1000
_FLUSH_SHARE = 0.1
_FLUSH_BY = 20_000

# Generations kept in SQL and on disk: the current one, and the one that a slower process may be about to load.
_KEPT = 2

# Filters whose chunks are remembered until the collection changes: callers ask with the same few time and again.
_FILTERS_HELD = 32

_log = get_logger("stores")


@dataclass(slots=True, kw_only=True)
class _Live:
    """One collection's index in this process, complete up to ``seq``; its base is complete up to ``base_seq``."""

    index: FaissIndex
    embedder: str
    epoch: int
    seq: int
    base_seq: int
    filtered: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # what filters let through at filtered_seq
    filtered_seq: int = -1


class _Withdrawn(Exception):  # nothing went wrong: what was to be written is out of date
    """A generation was withdrawn since the index was loaded, so what comes of it must not be written."""


class LiveVectors:
    """Implements ``rag.protocols.VectorSearch`` over the embeddings table. Safe to share between threads.

    ``directory`` holds the generations. They are a cache: without them the index is built from SQL.
    """

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory
        self._lives: dict[int, _Live] = {}
        self._locks: dict[int, threading.Lock] = {}
        self._locks_lock = threading.Lock()

    def search(
        self, collection: Collection, vector: NDArray[np.float32], k: int, *, where: Filter | None = None
    ) -> list[Hit]:
        """At most ``k`` active chunks by cosine, best first; all that was committed before the call is seen.

        With a filter, the best of those it lets through: fewer than ``k`` only if there are fewer of them.

        Raises:
            EmbedderChanged: the collection was embedded anew since ``collection`` was read.
            UnknownCollection: it is gone.
        """
        if where is not None:
            view, among = self._filtered(collection, where)
            return view.search(vector, k, among=among)
        with self._database.read() as connection:
            state = collection_state(connection, collection.id, collection.name)
        _require_embedder(collection, state)
        live = self._lives.get(collection.id)
        if live is None or live.seq != state.seq:
            with self._lock(collection.id):
                live = self._refresh(collection)
        return live.index.search(vector, k)

    def flush(self, collection: Collection, *, force: bool = False) -> bool:
        """Write a new generation if enough has changed, or anything if ``force``; returns whether it was written.

        Raises:
            DiskFull, DataDirectoryUnwritable: the generation could not be written; searches go on from memory.
        """
        while True:
            with self._lock(collection.id), suppress(_Withdrawn):
                live = self._refresh(collection)
                if live.index.changes < (1 if force else _worth_flushing(live.index)):
                    return False
                live.index.flush()
                return True

    def rebuild(self, collection: Collection) -> None:
        """Build the index from SQL, whatever the files say, and write a new generation. Raises as ``flush``."""
        while True:
            with self._lock(collection.id), suppress(_Withdrawn):
                self._lives.pop(collection.id, None)
                live = self._refresh(collection, from_sql=True)
                live.index.flush()
                return

    def rollback(self, collection: Collection) -> GenerationPointer:
        """Forget the newest generation and go on from the one before, in every process; returns that one.

        Raises:
            Conflict: there is none before.
        """
        with self._lock(collection.id), writing(self._directory, collection.id):
            with self._database.write() as connection:
                known = generations(connection, collection.id)
                if len(known) < 2:
                    raise Conflict(
                        f"The collection {collection.name!r} has no index file before the current one.",
                        hint=f"Make a new one from the database: indexer rebuild --collection {collection.name}",
                    )
                withdraw(connection, collection.id, [known[0].id])
            remove_except(self._directory, collection.id, [generation.directory for generation in known[1:]])
        return known[1]

    def close(self) -> None:
        """Let go of all indexes and the files they map."""
        self._lives.clear()

    def _lock(self, collection_id: int) -> threading.Lock:
        with self._locks_lock:
            return self._locks.setdefault(collection_id, threading.Lock())

    def _filtered(self, collection: Collection, where: Filter) -> tuple[View, NDArray[np.int64]]:
        """The index and the chunks that the filter lets through, both of the same seq."""
        key = repr(where)  # not the filter itself: in Python those with 1 and with True are equal
        with self._lock(collection.id):
            while True:
                live = self._refresh(collection)
                if live.filtered_seq != live.seq or len(live.filtered) >= _FILTERS_HELD:
                    live.filtered.clear()
                    live.filtered_seq = live.seq
                if key not in live.filtered:
                    with self._database.read() as connection:
                        if collection_state(connection, collection.id, collection.name).seq != live.seq:
                            continue  # somebody committed between the two reads
                        live.filtered[key] = matching_chunks(connection, collection.id, where)
                return live.index.view(), live.filtered[key]

    def _refresh(self, collection: Collection, *, from_sql: bool = False) -> _Live:
        """Bring the index up to the collection's seq. The caller holds the collection's lock."""
        damaged = False
        with self._database.read() as connection:  # one snapshot: seq, pointer and feed agree
            state = collection_state(connection, collection.id, collection.name)
            _require_embedder(collection, state)
            live = self._lives.get(collection.id)
            if live is None or _must_reload(live, state):
                generation = None
                if state.generation is not None and not from_sql:
                    generation, damaged = self._load(collection, state.generation)
                live = self._start(collection, generation, state.epoch)
                for ids, vectors in added_since(connection, collection.id, live.seq, state.dimension):
                    live.index.upsert(ids, vectors)  # in pieces, for nobody can search it yet
                live.index.delete(removed_since(connection, collection.id, live.seq))
                live.seq = state.seq
            elif live.seq != state.seq:
                _follow(connection, collection.id, live, state)
        self._lives[collection.id] = live
        if damaged:
            self._replace_damaged(collection, live)
        return live

    def _load(self, collection: Collection, pointer: GenerationPointer) -> tuple[Generation | None, bool]:
        """The generation if it can be used, and whether it is damaged."""
        try:
            embedder = collection.fingerprint.embedder
            found = load_generation(self._directory, pointer.directory, sha256=pointer.sha256, embedder=embedder)
        except IndexDamaged as error:
            with self._database.read() as connection:  # a snapshot of its own: what holds by now
                current = {generation.id for generation in generations(connection, collection.id)}
            if pointer.id not in current:
                _log.info("index generation replaced while it was opened", collection=collection.name)
                return None, False
            _log.error("index generation damaged, rebuilding it from SQL", collection=collection.name, error=str(error))
            return None, True
        return found, False

    def _start(self, collection: Collection, generation: Generation | None, epoch: int) -> _Live:
        index = FaissIndex(
            collection.fingerprint.dimension,
            base=generation.base if generation else None,
            persist=partial(self._persist, collection),
        )
        seq = generation.manifest.seq if generation else 0
        return _Live(index=index, embedder=collection.fingerprint.embedder, epoch=epoch, seq=seq, base_seq=seq)

    def _replace_damaged(self, collection: Collection, live: _Live) -> None:
        try:
            live.index.flush()
        except _Withdrawn:
            _log.info("index loaded anew meanwhile", collection=collection.name)  # the next search does so here
        except StorageError as error:  # the index in memory is whole; only the next start has to rebuild it again
            _log.error("the rebuilt index could not be written", collection=collection.name, error=str(error))
        else:
            _log.warning("index rebuilt from SQL", collection=collection.name, vectors=live.index.count())

    def _persist(self, collection: Collection, rows: VectorRows) -> Base:
        """Write a generation of the live index's seq and point to it; returns it as opened from the files."""
        live = self._lives[collection.id]
        with writing(self._directory, collection.id):
            written = write_generation(self._directory, collection.id, rows, embedder=live.embedder, seq=live.seq)
            with self._database.write() as connection:
                state = collection_state(connection, collection.id, collection.name)
                _require_embedder(collection, state)
                if state.epoch != live.epoch:
                    raise _Withdrawn
                kept = _make_current(connection, collection.id, written)
            remove_except(self._directory, collection.id, kept)
        live.base_seq = live.seq
        return written.base


def _require_embedder(collection: Collection, state: CollectionState) -> None:
    fingerprint = collection.fingerprint
    if (fingerprint.embedder, fingerprint.dimension) != (state.embedder, state.dimension):
        raise EmbedderChanged(
            f"The collection {collection.name!r} was embedded anew with {state.embedder}.",
            hint="Ask again: the collection is read anew with every question.",
        )


def _must_reload(live: _Live, state: CollectionState) -> bool:
    """Whether the feed does not lead from the live index to the state, or a newer generation is the shorter way."""
    if (live.embedder, live.epoch) != (state.embedder, state.epoch):
        return True
    if not state.feed_floor <= live.seq <= state.seq:
        return True
    newer = state.generation is not None and state.generation.seq > live.base_seq
    return newer and live.index.changes >= _worth_flushing(live.index)


def _worth_flushing(index: FaissIndex) -> int:
    return max(_FLUSH_AT, min(_FLUSH_BY, int(_FLUSH_SHARE * index.count())))


def _follow(connection: Connection, collection_id: int, live: _Live, state: CollectionState) -> None:
    """Apply the feed as one change: a search beside it sees a replaced document either old or new."""
    added = list(added_since(connection, collection_id, live.seq, state.dimension))
    ids = [batch[0] for batch in added]
    vectors = [batch[1] for batch in added]
    live.index.apply(
        removed=removed_since(connection, collection_id, live.seq),
        ids=np.concatenate([np.empty(0, np.int64), *ids]),
        vectors=np.concatenate([np.empty((0, state.dimension), np.float32), *vectors]),
    )
    live.seq = state.seq


def _make_current(connection: Connection, collection_id: int, written: Generation) -> list[str]:
    """Make a generation current, forget those no reader needs; returns the directories that are kept."""
    point_to(connection, collection_id, written)
    known = generations(connection, collection_id)
    kept, old = known[:_KEPT], known[_KEPT:]
    connection.execute(delete(GenerationRow).where(GenerationRow.id.in_([generation.id for generation in old])))
    if old:
        # A reader behind the oldest generation that is kept loads a newer one; nobody needs these tombstones.
        floor = kept[-1].seq
        gone = delete(TombstoneRow).where(TombstoneRow.collection_id == collection_id, TombstoneRow.seq <= floor)
        connection.execute(gone)
        connection.execute(
            update(CollectionRow)
            .where(CollectionRow.id == collection_id, CollectionRow.feed_floor < floor)
            .values(feed_floor=floor)
        )
    return [generation.directory for generation in kept]
