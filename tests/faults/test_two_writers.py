"""Programs that write at the same time: all succeed, or one is told who is in its way; nothing is lost."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine

from indexer.chunking.chunker import CHUNKER_VERSION
from indexer.chunking.outlines import outline_of
from indexer.chunking.sizes import sized
from indexer.cli import main
from indexer.commands.index_file import write_index
from indexer.folders.following import Following
from indexer.parsing.isolation import IsolatedParsers
from indexer.reembedding import Reembedding
from rag.embedding.fake import HashingEmbedder
from rag.errors import (
    Conflict,
    DatabaseBusy,
    DatabaseDamaged,
    DataDirectoryUnwritable,
    EmbedderChanged,
    IngestInProgress,
)
from rag.factory import Library, open_library
from rag.stores import live_vectors
from rag.stores.collections.ingest_lock import IngestLock, ReembeddingLock
from rag.stores.documents import SqlDocumentStore
from rag.stores.embeddings import embedding_sets
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite.database import Database
from rag.stores.sqlite.write_ahead import require_whole_log, set_log_aside
from tests.contracts.store_builders import DIMENSION, fingerprint, ingest, settings_in, source, swap_in
from tests.faults.backups import backed_up, restored
from tests.faults.killed_writer import EMBEDDERS, KnownEmbedder, blocks_in, chunks_of, vectors
from tests.faults.permissions import heeding_permissions
from tests.unit.test_api_problems import assert_problem
from tests.unit.test_api_routes import serving

DOCUMENTS = 15
WITHIN_S = 90
A_PART_EACH, PARTS_TOGETHER = sized(CHUNKER_VERSION, 2), sized(CHUNKER_VERSION, 6)


def _ingest_all(home, collection):
    with open_library(settings_in(Path(home))) as library, IngestLock(Path(home), collection):
        for number in range(DOCUMENTS):
            _ingest_one(library, collection, number)
            with suppress(EmbedderChanged):  # between the two calls, or while it was written: whoever swapped wrote one
                library.vectors.flush(library.store.collection(collection), force=number % 8 == 0)


def _ingest_one(library, name, number):
    texts = [f"{name}word{number} part{part}. " for part in range(3)]
    while True:
        collection = library.store.collection(name)
        try:
            with library.store.stage(collection, source(f"/{name}/{number}", str(number))) as version:
                version.add_text(0, "".join(texts), outline=outline_of(blocks_in(texts)))
                chunks = chunks_of(texts, collection.fingerprint.chunker)
                embedded = vectors(collection.fingerprint.embedder, [chunk.text for chunk in chunks])
                version.add_chunks(chunks, embedded)
                version.activate()
        except EmbedderChanged:
            continue
        return


def _delete_every_third(home, collection):
    with open_library(settings_in(Path(home))) as library:
        target = library.store.collection(collection)
        left = {f"/{collection}/{number}" for number in range(0, DOCUMENTS, 3)}
        while left:
            for document in library.store.documents(target, limit=1000):
                if document.uri in left:
                    assert library.store.delete(target, [document.id]) == 1
                    left.remove(document.uri)


def _embed_anew(home, collection):
    with open_library(settings_in(Path(home))) as library:
        library.embedder_of = lambda each: KnownEmbedder(each.fingerprint.embedder)
        cut = [(EMBEDDERS[1], PARTS_TOGETHER), (EMBEDDERS[1], A_PART_EACH)]
        for embedder, chunker in [(EMBEDDERS[1], None), *cut, (EMBEDDERS[0], None), (EMBEDDERS[1], None)]:
            with ReembeddingLock(Path(home), collection):
                target = library.store.collection(collection)
                made = embedding_sets.begin(library.database, target, embedder, DIMENSION, chunker=chunker)
                run = Reembedding(library, target, made, embedder=lambda of=made: KnownEmbedder(of.embedder))
                assert run.run(force=True).outcome == "swapped"


def _back_up(home, _collection):
    for number in range(3):
        backed_up(Path(home), Path(home).with_name(f"{number}.zip"))


def _rebuild(home, collection):
    with open_library(settings_in(Path(home))) as library:
        for _ in range(4):
            try:
                library.vectors.rebuild(library.store.collection(collection))
            except EmbedderChanged:
                continue


def _repair(home, _collection):
    os.environ["RAG_HOME"] = home
    for _ in range(3):
        result = CliRunner().invoke(main, ["verify", "--repair", "--json"])
        if result.exit_code:
            raise AssertionError(result.stdout)


def _search(home, collection):
    with open_library(settings_in(Path(home))) as library:
        for _ in range(30):
            target = library.store.collection(collection)
            question = KnownEmbedder(target.fingerprint.embedder).embed_query("question")
            try:
                hits = library.vectors.search(target, question, 1000)
            except EmbedderChanged:
                continue
            library.store.hydrate(target, [hit.chunk_id for hit in hits])


def run_one(task, home, collection, failures):
    try:
        task(home, collection)
    except BaseException as error:
        failures.put(f"{task.__name__}: {error!r}")
        raise


def test_everybody_at_once(tmp_path):
    home = tmp_path / "home"
    with open_library(settings_in(home)) as library:
        for name in ("one", "two"):
            library.store.ensure_collection(name, fingerprint(embedder=EMBEDDERS[0], chunker=A_PART_EACH))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.test_two_writers"])
    failures = context.SimpleQueue()
    tasks = [(_ingest_all, "one"), (_ingest_all, "two"), (_delete_every_third, "one"), (_embed_anew, "one")]
    tasks += [(_back_up, ""), (_rebuild, "two"), (_repair, ""), (_search, "one")]
    running = [context.Process(target=run_one, args=(task, str(home), name, failures)) for task, name in tasks]
    for process in running:
        process.start()
    deadline = time.monotonic() + WITHIN_S
    while any(process.is_alive() for process in running) and failures.empty() and time.monotonic() < deadline:
        multiprocessing.connection.wait([process.sentinel for process in running if process.is_alive()], timeout=1)
    for process in running:
        process.kill()  # those that have ended do not notice
        process.join()
    assert failures.empty(), failures.get()
    assert [process.exitcode for process in running] == [0] * len(running)
    check(home, {"one": EMBEDDERS[1], "two": EMBEDDERS[0]})
    for archive in tmp_path.glob("*.zip"):
        restored(tmp_path / "restored" / archive.stem, archive)
        with open_library(settings_in(tmp_path / "restored" / archive.stem)) as library:
            assert [each.name for each in library.store.collections()] == ["one", "two"]


def check(home, embedders):
    with open_library(settings_in(home)) as library:
        for name, embedder in embedders.items():
            collection = library.store.collection(name)
            assert collection.fingerprint.embedder == embedder
            kept = [number for number in range(DOCUMENTS) if name == "two" or number % 3]
            documents = library.store.documents(collection, limit=1000)
            assert {document.uri for document in documents} == {f"/{name}/{number}" for number in kept}
            hits = library.vectors.search(collection, KnownEmbedder(embedder).embed_query("question"), 1000)
            assert len(hits) == 3 * len(kept)
            for number in kept:
                assert len(library.lexical.search(collection, f"{name}word{number}", 10)) == 3
    result = CliRunner().invoke(main, ["verify", "--json"], env={"RAG_HOME": str(home)})
    assert json.loads(result.stdout)["findings"] == []


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("RAG_HOME", str(home))
    # As long as a test can wait, instead of a quarter of a minute.
    monkeypatch.setitem(Database.open.__func__.__kwdefaults__, "busy_timeout_s", 0.1)
    database = Database.open(settings_in(home))
    store, vectors = SqlDocumentStore(database), LiveVectors(database, home / "indexes")
    ingest(store, store.ensure_collection("default", fingerprint()), "/a", ["one ", "two "])
    vectors.flush(store.collection("default"), force=True)
    vectors.close()
    database.close()
    return home


@pytest.mark.parametrize("lock", [IngestLock, ReembeddingLock])
def test_the_second_of_two_is_told_who_is_first(home, lock):
    with lock(home, "default"):
        with pytest.raises(Conflict, match=f"Process {os.getpid()} is already"), lock(home, "default"):
            pass
        with lock(home, "another"):
            pass


@pytest.mark.parametrize("lock", [IngestLock, ReembeddingLock])
def test_who_waits_for_a_purge_or_the_like_is_told_of_that(home, lock):
    with lock(home, "default", doing="purging documents of"), pytest.raises(Conflict) as refused, lock(home, "default"):
        pass
    assert refused.value.message == f"Process {os.getpid()} is purging documents of the collection 'default'."
    assert "reembed" not in refused.value.hint


def test_two_ingests_of_one_collection(home, tmp_path):
    (tmp_path / "a.txt").write_text("Some text.")
    with IngestLock(home, "default"):
        result = CliRunner().invoke(main, ["ingest", "--json", str(tmp_path / "a.txt")])
    assert result.exit_code == 1
    assert IngestInProgress.code in result.output
    assert f"Process {os.getpid()} is already ingesting" in " ".join(result.output.split())


def locked(home):
    """Another program has the database for itself: in WAL mode nobody can even read."""
    connection = sqlite3.connect(home / "plumbline.db", isolation_level=None, timeout=10, check_same_thread=False)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    return connection


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["status"],
        ["verify"],
        ["verify", "--repair"],
        ["delete", "/a"],
        ["rebuild"],
        ["ingest", "a.txt"],
        ["export", "-c", "default", "out.jsonl"],
        ["sync", "docs", "--prune"],
        ["watch", "docs"],
        ["worker", "--once"],
        ["jobs"],
        ["ingest", "a.txt", "--queue"],
        ["rename", "default", "other"],
        ["drop", "default"],
        ["prune", "--older-than", "0"],
        ["retain", "3"],
        ["rollback"],
        ["reembed"],
    ],
    ids=" ".join,
)
def test_a_command_on_a_locked_database(home, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.nice", lambda _: 0)  # the tests that follow are not to be slow
    (tmp_path / "a.txt").write_text("Some text.")
    (tmp_path / "docs").mkdir()
    with closing(locked(home)):
        result = CliRunner().invoke(main, [*command, "--json"])
    assert result.exit_code == 1, result.output
    assert "database_busy" in result.output
    assert "Wait for it to finish" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", [["watch", "docs"], ["sync", "docs"], ["ingest", "docs"]], ids=" ".join)
def test_what_takes_in_a_folder_while_another_program_writes_for_long(home, tmp_path, monkeypatch, command):
    """The lock comes when all is open; a watch tells, and does all when it is gone, others are given again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda _self: HashingEmbedder())
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "b.txt").write_text("Water runs down.")
    read, holders = IsolatedParsers.parse, []

    def locking(*arguments, **named):
        if not holders:
            holders.append(locked_for_writing(home))
        return read(*arguments, **named)

    def looks(_self):
        yield None
        holders[0].close()
        yield None

    monkeypatch.setattr(IsolatedParsers, "parse", locking)
    monkeypatch.setattr(Following, "looks", looks)
    result = CliRunner().invoke(main, [*command, "-c", "notes", "--json"])
    assert "database_busy" in result.output
    assert "Traceback" not in result.output
    if command[0] != "watch":
        assert result.exit_code == 1
        holders[0].close()
        result = CliRunner().invoke(main, [*command, "-c", "notes", "--json"])
    assert result.exit_code == 0, result.output
    with open_library(settings_in(home)) as library:
        notes = library.store.collection("notes")
        assert [Path(each.uri).name for each in library.store.documents(notes)] == ["b.txt"]


