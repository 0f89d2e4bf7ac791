"""JSON and notebooks by their content: what a file begins with is read as JSON, and no more of it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from indexer.formats import JSON, JSON_LINES, NOTEBOOK

# The parser of JSON refuses what nests deeper.
_MAX_DEPTH: Final = 200
_STRING: Final = r'"(?:[^"\\]|\\.)*+'
# A string without its end is the last token.
_TOKEN = re.compile(rf'{_STRING}"|["\[\]{{}},]', re.DOTALL)
# What may stand between the last border of values and where the head ends.
_TORN = re.compile(
    rf'[\s,]*+(?:{_STRING}(?:\\|"\s*+(?::\s*+)?)?)?(?:{_STRING}(?:\\|"\s*+)?|[\w.+-]{{0,400}}\s*+)\Z', re.DOTALL
)
_CELL_TYPES: Final = frozenset({"code", "markdown", "raw", "heading"})


def json_type(head: str, *, whole: bool) -> str | None:
    """The media type of what begins as JSON objects or arrays that hold something; ``None`` for all else.

    ``whole``: the head is all of it, and has to be JSON to its end. Takes time in proportion to the head.
    """
    if not head.lstrip().startswith(("{", "[")):
        return None
    values = _values(head if whole else _closed(head))
    if not values or (whole and not any(values)):
        return None
    if len(values) > 1:
        return JSON_LINES if _values(head.lstrip().partition("\n")[0]) else JSON
    return NOTEBOOK if is_notebook(values[0]) else JSON


def is_notebook(value: object) -> bool:
    """Whether a document is a notebook (nbformat 3 or 4), or the beginning of one: it tells its version at its end."""
    if not isinstance(value, dict):
        return False
    cells = value.get("cells")
    if "nbformat" in value:
        return isinstance(cells, list) or isinstance(value.get("worksheets"), list)
    first = cells[0] if isinstance(cells, list) and cells else None
    return isinstance(first, dict) and first.get("cell_type") in _CELL_TYPES and ("source" in first or "input" in first)


def _values(text: str) -> list[Any]:
    """The objects and arrays of a text that holds nothing else; none if it does."""
    decoder = json.JSONDecoder()
    values: list[Any] = []
    at = len(text) - len(text.lstrip())
    while at < len(text):
        if text[at] not in "{[":
            return []
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        values.append(value)
        while text[at : at + 1].isspace():
            at += 1
    return values


def _closed(head: str) -> str:
    """The head up to its last border between values, with what is open there closed; empty if it is no JSON."""
    closers: list[str] = []
    at, ends = 0, ""
    for token in _TOKEN.finditer(head):
        sign = token[0]
        if sign == '"':
            break
        if sign in "{[":
            closers.append("}" if sign == "{" else "]")
        elif sign in "}]":
            if not closers or closers.pop() != sign:
                return ""
        elif sign != ",":
            continue
        if len(closers) > _MAX_DEPTH or (sign == "," and not closers):
            return ""
        at, ends = token.start() if sign == "," else token.end(), "".join(reversed(closers))
    return head[:at] + ends if _TORN.match(head, at) else ""
