"""Changes wait until a place is quiet."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.folders.ignoring import IGNORE_FILE
from indexer.folders.settling import Settling
from indexer.syncing import topmost
from tests.unit.clocks import Clock


@pytest.fixture
def clock():
    return Clock()


def test_a_place_comes_when_it_has_been_quiet_and_once(clock):
    settling = Settling(Path("/d"), clock=clock)
    settling.note(["/d/a", "/d/sub/b"])
    clock.now = 0.75
    settling.note(["/d/a"])
    assert settling.take(1.0) == set()
    clock.now = 1.0
    assert (settling.take(1.0), settling.busy()) == ({"sub/b"}, {"a"})
    clock.now = 1.75
    assert (settling.take(1.0), settling.take(1.0), len(settling)) == ({"a"}, set(), 0)


def test_what_no_walk_finds_is_let_pass_and_an_ignore_file_is_about_its_folder(clock):
    settling = Settling(Path("/d"), clock=clock)
    settling.note(["/d/.git/index", "/d/a.swp", "/d/node_modules/x", "/d/x~"])
    assert len(settling) == 0
    settling.note([f"/d/sub/{IGNORE_FILE}", f"/d/{IGNORE_FILE}", "/d"])
    assert settling.take(0.0) == {"sub", ""}


def test_what_could_not_be_looked_at_waits_again_unless_it_changed_meanwhile(clock):
    settling = Settling(Path("/d"), clock=clock)
    settling.note(["/d/a"])
    clock.now = 5.0
    settling.again({"a", "b"})
    assert settling.take(1.0) == {"a"}
    clock.now = 6.0
    assert settling.take(1.0) == {"b"}


def test_paths_in_other_paths_are_not_looked_at_twice():
    assert topmost({"a/b", "a", "a-b", "a/c/d", "c"}) == ["a", "a-b", "c"]
