"""Times that are told are in UTC and end in Z, whoever tells them."""

from datetime import UTC, datetime, timedelta, timezone

from rag.readiness import inspection_check
from rag.stores.verification.inspection import Inspected
from rag.times import now, rfc3339

MOMENT = datetime(2026, 1, 31, 13, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))


def test_times_are_in_utc_to_the_second_or_exact():
    assert rfc3339(MOMENT) == "2026-01-31T12:00:00Z"
    assert datetime.fromisoformat(rfc3339(MOMENT, "auto")) == MOMENT
    assert rfc3339(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == "0001-01-01T00:00:00Z"
    assert abs(datetime.fromisoformat(now()) - datetime.now(UTC)) < timedelta(minutes=1)


def test_readiness_tells_the_time_as_everything_does():
    assert inspection_check(Inspected(at=MOMENT, seconds=1.0, problems=())).detail == "whole at 2026-01-31T12:00:00Z"
