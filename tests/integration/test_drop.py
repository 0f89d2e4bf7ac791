"""A collection that is dropped is gone with all that was in it, for every process, and nothing else is."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.erasure import DeletionFollower, erase_deleted
from rag.errors import Conflict, UnknownCollection
from rag.factory import Library, open_library
from rag.stores.collections.ingest_lock import IngestLock, ReembeddingLock
from rag.stores.documents import SqlDocumentStore
from rag.stores.embeddings import embedding_sets
from rag.stores.index.generations import writing
from rag.stores.jobs.tables import JobRow
from rag.stores.live_vectors import LiveVectors
from rag.stores.removal import dropping
from rag.stores.versions import retirement
from rag.types import Comparison
from tests.integration.programs import indexer
from tests.integration.test_purge import OTHER, WORD, places, vectors_of

QUERY = HashingEmbedder().embed_query(WORD)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two collections of the same documents: one with versions, index files and a tuned weight, and another."""
    folder = tmp_path_factory.mktemp("docs")
    for number in range(10):
        (folder / f"{number}.txt").write_text(f"{OTHER} number {number} says nothing. " * 20)
    (folder / "secret.txt").write_text(f"The word is {WORD}. " * 200)
    with pytest.MonkeyPatch.context() as patch:
        home = with_home(patch, tmp_path_factory.mktemp("made") / "home")
        run = indexer(patch)
        run("ingest", str(folder), "-c", "gone", "--meta", "team=red")
        run("rebuild", "-c", "gone")
        (folder / "secret.txt").write_text(f"The word was {WORD}. " * 200)
        run("ingest", str(folder), "-c", "gone")
        run("rebuild", "-c", "gone")
        run("delete", str(folder / "0.txt"), "-c", "gone")
        with open_library(Settings(_env_file=None)) as library:
            library.store.set_dense_weight(library.store.collection("gone"), 0.9)
        (folder / "secret.txt").write_text("The word is not told. " * 200)
        run("ingest", str(folder), "-c", "stays")
    return home, folder


def with_home(patch, home):
    patch.setenv("RAG_HOME", str(home))
    patch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())
    return home


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    return with_home(monkeypatch, shutil.copytree(made[0], tmp_path / "home"))


@pytest.fixture
def folder(made):
    return made[1]


def rows(home):
    """How many rows each table has."""
    with closing(sqlite3.connect(home / "plumbline.db")) as connection:
        names = [table.name for table in JobRow.metadata.sorted_tables]
        return {name: len(connection.execute(f"SELECT 1 FROM {name}").fetchall()) for name in names}  # noqa: S608


def rows_of_a_store_with(run, folder, home, monkeypatch, name):
    monkeypatch.setenv("RAG_HOME", str(home.with_name("fresh")))
    run("ingest", str(folder), "-c", name)
    found = rows(home.with_name("fresh"))
    monkeypatch.setenv("RAG_HOME", str(home))
    return found


@pytest.mark.parametrize("purge", [False, True])
def test_nothing_is_left_of_a_dropped_collection(run, folder, home, monkeypatch, purge):
    vectors = vectors_of(home, WORD)
    assert places(home, WORD.encode(), *vectors)
    report = json.loads(run("drop", "gone", "--json", *["--purge"] * purge).stdout)

    assert (report["documents"], report["complete"]) == (10, True)
    searched = {each["place"]: each for each in report["searched"]}
    assert searched["versions"] == {"place": "versions", "searched": 12, "removed": 12, "left": 0, "note": ""}
    assert report["chunks"] == searched["chunks"]["removed"] == searched["full text"]["removed"] > 12
    assert ("the database file" in searched) is purge
    if purge:
        assert places(home, WORD.encode(), *vectors) == set()
    expected = rows_of_a_store_with(run, folder, home, monkeypatch, "stays")
    told = {"jobs", "job_files"}  # what was done is told on, but of what was purged
    assert {name: count for name, count in rows(home).items() if name not in told} == {
        name: count for name, count in expected.items() if name not in told
    }
    assert (rows(home)["jobs"] == 1) is purge
    assert [path.name for path in (home / "indexes").iterdir() if path.name.startswith("1")] == []
    assert json.loads(run("verify", "--json").stdout)["findings"] == []
    assert len(json.loads(run("list", "-c", "stays", "--json").stdout)["documents"]) == 11
    assert "unknown_collection" in run("list", "-c", "gone", exit_code=1).output
    assert "unknown_collection" in run("drop", "gone", exit_code=1).output


def test_its_name_can_be_given_anew_and_brings_nothing_back(run, folder, home):
    run("drop", "gone")
    run("ingest", str(folder / "1.txt"), "-c", "gone")
    with open_library(Settings(_env_file=None)) as library:
        collection = library.store.collection("gone")
        assert collection.dense_weight is None
        assert len(library.store.documents(collection, limit=100)) == 1
        assert [change.kind for _, change in library.history.changes(collection, limit=100)] == ["added"]
        assert not library.lexical.search(collection, WORD, 10)


