"""State goes with the passages it was made of: in the tree, in the stores, in files that no model reads."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag.inference import erased as erased_module
from rag.inference.erased import Erased
from rag.inference.kv import snapshot_folder
from rag.inference.kv import stored_states as stored_states_module
from rag.inference.kv.snapshot_files import SnapshotDamaged, read_chunks, root_key, snapshot_key, write_snapshot
from rag.inference.kv.snapshots import Snapshot, SnapshotStore
from rag.inference.kv.stored_states import remove, stored_states
from rag.model_types import Gone
from tests.unit.kv_books import PromptParts, doomed, nodes, piece, read_all, step
from tests.unit.test_inference_kv_tree import FIRST, PREFIX, QUESTION, SECOND, Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STATE = np.arange(500, dtype=np.uint8)


def gone(*ids: int) -> Gone:
    return Gone(ids=frozenset(ids))


def prompt(*found: tuple[int, np.ndarray], question: np.ndarray = QUESTION) -> PromptParts:
    passages, chunks = tuple(passage for _, passage in found), tuple(chunk for chunk, _ in found)
    return PromptParts(prefix=PREFIX, passages=passages, rest=question, chunks=chunks)


def chunks_in(cache: Cache) -> set[int]:
    return {chunk for node in nodes(cache.tree) for chunk in node.chunks}


def test_what_stands_on_a_passage_goes_with_it_and_what_stands_before_it_stays() -> None:
    cache = Cache(cells=2000, sequences=40)
    cache.read(prompt((1, FIRST), (2, SECOND)), prompt((2, SECOND)))
    assert cache.tree.erase(gone(1)) == 3, "the passage, the one after it, and the question"
    cache.check()
    assert chunks_in(cache) == {2}
    assert cache.read(prompt((2, SECOND))) == 1, "which does not depend on it"
    assert cache.read(prompt((3, FIRST))) == 40, "the prefix is there, the same words of another passage are not"


def test_the_same_words_of_another_passage_go_with_the_first_that_brought_them() -> None:
    cache = Cache()
    cache.read(prompt((1, FIRST)), prompt((2, FIRST)))
    assert chunks_in(cache) == {1}
    cache.tree.erase(gone(2))
    assert cache.read(prompt((1, FIRST))) == 1
    cache.tree.erase(gone(1))
    assert [len(node) for node in nodes(cache.tree)] == [len(PREFIX)]


def test_both_parts_of_a_passage_that_was_cut_know_it() -> None:
    cache = Cache()
    cache.read(prompt((1, piece(1, 40))))
    cache.read(prompt((2, piece(1, 20))))
    found = [(len(node), sorted(node.chunks)) for node in nodes(cache.tree)]
    assert sorted(found) == [(9, [1]), (9, [1, 2]), (20, [1]), (20, [1]), (40, [])]
    cache.tree.erase(gone(1))
    cache.check()
    assert chunks_in(cache) == set()


def test_stored_state_goes_too() -> None:
    cache = Cache(stored=50)
    cache.read(prompt((1, FIRST)), prompt((2, SECOND)))
    cache.tree.cells.store_all()
    while cache.tree.cells.demote_one():
        pass
    kept = {snapshot.chunks for snapshot, _ in cache.store.states.values()}
    assert kept == {frozenset(), frozenset({1}), frozenset({2})}
    cache.tree.erase(gone(1))
    cache.check()
    assert {snapshot.chunks for snapshot, _ in cache.store.states.values()} == {frozenset(), frozenset({2})}
    assert cache.read(prompt((2, SECOND))) == 10


@pytest.mark.parametrize("read", [False, True], ids=["while it is read", "once it is read"])
def test_a_request_at_work_keeps_what_it_needs_until_it_ends(read: bool) -> None:
    cache = Cache(stored=50)
    run, other = cache.begin(prompt((1, FIRST), (2, SECOND)), new_tokens=3), cache.begin(prompt((1, FIRST)))
    step(cache.context, cache.runs, 60)
    if read:
        read_all(cache.context, run, other)
    cache.tree.erase(gone(1))
    cache.check()
    assert len(doomed(cache.tree)) == 4
    read_all(cache.context, run, other)
    for each in (run, other):
        each.check_content()
    run.say(900)
    run.check_content()
    cache.tree.cells.store_all()
    cache.end(run, other)
    assert not doomed(cache.tree)
    assert [len(node) for node in nodes(cache.tree)] == [len(PREFIX)]
    assert not any(snapshot.chunks for snapshot, _ in cache.store.states.values())


def test_a_request_that_gives_up_leaves_nothing_of_what_it_read() -> None:
    cache = Cache()
    run = cache.begin(prompt((1, piece(1, 60))))
    step(cache.context, cache.runs, 64)  # the prefix, and 24 tokens of the passage
    cache.tree.erase(gone(1))
    cache.end(run)
    assert [len(node) for node in nodes(cache.tree)] == [len(PREFIX)]


def test_a_request_that_comes_late_is_answered_and_not_kept() -> None:
    cache = Cache()
    cache.tree.erase(gone(1))
    assert cache.read(prompt((1, FIRST), (2, SECOND))) == 110
    assert [len(node) for node in nodes(cache.tree)] == [len(PREFIX)]
    for stitched in (True, False):
        cache.read(prompt((2, SECOND), (1, FIRST)), stitched=stitched)
        assert chunks_in(cache) == {2}


def test_all_but_some() -> None:
    everything_else = Gone(kept=frozenset({2}), last=8)
    assert everything_else.touches(frozenset({2, 3}))
    assert not everything_else.touches(frozenset({2, 9})), "9 was made later"
    assert not everything_else.touches(frozenset())


def test_what_went_is_remembered_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(erased_module.time, "monotonic", lambda: now)
    erased = Erased()
    erased.add(gone(1, 2))
    erased.add(Gone(kept=frozenset({2}), last=8))
    assert erased.touches(frozenset({1, 90}))
    assert erased.touches(frozenset({3}))
    now += 3000
    erased.add(gone(2))  # a chunk that was kept for a while
    now += 3000
    erased.add(gone(4))
    assert not erased.touches(frozenset({1, 3}))
    assert erased.touches(frozenset({2}))
    assert erased.touches(frozenset({4}))


IDENTITY = "model-a"


def snapshot(number: int, *chunks: int, identity: str = IDENTITY) -> Snapshot:
    tokens = np.arange(number, number + 5, dtype=np.int32)
    parent = root_key(identity)
    key = snapshot_key(parent, tokens)
    return Snapshot(key=key, parent=parent, start=0, tokens=tokens, chunks=frozenset(chunks))


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., SnapshotStore]]:
    stores = []

    def build(*, ram: int = 0, identity: str = IDENTITY) -> SnapshotStore:
        stores.append(
            SnapshotStore(ram_bytes=ram, disk_bytes=1 << 20, directory=tmp_path / "kv", identity=identity),
        )
        return stores[-1]

    yield build
    for store in stores:
        store.close()


def test_files_say_what_they_depend_on_to_whoever_has_no_model(
    open_store: Callable[..., SnapshotStore], tmp_path: Path
) -> None:
    for identity in ("model-a", "model-b"):
        store = open_store(identity=identity)
        for number in range(3):
            store.put(snapshot(number, *range(number), identity=identity), STATE)
        store.close()
    assert [found.chunks for found in open_store().found()] == [frozenset(), frozenset({0}), frozenset({0, 1})]
    states = stored_states(tmp_path / "kv")
    assert sorted(sorted(state.chunks or ()) for state in states) == [[], [], [0], [0], [0, 1], [0, 1]]
    assert remove(state for state in states if not state.depends_only_on(frozenset({0}))) == 2
    assert {state.chunks for state in stored_states(tmp_path / "kv")} == {frozenset(), frozenset({0})}


def test_a_file_that_cannot_tell_is_found_and_all_else_is_left_alone(tmp_path: Path) -> None:
    assert stored_states(tmp_path / "nothing") == []
    folder = tmp_path / root_key(IDENTITY).hex()
    folder.mkdir()
    whole = snapshot(1, 7)
    path = folder / f"{whole.key.hex()}.kv"
    write_snapshot(path, root_key(IDENTITY), whole, STATE)
    content = path.read_bytes()
    old, cut = folder / f"{'ab' * 16}.kv", folder / f".{'cd' * 16}-{'0' * 16}.unfinished"
    old.write_bytes(content[:8] + (1).to_bytes(8, "little") + content[16:])
    cut.write_bytes(content[:60])
    (folder / "notes.txt").touch()
    (tmp_path / "followers").mkdir()
    (tmp_path / "followers" / "one.json").touch()
    assert {state.path: state.chunks for state in stored_states(tmp_path)} == {
        path: frozenset({7}),
        old: None,
        cut: None,
    }
    flipped = bytearray(content)
    flipped[content.index((7).to_bytes(8, "little"))] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(SnapshotDamaged, match="header"):
        read_chunks(path)


def test_every_tier_is_erased(open_store: Callable[..., SnapshotStore], tmp_path: Path) -> None:
    store = open_store(ram=2 * len(STATE))
    for number in range(6):
        assert store.put(snapshot(number, number % 2), STATE)
    store.flush()
    store.erase(gone(1))
    store.settle(gone(1))
    assert [snapshot(number).key in store for number in range(6)] == [True, False] * 3
    assert {state.chunks for state in stored_states(tmp_path / "kv")} == {frozenset({0})}
    store.close()
    store.erase(gone(0))
    assert stored_states(tmp_path / "kv") == []


def test_what_is_being_written_is_waited_for(
    open_store: Callable[..., SnapshotStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    original = snapshot_folder.write_snapshot

    def write_slowly(*arguments: object) -> None:
        begun.set()
        go.wait()
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(snapshot_folder, "write_snapshot", write_slowly)
    store = open_store()
    store.put(snapshot(1, 7), STATE)
    begun.wait()
    store.erase(gone(7))
    store.settle(gone(8))
    settled = threading.Thread(target=store.settle, args=(gone(7),))
    settled.start()
    assert settled.is_alive()
    go.set()
    settled.join()
    assert stored_states(tmp_path / "kv") == []
    assert snapshot(1).key not in store


def test_a_folder_that_goes_meanwhile_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = snapshot(1, 7)
    for identity in ("model-a", "model-b", "model-c"):
        folder = tmp_path / root_key(identity).hex()
        folder.mkdir()
        write_snapshot(folder / f"{whole.key.hex()}.kv", root_key(identity), whole, STATE)
    scandir, seen = stored_states_module.scandir, []

    def removing(folder: object) -> object:
        seen.append(folder)
        if len(seen) == 2:  # the first of the three
            shutil.rmtree(folder)  # type: ignore[arg-type]
        return scandir(folder)  # type: ignore[arg-type]

    monkeypatch.setattr(stored_states_module, "scandir", removing)
    assert [state.chunks for state in stored_states(tmp_path)] == [frozenset({7})] * 2
