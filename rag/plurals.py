"""Counts as people write them."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """``1 thing``, ``1000 things``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
