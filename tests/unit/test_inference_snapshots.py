"""Stored model state: two tiers with budgets, least recently used first out, and a restart that loses nothing."""

from __future__ import annotations

import stat
import threading

import numpy as np
import pytest
from structlog.testing import capture_logs

from rag.inference.kv import snapshot_folder
from rag.inference.kv.snapshot_files import file_bytes
from rag.inference.kv.snapshots import Snapshot, SnapshotStore, root_key, snapshot_key

IDENTITY = "model-a f16 llama-1"
SIZE = 1000


def make_snapshot(number, *, identity=IDENTITY, tokens=3, start=0):
    ids = np.arange(number, number + tokens, dtype=np.int32)
    parent = root_key(identity)
    return Snapshot(key=snapshot_key(parent, ids), parent=parent, start=start, tokens=ids)


def state_of(snapshot, size=SIZE):
    seed = int.from_bytes(snapshot.key[:8], "little")
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def fill(store, numbers, *, identity=IDENTITY):
    snapshots = [make_snapshot(number, identity=identity) for number in numbers]
    for snapshot in snapshots:
        assert store.put(snapshot, state_of(snapshot))
    return snapshots


def written(store):
    """Wait until the writer has nothing left."""
    with store._changed:
        store._changed.wait_for(lambda: not store._queued)


def files(directory):
    return sorted(directory.glob("*/*"))


def total(directory):
    return sum(path.stat().st_size for path in files(directory))


FILE = file_bytes(make_snapshot(0), SIZE)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "snapshots"


@pytest.fixture
def open_store(folder):
    stores = []

    def open_(*, ram=10 * SIZE, disk=100 * FILE, identity=IDENTITY, directory=folder, **more):
        stores.append(
            SnapshotStore(ram_bytes=ram, disk_bytes=disk, directory=directory, identity=identity, **more),
        )
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


def test_keys_depend_on_everything_before():
    tokens = np.array([1, 2, 3], dtype=np.int32)
    a, b = root_key("a"), root_key("b")
    keys = {a, b, snapshot_key(a, tokens), snapshot_key(b, tokens), snapshot_key(a, tokens[:2])}
    keys.add(snapshot_key(snapshot_key(a, tokens[:2]), tokens[2:]))
    assert len(keys) == 6
    assert {len(key) for key in keys} == {16}
    assert snapshot_key(a, tokens[::-1][::-1]) == snapshot_key(a, tokens)


def test_put_copies_and_get_does_not(open_store):
    store = open_store(directory=None)
    buffer = np.arange(200, dtype=np.uint8)
    snapshot = make_snapshot(1)
    assert store.put(snapshot, buffer[50:150])
    buffer[:] = 0
    state = store.get(snapshot.key)
    assert state.tobytes() == bytes(range(50, 150))
    assert store.get(snapshot.key) is state
    assert not state.flags.writeable
    assert store.ram_bytes_used == 100


@pytest.mark.parametrize("state", [b"\x00\xff" * 8, b""])
def test_bytes_are_taken_too(open_store, state):
    store = open_store()
    snapshot = make_snapshot(1)
    assert store.put(snapshot, state)
    assert store.get(snapshot.key).tobytes() == state
    store.close()
    assert open_store().get(snapshot.key).tobytes() == state


def test_ram_drops_the_least_recently_used(open_store):
    store = open_store(ram=3 * SIZE, disk=0)
    first, second, third = fill(store, [1, 2, 3])
    store.get(first.key)
    store.put(second, state_of(second))
    fourth, fifth = fill(store, [4, 5])
    assert [snapshot.key in store for snapshot in (first, second, third, fourth, fifth)] == [
        False,
        True,
        False,
        True,
        True,
    ]
    assert store.take_evicted() == [third.key, first.key]
    assert store.take_evicted() == []
    assert store.dropped == 2
    assert store.ram_bytes_used == 3 * SIZE
    assert store.get(third.key) is None


