"""Who has a model follows what is deleted; who deletes removes the files and waits for those who follow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import delete, update
from structlog.testing import capture_logs

from rag import erasure
from rag.erasure import DeletionFollower, ErasureReport, erase_deleted, remove_all, sweep
from rag.errors import DataDirectoryUnwritable, GenerationFailed
from rag.followers import Registration, followers
from rag.inference.kv.snapshot_files import Snapshot, root_key, snapshot_key, write_snapshot
from rag.inference.kv.stored_states import stored_states
from rag.inference.scripted import ScriptedGenerator
from rag.model_types import Gone
from rag.stores.documents import SqlDocumentStore
from rag.stores.sqlite.database import Database
from rag.stores.tables import CollectionRow, TombstoneRow, VersionRow
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest, settings_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.types import Collection, Document


class Home:
    """A data directory of one collection."""

    def __init__(self, path: Path) -> None:
        self.database = Database.open(settings_in(path))
        self.store = SqlDocumentStore(self.database)
        self.store.ensure_collection("default", fingerprint())
        self.kv = path / "kv"

    @property
    def collection(self) -> Collection:
        return self.store.collection("default")

    def ingest(self, uri: str, count: int = 2) -> Document:
        return ingest(self.store, self.collection, uri, [f"{uri} {i}. " for i in range(count)])

    def ids(self) -> list[int]:
        return chunk_ids(self.store, self.collection)

    def delete(self, *documents: Document) -> None:
        self.store.delete(self.collection, [document.id for document in documents])

    def write_state(self, *chunks: int) -> Path:
        identity = root_key(f"model of {chunks}")
        folder = self.kv / identity.hex()
        folder.mkdir(parents=True)
        tokens = np.array(chunks, dtype=np.int32)
        key = snapshot_key(identity, tokens)
        path = folder / f"{key.hex()}.kv"
        state = Snapshot(key=key, parent=identity, start=0, tokens=tokens, chunks=frozenset(chunks))
        write_snapshot(path, identity, state, np.zeros(8, dtype=np.uint8))
        return path


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.database.close()


@pytest.fixture
def generator() -> ScriptedGenerator:
    return ScriptedGenerator()


@pytest.fixture
def follower(home: Home, generator: ScriptedGenerator, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeletionFollower]:
    """One that looks when it is told to."""
    monkeypatch.setattr(erasure, "_LOOK_S", 3600)
    home.ingest("/a")
    follower = DeletionFollower(home.database, home.kv)
    follower.follow(generator)
    yield follower
    follower.close()


def test_what_left_since_the_last_look_is_erased_once(
    home: Home, generator: ScriptedGenerator, follower: DeletionFollower
) -> None:
    assert generator.erased == []
    first = home.ids()
    document = home.ingest("/b")
    second = home.ids()[len(first) :]
    home.ingest("/b", count=3)  # replaced
    follower.look()
    follower.look()
    assert generator.erased == [Gone(ids=frozenset(second))]
    third = home.ids()[len(first) :]
    home.delete(document)
    other = home.store.ensure_collection("other", fingerprint())
    gone = ingest(home.store, other, "/c", ["One. "])
    fourth = chunk_ids(home.store, other)
    home.store.delete(other, [gone.id])
    follower.look()
    assert generator.erased[1:] == [Gone(ids=frozenset(third + fourth))]


@pytest.mark.parametrize("lost", ["the feed", "the collection"])
def test_where_the_feed_does_not_lead_on_all_is_erased_but_what_is_there(
    home: Home, generator: ScriptedGenerator, follower: DeletionFollower, lost: str
) -> None:
    kept = home.ids()
    home.delete(home.ingest("/b"))
    with home.database.write() as connection:
        connection.execute(delete(TombstoneRow))
        if lost == "the feed":
            connection.execute(update(CollectionRow).values(feed_floor=CollectionRow.seq))
    if lost == "the collection":
        follower._seen[99] = 1
    follower.look()
    assert generator.erased == [Gone(kept=frozenset(kept), last=max(kept) + 2)]
    follower.look()
    assert len(generator.erased) == 1


def test_what_could_not_be_erased_is_not_confirmed_and_tried_again(
    home: Home, generator: ScriptedGenerator, follower: DeletionFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.delete(home.ingest("/b"))
    with monkeypatch.context() as patch:
        patch.setattr(generator, "erase", _fail)
        with pytest.raises(GenerationFailed):
            follower.look()
    report = erase_deleted(home.database, home.kv, timeout_s=0)
    assert report.unconfirmed == (os.getpid(),)
    assert report.problem is not None
    assert str(os.getpid()) in report.problem.message
    follower.look()
    assert len(generator.erased) == 1
    assert erase_deleted(home.database, home.kv, timeout_s=0).problem is None


def _fail(gone: Gone) -> None:
    raise GenerationFailed("not now")


def test_it_looks_by_itself_and_says_once_that_it_cannot(
    home: Home, generator: ScriptedGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_LOOK_S", 0.001)
    tried = threading.Semaphore(0)
    follower = DeletionFollower(home.database, home.kv)
    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(follower, "_deleted_since", lambda: (tried.release(), _fail(Gone())))
        follower._generator = generator
        follower._thread.start()
        for _ in range(4):
            tried.acquire()
    home.delete(home.ingest("/b"))
    assert erase_deleted(home.database, home.kv).confirmed == (os.getpid(),)
    assert len(generator.erased) == 1
    assert [log["code"] for log in logs if "followed" in log["event"]] == ["generation_failed"]
    follower.close()


def test_a_process_is_waited_for_from_before_it_loads_its_model(home: Home, generator: ScriptedGenerator) -> None:
    home.ingest("/a")
    follower = DeletionFollower(home.database, home.kv)
    assert erase_deleted(home.database, home.kv, timeout_s=0).unconfirmed == (os.getpid(),)
    follower.look()
    follower.follow(generator)
    assert erase_deleted(home.database, home.kv).confirmed == (os.getpid(),)
    follower.close()
    assert erase_deleted(home.database, home.kv).confirmed == ()
    assert list((home.kv / "followers").iterdir()) == []


def test_files_of_what_is_gone_are_removed_whichever_model_wrote_them(home: Home) -> None:
    kept, gone = home.ingest("/a"), home.ingest("/b")
    a, b = home.ids()[:2], home.ids()[2:]
    stays, goes, both = home.write_state(a[0]), home.write_state(b[1]), home.write_state(a[1], b[0])
    assert sweep(home.database, home.kv).removed == 0
    home.delete(gone)
    report = erase_deleted(home.database, home.kv)
    assert report == ErasureReport(files=3, removed=2, confirmed=(), unconfirmed=())
    assert stays.exists()
    assert not goes.exists()
    assert not both.exists()
    home.delete(kept)
    DeletionFollower(home.database, home.kv).close()
    assert not stays.exists()


@pytest.mark.parametrize(("status", "removed"), [("active", 0), ("staged", 0), ("retired", 1), ("leaving", 1)])
def test_only_chunks_of_versions_that_are_active_or_being_written_are_there(home: Home, status, removed) -> None:
    home.ingest("/a")
    state = home.write_state(*home.ids())
    with home.database.write() as connection:
        connection.execute(update(VersionRow).values(status=status))
    assert sweep(home.database, home.kv).removed == removed, "though its rows are still there"
    assert state.exists() is not bool(removed)


def test_many_chunks_are_asked_for_in_parts(home: Home) -> None:
    home.ingest("/a", count=1200)
    state = home.write_state(*home.ids())
    assert sweep(home.database, home.kv).removed == 0
    lost = home.write_state(*home.ids(), 5000)
    assert sweep(home.database, home.kv).removed == 1
    assert state.exists()
    assert not lost.exists()


def test_a_file_that_cannot_be_removed_is_told_and_the_others_go(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, other = home.write_state(91), home.write_state(92)
    unlink = type(stuck).unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(type(stuck), "unlink", refuse)
    with pytest.raises(DataDirectoryUnwritable, match="Permission denied"):
        sweep(home.database, home.kv)
    assert not other.exists()


def test_all_can_be_removed(home: Home) -> None:
    home.ingest("/a")
    home.write_state(*home.ids())
    remove_all(home.kv)
    assert stored_states(home.kv) == []


def test_a_killed_process_is_not_waited_for_and_leaves_no_trace(home: Home) -> None:
    home.ingest("/a")
    program = (
        "import pathlib, sys, time; from rag.followers import Registration\n"
        "registration = Registration(pathlib.Path(sys.argv[1])); print('there', flush=True); time.sleep(600)"
    )
    registry = home.kv / "followers"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(registry)], stdout=subprocess.PIPE
    ) as process:  # for a test
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        assert [each.pid for each in followers(registry)] == [process.pid]
        assert erase_deleted(home.database, home.kv, timeout_s=0).unconfirmed == (process.pid,)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert erase_deleted(home.database, home.kv) == ErasureReport(files=0, removed=0, confirmed=(), unconfirmed=())
    assert list(registry.iterdir()) == []


def test_a_place_tells_how_far_its_process_is(tmp_path: Path) -> None:
    with Registration(tmp_path) as registration:
        (here,) = followers(tmp_path)
        assert (here.pid, here.seen) == (os.getpid(), None)
        assert not here.has_seen({})
        registration.confirm({1: 5, 2: 7})
        (here,) = followers(tmp_path)
        assert here.has_seen({1: 5})
        assert not here.has_seen({1: 6})
        assert not here.has_seen({3: 1})
    assert followers(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe{", b"[]", b"null", b"{}", b'{"pid": 1, "seen": 5, "crc32": 0}'])
def test_an_entry_that_cannot_be_read_confirms_nothing_and_is_named(home: Home, content: bytes) -> None:
    home.delete(home.ingest("/a"))
    with Registration(home.kv / "followers"):
        (entry,) = (home.kv / "followers").glob("*.json")
        entry.write_bytes(content)
        report = erase_deleted(home.database, home.kv, timeout_s=0)
    assert (report.confirmed, report.unconfirmed) == ((), (os.getpid(),))
    assert report.problem is not None
    assert str(entry) in report.problem.message


def test_a_bit_that_flips_in_an_entry_confirms_nothing(tmp_path: Path) -> None:
    with Registration(tmp_path) as registration:
        registration.confirm({1: 5, 12: 7, 2: 1})
        (entry,) = tmp_path.glob("*.json")
        whole = entry.read_bytes()
        assert followers(tmp_path)[0].has_seen({1: 5, 12: 7, 2: 1})
        for place in range(len(whole) * 8):
            damaged = bytearray(whole)
            damaged[place // 8] ^= 1 << place % 8
            entry.write_bytes(damaged)
            (here,) = followers(tmp_path)
            assert here.seen in (None, {1: 5, 12: 7, 2: 1})
            assert here.pid == os.getpid()
        registration.confirm({1: 6})
        assert followers(tmp_path)[0].has_seen({1: 6})


def test_without_a_place_no_model_is_loaded(home: Home) -> None:
    home.kv.mkdir()
    (home.kv / "followers").touch()
    with pytest.raises(DataDirectoryUnwritable, match="remove it: it is a cache"):
        DeletionFollower(home.database, home.kv)
