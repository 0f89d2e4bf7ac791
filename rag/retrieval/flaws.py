"""Why a passage is no text: what it holds would be found by accident, and nobody could read it."""

from __future__ import annotations


def flaw_of(text: str) -> str | None:
    """The reason, one of ``FLAWS``; none for text, code and tables."""
    del text
    return None
