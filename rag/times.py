"""Times as programs and people are told them."""

from __future__ import annotations

from datetime import UTC, datetime


def in_utc(time: datetime) -> datetime:
    """An aware time in UTC; one whose year in UTC is none that there can be is the first or the last that can."""
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if time.year == 1 else datetime.max.replace(tzinfo=UTC)


def rfc3339(time: datetime, timespec: str = "seconds") -> str:
    """As every time is written that is told: in UTC, ending in Z. With ``timespec="auto"`` it names the moment exactly,
    so that what is read can be asked for again.
    """
    return in_utc(time).isoformat(timespec=timespec).replace("+00:00", "Z")


def now() -> str:
    return rfc3339(datetime.now(UTC))
