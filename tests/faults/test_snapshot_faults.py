"""Damaged and foreign files, full and read-only disks, other processes: never a wrong state, never an exception."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from rag.inference.kv import snapshot_files, snapshot_folder
from rag.inference.kv.snapshot_files import file_bytes
from rag.inference.kv.snapshots import Snapshot, SnapshotStore, root_key, snapshot_key
from tests.faults.permissions import heeding_permissions

IDENTITY = "model-a f16 llama-1"
SIZE = 600


def make_snapshot(number):
    ids = np.arange(number, number + 4, dtype=np.int32)
    parent = root_key(IDENTITY)
    return Snapshot(key=snapshot_key(parent, ids), parent=parent, start=0, tokens=ids)


def state_of(snapshot):
    return np.random.default_rng(list(snapshot.key)).integers(0, 256, SIZE, dtype=np.uint8)


FILE = file_bytes(make_snapshot(0), SIZE)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "snapshots"


@pytest.fixture
def open_store(folder):
    stores = []

    def open_(*, ram=10 * SIZE, disk=100 * FILE, identity=IDENTITY):
        stores.append(SnapshotStore(ram_bytes=ram, disk_bytes=disk, directory=folder, identity=identity))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


def fill(store, numbers):
    snapshots = [make_snapshot(number) for number in numbers]
    for snapshot in snapshots:
        store.put(snapshot, state_of(snapshot))
    return snapshots


def written(store):
    with store._changed:
        store._changed.wait_for(lambda: not store._queued)


def path_of(folder, snapshot):
    return folder / root_key(IDENTITY).hex() / f"{snapshot.key.hex()}.kv"


@pytest.fixture
def on_disk(open_store, folder):
    """Three states on disk and nothing in RAM: their snapshots and paths."""
    snapshots = fill(store := open_store(), range(3))
    store.close()
    return snapshots, [path_of(folder, snapshot) for snapshot in snapshots]


def rewrite(path, change):
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(change(data) or data))


def flip_in_state(data):
    data[-5] ^= 0x10


def flip_in_tokens(data):
    data[FILE - SIZE - 3] ^= 1


def flip_in_start(data):
    data[8 + 8 + 3 * 16] ^= 1


HEADER_DAMAGE = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut in header": lambda path: rewrite(path, lambda data: data[:50]),
    "cut in tokens": lambda path: rewrite(path, lambda data: data[: FILE - SIZE - 2]),
    "cut in state": lambda path: rewrite(path, lambda data: data[:-1]),
    "grown": lambda path: rewrite(path, lambda data: data + b"x"),
    "flipped magic": lambda path: rewrite(path, lambda data: b"x" + data[1:]),
    "flipped tokens": lambda path: rewrite(path, flip_in_tokens),
    "flipped start": lambda path: rewrite(path, flip_in_start),
    "other text": lambda path: path.write_bytes(b"not a snapshot " * 100),
    "renamed": lambda path: path.rename(path.with_name("0" * 32 + ".kv")),
}


@pytest.mark.parametrize("name", HEADER_DAMAGE)
def test_damage_that_the_header_shows_is_reported_once_and_deleted(open_store, on_disk, name):
    snapshots, paths = on_disk
    before = set(paths[0].parent.iterdir())
    HEADER_DAMAGE[name](paths[0])
    with capture_logs() as logs:
        store = open_store()
        assert store.get(snapshots[0].key) is None
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert logs[0]["reason"]
    assert store.corrupt == 1
    assert [found.key for found in store.found()] == [snapshot.key for snapshot in snapshots[1:]]
    assert set(paths[0].parent.iterdir()) == before - {paths[0]}
    assert store.disk_bytes_used == 2 * FILE


@pytest.mark.parametrize("damage", [flip_in_state, lambda data: data[:-1], flip_in_tokens])
def test_damage_while_running_is_noticed_before_the_state_is_served(open_store, on_disk, damage):
    snapshots, paths = on_disk
    store = open_store()
    rewrite(paths[1], damage)
    with capture_logs() as logs:
        assert store.get(snapshots[1].key) is None
        assert store.get(snapshots[1].key) is None
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert (store.corrupt, paths[1].exists(), snapshots[1].key in store) == (1, False, False)
    assert store.disk_bytes_used == 2 * FILE
    assert store.put(snapshots[1], state_of(snapshots[1])), "and can be stored anew"
    assert np.array_equal(store.get(snapshots[0].key), state_of(snapshots[0]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, 8 * FILE - 1))
def test_no_flipped_bit_passes(tmp_path, bit):
    snapshot = make_snapshot(0)
    path = tmp_path / f"{snapshot.key.hex()}.kv"
    path.unlink(missing_ok=True)
    snapshot_files.write_snapshot(path, root_key(IDENTITY), snapshot, state_of(snapshot))

    def flip(data):
        data[bit // 8] ^= 1 << bit % 8

    rewrite(path, flip)
    with pytest.raises(snapshot_files.SnapshotDamaged):
        snapshot_files.read_snapshot(path, root_key(IDENTITY))


def test_a_file_moved_in_from_another_model_is_not_served(open_store, on_disk, folder):
    snapshots, paths = on_disk
    theirs = folder / root_key("model-b").hex()
    theirs.mkdir()
    shutil.copy(paths[0], theirs)
    store = open_store(identity="model-b")
    assert (store.found(), store.corrupt) == ([], 1)
    assert store.get(snapshots[0].key) is None


def test_a_file_of_another_format_is_not_served(open_store, on_disk, monkeypatch):
    monkeypatch.setattr(snapshot_files, "FORMAT_VERSION", snapshot_files.FORMAT_VERSION + 1)
    store = open_store()
    assert (store.found(), store.corrupt, store.disk_bytes_used) == ([], 3, 0)


def test_foreign_files_are_left_alone(open_store, on_disk, folder):
    _, paths = on_disk
    foreign = [
        folder / "notes.txt",
        folder / "pictures" / "a.kv",
        paths[0].parent / "README",
        paths[0].parent / "backup.kv",
        paths[0].parent / f"{'0' * 32}.kv.bak",
    ]
    foreign[1].parent.mkdir()
    for path in foreign:
        path.write_bytes(b"mine" * 1000)
    link = paths[0].with_name("1" * 32 + ".kv")
    link.symlink_to(foreign[0])
    elsewhere = folder / ("2" * 32)
    foreign.append(foreign[1].with_name("3" * 32 + ".kv"))
    foreign[-1].write_bytes(b"mine" * 1000)
    elsewhere.symlink_to(foreign[1].parent)
    with capture_logs() as logs:
        store = open_store(disk=FILE)
        fill(store, range(10, 15))
        store.close()
    assert [entry for entry in logs if entry["log_level"] != "debug"] == []
    assert store.disk_bytes_used == FILE
    assert all(path.read_bytes() == b"mine" * 1000 for path in foreign)
    assert link.is_symlink()
    assert elsewhere.is_symlink()


def test_unfinished_files_of_a_killed_process_make_room_first(open_store, on_disk):
    snapshots, paths = on_disk
    left = paths[0].with_name(f".{'0' * 32}-{'0' * 16}.unfinished")
    left.write_bytes(b"x" * FILE)
    store = open_store(disk=4 * FILE)
    assert store.disk_bytes_used == 4 * FILE
    assert left.exists()
    fill(store, [10])
    store.flush()
    assert not left.exists()
    assert all(snapshot.key in store for snapshot in snapshots)
    assert store.corrupt == 0


def test_a_process_killed_while_writing_leaves_nothing_that_is_served(open_store, folder):
    program = """if True:
        import os, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from rag.inference.kv import snapshot_folder
        from rag.inference.kv.snapshots import SnapshotStore
        from tests.faults.test_snapshot_faults import IDENTITY, fill, written
        original = snapshot_folder.write_snapshot
        count = 0
        def write_snapshot(path, *rest):
            global count
            original(path, *rest)
            count += 1
            if count == 2:
                os.truncate(path, path.stat().st_size - 100)
                os._exit(9)
        snapshot_folder.write_snapshot = write_snapshot
        store = SnapshotStore(ram_bytes=0, disk_bytes=1 << 20, directory=Path(sys.argv[1]), identity=IDENTITY)
        fill(store, range(5))
        written(store)
    """
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, str(folder), str(root)], check=False, timeout=60, cwd=root)
    assert done.returncode == 9
    store = open_store()
    (found,) = store.found()
    assert np.array_equal(store.get(found.key), state_of(found))
    assert store.corrupt == 0


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(*args, **kwargs):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def check_carries_on_in_ram(store, folder, *, keeps=()):
    """The disk refuses: one warning, the tier is off, RAM works, the account and the directory hold no remains."""
    with capture_logs() as logs:
        snapshots = fill(store, range(10, 30))
        written(store)
        store.flush()
    assert [entry["log_level"] for entry in logs if entry["log_level"] != "debug"] == ["warning"]
    assert store.disk_error
    in_ram = snapshots[-10:]
    for snapshot in in_ram:
        assert np.array_equal(store.get(snapshot.key), state_of(snapshot))
    for snapshot in keeps:
        assert np.array_equal(store.get(snapshot.key), state_of(snapshot))
    assert store.get(snapshots[0].key) is None
    assert {snapshot.key for snapshot in snapshots[:-10]} <= set(store.take_evicted())
    assert store.dropped >= 10
    assert store.disk_bytes_used == len(keeps) * FILE
    store.close()
    assert len(list(folder.glob("*/*"))) == len(keeps)


@pytest.mark.parametrize("refusal", [no_space, read_only])
def test_disk_that_refuses_the_rename(open_store, on_disk, folder, monkeypatch, refusal):
    snapshots, _ = on_disk
    store = open_store()
    monkeypatch.setattr(os, "replace", refusal)
    check_carries_on_in_ram(store, folder, keeps=snapshots)


def test_disk_that_refuses_the_bytes(open_store, folder):
    """The system itself cuts the write short, in the middle of a file."""
    store = open_store()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE // 2, hard))
        check_carries_on_in_ram(store, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_after_a_refusal_nothing_more_is_tried(open_store, monkeypatch):
    store = open_store(ram=0)
    go_on, tries = threading.Event(), []

    def write_snapshot(*args):
        tries.append(args)
        assert go_on.wait(60)
        no_space()

    monkeypatch.setattr(snapshot_folder, "write_snapshot", write_snapshot)
    snapshots = fill(store, range(5))
    go_on.set()
    written(store)
    assert len(tries) == 1
    assert sorted(store.take_evicted()) == sorted(snapshot.key for snapshot in snapshots)
    assert not store.put(snapshots[0], state_of(snapshots[0]))


@pytest.mark.parametrize("what", ["mkdir", "touch"])
def test_disk_that_takes_nothing(open_store, folder, monkeypatch, what):
    store = open_store()
    monkeypatch.setattr(Path, what, read_only)
    check_carries_on_in_ram(store, folder)


def test_disk_that_deletes_nothing(open_store, on_disk, folder, monkeypatch):
    """Without room being made, nothing more is written: the budget holds."""
    store = open_store(ram=SIZE, disk=3 * FILE)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Path, "unlink", read_only)
        fill(store, range(10, 15))
        written(store)
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert store.disk_bytes_used == 3 * FILE
    assert len(list(folder.glob("*/*"))) == 3


def test_read_only_directory(open_store, on_disk, folder):
    snapshots, paths = on_disk
    paths[0].parent.chmod(0o500)
    try:
        with heeding_permissions():
            check_carries_on_in_ram(open_store(), folder, keeps=snapshots)
    finally:
        paths[0].parent.chmod(0o700)


def test_directory_that_is_a_file(open_store, folder):
    folder.write_text("in the way")
    with capture_logs() as logs:
        store = open_store()
        (snapshot,) = fill(store, [1])
        store.flush()
    assert [entry["log_level"] for entry in logs if entry["log_level"] != "debug"] == ["warning"]
    assert store.get(snapshot.key) is not None
    assert folder.read_text() == "in the way"


def test_file_that_cannot_be_read(open_store, on_disk, monkeypatch):
    snapshots, _ = on_disk
    store = open_store()

    def fail(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(snapshot_folder, "read_snapshot", fail)
        assert store.get(snapshots[0].key) is None
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert snapshots[0].key not in store
    assert store.get(snapshots[1].key) is not None
    assert store.disk_bytes_used == 3 * FILE, "what is still there still counts"


def test_file_that_vanished_is_a_miss(open_store, on_disk):
    snapshots, paths = on_disk
    store = open_store()
    paths[0].unlink()
    with capture_logs() as logs:
        assert store.get(snapshots[0].key) is None
    assert (logs, store.corrupt, store.disk_error) == ([], 0, None)
    assert store.disk_bytes_used == 2 * FILE


def test_directory_that_vanished_is_made_again(open_store, on_disk, folder):
    snapshots, _ = on_disk
    store = open_store()
    shutil.rmtree(folder)
    assert store.get(snapshots[0].key) is None
    (fresh,) = fill(store, [50])
    store.flush()
    assert path_of(folder, fresh).exists()
    assert store.disk_error is None


def test_unfinished_file_that_vanished_costs_one_state(open_store, folder, monkeypatch):
    store = open_store(ram=0)
    original = snapshot_folder.write_snapshot

    def write_snapshot(path, *rest):
        original(path, *rest)
        path.unlink()

    with monkeypatch.context() as patch:
        patch.setattr(snapshot_folder, "write_snapshot", write_snapshot)
        (lost,) = fill(store, [1])
        written(store)
    (kept,) = fill(store, [2])
    written(store)
    assert store.take_evicted() == [lost.key]
    assert store.disk_error is None
    assert kept.key in store
    assert store.disk_bytes_used == FILE


def test_two_stores_share_a_directory(open_store, folder):
    """Each evicts, overwrites and deletes under the other, from two threads: what is served is always right."""
    errors = []

    def work(seed):
        store = open_store(ram=2 * SIZE, disk=6 * FILE)
        rng = np.random.default_rng(seed)
        for _ in range(300):
            snapshot = make_snapshot(int(rng.integers(12)))
            choice = rng.integers(4)
            if choice == 0:
                store.discard(snapshot.key)
            elif choice == 1:
                store.put(snapshot, state_of(snapshot))
            elif (state := store.get(snapshot.key)) is not None and not np.array_equal(state, state_of(snapshot)):
                errors.append(snapshot.key)
        store.close()
        if store.corrupt or store.disk_error:
            errors.append((store.corrupt, store.disk_error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    again = open_store()
    assert again.corrupt == 0
    for found in again.found():
        assert np.array_equal(again.get(found.key), state_of(found))
