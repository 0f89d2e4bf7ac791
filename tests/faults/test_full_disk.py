"""The disk fills up at any write of any command: a clear error, nothing lost, and later nobody has to help."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.disk_cases import CASES, MOMENT, assert_done_again
from tests.faults.stored_state import state_of

if TYPE_CHECKING:
    from tests.faults.disk_cases import Attempt
    from tests.faults.full_disk import Ended
    from tests.faults.stored_state import State

QUICK = 4  # points of each command in the fast suite
PARTS = 8  # of every point, each a test of its own: some have 500 of them, and each point takes a second


def points(calls: int, part: int | None) -> list[int]:
    return list(range(calls))[part::PARTS] if part is not None else some_of(calls)


def some_of(calls: int) -> list[int]:
    return sorted({calls * n // QUICK + n % 3 for n in range(QUICK)})


EVERY = [pytest.param(part, marks=pytest.mark.slow, id=f"every-{part + 1}of{PARTS}") for part in range(PARTS)]


@pytest.mark.timeout(1800)  # of a part, on a busy machine; a command that hangs is ended long before
@pytest.mark.parametrize("part", [pytest.param(None, id="some"), *EVERY])
def test_a_disk_that_fills_up_at_any_write(attempt, part):
    before, whole = attempt.before, attempt.made()
    undisturbed, after = attempt.undisturbed()
    for point in points(undisturbed.calls, part):
        attempt.restart()
        ended = attempt.again(full_from=point)
        assert_told(ended, point)
        if before is not None:
            assert_kept(attempt, ended, before, after, gave_up=attempt.case.goes_on and "disk_full" in ended.stdout)
        made = attempt.made()
        assert_done_again(attempt, after, point)
        if made != whole:  # it was in its place when the disk refused to keep the folder's entry
            assert attempt.reads(made).status == 0, point


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", EVERY)
def test_a_disk_that_is_full_for_a_moment(attempt, part):
    fill_for_a_moment(attempt, part)


@pytest.mark.parametrize("attempt", [name for name, case in CASES.items() if case.goes_on], indirect=True)
def test_what_goes_on_does_the_rest_when_there_is_room_again(attempt):
    fill_for_a_moment(attempt, None)


def fill_for_a_moment(attempt: Attempt, part: int | None) -> None:
    before = attempt.before
    undisturbed, after = attempt.undisturbed()
    for point in points(undisturbed.calls, part):
        attempt.restart()
        ended = attempt.again(full_from=point, full_until=point + MOMENT)
        assert_told(ended, point)
        if before is not None:
            assert_kept(attempt, ended, before, after)
        assert_done_again(attempt, after, point)


def test_a_command_that_does_not_end_spoils_no_other(disk, folder, tmp_path):
    """Its answer, were it to come, would be taken for that to the next question."""
    copied = shutil.copytree(folder, tmp_path / "folder")
    with pytest.raises(TimeoutError, match="watch"):
        disk.run(copied, "indexer", "watch", "docs", within_s=0)
    listed = disk.run(copied, "indexer", "list", "--json")
    assert listed.status == 0
    assert {each["uri"] for each in json.loads(listed.stdout)["documents"]} == {
        uri for _, uri in state_of(copied / "home")
    }


def assert_told(ended: Ended, point: int) -> None:
    """That the disk is full, what was given up and what to do: no traceback, and no other reason."""
    assert ended.status in (0, 1), (point, ended)
    assert "Traceback" not in ended.stderr, (point, ended)
    if ended.status:
        assert ended.code == "disk_full", (point, ended)
        assert "Free some space" in ended.stdout + ended.stderr, (point, ended)


def assert_kept(attempt: Attempt, ended: Ended, before: State, after: State, *, gave_up: bool = False) -> None:
    """Every document is as it was before or as it should be after; what was acknowledged is."""
    if ended.status == 0:
        attempt.then()
    now = state_of(attempt.home)
    if ended.status == 0 and not gave_up:
        assert now == after
    for key in {*before, *after, *now}:
        assert now.get(key) in (before.get(key), after.get(key)), key
    for told in ended.lines:
        assert told.get("state") != "failed", told  # of a job, which others would have to ask for again
        if told.get("outcome") in ("ingested", "replaced"):
            assert now["default", told["uri"]] == after["default", told["uri"]]
