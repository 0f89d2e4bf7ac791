"""``kill -9`` before any write, rename or removal of any command: the next one needs no human."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.disk_cases import assert_done_again
from tests.faults.stored_state import state_of
from tests.faults.test_full_disk import EVERY, points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.faults.disk_cases import Attempt

# Those that no other test kills; the slow ones take all.
QUICK = (
    "sync",
    "rename",
    "tune",
    "repair",
    "import",
    "migrate",
    "reembed of other chunks",
    "page",
    "upload",
    "worker",
    "watch",
    "restore of uploads",
)


@pytest.mark.parametrize("attempt", QUICK, indirect=True)
def test_a_kill_at_some_writes(attempt):
    kill(attempt, lambda calls: (calls // 3, calls * 5 // 6))


@pytest.mark.timeout(1800)  # of a part, on a busy machine
@pytest.mark.parametrize("part", EVERY)
def test_a_kill_at_any_write(attempt, part):
    kill(attempt, lambda calls: points(calls, part))


def kill(attempt: Attempt, chosen: Callable[[int], Iterable[int]]) -> None:
    before = attempt.before
    undisturbed, after = attempt.undisturbed(kills=True)
    for point in chosen(undisturbed.calls):
        attempt.restart()
        ended = attempt.again(full_from=point, kills=True)
        if ended.status == 0:  # a write less than the first time: how often threads wait for each other differs
            continue
        assert ended.status == -signal.SIGKILL, (point, ended)
        if before is not None:
            now = state_of(attempt.home)
            for key in {*before, *after, *now}:
                assert now.get(key) in (before.get(key), after.get(key)), (point, key)
            for told in ended.lines:
                if told.get("outcome") in ("ingested", "replaced"):
                    assert now["default", told["uri"]] == after["default", told["uri"]], point
        assert_done_again(attempt, after, point)
