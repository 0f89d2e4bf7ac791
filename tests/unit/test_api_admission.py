"""Places for queries."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from api.admission import Admission
from rag.errors import Overloaded, ShuttingDown


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("api.admission.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_places_are_bounded_and_come_back():
    admission = Admission(running=1, queued=1)
    first, _ = admission.enter(), admission.enter()
    with pytest.raises(Overloaded, match="2 places"):
        admission.enter()
    assert admission.rejected == 1
    first.release()
    with admission.enter():
        assert admission.active == 2
    assert admission.active == 1


def test_who_is_turned_away_learns_the_place_in_line_and_when_to_come_back(clock):
    admission = Admission(running=2, queued=3)
    slots = [admission.enter() for _ in range(5)]
    clock.now += 25
    slots[0].release()
    admission.enter()
    with pytest.raises(Overloaded) as caught:
        admission.enter()
    assert (caught.value.queue_position, caught.value.retry_after_s) == (4, 5)


def test_releasing_twice_frees_one_place():
    admission = Admission(running=2, queued=0)
    slot, _ = admission.enter(), admission.enter()
    slot.release()
    slot.release()
    assert admission.active == 1


def test_retry_after_follows_the_durations_seen(clock):
    admission = Admission(running=1, queued=1)
    assert admission.retry_after_s == 1
    for duration in (1, 9, 500, *[3600] * 40):
        with admission.enter():
            clock.now += duration
        assert duration != 500 or admission.retry_after_s == 5
    assert admission.retry_after_s == 60


def test_until_the_first_query_has_ended_retry_after_is_as_long_as_the_first_has_taken(clock):
    admission = Admission(running=1, queued=1)
    admission.enter()
    assert admission.retry_after_s == 1
    clock.now += 20
    admission.enter()
    clock.now += 11
    assert admission.retry_after_s == 31
    clock.now += 100
    assert admission.retry_after_s == 60


async def test_closed_it_admits_nothing_and_tells_when_it_is_empty():
    admission = Admission(running=2, queued=0)
    await admission.emptied()
    first, second = admission.enter(), admission.enter()
    admission.close()
    with pytest.raises(ShuttingDown):
        admission.enter()
    emptied = asyncio.create_task(admission.emptied())
    first.release()
    await asyncio.sleep(0)
    assert not emptied.done()
    second.release()
    await emptied
