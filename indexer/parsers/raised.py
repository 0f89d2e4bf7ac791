"""Raised numbers: 10²¹ set in two runs must not become 1021."""

from __future__ import annotations

import re

_POWER = re.compile(r"[+\-−–]?\d+")


def is_power(before: str, raised: str) -> bool:
    """Whether what is raised is a number right behind a letter or a figure."""
    return before[-1:].isalnum() and _POWER.fullmatch(raised.strip()) is not None
