"""Times as people write them: a moment, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from rag.errors import InvalidRequest

_AGO: Final = re.compile(r"(?P<number>\d{1,6})\s*(?P<unit>[mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def time_from(value: str | None) -> datetime | None:
    """A moment, aware: ISO 8601 (local time unless it says otherwise), or an age: ``90m``, ``12h``, ``7d``, ``2w``.

    Raises:
        InvalidRequest: it is neither.
    """
    if value is None:
        return None
    try:
        if ago := _AGO.fullmatch(value.strip()):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago["unit"]]: int(ago["number"])})
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{value!r} is not a time.",
            hint="Write one like 2026-01-31, 2026-01-31T12:00:00Z, or how long ago: 90m, 12h, 7d, 2w.",
        ) from error
