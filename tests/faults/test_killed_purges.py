"""``kill -9`` before and after every commit of a purge, a drop and an expiry: the next start ends what was begun."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

import numpy as np
import pytest
from click.testing import CliRunner

from indexer.cli import main
from rag.factory import open_library
from rag.inference.kv.snapshot_files import Snapshot, root_key, snapshot_key, write_snapshot
from rag.stores.collection_rows import being_purged, being_removed
from rag.stores.index.vectors import encode
from rag.stores.sqlite.database import Database
from rag.stores.tables import VersionStatus
from rag.stores.versions import retirement
from rag.types import Span
from tests.contracts.store_builders import fingerprint, ingest, settings_in, unit_vectors

WORD = "zanzibarquux"  # one word, in full text as it stands
CHUNKS = 12
BATCH = 5  # chunks that are deleted in one transaction, so that there are several


def written(home):
    """A document with a secret, replaced once, among others, with index files of before and after."""
    with open_library(settings_in(home)) as library:
        collection = library.store.ensure_collection("c", fingerprint())
        for number in range(4):
            ingest(library.store, collection, f"/{number}", [f"harmless {number}. "] * 3, seed=number)
        ingest(library.store, collection, "/secret", [f"{WORD} was here. "] * CHUNKS, seed=100)
        library.vectors.flush(collection, force=True)
        ingest(library.store, collection, "/secret", [f"{WORD} is here. "] * CHUNKS, seed=101)
        ingest(library.store, collection, "/0", ["other 0. "] * 3, seed=50)
        library.vectors.flush(collection, force=True)
        for uri, state in (("/secret", WORD), ("/1", "harmless")):
            stored_state(home, chunks_of(library, uri), state.encode())


def chunks_of(library, uri):
    collection = library.store.collection("c")
    document = library.store.document_by_uri(collection, uri)
    ids = [item.chunk_id for item in library.store.embedding_inputs(collection)]
    return [chunk.id for chunk, of in library.store.hydrate(collection, ids) if of.id == document.id]


def stored_state(home, chunks, state):
    """A file of what a model has made of these chunks."""
    identity, tokens = root_key("model"), np.array(chunks, np.int32)
    key = snapshot_key(identity, tokens)
    path = home / "kv" / identity.hex() / f"{key.hex()}.kv"
    path.parent.mkdir(parents=True, exist_ok=True)
    snapshot = Snapshot(key=key, parent=identity, start=0, tokens=tokens, chunks=frozenset(chunks))
    write_snapshot(path, identity, snapshot, np.frombuffer(state, np.uint8))


def secret_bytes():
    vectors = np.concatenate([unit_vectors(CHUNKS, seed=100), unit_vectors(CHUNKS, seed=101)])
    return [WORD.encode(), *encode(vectors), *(row.tobytes() for row in vectors)]


def files_with(home, needles):
    files = [path for path in home.rglob("*") if path.is_file()]
    return {path.name for path in files if any(needle in path.read_bytes() for needle in needles)}


def dies(home, doing, commit, when):
    """A process's whole life: it is killed before or after its so many-th commit, or comes to its end."""
    retirement._BATCH = BATCH
    original, done = Database.write, 0

    @contextmanager
    def write(self):
        nonlocal done
        with original(self) as connection:
            yield connection
            done += 1
            if (done, when) == (commit, "before"):
                os.kill(os.getpid(), signal.SIGKILL)
        if (done, when) == (commit, "after"):
            os.kill(os.getpid(), signal.SIGKILL)

    library = open_library(settings_in(home))
    Database.write = write
    collection = library.store.collection("c")
    if doing == "purge":
        library.purge(collection, [library.store.document_by_uri(collection, "/secret").id])
    elif doing.startswith("drop"):
        library.drop(collection, purge=doing.endswith("purge"))
    else:
        library.store.expire(collection, older_than=timedelta(0))
    library.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    home = tmp_path_factory.mktemp("killed") / "home"
    written(home)
    assert {"plumbline.db", "index.faiss"} <= files_with(home, secret_bytes())
    (state,) = files_with(home / "kv", secret_bytes())
    assert state.endswith(".kv")
    return home


