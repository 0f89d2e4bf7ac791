"""The live index: fresh in every process, flushed when it is worth it, the same after a restart."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from structlog.testing import capture_logs

from rag.errors import Conflict, DiskFull, EmbedderChanged, UnknownCollection
from rag.protocols import VectorSearch
from rag.stores import live_vectors, publication
from rag.stores.changes import generations, removed_since, withdraw
from rag.stores.compaction import Compaction
from rag.stores.documents import SqlDocumentStore
from rag.stores.index import bases
from rag.stores.live_vectors import LiveVectors
from rag.stores.publication import publish
from rag.stores.sqlite.database import Database
from rag.types import Collection
from tests.contracts.store_builders import (
    chunk_ids,
    drafts,
    fingerprint,
    ingest,
    settings_in,
    source,
    swap_in,
    unit_vectors,
)

QUERY = unit_vectors(1, seed=99)[0]


class Process:
    """A store and its live index over a data directory, as one process has them."""

    def __init__(self, home):
        self.database = Database.open(settings_in(home))
        self.store = SqlDocumentStore(self.database)
        self.directory = home / "indexes"
        self.vectors = LiveVectors(self.database, self.directory)

    def found(self, collection, k=1000):
        return {hit.chunk_id for hit in self.vectors.search(collection, QUERY, k)}

    def on_disk(self, collection):
        return {f"{collection.id}/{path.name}" for path in (self.directory / str(collection.id)).glob("*")}

    def known(self, collection):
        with self.database.read() as connection:
            return generations(connection, collection.id)

    def close(self):
        self.vectors.close()
        self.database.close()


@pytest.fixture
def processes(tmp_path):
    started = []

    def start():
        started.append(Process(tmp_path / "home"))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.fixture
def process(processes):
    return processes()


@pytest.fixture
def collection(process):
    return process.store.ensure_collection("handbook", fingerprint())


def test_it_satisfies_the_protocol(process):
    assert isinstance(process.vectors, VectorSearch)


def test_scores_are_cosines(process, collection):
    ingest(process.store, collection, "/a", ["one", "two", "three"], seed=5)
    expected = sorted((unit_vectors(3, seed=5) @ QUERY).tolist(), reverse=True)
    assert [hit.score for hit in process.vectors.search(collection, QUERY, 3)] == pytest.approx(expected, abs=2e-3)


def test_what_another_process_commits_is_seen_by_the_next_query(processes, collection, process):
    other = processes()
    assert other.found(collection) == set()
    document = ingest(process.store, collection, "/a", ["one", "two"])
    assert other.found(collection) == set(chunk_ids(process.store, collection))
    ingest(process.store, collection, "/a", ["three"])
    assert other.found(collection) == set(chunk_ids(process.store, collection))
    process.store.delete(collection, [document.id])
    assert other.found(collection) == set()


def test_small_changes_wait_and_large_ones_are_flushed(process, collection, monkeypatch):
    monkeypatch.setattr(live_vectors, "_FLUSH_AT", 5)
    ingest(process.store, collection, "/a", ["text"] * 4)
    assert process.vectors.flush(collection) is False
    assert process.store.status(collection).generation is None
    ingest(process.store, collection, "/b", ["text"] * 1)
    assert process.vectors.flush(collection) is True
    generation = process.store.status(collection).generation
    assert (generation.count, generation.seq) == (5, process.store.collection("handbook").seq)
    assert (
        generation.size == (process.directory / process.known(collection)[0].directory / "index.faiss").stat().st_size
    )
    assert process.vectors.flush(collection, force=True) is False


def test_a_restart_goes_on_from_the_generation_and_the_feed(processes, process, collection):
    ingest(process.store, collection, "/a", ["one", "two"])
    gone = ingest(process.store, collection, "/b", ["three"])
    process.vectors.flush(collection, force=True)
    process.store.delete(collection, [gone.id])
    ingest(process.store, collection, "/c", ["four"])
    expected = process.vectors.search(collection, QUERY, 10)
    other = processes()
    assert other.vectors.search(collection, QUERY, 10) == expected
    assert len(expected) == 3
    assert other.vectors.open_indexes.of(collection.id).base_seq > 0


def test_two_generations_are_kept_and_no_tombstone_older_than_they(process, collection):
    for number in range(5):
        ingest(process.store, collection, "/a", [f"text {number}"])
        process.vectors.flush(collection, force=True)
    kept = process.known(collection)
    assert len(kept) == 2
    assert process.on_disk(collection) == {pointer.directory for pointer in kept}
    with process.database.read() as connection:
        assert len(removed_since(connection, collection.id, 0)) == 1


def test_a_reader_too_far_behind_for_the_feed_loads_a_generation(processes, process, collection):
    reader = processes()
    ingest(process.store, collection, "/a", ["one"])
    before = reader.found(collection)
    for number in range(4):  # the tombstone of what the reader has seen is purged
        ingest(process.store, collection, "/a", [f"text {number}"])
        process.vectors.flush(collection, force=True)
    assert reader.found(collection) == set(chunk_ids(process.store, collection))
    assert not before & reader.found(collection)


def test_a_large_delta_is_exchanged_for_a_newer_generation(processes, process, collection, monkeypatch):
    monkeypatch.setattr(live_vectors, "_FLUSH_AT", 3)
    reader = processes()
    ingest(process.store, collection, "/a", ["text"] * 10)
    reader.found(collection)
    assert reader.vectors.open_indexes.of(collection.id).index.changes == 10
    process.vectors.flush(collection)
    ingest(process.store, collection, "/b", ["one"])
    assert len(reader.found(collection)) == 11
    assert reader.vectors.open_indexes.of(collection.id).index.changes == 1


def test_collections_do_not_mix(process, collection):
    other = process.store.ensure_collection("other", fingerprint())
    ingest(process.store, collection, "/a", ["one"])
    ingest(process.store, other, "/a", ["two"])
    assert process.found(other) == set(chunk_ids(process.store, other))
    assert process.found(collection) == set(chunk_ids(process.store, collection))


def test_an_unknown_collection_is_said_so(process):
    with pytest.raises(UnknownCollection, match="gone") as caught:
        process.vectors.search(Collection(id=7, name="gone", fingerprint=fingerprint(), seq=0), QUERY, 1)
    assert "`indexer status`" in caught.value.hint, "which lists collections; `indexer list` does not"


def test_staged_chunks_are_not_found(process, collection):
    with process.store.stage(collection, source("/a")) as version:
        version.add_chunks(drafts(["one"] * 2000), unit_vectors(2000, seed=1))
        assert process.found(collection) == set()
        version.activate()
    assert len(process.found(collection, 5000)) == 2000


def test_rebuild_ignores_the_files(process, collection):
    ingest(process.store, collection, "/a", ["one", "two"])
    process.vectors.flush(collection, force=True)
    first = process.known(collection)[0]
    process.vectors.rebuild(collection)
    assert process.known(collection)[0].directory != first.directory
    assert process.found(collection) == set(chunk_ids(process.store, collection))


def test_a_collection_embedded_anew_serves_the_new_vectors(processes, process, collection):
    reader = processes()
    ingest(process.store, collection, "/a", ["one", "two", "three"], title="T", heading_path=("H",))
    process.vectors.flush(collection, force=True)
    assert len(reader.found(collection)) == 3
    inputs = list(process.store.embedding_inputs(collection))
    assert [(item.title, item.heading_path, item.text) for item in inputs] == [
        ("T", ("H",), text) for text in ("one", "two", "three")
    ]
    vectors = unit_vectors(3, seed=7, dimension=4)
    swap_in(process.database, process.directory, collection, fingerprint(embedder="embedder-2", dimension=4), vectors)
    changed = process.store.collection("handbook")
    assert changed.fingerprint.embedder == "embedder-2"
    for each in (reader, process, processes()):
        with pytest.raises(EmbedderChanged):
            each.found(collection)
        best = each.vectors.search(changed, vectors[1], 1)[0]
        assert (best.chunk_id, round(best.score, 3)) == (inputs[1].chunk_id, 1.0)
    process.vectors.flush(changed, force=True)
    assert [pointer.count for pointer in process.known(collection)] == [3]


def test_a_slow_writer_cannot_bring_back_vectors_that_were_replaced(processes, process, collection):
    """Embedded anew by the same embedder (its headings changed, say): a generation begun before must not count."""
    slow = processes()
    ingest(process.store, collection, "/a", ["one", "two", "three"])
    slow.found(collection)
    ids = np.array(chunk_ids(process.store, collection))
    swap_in(process.database, process.directory, collection, fingerprint(), unit_vectors(3, seed=7))
    live = slow.vectors.open_indexes.of(collection.id)
    with pytest.raises(publication.Withdrawn):
        publish(slow.database, slow.directory, collection, live.index.view().rows(), epoch=live.epoch, seq=live.seq)
    for each in (slow, process, processes()):
        best = each.vectors.search(collection, unit_vectors(3, seed=7)[1], 1)[0]
        assert (best.chunk_id, round(best.score, 3)) == (ids[1], 1.0)


def test_a_search_sees_a_document_either_old_or_new(process, collection):
    """While one thread replaces a document again and again, others never find none or two versions of it."""
    ingest(process.store, collection, "/a", ["v0"] * 5)
    stop = threading.Event()

    def read():
        sizes = set()
        while not stop.is_set():
            sizes.add(len(process.found(collection)))
        return sizes

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for number in range(15):
                ingest(process.store, collection, "/a", [f"v{number}"] * 5)
                if number % 5 == 4:
                    process.vectors.flush(collection, force=True)
        finally:
            stop.set()
        assert [reader.result() for reader in readers] == [{5}, {5}, {5}]


def test_every_process_goes_back_to_the_generation_before(tmp_path):
    home = tmp_path / "home"
    databases = [Database.open(settings_in(home)) for _ in range(2)]
    store = SqlDocumentStore(databases[0])
    mine, others = (LiveVectors(database, home / "indexes") for database in databases)
    collection = store.ensure_collection("c", fingerprint())
    query = unit_vectors(1, seed=3)[0]

    def seqs():
        with databases[0].read() as connection:
            return [generation.seq for generation in generations(connection, collection.id)]

    with pytest.raises(Conflict, match="no index file before"):
        mine.rollback(collection)
    for number in range(2):
        ingest(store, collection, f"/{number}", ["one", "two"], seed=number)
        mine.flush(collection, force=True)
    before = others.search(collection, query, 9)
    first, second = reversed(seqs())
    assert others.open_indexes.of(collection.id).base_seq == second
    assert mine.rollback(collection).seq == first
    assert seqs() == [first]
    for each in (mine, others):
        assert [hit.chunk_id for hit in each.search(collection, query, 9)] == [hit.chunk_id for hit in before]
        assert each.open_indexes.of(collection.id).base_seq == first
    ingest(store, collection, "/2", ["three"], seed=5)
    assert len(others.search(collection, query, 9)) == 5
    assert others.flush(collection, force=True)
    found = [[hit.chunk_id for hit in each.search(collection, query, 9)] for each in (mine, others)]
    assert found[0] == found[1]
    assert len(list((home / "indexes" / str(collection.id)).glob("*-*"))) == 2
    for each in (mine, others, *databases):
        each.close()


def base_of(process, collection):
    return process.vectors.open_indexes.of(collection.id).index.view().snapshot.base


def test_a_rollback_reaches_a_process_that_searched_at_the_same_seq(processes, process, collection):
    other = processes()
    ingest(process.store, collection, "/a", ["one", "two", "three"])
    process.vectors.rebuild(collection)
    process.vectors.rebuild(collection)
    assert len(other.found(collection)) == 3
    withdrawn = base_of(other, collection)
    process.vectors.rollback(collection)
    assert len(other.found(collection)) == 3
    assert base_of(other, collection) is not withdrawn


def test_a_rollback_reaches_a_process_that_was_idle_until_the_next_generations(processes, process, collection):
    other = processes()
    for number in range(2):
        ingest(process.store, collection, f"/{number}", ["text"], seed=number)
        process.vectors.flush(collection, force=True)
    other.found(collection)
    withdrawn = base_of(other, collection)
    process.vectors.rollback(collection)
    for _ in range(3):  # until the withdrawn one is like any that was pruned
        process.vectors.rebuild(collection)
    assert len(other.found(collection)) == 2
    assert base_of(other, collection) is not withdrawn


def test_a_generation_that_was_only_pruned_is_not_loaded_anew(processes, process, collection):
    other = processes()
    ingest(process.store, collection, "/a", ["text"])
    process.vectors.rebuild(collection)
    other.found(collection)
    mapped = base_of(other, collection)
    for _ in range(3):
        process.vectors.rebuild(collection)
    ingest(process.store, collection, "/b", ["more"], seed=1)
    assert len(other.found(collection)) == 2
    assert base_of(other, collection) is mapped


def test_what_comes_of_a_withdrawn_generation_is_not_written(processes, process, collection, monkeypatch):
    other = processes()
    for number in range(2):
        ingest(process.store, collection, f"/{number}", ["text"], seed=number)
        process.vectors.flush(collection, force=True)
    ingest(process.store, collection, "/new", ["text"], seed=7)
    merged_from, left = [], []
    write = publication.write_generation

    def write_after_a_rollback(root, collection_id, base, **kinds):
        merged_from.append(base_of(process, collection))
        left.append(process.on_disk(collection) - {each.directory for each in process.known(collection)})
        if len(merged_from) == 1:
            with other.database.write() as connection:
                withdraw(connection, collection_id, [other.known(collection)[0].id])
        return write(root, collection_id, base, **kinds)

    monkeypatch.setattr(publication, "write_generation", write_after_a_rollback)
    assert process.vectors.flush(collection, force=True)
    first, second = merged_from
    assert first is not second
    assert left == [set(), set()], "what was withdrawn does not take the room of what comes after"
    assert process.found(collection) == other.found(collection)
    assert len(process.found(collection)) == 3
    assert process.on_disk(collection) == {each.directory for each in process.known(collection)}


def test_a_generation_begun_before_a_purge_leaves_nothing_behind_it(processes, process, collection, held_up):
    """The view holds the purged vectors; nothing is left to write once they are gone, so nothing else cleans up."""
    begun, go = held_up
    gone = ingest(process.store, collection, "/a", ["one", "two"])
    other = processes()
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(process.vectors.flush, collection, force=True)
        assert begun.wait(60)
        other.store.delete(collection, [gone.id])
        with other.database.write() as connection:  # as a purge ends, which would wait for the other's lock
            withdraw(connection, collection.id, [])
        go.set()
        flushed.result()
    assert process.on_disk(collection) == {each.directory for each in process.known(collection)} == set()


def test_one_that_was_begun_before_does_not_stay_the_newest(processes, process, collection, monkeypatch):
    """It is the first of its collection, and comes while its documents are purged."""
    gone = ingest(process.store, collection, "/a", ["one", "two"])
    ingest(process.store, collection, "/b", ["three"], seed=3)
    process.found(collection)
    view = process.vectors.open_indexes.of(collection.id).index.view()
    seq = process.store.collection("handbook").seq
    process.store.delete(collection, [gone.id])
    other = processes()
    locked = live_vectors.writing

    def late(root, collection_id):
        monkeypatch.undo()
        publish(process.database, root, collection, view.rows(), epoch=0, seq=seq)
        return locked(root, collection_id)

    monkeypatch.setattr(live_vectors, "writing", late)
    assert other.vectors.forget_former(collection) == 1
    assert process.on_disk(collection) == set()
    assert process.found(collection) == other.found(collection) == set(chunk_ids(process.store, collection))


def test_what_a_killed_process_left_takes_no_room_from_a_generation(process, collection, monkeypatch):
    ingest(process.store, collection, "/a", ["one"])
    process.vectors.flush(collection, force=True)
    (process.directory / str(collection.id) / "000000000009-deadbeef").mkdir()
    ingest(process.store, collection, "/b", ["two"])

    def full(*_, **__):
        assert not [name for name in process.on_disk(collection) if "deadbeef" in name]
        raise DiskFull("full", hint="none")

    monkeypatch.setattr(publication, "write_generation", full)
    with pytest.raises(DiskFull):
        process.vectors.flush(collection, force=True)


def test_a_generation_that_sql_points_to_though_the_commit_raised_is_kept(process, collection, monkeypatch):
    ingest(process.store, collection, "/a", ["one"])
    write = process.database.write

    @contextmanager
    def interrupted():
        with write() as connection:
            yield connection
        raise KeyboardInterrupt

    monkeypatch.setattr(process.database, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.vectors.flush(collection, force=True)
    (kept,) = process.known(collection)
    assert process.on_disk(collection) == {kept.directory}


@pytest.fixture
def held_up(monkeypatch):
    """Writing a generation waits for ``go``; ``begun`` says that it waits."""
    begun, go = threading.Event(), threading.Event()
    write = publication.write_generation

    def wait(*arguments, **named):
        begun.set()
        assert go.wait(60)
        return write(*arguments, **named)

    monkeypatch.setattr(publication, "write_generation", wait)
    yield begun, go
    go.set()


def test_searches_go_on_and_stay_fresh_while_a_generation_is_written(process, collection, held_up):
    begun, go = held_up
    gone = ingest(process.store, collection, "/a", ["one", "two"])
    ingest(process.store, collection, "/b", ["three"], seed=3)
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(process.vectors.flush, collection, force=True)
        assert begun.wait(60)
        ingest(process.store, collection, "/c", ["four"], seed=4)
        process.store.delete(collection, [gone.id])
        assert process.found(collection) == set(chunk_ids(process.store, collection))
        go.set()
        assert flushed.result() is True
    live = process.vectors.open_indexes.of(collection.id)
    assert (live.base_seq, live.seq, live.index.changes) == (2, 4, 3)  # two gone from the base, one beside it
    assert process.found(collection) == set(chunk_ids(process.store, collection))


def test_a_service_compacts_what_has_grown_beside_its_searches(process, collection, monkeypatch, held_up):
    begun, go = held_up
    monkeypatch.setattr(live_vectors, "_FLUSH_AT", 3)
    compaction = Compaction(process.vectors)
    compaction.start()
    try:
        ingest(process.store, collection, "/a", ["text"] * 4)
        assert len(process.found(collection)) == 4
        assert begun.wait(60)
        ingest(process.store, collection, "/b", ["text"], seed=1)
        assert len(process.found(collection)) == 5
        go.set()
    finally:
        compaction.stop()
    assert process.store.status(collection).generation.count == 4
    assert process.vectors.open_indexes.of(collection.id).index.changes == 1


def test_a_service_goes_on_from_what_another_process_wrote(processes, process, collection, monkeypatch):
    monkeypatch.setattr(live_vectors, "_FLUSH_AT", 3)
    other = processes()
    other.found(collection)
    compaction = Compaction(other.vectors)
    compaction.start()
    ingest(process.store, collection, "/a", ["text"] * 10)
    process.vectors.flush(collection)
    assert len(other.found(collection)) == 10
    compaction.stop()
    assert len(process.known(collection)) == 1
    assert other.vectors.open_indexes.of(collection.id).index.changes == 0
    assert len(other.found(collection)) == 10


def test_a_compaction_of_former_embeddings_does_not_keep_the_new_ones_from_theirs(process, collection, monkeypatch):
    monkeypatch.setattr(live_vectors, "_FLUSH_AT", 1)
    compaction = Compaction(process.vectors)
    compaction.start()
    ingest(process.store, collection, "/a", ["text"])
    compact, called = process.vectors.compact, threading.Semaphore(0)

    def swapped_meanwhile(_):
        called.release()
        raise EmbedderChanged("embedded anew", hint="none")

    with monkeypatch.context() as patched:
        patched.setattr(process.vectors, "compact", swapped_meanwhile)
        process.found(collection)
        assert called.acquire(timeout=60)
        while collection.id in compaction._waiting:
            threading.Event().wait(0.01)
    assert process.vectors.compact == compact
    ingest(process.store, collection, "/b", ["text"], seed=1)
    process.found(collection)
    compaction.stop()
    assert process.store.status(collection).generation.count == 2


def test_a_compaction_that_fails_does_not_end_the_thread(process, collection, monkeypatch):
    monkeypatch.setattr(live_vectors, "_FLUSH_AT", 1)
    compaction = Compaction(process.vectors)
    compaction.start()
    compact, called = process.vectors.compact, threading.Semaphore(0)

    def refuse(_):
        called.release()
        raise DiskFull("full", hint="none")

    monkeypatch.setattr(process.vectors, "compact", refuse)
    ingest(process.store, collection, "/a", ["text"])
    process.found(collection)
    assert called.acquire(timeout=60)
    monkeypatch.setattr(process.vectors, "compact", compact)
    other = process.store.ensure_collection("other", fingerprint())
    ingest(process.store, other, "/a", ["text"])
    process.found(other)
    compaction.stop()
    assert process.store.status(other).generation.count == 1
    assert process.store.status(collection).generation is None


def damage(process, collection):
    """Make the newest generation unusable; returns it."""
    newest = process.known(collection)[0]
    file = process.directory / newest.directory / "index.faiss"
    file.write_bytes(file.read_bytes()[:-9])
    return newest


def test_a_service_replaces_a_damaged_file_beside_its_searches(processes, process, collection, held_up):
    begun, go = held_up
    go.set()
    for number in range(2):
        ingest(process.store, collection, f"/{number}", ["text"], seed=number)
        process.vectors.flush(collection, force=True)
    damaged = damage(process, collection)
    go.clear()
    begun.clear()
    other = processes()
    compaction = Compaction(other.vectors)
    compaction.start()
    try:
        assert len(other.found(collection)) == 2, "from the one before"
        assert begun.wait(60)
        assert len(other.found(collection)) == 2
        go.set()
    finally:
        go.set()
        compaction.stop()
    assert damaged.directory not in {each.directory for each in process.known(collection)}
    assert other.vectors.open_indexes.of(collection.id).base_seq == 2
    with capture_logs() as logs:
        assert len(processes().found(collection)) == 2
    assert logs == []


def test_a_command_leaves_a_large_index_to_the_next_flush(processes, process, collection, monkeypatch):
    """Where the one before can be used, no search waits as long as building takes."""
    monkeypatch.setattr(bases, "FLAT_UP_TO", 30)
    for number in range(2):
        ingest(process.store, collection, f"/{number}", ["text"] * 40, seed=number)
        process.vectors.flush(collection, force=True)
    damaged = damage(process, collection)
    command = processes()
    with capture_logs() as logs:
        assert command.found(collection) == set(chunk_ids(process.store, collection))
        assert command.found(collection) == set(chunk_ids(process.store, collection))
    assert [entry["event"] for entry in logs] == ["index generation damaged"]
    assert process.known(collection)[0] == damaged
    assert command.vectors.flush(collection)
    assert damaged.directory not in {each.directory for each in process.known(collection)}
    with capture_logs() as logs:
        assert processes().found(collection) == set(chunk_ids(process.store, collection))
    assert logs == []


def test_a_large_collection_is_built_from_sql_without_holding_it_in_memory(process, collection, monkeypatch):
    monkeypatch.setattr(bases, "FLAT_UP_TO", 30)
    for number in range(4):
        ingest(process.store, collection, f"/{number}", ["text"] * 20, seed=number)
    assert process.found(collection) == set(chunk_ids(process.store, collection))
    live = process.vectors.open_indexes.of(collection.id)
    assert (live.index.changes, live.index.count()) == (0, 80)
    assert process.store.status(collection).generation.count == 80


def test_a_large_collection_is_searched_though_its_index_cannot_be_written(process, collection, monkeypatch):
    monkeypatch.setattr(bases, "FLAT_UP_TO", 30)
    ingest(process.store, collection, "/a", ["text"] * 40)

    def full(*_, **__):
        raise DiskFull("full", hint="none")

    monkeypatch.setattr(publication, "write_generation", full)
    assert len(process.found(collection)) == 40
    assert process.store.status(collection).generation is None