def test_what_ram_has_no_room_for_goes_to_disk_and_comes_back(open_store):
    store = open_store(ram=2 * SIZE)
    snapshots = fill(store, range(5))
    written(store)
    assert store.disk_bytes_used == 3 * FILE
    assert store.take_evicted() == []
    for snapshot in snapshots:
        assert np.array_equal(store.get(snapshot.key), state_of(snapshot))
        assert store.ram_bytes_used <= 2 * SIZE
    first = store.get(snapshots[0].key)
    assert store.get(snapshots[0].key) is first, "what is read from disk is then in RAM"
    assert store.dropped == 0


def test_without_ram_states_go_straight_to_disk(open_store):
    store = open_store(ram=0)
    (snapshot,) = fill(store, [1])
    written(store)
    assert np.array_equal(store.get(snapshot.key), state_of(snapshot))
    assert store.put(snapshot, state_of(snapshot))
    assert store.ram_bytes_used == 0
    assert store.disk_bytes_used == FILE


def test_too_large_for_ram_is_kept_on_disk_alone(open_store):
    store = open_store(ram=SIZE - 1, disk=FILE)
    (snapshot,) = fill(store, [1])
    written(store)
    assert np.array_equal(store.get(snapshot.key), state_of(snapshot))


@pytest.mark.parametrize(("ram", "disk"), [(0, 0), (SIZE - 1, 0), (0, FILE - 1), (SIZE - 1, FILE - 1)])
def test_too_large_for_every_tier_is_refused(open_store, folder, ram, disk):
    store = open_store(ram=ram, disk=disk)
    snapshot = make_snapshot(1)
    assert not store.put(snapshot, state_of(snapshot))
    assert snapshot.key not in store
    assert store.get(snapshot.key) is None
    assert not folder.exists()


def test_a_key_that_does_not_fit_its_tokens_is_refused(open_store):
    store = open_store()
    snapshot = make_snapshot(1)
    wrong = Snapshot(key=snapshot.key, parent=snapshot.parent, start=0, tokens=snapshot.tokens + 1)
    with capture_logs() as logs:
        assert not store.put(wrong, b"state")
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert snapshot.key not in store


def test_disk_keeps_the_most_recently_used_within_its_budget(open_store, folder):
    store = open_store(ram=SIZE, disk=2 * FILE + 5)
    snapshots = fill(store, range(3))
    written(store)
    store.get(snapshots[0].key)  # the older of two on disk becomes the newest
    written(store)
    fill(store, [3])
    written(store)
    assert total(folder) <= 2 * FILE + 5
    assert store.take_evicted() == [snapshots[1].key]
    assert snapshots[0].key in store


def test_disk_evicts_nothing_for_what_is_older(open_store):
    store = open_store(ram=2 * SIZE, disk=FILE)
    old, recent, newest = fill(store, [1, 2, 3])  # old is written
    written(store)
    assert store.get(old.key) is not None  # recent leaves RAM but is less recently used than what fills the disk
    written(store)
    assert recent.key not in store
    assert store.take_evicted() == [recent.key]
    assert old.key in store
    assert newest.key in store


def test_restart_finds_everything_bit_for_bit_oldest_first(open_store):
    store = open_store(ram=3 * SIZE)
    snapshots = fill(store, range(6))
    store.get(snapshots[1].key)
    store.close()
    again = open_store(ram=3 * SIZE)
    order = [snapshots[i] for i in (0, 2, 3, 4, 5, 1)]
    assert [found.key for found in again.found()] == [snapshot.key for snapshot in order]
    for found, snapshot in zip(again.found(), order, strict=True):
        assert (found.parent, found.start) == (snapshot.parent, snapshot.start)
        assert found.tokens.dtype == np.int32
        assert np.array_equal(found.tokens, snapshot.tokens)
    for snapshot in snapshots:
        assert np.array_equal(again.get(snapshot.key), state_of(snapshot))
    assert again.corrupt == 0


def test_found_reads_no_state(open_store, folder, monkeypatch):
    fill(store := open_store(), range(3))
    store.close()

    def read_snapshot(*args):
        raise AssertionError("a state was read")

    monkeypatch.setattr(snapshot_folder, "read_snapshot", read_snapshot)
    assert len(open_store().found()) == 3


