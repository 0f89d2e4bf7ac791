"""What is text to Python and cannot be written as UTF-8: lone surrogates, from JSON escapes or bytes of a shell."""

from __future__ import annotations

import os


def is_storable(text: str) -> bool:
    """Whether the text can be written as UTF-8: into the database, to a model, to a terminal."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown_path(path: str) -> str:
    """A path as it can be written and told from others: bytes of it that are no UTF-8 in hexadecimal."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
