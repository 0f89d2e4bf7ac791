"""When a folder is to be looked at, with scripted changes instead of a file system's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from indexer.folders import following
from indexer.folders.following import Follower, Following


class Recorder(Follower):
    def __init__(self, folder):
        self.folder = folder
        self.heard: list[str] = []

    def waiting(self, folder):
        self.heard.append("waiting")
        self.folder.mkdir()  # it comes back while it is waited for

    def polling(self, reason):
        self.heard.append(f"polling: {reason}")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


@pytest.fixture
def script(monkeypatch, folder):
    """Runs looks over batches of changed names; each batch is given to a watch that is told whether it polls."""
    monkeypatch.setattr(following, "_QUIET_S", 0.0)
    monkeypatch.setattr(following, "_QUIET_POLLED_S", 0.0)
    asked: list[bool | None] = []

    def use(*attempts):
        left = list(attempts)

        def watch(path, *, force_polling, **_):
            asked.append(force_polling)
            attempt = left.pop(0)
            if isinstance(attempt, Exception):
                raise attempt
            for names in attempt:
                if isinstance(names, Exception):
                    raise names
                yield {(1, f"{path}/{name}") for name in names}

        monkeypatch.setattr(following, "watch", watch)
        return asked

    return use


def first(looks, count):
    return [next(looks) for _ in range(count)]


def test_everything_is_looked_at_first_then_what_changed(script, folder):
    script([[], ["a"], [], ["b/c", ".git/x"]])
    looks = Following(folder, Recorder(folder)).looks()
    assert first(looks, 3) == [None, {"a"}, {"b/c"}]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("OS file watch limit reached")])
def test_without_watches_the_folder_is_polled_and_that_is_told(script, folder, error):
    asked = script(error, [[], ["a"]])
    follower = Recorder(folder)
    looks = Following(folder, follower).looks()
    assert first(looks, 2) == [None, {"a"}]
    assert asked == [None, True]
    assert str(error) in follower.heard[0]


def test_a_folder_that_vanishes_is_waited_for_and_looked_at_as_a_whole(script, folder):
    script([[], ["a"], ["b"]], [[]])
    follower = Recorder(folder)
    looks = Following(folder, follower).looks()
    assert first(looks, 2) == [None, {"a"}]
    shutil.rmtree(folder)
    assert next(looks) is None
    assert follower.heard == ["waiting"]


def test_what_came_to_nothing_comes_again(script, folder):
    script([[], ["a"], []], [[]])
    follow = Following(folder, Recorder(folder))
    looks = follow.looks()
    assert first(looks, 2) == [None, {"a"}]
    follow.again({"a"}, after_s=0)
    assert next(looks) == {"a"}
    follow.again(None, after_s=0)
    assert next(looks) is None


def test_a_look_at_everything_is_due_again_after_a_while(script, folder, monkeypatch):
    monkeypatch.setattr(following, "_LOOK_S", 0.0)
    monkeypatch.setattr(following, "_LOOK_SHARE", 0.0)
    script([[], [], []])
    looks = Following(folder, Recorder(folder)).looks()
    assert first(looks, 3) == [None, None, None]


@pytest.mark.parametrize("poll", [False, True])
def test_where_changes_were_lost_everything_is_looked_at_and_followed_as_before(script, folder, monkeypatch, poll):
    monkeypatch.setattr(following, "_BLIND_S", 0.0)
    lost = RuntimeError('Unable to decode path "/docs/q\\xFF.txt" to string')
    asked = script([[], ["a"], lost], lost, [[], ["b"]])
    follower = Recorder(folder)
    looks = Following(folder, follower, poll=poll).looks()
    assert first(looks, 5) == [None, {"a"}, None, None, {"b"}]  # it failed again before anything could be looked at
    assert (asked, follower.heard) == ([poll or None] * 3, [])


@pytest.mark.timeout(30)
@pytest.mark.parametrize("given", ["docs", "./docs", "../{}/docs"])
def test_a_folder_that_is_given_by_a_relative_path_is_looked_at_where_it_changed(folder, monkeypatch, given):
    monkeypatch.setattr(following, "_QUIET_S", 0.0)
    monkeypatch.chdir(folder.parent)
    looks = Following(Path(given.format(folder.parent.name)), Recorder(folder)).looks()
    assert next(looks) is None
    (folder / "a.txt").touch()
    assert next(looks) == {"a.txt"}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("poll", [False, True])
def test_names_that_are_not_utf_8_end_nothing_and_hide_nothing(folder, monkeypatch, poll):
    for name, value in (("_POLL_MS", 50), ("_QUIET_S", 0.0), ("_QUIET_POLLED_S", 0.0), ("_BLIND_S", 0.0)):
        monkeypatch.setattr(following, name, value)
    follower = Recorder(folder)
    looks = Following(folder, follower, poll=poll).looks()
    assert next(looks) is None
    for number in range(2):
        (folder / os.fsdecode(b"q%d\xff.txt" % number)).touch()
        while next(looks) is not None:  # what else is told of the folder may come first
            pass
        (folder / f"{number}.txt").touch()
        look = next(looks)
        assert look is None or look & {"", f"{number}.txt"}
    assert follower.heard == []