def test_found_leaves_out_what_has_gone_since(open_store):
    first, second = fill(store := open_store(), [1, 2])
    store.close()
    again = open_store()
    again.discard(first.key)
    assert [found.key for found in again.found()] == [second.key]


def test_order_outlives_two_restarts_by_reading_alone(open_store):
    snapshots = fill(store := open_store(), range(3))
    store.close()
    second = open_store()
    second.get(snapshots[0].key)
    second.close()
    third = open_store(disk=FILE)  # a smaller budget keeps the newest
    assert [found.key for found in third.found()] == [snapshots[0].key]
    assert third.disk_bytes_used == FILE
    assert third.take_evicted() == [], "what was never found is not missed"


def test_flush_keeps_the_newest_where_not_all_fit(open_store, folder):
    store = open_store(disk=2 * FILE)
    snapshots = fill(store, range(4))
    with capture_logs() as logs:
        store.flush()
    assert logs[-1]["states"] == 2
    assert logs[-1]["bytes"] == 2 * FILE == total(folder)
    assert logs[-1]["only_in_ram"] == 2
    assert all(snapshot.key in store for snapshot in snapshots)
    assert store.take_evicted() == []
    store.close()
    assert {found.key for found in open_store().found()} == {snapshot.key for snapshot in snapshots[2:]}


def test_flush_writes_nothing_twice(open_store, folder):
    store = open_store()
    fill(store, range(3))
    store.flush()
    with capture_logs() as logs:
        store.flush()
    assert logs[-1]["states"] == 0
    assert len(files(folder)) == 3


def test_discard_leaves_no_trace(open_store, folder):
    store = open_store(ram=SIZE)
    first, second = fill(store, [1, 2])
    written(store)
    for snapshot in (first, second):
        store.discard(snapshot.key)
        assert snapshot.key not in store
        assert store.get(snapshot.key) is None
    store.discard(first.key)
    assert (store.ram_bytes_used, store.disk_bytes_used, files(folder)) == (0, 0, [])
    assert store.take_evicted() == []


def test_what_came_back_is_not_reported_as_evicted(open_store):
    store = open_store(ram=SIZE, disk=0)
    first, _ = fill(store, [1, 2])
    store.put(first, state_of(first))
    assert first.key not in store.take_evicted()


def test_closed_store_is_empty_and_takes_nothing(open_store):
    store = open_store()
    (snapshot,) = fill(store, [1])
    store.close()
    store.close()
    assert not store._writer.is_alive()
    assert snapshot.key not in store
    assert store.get(snapshot.key) is None
    assert not store.put(snapshot, state_of(snapshot))
    assert store.ram_bytes_used == 0


def test_other_identities_are_not_served_and_go_first(open_store, folder):
    fill(other := open_store(identity="model-b"), range(3), identity="model-b")
    other.close()
    mine = fill(store := open_store(disk=100 * FILE), range(2))
    store.close()
    store = open_store(disk=5 * FILE)
    assert {found.key for found in store.found()} == {snapshot.key for snapshot in mine}
    assert store.disk_bytes_used == 5 * FILE
    more = fill(store, range(10, 12))
    store.flush()
    assert all(snapshot.key in store for snapshot in mine + more)
    assert total(folder) == store.disk_bytes_used == 5 * FILE
    theirs = open_store(identity="model-b").found()
    assert [found.key for found in theirs] == [make_snapshot(2, identity="model-b").key], "oldest first"
    fill(store, [20])
    store.flush()
    assert all(snapshot.key in store for snapshot in mine + more)
    assert not (folder / root_key("model-b").hex()).exists(), "an empty folder is cleared away"


def test_without_a_disk_budget_the_directory_is_left_alone(open_store, folder):
    fill(store := open_store(), range(2))
    store.close()
    before = files(folder)
    store = open_store(disk=0)
    fill(store, [7])
    store.close()
    assert store.found() == []
    assert files(folder) == before


def test_files_are_the_owners_alone(open_store, folder):
    fill(store := open_store(), [1])
    store.close()
    (path,) = files(folder)
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent, folder)] == [0o600, 0o700, 0o700]


