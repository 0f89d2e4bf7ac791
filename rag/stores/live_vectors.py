"""Dense search that follows the database: what any process has committed is seen by the very next query."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import Conflict, IndexDamaged, StorageError
from rag.stores.changes import active_chunks, added_since, collection_state, generations, removed_since, withdraw
from rag.stores.collections.locks import CollectionLocks
from rag.stores.embeddings.embedding_sets import incomplete
from rag.stores.filtering import matching_chunks
from rag.stores.index import bases
from rag.stores.index.faiss_index import FaissIndex
from rag.stores.index.generations import load_generation, remove_except, writing
from rag.stores.index.open_indexes import OpenIndex, OpenIndexes
from rag.stores.index.spool import Spool
from rag.stores.past_vectors import merged, search_retired
from rag.stores.publication import Withdrawn, publish, require_embedder
from rag.stores.tables import VersionRow, VersionStatus
from rag.stores.visibility import visible
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from rag.ranking import Ranking
    from rag.stores.changes import CollectionState, GenerationPointer
    from rag.stores.index.faiss_index import View
    from rag.stores.index.generations import Generation
    from rag.stores.index.vector_rows import VectorRows
    from rag.stores.sqlite.database import Database
    from rag.types import Collection, Filter

# Changes since the last generation that are worth writing a new one: fewer cost little to search in memory, and so many
# (they are compared one by one) as much as searching a large base. So a collection of fewer passages has no files: it
# is read from SQL within milliseconds.
_FLUSH_AT = 1000
_FLUSH_SHARE = 0.1
_FLUSH_BY = 20_000

# What the indexes of all collections may take together, as RAG_INDEX_RAM_BYTES has it by default.
_MOST_BYTES = 1 << 30

_log = get_logger("stores")


class _Replaced(Exception):  # nobody outside sees it
    """A generation was replaced by a newer one while it was opened."""


class LiveVectors:
    """Implements ``rag.protocols.VectorSearch`` over the embeddings table. Safe to share between threads.

    ``directory`` holds the generations. They are a cache: without them the index is built from SQL. ``most_bytes`` is
    what the indexes of all collections may take; those that were searched longest ago are let go.
    """

    def __init__(self, database: Database, directory: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._database = database
        self._directory = directory
        self.open_indexes = OpenIndexes(most_bytes)
        self._locks = CollectionLocks()
        self._writers = CollectionLocks()  # one at a time writes a generation, and nobody else waits for it
        self._grown: Callable[[Collection], None] | None = None

    def search(
        self,
        collection: Collection,
        vector: NDArray[np.float32],
        k: int,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> Ranking:
        """At most ``k`` active chunks by cosine, best first; all that was committed before the call is seen.

        With a filter, the best of those it lets through: fewer than ``k`` only if there are fewer of them. With
        ``as_of``, of the chunks that were active at that moment.

        Raises:
            EmbedderChanged: the collection was embedded anew since ``collection`` was read.
            UnknownCollection: it is gone.
        """
        if as_of is not None:
            return self._search_past(collection, vector, k, where, as_of)
        if where is not None:
            live, view, among = self._filtered(collection, where)
            self._mend(collection, live)
            return view.search(vector, k, among=among)
        live = self._followed(collection)
        self._mend(collection, live)
        return live.index.search(vector, k)

    def flush(self, collection: Collection, *, force: bool = False) -> bool:
        """Write a new generation if enough has changed, or anything if ``force``; returns whether it was written.

        Searches go on meanwhile, and see what changes meanwhile.

        Raises:
            DiskFull, DataDirectoryUnwritable: the generation could not be written; searches go on from memory.
        """
        return self._flush(collection, lambda index: 1 if force else _worth_flushing(index))

    def rebuild(self, collection: Collection) -> None:
        """Build the index from SQL, whatever the files say, and write a new generation. Raises as ``flush``."""
        with self._writers.of(collection.id):
            while True:
                with self._database.read() as connection:
                    state = collection_state(connection, collection.id, collection.name)
                    require_embedder(collection, state)
                    spool = self._spooled(connection, collection)
                with spool:
                    try:
                        self._publish(collection, spool, epoch=state.epoch, seq=state.seq, mending=True)
                    except Withdrawn:
                        continue
                break
        with self._locks.of(collection.id):
            self.open_indexes.drop(collection.id)

    def follow_grown(self, grown: Callable[[Collection], None]) -> None:
        """Have somebody told, by the thread that searches, when ``compact`` has something to do."""
        self._grown = grown

    def compact(self, collection: Collection) -> None:
        """Make searches short again after many changes: go on from a newer generation, or write one.

        Searches go on meanwhile, and see what changes meanwhile. Raises as ``flush``.
        """
        if not self._adopt(collection):
            self.flush(collection)

    def rollback(self, collection: Collection) -> GenerationPointer:
        """Forget the newest generation and go on from the one before, in every process; returns that one.

        Raises:
            Conflict: there is none before.
        """
        with self._locks.of(collection.id), writing(self._directory, collection.id):
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

    def forget_former(self, collection: Collection) -> int:
        """Have a collection that has index files go on with one of what is active, and delete all others; how many.

        In every process the next search goes on from the one that is left. Raises as ``flush``.
        """
        with self._database.read() as connection:
            has_files = bool(generations(connection, collection.id))
        if has_files:
            self.flush(collection, force=True)
        with self._locks.of(collection.id), writing(self._directory, collection.id):
            with self._database.write() as connection:
                known = generations(connection, collection.id)
                # Where there was none, one that came since may have been begun before that.
                kept = 1 if has_files else 0
                withdraw(connection, collection.id, [generation.id for generation in known[kept:]])
            remove_except(self._directory, collection.id, [generation.directory for generation in known[:kept]])
        return len(known[kept:])

    def close(self) -> None:
        """Let go of all indexes and the files they map."""
        self.open_indexes.clear()

    def _followed(self, collection: Collection) -> OpenIndex:
        """The index, brought up to the collection's seq; where nothing has changed, its lock is not taken."""
        with self._database.read() as connection:
            state = collection_state(connection, collection.id, collection.name)
        require_embedder(collection, state)
        live = self.open_indexes.of(collection.id)
        if live is None or live.seq != state.seq:
            with self._locks.of(collection.id):
                live = self._refresh(collection)
        return live

    def _filtered(self, collection: Collection, where: Filter) -> tuple[OpenIndex, View, NDArray[np.int64]]:
        """The index and the chunks that the filter lets through, both of the same seq."""
        key = repr(where)  # not the filter itself: in Python those with 1 and with True are equal
        with self._locks.of(collection.id):
            while True:
                live = self._refresh(collection)
                among = live.filtered(key)
                if among is None:
                    with self._database.read(filtered=True) as connection:
                        if collection_state(connection, collection.id, collection.name).seq != live.seq:
                            continue  # somebody committed between the two reads
                        among = matching_chunks(connection, collection.id, where, visible())
                    live.remember(key, among)
                    self.open_indexes.put(collection.id, live)
                return live, live.index.view(), among

    def _search_past(
        self, collection: Collection, vector: NDArray[np.float32], k: int, where: Filter | None, as_of: datetime
    ) -> Ranking:
        """Of what was active at the moment, what still is by the index, the rest by its vectors in SQL."""
        while True:
            with self._locks.of(collection.id):
                live = self._refresh(collection)
                view, seq = live.index.view(), live.seq
            with self._database.read(filtered=where is not None) as connection:
                if collection_state(connection, collection.id, collection.name).seq != seq:
                    continue  # somebody committed between the two reads
                still = VersionRow.status == VersionStatus.ACTIVE
                among = matching_chunks(connection, collection.id, where, still & visible(as_of))
                past = search_retired(connection, collection.id, vector, k, where=where, as_of=as_of)
            self._mend(collection, live)
            return merged(view.search(vector, k, among=among), past, k)

    def _refresh(self, collection: Collection) -> OpenIndex:
        """Bring the index up to the collection's seq. The caller holds the collection's lock."""
        while True:
            try:
                with self._database.read() as connection:  # one snapshot: seq, pointer and feed agree
                    state = collection_state(connection, collection.id, collection.name)
                    require_embedder(collection, state)
                    live = self.open_indexes.of(collection.id)
                    if live is None or self._must_reload(live, state):
                        live = self._opened(connection, collection, state)
                    elif live.seq != state.seq:
                        _follow(connection, collection.id, live, state)
            except _Replaced:
                _log.info("index generation replaced while it was opened", collection=collection.name)
            else:
                break
        self.open_indexes.put(collection.id, live)
        if self._grown is not None and live.changes >= _worth_flushing(live.index):
            self._grown(collection)
        return live

    def _must_reload(self, live: OpenIndex, state: CollectionState) -> bool:
        """Whether the feed does not lead from the live index to the state, or a newer generation is the shorter way."""
        if (live.embedder, live.epoch) != (state.embedder, state.epoch):
            return True
        if not state.feed_floor <= live.seq <= state.seq:
            return True
        if self._grown is not None:
            return False  # no search waits for what is done beside them
        newer = state.generation is not None and state.generation.seq > live.base_seq
        return newer and live.changes >= _worth_flushing(live.index)

    def _opened(self, connection: Connection, collection: Collection, state: CollectionState) -> OpenIndex:
        """An index of its own: the newest generation that can be used, or one of what SQL holds, and the feed since.

        Raises:
            _Replaced: a generation is not there any more.
            DatabaseDamaged: SQL does not say which chunks are active, or has no vectors of some.
        """
        damaged = False
        for pointer in generations(connection, collection.id, since=state.feed_floor):
            generation = self._load(collection, pointer)
            if generation is not None:
                live = self._fed(connection, collection, state, self._started(collection, generation, state.epoch))
                if live is not None:
                    live.replaces_damaged = damaged
                    return live
            damaged = True
        generation = None
        if active_chunks(connection, collection.id) > bases.FLAT_UP_TO:
            generation = self._built(connection, collection, state)
        live = self._fed(connection, collection, state, self._started(collection, generation, state.epoch))
        if live is None:
            raise incomplete(connection, collection.id)
        live.replaces_damaged = damaged and generation is None
        return live

    def _fed(
        self, connection: Connection, collection: Collection, state: CollectionState, live: OpenIndex
    ) -> OpenIndex | None:
        """The index with the feed since its seq; None if that does not lead to as many chunks as are active."""
        for ids, vectors in added_since(connection, collection.id, live.seq, state.dimension):
            live.index.upsert(ids, vectors)  # in pieces, for nobody can search it yet
        if live.seq:  # one of what SQL holds has none of those that are gone
            gone, before = removed_since(connection, collection.id, live.seq), live.index.changes
            live.index.delete(gone)
            live.passed = len(gone) - (live.index.changes - before)
        live.seq = state.seq
        if live.index.count() == active_chunks(connection, collection.id):
            return live
        _log.error("the list of changes does not lead to the active passages", collection=collection.name)
        return None

    def _load(self, collection: Collection, pointer: GenerationPointer) -> Generation | None:
        """The generation; None if it is damaged. Raises _Replaced."""
        try:
            embedder = collection.fingerprint.embedder
            return load_generation(self._directory, pointer.directory, sha256=pointer.sha256, embedder=embedder)
        except IndexDamaged as error:
            with self._database.read() as connection:  # a snapshot of its own: what holds by now
                current = {generation.id for generation in generations(connection, collection.id)}
            if pointer.id not in current:
                raise _Replaced from error
            _log.error("index generation damaged", collection=collection.name, error=str(error))
            return None

    def _built(self, connection: Connection, collection: Collection, state: CollectionState) -> Generation | None:
        """A generation of what SQL holds, which is too much to compare one by one; none if it cannot be written."""
        _log.info("building an index from SQL", collection=collection.name)
        try:
            with self._spooled(connection, collection) as spool:
                return self._publish(collection, spool, epoch=state.epoch, seq=state.seq, mending=True)
        except Withdrawn:
            _log.info("index loaded anew meanwhile", collection=collection.name)  # the next search does so here
        except StorageError as error:
            _log.error("the index could not be written", collection=collection.name, error=str(error))
        return None

    def _spooled(self, connection: Connection, collection: Collection) -> Spool:
        dimension = collection.fingerprint.dimension
        return Spool(self._directory, dimension, added_since(connection, collection.id, 0, dimension))

    def _publish(self, target: Collection, rows: VectorRows, *, epoch: int, seq: int, mending: bool) -> Generation:
        return publish(self._database, self._directory, target, rows, epoch=epoch, seq=seq, mending=mending)

    def _started(self, collection: Collection, generation: Generation | None, epoch: int) -> OpenIndex:
        index = FaissIndex(collection.fingerprint.dimension, base=generation.base if generation else None)
        seq = generation.manifest.seq if generation else 0
        return OpenIndex(index=index, embedder=collection.fingerprint.embedder, epoch=epoch, seq=seq, base_seq=seq)

    def _mend(self, collection: Collection, live: OpenIndex) -> None:
        """Have a generation written in place of one that cannot be used; a large one by others, for it takes long."""
        if not live.replaces_damaged:
            return
        if self._grown is not None:
            self._grown(collection)
        elif live.index.count() <= bases.FLAT_UP_TO:  # else by the next flush
            try:
                self._flush(collection, lambda _: math.inf)
            except StorageError as error:  # the index in memory is whole; only the next start has to rebuild it again
                _log.error("the rebuilt index could not be written", collection=collection.name, error=str(error))

    def _flush(self, collection: Collection, least: Callable[[FaissIndex], float]) -> bool:
        with self._writers.of(collection.id):
            while True:
                with self._locks.of(collection.id):
                    live = self._refresh(collection)
                    if not live.replaces_damaged and live.changes < least(live.index):
                        return False
                    mending, live.replaces_damaged = live.replaces_damaged, False  # once: a disk may be full for long
                    before, seq = live.index.view(), live.seq
                try:
                    written = self._publish(collection, before.rows(), epoch=live.epoch, seq=seq, mending=mending)
                except Withdrawn:
                    continue
                with self._locks.of(collection.id):
                    live.index.rebase(before, written.base)
                    live.base_seq, live.passed = seq, 0
                if mending:
                    _log.warning("a damaged index was replaced", collection=collection.name)
                return True

    def _adopt(self, collection: Collection) -> bool:
        """Go on from the current generation if it is newer than the base; returns whether it was."""
        with self._writers.of(collection.id):
            live = self.open_indexes.of(collection.id)
            with self._database.read() as connection:
                state = collection_state(connection, collection.id, collection.name)
                require_embedder(collection, state)
                if live is None or state.generation is None or state.generation.seq <= live.base_seq:
                    return False
                try:
                    opened = self._opened(connection, collection, state)
                except _Replaced:  # by a newer one still, which is adopted the next time
                    return True
            with self._locks.of(collection.id):
                if self.open_indexes.of(collection.id) is live:
                    self.open_indexes.put(collection.id, opened)
            return not opened.replaces_damaged


def _worth_flushing(index: FaissIndex) -> int:
    return max(_FLUSH_AT, min(_FLUSH_BY, int(_FLUSH_SHARE * index.count())))


def _follow(connection: Connection, collection_id: int, live: OpenIndex, state: CollectionState) -> None:
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
