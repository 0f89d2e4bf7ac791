"""Cells of OpenDocument sheets as text: what they hold, with the signs that they show beside their numbers.

Source: OpenDocument 1.3, part 3, 19.389.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from indexer.parsers.office.number_formats import NumberFormat, around_number

if TYPE_CHECKING:
    from lxml.etree import _Element

_OFFICE: Final = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_SHOWN: Final = re.compile(r"(\D*)(\d(?:.*\d)?)(.*)", re.DOTALL)
_POINT: Final = re.compile(r"[.,](\d+)$")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
# Zeros in front, as of postal codes.
_PADDED: Final = re.compile(r"0\d+")
# SheetJS writes dates as numbers that show one.
_DATE: Final = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}")
_FIRST_DAY: Final = dt.date(1899, 12, 30)
_LAST_DAY: Final = 2_958_465
_MIDNIGHT: Final = "T00:00:00"
# Of a currency: what follows is a group of digits.
_GROUP: Final = 3


def cell_text(cell: _Element, shown: str) -> str:
    """What a cell says, where its paragraphs say what is ``shown``."""
    kind = cell.get(f"{_OFFICE}value-type")
    if kind == "date":
        second = (cell.get(f"{_OFFICE}date-value") or "").partition(".")[0]
        return second.removesuffix(_MIDNIGHT).replace("T", " ") or shown
    if kind == "boolean":
        return (cell.get(f"{_OFFICE}boolean-value") or shown).upper()
    if kind == "time":
        return shown or cell.get(f"{_OFFICE}time-value") or ""
    value = cell.get(f"{_OFFICE}value") or ""
    if kind in {"float", "percentage", "currency"} and _NUMBER.fullmatch(value):
        number = float(value)
        return _number(kind, number, shown) if math.isfinite(number) else shown or value
    return shown or cell.get(f"{_OFFICE}string-value") or ""


def _number(kind: str, value: float, shown: str) -> str:
    if kind == "float":
        if _PADDED.fullmatch(shown) and float(shown) == value:
            return shown
        if 0 < value <= _LAST_DAY and _DATE.fullmatch(shown):
            return (_FIRST_DAY + dt.timedelta(days=int(value))).isoformat()
        return f"{value:.15g}"
    around = _format(shown, percent=kind == "percentage")
    return f"{value:.15g}" if around is None else around.shown(value)


@lru_cache(maxsize=4096)
def _format(text: str, *, percent: bool) -> NumberFormat | None:
    """What stands around a number in the text of its cell. Points and groups in it are those of some language."""
    found = _SHOWN.fullmatch(text)
    if found is None:
        return None
    point = _POINT.search(found[2])
    decimals = len(point[1]) if point and len(point[1]) != _GROUP else 0
    return around_number(found[1].lstrip("-−+("), found[3].rstrip(")"), decimals, percent=percent)