def test_it_is_refused_while_something_is_taken_into_it_or_waits_to_be(run, folder, home):
    before = rows(home)
    for lock in (IngestLock, ReembeddingLock):
        with lock(home, "gone"):
            assert "is already" in run("drop", "gone", exit_code=1).output
    run("ingest", str(folder), "-c", "gone", "--queue")
    job = rows(home)["jobs"]
    refused = run("drop", "gone", "--purge", exit_code=1).output
    assert "[conflict]" in refused
    assert f"indexer jobs {job} --cancel" in refused
    assert rows(home) == {**before, "jobs": job}
    run("jobs", str(job), "--cancel")
    run("drop", "gone", "--purge")
    assert (rows(home)["collections"], rows(home)["jobs"]) == (1, 1)


@pytest.mark.parametrize("command", [["status"], ["verify"], ["verify", "--repair"]])
def test_who_looks_at_all_collections_goes_on_without_one_that_is_dropped_meanwhile(run, home, monkeypatch, command):
    listed = SqlDocumentStore.collections
    monkeypatch.setattr(
        SqlDocumentStore,
        "collections",
        lambda self: [replace(listed(self)[0], id=99, name="dropped"), *listed(self)],
    )
    shown = run(*command).output
    assert "dropped" not in shown
    assert "stays: " in shown or "2 collections verified: nothing wrong" in shown


@pytest.mark.parametrize("command", [["status"], ["retain"], ["rebuild"], ["reembed"], ["prune"]])
def test_a_collections_name_stays_on_its_line(run, home, command):
    name = "a\nwrong: \x1b[31mred"
    run("rename", "stays", name)
    shown = run(*command, *(["-c", name] if command != ["status"] else [])).output
    assert "a\ufffdwrong: \ufffd[31mred: " in shown
    assert "\x1b" not in shown


def test_the_job_of_a_command_that_was_killed_is_in_nobodys_way(run, folder, home):
    with open_library(Settings(_env_file=None)) as library:
        (job, *_) = library.jobs.jobs(collection="gone")
        library.jobs.put(job.request, owner="somebody who is dead")
    run("drop", "gone", "--purge")
    assert rows(home)["jobs"] == 1


def test_readers_in_other_processes_find_all_of_it_or_nothing(run, folder, home, monkeypatch):
    monkeypatch.setattr(retirement, "_BATCH", 3)  # many transactions
    outcomes, errors, ready, ended = [], [], threading.Event(), threading.Event()

    def read():
        where = Comparison(field="meta.team", operator="==", value="red")
        with open_library(Settings(_env_file=None)) as other:
            collection, stays = other.store.collection("gone"), other.store.collection("stays")
            while not ended.is_set() or outcomes[-1] is not None:
                assert len(other.vectors.search(stays, QUERY, 1000)) == expected
                try:
                    found = [other.vectors.search(collection, QUERY, 1000, where=each) for each in (None, where)]
                    hydrated = other.store.hydrate(collection, [hit.chunk_id for hit in found[0]])
                    outcomes.append((*map(len, found), len(hydrated), len(other.lexical.search(collection, WORD, 100))))
                except UnknownCollection:
                    outcomes.append(None)
                ready.set()

    def reading():
        try:
            read()
        except BaseException as error:  # noqa: BLE001  # of a thread: the test raises it
            errors.append(error)
            ready.set()

    with open_library(Settings(_env_file=None)) as library:
        expected = library.store.status(library.store.collection("stays")).chunks
        thread = threading.Thread(target=reading)
        thread.start()
        assert ready.wait(60)
        library.drop(library.store.collection("gone"))
        ended.set()
        thread.join(60)
    assert errors == []
    assert outcomes[-1] is None
    first, empty = outcomes[0], (0, 0, 0, 0)
    assert min(first) > 0
    for outcome in outcomes:  # each of the four has one snapshot of its own
        assert outcome is None or all(
            count in pair for count, pair in zip(outcome, zip(first, empty, strict=True), strict=True)
        )


def test_an_index_that_is_being_written_is_written_no_more(home, run, monkeypatch):
    spooled, read = LiveVectors._spooled, threading.Event()

    def noted(self, *args):
        found = spooled(self, *args)
        read.set()
        return found

    monkeypatch.setattr(LiveVectors, "_spooled", noted)
    with open_library(Settings(_env_file=None)) as library, open_library(Settings(_env_file=None)) as other:
        collection = library.store.collection("gone")
        writer = threading.Thread(target=other.vectors.rebuild, args=(collection,))
        with writing(library.index_directory, collection.id):
            writer.start()
            assert read.wait(30)  # it has read what it is about to write
            dropping._hide(library.database, collection, purge=False)
        writer.join(30)
        (index,) = [library.store.index(each) for each in library.store.collections() if each.name == "gone"]
        assert index.count == 0
        library.finish_purges()
        assert [each.name for each in library.store.collections()] == ["stays"]
    assert not list((home / "indexes").rglob("*.faiss"))
    assert json.loads(run("verify", "--json").stdout)["findings"] == []


