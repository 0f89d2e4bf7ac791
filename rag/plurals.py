"""Counts as people write them."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """``1 thing``, ``1000 things``; ``2 queries``."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("ry") else f"{count} {noun}s"


def plural_days(count: float) -> str:
    """``1 day``, ``0.5 days``."""
    return f"{count:g} day" if count == 1 else f"{count:g} days"
