"""Places for queries."""

from __future__ import annotations

import pytest

from api.admission import Admission, NoPlaceFree


def test_places_are_bounded_and_come_back():
    admission = Admission(2)
    first, _ = admission.enter(), admission.enter()
    with pytest.raises(NoPlaceFree, match="2 places"):
        admission.enter()
    first.release()
    with admission.enter():
        assert admission.active == 2
    assert admission.active == 1


def test_releasing_twice_frees_one_place():
    admission = Admission(2)
    slot, _ = admission.enter(), admission.enter()
    slot.release()
    slot.release()
    assert admission.active == 1


def test_retry_after_follows_the_durations_seen():
    admission = Admission(2)
    assert admission.retry_after_s == 1
    for duration in (1.0, 9.0, 500.0):
        admission.active += 1
        admission.leave(duration)
    assert admission.retry_after_s == 5
    for _ in range(40):
        admission.active += 1
        admission.leave(3600)
    assert admission.retry_after_s == 60