async def test_the_service_on_a_locked_database(home):
    with open_library(settings_in(home)) as library:
        library.embedder_of = lambda each: KnownEmbedder(each.fingerprint.embedder)
        library.warm_up = lambda: None
        library.database._engine.dispose()
        with closing(locked(home)):
            async with serving(library) as client:
                for method, path, body in [
                    ("GET", "/v1/documents", None),
                    ("GET", "/v1/collections", None),
                    ("POST", "/v1/search", {"query": "one"}),
                ]:
                    response = await client.request(method, path, json=body)
                    told = assert_problem(response, 503, "database_busy")
                    assert told["hint"]
                    assert int(response.headers["retry-after"]) >= 1


def test_a_writer_waits_for_a_lock_that_ends(home):
    database = Database.open(settings_in(home), busy_timeout_s=30)
    store = SqlDocumentStore(database)
    holder = locked_for_writing(home)
    timer = threading.Timer(0.3, holder.close)
    timer.start()
    ingest(store, store.collection("default"), "/b", ["three "])
    timer.join()
    assert len(store.documents(store.collection("default"))) == 2
    database.close()


def locked_for_writing(home):
    connection = sqlite3.connect(home / "plumbline.db", isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_a_reader_does_not_wait_for_a_writer(home):
    database = Database.open(settings_in(home))
    store = SqlDocumentStore(database)
    with closing(locked_for_writing(home)):
        collection = store.collection("default")
        assert len(store.documents(collection)) == 1
        assert len(FtsIndex(database).search(collection, "one", 5)) == 1
        with pytest.raises(DatabaseBusy, match=r"locked.*Wait for it"):
            ingest(store, collection, "/b", ["three "])
    database.close()


@pytest.mark.parametrize("missing", ["plumbline.db-wal", "plumbline.db-shm"])
def test_a_missing_log_or_its_index(home, missing):
    """The index is made anew. Without the log what was in it is gone, but not what was written back before."""
    database = Database.open(settings_in(home))
    SqlDocumentStore(database).collections()
    path = home / missing
    assert path.exists()
    (home / "kept").mkdir()
    for each in home.glob("plumbline.db*"):
        if each != path:
            (home / "kept" / each.name).write_bytes(each.read_bytes())
    database.close()
    found = Database.open(settings_in(home / "kept"), migrate=False)
    store = SqlDocumentStore(found)
    assert [document.uri for document in store.documents(store.collection("default"))] == ["/a"]
    found.close()


@pytest.fixture
def closing_late(home, monkeypatch):
    """Another process closes the database right after ``call`` of ``Path`` has found its log, and so removes that."""

    def use(call):
        other = sqlite3.connect(home / "plumbline.db", isolation_level=None)
        other.execute("CREATE TABLE notes (text)")  # there is a log, and something in it
        found = getattr(Path, call)

        def closed_after(path, *arguments, **named):
            result = found(path, *arguments, **named)
            if path.name == "plumbline.db-wal":
                other.close()
                assert not os.path.lexists(path)
            return result

        monkeypatch.setattr(Path, call, closed_after)

    return use


def test_a_log_that_is_removed_while_it_is_looked_at_is_no_error(home, closing_late):
    closing_late("open")
    require_whole_log(home / "plumbline.db")


def test_a_log_that_is_removed_while_the_database_is_measured_is_no_error(home, closing_late):
    measured = Database(create_engine("sqlite://"), home / "plumbline.db")
    closing_late("stat")
    assert measured.size_bytes() >= (home / "plumbline.db").stat().st_size > 0


def test_a_damaged_log_that_is_removed_before_it_is_kept_is_told(home):
    with pytest.raises(DatabaseBusy, match="closed the database"):
        set_log_aside(home / "plumbline.db")


def test_a_database_that_is_gone_from_beside_its_index_files_is_not_made_anew(home):
    (home / "plumbline.db").unlink()
    for migrate in (True, False):
        with pytest.raises(DatabaseDamaged, match="is not there, but there are index files"):
            Database.open(settings_in(home), migrate=migrate)
        assert not (home / "plumbline.db").exists()
    shutil.rmtree(home / "indexes")
    Database.open(settings_in(home)).close()


def test_index_files_of_another_database_answer_nothing(home, tmp_path):
    """A new database gives its first collection the id that the one before gave."""
    (home / "plumbline.db").unlink()
    (home / "indexes").rename(tmp_path / "aside")
    database = Database.open(settings_in(home))
    (tmp_path / "aside").rename(home / "indexes")
    store, vectors = SqlDocumentStore(database), LiveVectors(database, home / "indexes")
    collection = store.ensure_collection("another", fingerprint())
    assert vectors.search(collection, KnownEmbedder(EMBEDDERS[0]).embed_query("one"), 5) == []
    ingest(store, collection, "/new", ["four "])
    found = vectors.search(collection, KnownEmbedder(EMBEDDERS[0]).embed_query("one"), 5)
    assert [chunk.text for chunk, _ in store.hydrate(collection, [hit.chunk_id for hit in found])] == ["four "]
    vectors.close()
    database.close()


def test_index_files_of_another_collection(home):
    """They are whole, but not those that SQL points to."""
    database = Database.open(settings_in(home))
    store, vectors = SqlDocumentStore(database), LiveVectors(database, home / "indexes")
    other = store.ensure_collection("other", fingerprint())
    ingest(store, other, "/other", ["five ", "six ", "seven "], seed=5)
    vectors.flush(other, force=True)
    vectors.close()
    (mine,), (theirs,) = ((home / "indexes" / number).iterdir() for number in ("1", "2"))
    for path in theirs.iterdir():
        (mine / path.name).write_bytes(path.read_bytes())
    vectors = LiveVectors(database, home / "indexes")
    hits = vectors.search(store.collection("default"), KnownEmbedder(EMBEDDERS[0]).embed_query("one"), 10)
    passages = store.hydrate(store.collection("default"), [hit.chunk_id for hit in hits])
    assert sorted(chunk.text for chunk, _ in passages) == ["one ", "two "]
    vectors.close()
    database.close()


def test_tables_of_another_program(home):
    (home / "plumbline.db").unlink()
    with closing(sqlite3.connect(home / "plumbline.db")) as connection:
        connection.execute("CREATE TABLE something (id INTEGER)")
    with pytest.raises(DatabaseDamaged, match="other tables"):
        Database.open(settings_in(home))


def test_a_read_only_database(home):
    (home / "plumbline.db").chmod(0o400)
    with heeding_permissions():
        database = Database.open(settings_in(home), migrate=False)
        with pytest.raises(DataDirectoryUnwritable, match="cannot be opened for writing"):
            ingest(SqlDocumentStore(database), SqlDocumentStore(database).collection("default"), "/b", ["three "])
        database.close()


def test_a_swap_while_a_command_writes_the_index_is_no_error(home, monkeypatch):
    monkeypatch.setattr(live_vectors, "_FLUSH_AT", 1)
    with open_library(settings_in(home)) as library:
        before = library.store.collection("default")
        changed = fingerprint(embedder=EMBEDDERS[1])
        swap_in(library.database, library.index_directory, before, changed, vectors(EMBEDDERS[1], ["one ", "two "]))
        with pytest.raises(EmbedderChanged):
            library.vectors.flush(before)
        assert write_index(library, before) is None
