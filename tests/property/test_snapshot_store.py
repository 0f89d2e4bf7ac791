"""Whatever two stores over one directory do, in any order: no wrong state is served, and the budgets hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rag.inference.kv.snapshot_files import file_bytes
from rag.inference.kv.snapshots import Snapshot, SnapshotStore, root_key, snapshot_key

NUMBER = st.integers(0, 9)
WHO = st.sampled_from([0, 1])
IDENTITIES = st.sampled_from(["model-a", "model-b"])
UNIT = 64


def make_snapshot(identity, number):
    ids = np.arange(number, number + 1 + number % 3, dtype=np.int32)
    parent = root_key(identity)
    return Snapshot(key=snapshot_key(parent, ids), parent=parent, start=number, tokens=ids)


def state_of(snapshot):
    """Of a size and with bytes that follow from the key."""
    rng = np.random.default_rng(list(snapshot.key))
    return rng.integers(0, 256, UNIT * (1 + snapshot.key[0] % 4), dtype=np.uint8)


def written(store):
    with store._changed:
        store._changed.wait_for(lambda: not store._queued)


class OneStore(RuleBasedStateMachine):
    """The model: which keys the store said it took and has not given up, and in which order they were used."""

    @initialize(ram=st.integers(0, 12), disk=st.integers(0, 16), queue=st.integers(0, 4))
    def start(self, ram, disk, queue):
        self.home = tempfile.TemporaryDirectory()
        self.budgets = {"ram_bytes": ram * UNIT, "disk_bytes": disk * 2 * UNIT, "queue_bytes": queue * UNIT}
        self.identity = "model-a"
        self.held = {}  # key -> snapshot, least recently used first
        self.open()

    def open(self):
        self.store = SnapshotStore(directory=Path(self.home.name) / "kv", identity=self.identity, **self.budgets)

    def note(self, snapshot):
        self.held.pop(snapshot.key, None)
        self.held[snapshot.key] = snapshot

    def forget_evicted(self):
        evicted = self.store.take_evicted()
        assert len(set(evicted)) == len(evicted)
        for key in evicted:
            assert self.held.pop(key, None), "evicted what was never held"

    @rule(number=NUMBER)
    def put(self, number):
        snapshot = make_snapshot(self.identity, number)
        taken = self.store.put(snapshot, buffer := state_of(snapshot))
        buffer[:] = 0
        fits = len(buffer) <= self.budgets["ram_bytes"]
        assert taken or not fits
        if taken:
            self.note(snapshot)

    @rule(number=NUMBER)
    def get(self, number):
        snapshot = make_snapshot(self.identity, number)
        state = self.store.get(snapshot.key)
        if state is None:
            self.forget_evicted()
            assert snapshot.key not in self.held
        else:
            assert np.array_equal(state, state_of(snapshot))
            assert snapshot.key in self.held
            self.note(snapshot)

    @rule(number=NUMBER)
    def discard(self, number):
        snapshot = make_snapshot(self.identity, number)
        self.forget_evicted()
        self.store.discard(snapshot.key)
        assert snapshot.key not in self.store
        self.held.pop(snapshot.key, None)

    @rule()
    def flush(self):
        self.store.flush()
        self.forget_evicted()

    @rule(identity=IDENTITIES)
    def restart(self, identity):
        self.store.flush()
        self.forget_evicted()
        self.store.close()
        assert not self.store._writer.is_alive()
        came_back = identity == self.identity
        self.identity = identity
        self.open()
        found = [snapshot.key for snapshot in self.store.found()]
        if came_back:
            assert set(found) <= set(self.held)
            assert found == [key for key in self.held if key in found], "order of use is lost"
            if self.budgets["disk_bytes"] >= sum(self.size(snapshot) for snapshot in self.held.values()):
                assert set(found) == set(self.held)
        expected = {make_snapshot(identity, number).key: make_snapshot(identity, number) for number in range(10)}
        self.held = {key: expected[key] for key in found}

    @staticmethod
    def size(snapshot):
        return file_bytes(snapshot, len(state_of(snapshot)))

    @precondition(lambda self: hasattr(self, "store"))
    @invariant()
    def budgets_hold(self):
        assert self.store.ram_bytes_used <= self.budgets["ram_bytes"]
        assert self.store.disk_bytes_used <= self.budgets["disk_bytes"]
        written(self.store)
        files = [path.stat().st_size for path in Path(self.home.name).glob("kv/*/*")]
        assert sum(files) == self.store.disk_bytes_used
        self.forget_evicted()
        for number in range(10):
            key = make_snapshot(self.identity, number).key
            assert (key in self.store) == (key in self.held)

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            assert self.store.corrupt == self.store._folder.corrupt == 0
            self.home.cleanup()


class TwoStores(RuleBasedStateMachine):
    """Two stores with budgets of their own: a state may be missing at any time, but never wrong."""

    @initialize()
    def start(self):
        self.home = tempfile.TemporaryDirectory()
        self.stores = [None, None]
        for who in (0, 1):
            self.open(who, "model-a")

    def open(self, who, identity):
        self.stores[who] = SnapshotStore(
            ram_bytes=4 * UNIT, disk_bytes=24 * UNIT, directory=Path(self.home.name), identity=identity
        )
        self.stores[who].identity = identity

    @rule(who=WHO, number=NUMBER)
    def put(self, who, number):
        snapshot = make_snapshot(self.stores[who].identity, number)
        self.stores[who].put(snapshot, state_of(snapshot))

    @rule(who=WHO, number=NUMBER)
    def get(self, who, number):
        snapshot = make_snapshot(self.stores[who].identity, number)
        state = self.stores[who].get(snapshot.key)
        assert state is None or np.array_equal(state, state_of(snapshot))
        assert (state is not None) == (snapshot.key in self.stores[who])

    @rule(who=WHO, number=NUMBER)
    def discard(self, who, number):
        self.stores[who].discard(make_snapshot(self.stores[who].identity, number).key)

    @rule(who=WHO, identity=IDENTITIES)
    def restart(self, who, identity):
        self.stores[who].close()
        self.open(who, identity)

    @invariant()
    def nothing_is_damaged(self):
        for store in getattr(self, "stores", ()):
            assert store.corrupt == 0
            assert store.disk_error is None
            assert store.ram_bytes_used <= 4 * UNIT
            assert store.disk_bytes_used <= 24 * UNIT

    def teardown(self):
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            self.home.cleanup()


TestOneStore = OneStore.TestCase
TestOneStore.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