class Gate:
    """Holds the writer thread between the file and its name."""

    def __init__(self, monkeypatch):
        self.reached, self.open = threading.Event(), threading.Event()
        original = snapshot_folder.write_snapshot

        def write_snapshot(*args):
            self.reached.set()
            assert self.open.wait(60)
            original(*args)

        monkeypatch.setattr(snapshot_folder, "write_snapshot", write_snapshot)


def test_states_can_be_read_while_they_wait_for_the_disk(open_store, monkeypatch):
    gate = Gate(monkeypatch)
    store = open_store(ram=SIZE)
    snapshots = fill(store, range(4))
    assert gate.reached.wait(60)
    for snapshot in snapshots:
        assert np.array_equal(store.get(snapshot.key), state_of(snapshot))
    assert store.disk_bytes_used == FILE, "the file being written counts"
    gate.open.set()
    written(store)
    store.flush()
    assert store.disk_bytes_used == 4 * FILE
    assert store.dropped == 0


def test_a_full_queue_drops(open_store, monkeypatch):
    gate = Gate(monkeypatch)
    store = open_store(ram=SIZE, queue_bytes=2 * SIZE)
    snapshots = fill(store, range(4))
    assert store.dropped == 1
    assert store.take_evicted() == [snapshots[2].key]
    large = make_snapshot(50)
    assert not store.put(large, state_of(large, 2 * SIZE)), "too large for RAM, and no room to wait"
    gate.open.set()
    written(store)
    assert [snapshot.key in store for snapshot in snapshots] == [True, True, False, True]


def test_budget_holds_while_a_file_is_written(open_store, folder, monkeypatch):
    totals = []
    original = snapshot_folder.write_snapshot

    def write_snapshot(*args):
        original(*args)
        totals.append(total(folder))

    monkeypatch.setattr(snapshot_folder, "write_snapshot", write_snapshot)
    store = open_store(ram=SIZE, disk=3 * FILE)
    fill(store, range(8))
    written(store)
    assert totals == [FILE, 2 * FILE] + 5 * [3 * FILE]


def test_one_state_may_wait_however_large(open_store):
    store = open_store(ram=0, queue_bytes=0)
    fill(store, [1])
    written(store)
    assert store.disk_bytes_used == FILE


def test_discarded_while_being_written(open_store, folder, monkeypatch):
    gate = Gate(monkeypatch)
    store = open_store(ram=0)
    first, second = fill(store, [1, 2])
    assert gate.reached.wait(60)
    store.discard(first.key)
    store.discard(second.key)
    assert first.key not in store
    fill(store, [1])  # and stored again before the writer is done with the first
    gate.open.set()
    written(store)
    assert np.array_equal(store.get(first.key), state_of(first))
    assert len(files(folder)) == 1
    assert store.disk_bytes_used == FILE
    store.close()
    assert [found.key for found in open_store().found()] == [first.key]


def test_discarded_while_being_written_does_not_come_back(open_store, folder, monkeypatch):
    gate = Gate(monkeypatch)
    store = open_store(ram=0)
    (snapshot,) = fill(store, [1])
    assert gate.reached.wait(60)
    store.discard(snapshot.key)
    gate.open.set()
    store.close()
    assert files(folder) == []
    assert store.disk_bytes_used == 0


def test_used_while_being_written(open_store, monkeypatch):
    gate = Gate(monkeypatch)
    store = open_store(ram=0)
    first, second = fill(store, [1, 2])
    assert gate.reached.wait(60)
    store.get(first.key)
    gate.open.set()
    store.close()
    assert [found.key for found in open_store().found()] == [second.key, first.key]


def test_order_is_recorded_now_and_then_while_running(open_store, folder, monkeypatch):
    monkeypatch.setattr(snapshot_folder, "_RECORD_EVERY_NS", 0)
    snapshots = fill(store := open_store(), range(2))
    store.flush()
    store.get(snapshots[0].key)
    crashed = open_store()  # reads the directory as a process does that starts after a crash of the first
    assert [found.key for found in crashed.found()] == [snapshots[1].key, snapshots[0].key]
