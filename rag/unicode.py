"""Texts that are not what they seem: lone surrogates (from JSON escapes, or bytes of a shell), letters in pieces."""

from __future__ import annotations

import os
import unicodedata


def is_storable(text: str) -> bool:
    """Whether the text can be written as UTF-8: into the database, to a model, to a terminal."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def equivalents(text: str) -> list[str]:
    """The text as it is, composed (NFC) and decomposed (NFD): names of files come from some systems in pieces."""
    if text.isascii():
        return [text]
    return list(dict.fromkeys((text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD")))))


def shown_path(path: str) -> str:
    """A path as it can be written and told from others: bytes of it that are no UTF-8 in hexadecimal."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