def test_a_model_that_does_not_forget_is_told(run, folder, home, monkeypatch):
    monkeypatch.setitem(erase_deleted.__kwdefaults__, "timeout_s", 0.1)
    with open_library(Settings(_env_file=None)) as library:
        follower = DeletionFollower(library.database, library.generator_source.snapshot_directory)  # confirms nothing
        try:
            report = library.drop(library.store.collection("gone"))
        finally:
            follower.close()
    assert not report.complete
    (left,) = [place for place in report.searched if place.left]
    assert left.place == "processes with a model"
    assert "did not confirm" in left.note


def test_without_room_for_the_file_anew_it_says_so_and_goes_on_later(run, folder, home, monkeypatch):
    monkeypatch.setattr("rag.stores.sqlite.database.Database.rewrite", lambda self: False)
    refused = run("drop", "gone", "--purge", exit_code=1).output
    assert "the database file: 1 searched, 0 removed, 1 left" in refused
    assert "the collection: 1 searched, 0 removed, 1 left" in refused
    assert "gone: 0 documents" in run("status").output
    monkeypatch.undo()
    monkeypatch.setenv("RAG_HOME", str(home))
    run("prune", "-c", "stays")
    assert rows(home)["collections"] == 1
    assert places(home, WORD.encode()) == set()


def test_a_process_lets_go_of_the_index_of_a_collection_that_is_gone(run, folder, home):
    with open_library(Settings(_env_file=None)) as other:
        for collection in other.store.collections():
            other.vectors.search(collection, QUERY, 1)
        opened = other.vectors.open_indexes
        run("drop", "gone")
        opened.keep_only({collection.id for collection in other.store.collections()})
        assert len(opened) == 1
        assert opened.memory_bytes > 0


def test_a_collection_that_is_gone_cannot_be_dropped(run, folder, home):
    with open_library(Settings(_env_file=None)) as library:
        collection = library.store.collection("gone")
        library.drop(collection)
        with pytest.raises(UnknownCollection):
            library.drop(collection)
        with IngestLock(home, "stays"), pytest.raises(Conflict):
            library.drop(library.store.collection("stays"))
        assert np.isfinite(library.vectors.search(library.store.collection("stays"), QUERY, 1)[0].score)


def test_one_whose_name_no_command_takes_any_more_can_be_dropped(run, folder, home, tmp_path):
    exported = tmp_path / "stays.jsonl"
    run("export", str(exported), "-c", "stays")
    for command in (["ingest", str(folder)], ["import", str(exported)], ["verify"], ["list"]):
        assert "The name of the collection is empty" in run(*command, "-c", "", exit_code=2).output
    with open_library(Settings(_env_file=None)) as library:
        library.store.ensure_collection("", library.store.collection("stays").fingerprint)
    run("drop", "")
    assert rows(home)["collections"] == 2
    assert "unknown_collection" in run("drop", "\udcff", exit_code=1).output


@pytest.mark.parametrize("begin", ["ingest", "import", "sync"])
def test_whoever_takes_documents_in_first_finishes_a_drop_that_was_killed(run, folder, home, tmp_path, begin):
    with open_library(Settings(_env_file=None)) as library:
        dropping._hide(library.database, library.store.collection("gone"), purge=False)
    exported = tmp_path / "stays.jsonl"
    run("export", str(exported), "-c", "stays")
    run(begin, str(exported if begin == "import" else folder), "-c", "gone")
    with open_library(Settings(_env_file=None)) as library:
        collection = library.store.collection("gone")
        assert (collection.id, collection.dense_weight) == (3, None)
        assert len(library.store.documents(collection, limit=100)) == 11
        library.finish_purges()
        assert library.store.collection("gone") == collection


def test_embeddings_of_before_and_those_that_grow_go_too(run, folder, home):
    run("reembed", "-c", "gone", "--chunk-tokens", "60")
    with open_library(Settings(_env_file=None)) as library:
        collection = library.store.collection("gone")
        embedding_sets.begin(library.database, collection, "another", 8)
        assert rows(home)["embedding_sets"] == 4
        library.drop(collection)
        assert rows(home)["embedding_sets"] == 1
        (stays,) = library.store.collections()
        assert rows(home)["embeddings"] == rows(home)["chunks"] == library.store.status(stays).chunks