def lives(prepared, tmp_path, doing, when):
    """The data directory as each kill leaves it, and how many commits there were before."""
    context = multiprocessing.get_context("forkserver")  # the modules are loaded once, not for each process
    context.set_forkserver_preload(["tests.faults.test_killed_purges"])
    for commit in count(1):
        home = tmp_path / f"{commit}"
        shutil.copytree(prepared, home)
        process = context.Process(target=dies, args=(home, doing, commit, when))
        process.start()
        process.join(120)
        if process.exitcode == 0:
            assert commit > 3, "it has more commits than that"
            return
        assert process.exitcode == -signal.SIGKILL
        yield commit, home


def verified(home):
    result = CliRunner().invoke(main, ["verify", "--json"], env={"RAG_HOME": str(home)}, catch_exceptions=False)
    return json.loads(result.stdout)["findings"]


def the_others(library):
    collection = library.store.collection("c")
    hits = library.vectors.search(collection, unit_vectors(1, seed=9)[0], 1000)
    texts = [chunk.text for chunk, _ in library.store.hydrate(collection, [hit.chunk_id for hit in hits])]
    return sorted(text for text in texts if WORD not in text)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_purge_is_undone_whole_or_finished_by_the_next_start(prepared, tmp_path, when):
    expected = ["harmless 1. ", "harmless 2. ", "harmless 3. "]
    for commit, home in lives(prepared, tmp_path, "purge", when):
        with open_library(settings_in(home)) as library:
            collection = library.store.collection("c")
            begun = (commit, when) != (1, "before")
            there = library.store.document_by_uri(collection, "/secret")
            assert (there is None) == begun
            library.finish_purges()  # as every command that writes does, and a service
            with library.database.read() as connection:
                assert being_purged(connection) == []
            assert the_others(library) == sorted([*expected * 3, *["other 0. "] * 3])
            if begun:
                assert not library.lexical.search(collection, WORD, 10)
                assert files_with(home, secret_bytes()) == set()
                assert len(files_with(home / "kv", [b"harmless"])) == 1
            else:
                assert library.store.source_text(there.id, Span(start=0, end=1000)).startswith(f"{WORD} is here.")
        assert verified(home) == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("doing", ["drop", "drop and purge"])
def test_a_drop_is_undone_whole_or_finished_by_the_next_start(prepared, tmp_path, doing, when):
    for commit, home in lives(prepared, tmp_path, doing, when):
        assert {each["severity"] for each in verified(home)} <= {"leftover"}
        with open_library(settings_in(home)) as library:
            begun = (commit, when) != (1, "before")
            if not begun:
                assert len(the_others(library)) == 12
                continue
            for collection in library.store.collections():  # until its own row is gone
                assert library.vectors.search(collection, unit_vectors(1, seed=9)[0], 1000) == []
                assert not library.lexical.search(collection, WORD, 10)
                assert library.store.documents(collection, limit=10) == []
            library.finish_purges()  # as every command that writes does, and a service
            assert library.store.collections() == []
            assert files_with(home / "kv", [WORD.encode(), b"harmless"]) == set()
            if doing == "drop and purge":
                assert files_with(home, secret_bytes()) == set()
        assert not list((home / "indexes").rglob("*.faiss"))
        assert verified(home) == []


def test_documents_taken_in_after_a_killed_drop_stay(prepared, tmp_path):
    for commit, home in lives(prepared, tmp_path, "drop", "after"):
        with open_library(settings_in(home)) as library:
            was_there = library.store.collections() != []
            collection = library.store.ensure_collection("c", fingerprint())  # nobody has finished the drop
            ingest(library.store, collection, "/new", ["what is new. "])
            with library.database.read() as connection:
                assert not being_removed(connection)
            library.finish_purges()
            library.store.discard_abandoned(library.store.collection("c"))
            assert the_others(library) == ["what is new. "]
            assert was_there or commit > 3
        assert {each["severity"] for each in verified(home)} <= {"leftover"}  # index files, until others are written


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_expiry_is_finished_by_the_next_one(prepared, tmp_path, when):
    for _, home in lives(prepared, tmp_path, "expire", when):
        with open_library(settings_in(home)) as library:
            collection = library.store.collection("c")
            before = the_others(library)
            library.store.expire(collection, older_than=timedelta(0))
            with library.database.read() as connection:
                rows = connection.exec_driver_sql("SELECT DISTINCT status FROM document_versions").scalars().all()
            assert rows == [VersionStatus.ACTIVE]
            assert the_others(library) == before
            assert len(library.lexical.search(collection, WORD, 100)) == CHUNKS
        assert verified(home) == []
