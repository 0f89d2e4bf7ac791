"""What is text to Python and cannot be written as UTF-8: lone surrogates, from JSON escapes or bytes of a shell."""

from __future__ import annotations


def is_storable(text: str) -> bool:
    """Whether the text can be written as UTF-8: into the database, to a model, to a terminal."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
