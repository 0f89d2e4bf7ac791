"""A collection that is renamed is the same one under another name, for every process from its next query on."""

from __future__ import annotations

import json
import shutil

import pytest

from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.errors import Conflict, InvalidRequest
from rag.factory import open_library
from rag.stores.collections.holding import alone
from rag.stores.collections.ingest_lock import IngestLock, ReembeddingLock
from rag.stores.removal import leftovers, stray_files
from tests.integration.programs import indexer
from tests.integration.test_drop import with_home

QUERY = HashingEmbedder().embed_query("what was")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A collection with versions, an index file and a tuned weight, and another."""
    folder = tmp_path_factory.mktemp("docs")
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"What was number {number} says something. " * 20)
    with pytest.MonkeyPatch.context() as patch:
        home = with_home(patch, tmp_path_factory.mktemp("made") / "home")
        run = indexer(patch)
        run("ingest", str(folder), "-c", "hand book/1")
        (folder / "0.txt").write_text("It is another now. " * 20)
        run("ingest", str(folder), "-c", "hand book/1")
        run("delete", str(folder / "1.txt"), "-c", "hand book/1")
        run("ingest", str(folder), "-c", "stays")
        with open_library(settings()) as library:
            library.store.set_dense_weight(library.store.collection("hand book/1"), 0.9)
    return home, folder


def settings():
    return Settings(_env_file=None)


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    return with_home(monkeypatch, shutil.copytree(made[0], tmp_path / "home"))


def told(run, name):
    """All that commands say of a collection, but its name; `status` of every other, too."""
    commands = [[command, "-c", name] for command in ("list", "changes", "verify")]
    said = [run(*command, "--json").stdout for command in (*commands, ["jobs"], ["status"])]
    return [
        text.replace(json.dumps(name, ensure_ascii=False), "NAME").replace(json.dumps(name), "NAME") for text in said
    ]


def test_all_that_is_in_it_is_there_under_the_other_name_alone(run, home, made):
    before = told(run, "hand book/1")
    assert all("NAME" in text for text in (*before[:2], *before[3:]))
    assert run("rename", "hand book/1", "Händbuch").stdout == "renamed hand book/1 to Händbuch\n"
    assert told(run, "Händbuch") == before
    assert "unknown_collection" in run("list", "-c", "hand book/1", exit_code=1).output
    assert json.loads(run("verify", "--json").stdout)["findings"] == []
    summary = json.loads(run("ingest", str(made[1]), "-c", "Händbuch", "--json").stdout.splitlines()[-1])
    assert (summary["unchanged"], summary["ingested"]) == (2, 1)
    assert json.loads(run("rename", "Händbuch", "hand book/1", "--json").stdout) == {
        "collection": "hand book/1",
        "was": "Händbuch",
    }


def test_running_programs_know_it_by_their_next_query(run, home):
    with open_library(settings()) as other:
        collection = other.store.collection("hand book/1")
        found = other.retriever.retrieve(collection, "What was number", 5).passages
        run("rename", "hand book/1", "manual")
        now = other.store.collection("manual")
        assert (now.id, now.seq, now.dense_weight) == (collection.id, collection.seq, 0.9)
        again = other.retriever.retrieve(now, "What was number", 5).passages
        assert [passage.chunk for passage in again] == [passage.chunk for passage in found] != []
        assert {passage.document.collection for passage in again} == {"manual"}
        # Whoever looked it up before goes on with it.
        assert len(other.vectors.search(collection, QUERY, 5)) == len(other.vectors.search(now, QUERY, 5)) > 0
        assert other.store.status(collection).collection == now
        assert other.store.set_dense_weight(collection, 0.4).name == "manual"


def rename_to_a_lookalike(run):
    """Of another; a collection itself may have its letters composed otherwise."""
    run("rename", "stays", "caf\u00e9")
    said = run("rename", "hand book/1", "cafe\u0301", exit_code=1).output
    run("rename", "caf\u00e9", "cafe\u0301")
    run("rename", "cafe\u0301", "stays")
    return said


def test_it_is_refused_while_somebody_has_either_name(run, home, made):
    names = {"hand book/1", "stays"}
    assert "There is a collection 'stays' already" in run("rename", "hand book/1", "stays", exit_code=1).output
    assert "already" in run("rename", "stays", "stays", exit_code=1).output
    assert "looks the same" in rename_to_a_lookalike(run)
    for lock in (IngestLock, ReembeddingLock):
        for name in ("hand book/1", "manual"):
            with lock(home, name):
                assert "is already" in run("rename", "hand book/1", "manual", exit_code=1).output
    for name in ("hand book/1", "manual"):
        run("ingest", str(made[1]), "-c", name, "--queue")
        with open_library(settings()) as library:
            (job, *_) = library.jobs.jobs(collection=name)
        assert f"indexer jobs {job.id} --cancel" in run("rename", "hand book/1", "manual", exit_code=1).output
        run("jobs", str(job.id), "--cancel")
    with open_library(settings()) as library:
        assert {each.name for each in library.store.collections()} == names
        for bad in ("", "\udcff"):
            with pytest.raises(InvalidRequest):
                library.rename(library.store.collection("stays"), bad)
    run("rename", "hand book/1", "manual")


def test_the_locks_of_a_former_name_hold_nothing(run, home, made):
    """Who read the name before a rename and takes the lock after it would be beside those who know the new one."""
    with open_library(settings()) as library:
        was = library.store.collection("hand book/1")
        run("rename", "hand book/1", "manual")
        with pytest.raises(Conflict, match="'hand book/1' is called 'manual' now"):
            library.drop(was)
        with pytest.raises(Conflict, match="is called"):
            library.purge(was, [1])
        with pytest.raises(Conflict, match="is called"):
            library.rename(was, "another")
        with (
            pytest.raises(Conflict, match="is called"),
            alone(library.database, home, was.id, was.name, IngestLock),
        ):
            raise AssertionError("it was held")
        # What an ingest has staged under the new name is no leftover to who knows the former one.
        assert leftovers._is_held(library.database, home, was, IngestLock)
        assert stray_files._is_reembedding(library.database, home, was.id, was.name)
        assert [each.name for each in library.store.collections()] == ["manual", "stays"]


def test_one_that_is_being_dropped_is_in_nobodys_way(run, home):
    from rag.stores.removal import dropping

    with open_library(settings()) as library:
        dropping._hide(library.database, library.store.collection("stays"), purge=False)
    run("rename", "hand book/1", "stays")
    with open_library(settings()) as library:
        assert [each.id for each in library.store.collections()] == [1]
