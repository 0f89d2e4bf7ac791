"""Sheets of OpenDocument (ods): what cells show beside their numbers. Source: OpenDocument 1.3, part 3, 19.389."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Final

from indexer.parsers.office.number_formats import NumberFormat, around_number
from indexer.parsers.xml_parts import elements_named, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip

CONTENT: Final = "content.xml"
_TABLE: Final = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_ROW: Final = f"{_TABLE}table-row"
_TYPE: Final = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}value-type"
_PARAGRAPH: Final = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}p"
_CELLS: Final = frozenset({f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"})
_KINDS: Final = ("percentage", "currency", "time")
_SHOWN: Final = re.compile(r"(\D*)(\d(?:.*\d)?)(.*)", re.DOTALL)
_POINT: Final = re.compile(r"[.,](\d+)$")
# Of a currency: what follows is a group of digits.
_GROUP: Final = 3


class OpenDocumentCells:
    """Cells of all sheets, read once; sheets are asked for in their order."""

    def __init__(self, archive: LimitedZip) -> None:
        shown = any(archive.holds(CONTENT, f'value-type="{kind}"'.encode()) for kind in _KINDS)
        rows = elements_named(archive, CONTENT, _ROW) if shown else iter(())
        # Tables in cells are none of a sheet's rows.
        self._tables = groupby((row for row in rows if next(row.iterancestors(_ROW), None) is None), key=_sheet)

    def formats(self, name: str) -> Iterator[tuple[int, int, NumberFormat | str]]:
        """Percentages, currencies and times of a sheet that has rows: row and column from 0, in the file's order."""
        for table, rows in self._tables:
            if table != name:
                continue
            number = 0
            for row in rows:
                repeated = whole_number(row.get(f"{_TABLE}number-rows-repeated"), 1)
                if cells := list(_cells(row)):
                    for place in range(number, number + repeated):
                        for columns, shown in cells:
                            yield from ((place, column, shown) for column in columns)
                number += repeated
            return


def _sheet(row: _Element) -> str:
    table = next(row.iterancestors(f"{_TABLE}table"), None)
    return "" if table is None else table.get(f"{_TABLE}name") or ""


def _cells(row: _Element) -> Iterator[tuple[range, NumberFormat | str]]:
    column = 0
    for cell in row:
        if cell.tag not in _CELLS:
            continue
        repeated = whole_number(cell.get(f"{_TABLE}number-columns-repeated"), 1)
        kind = cell.get(_TYPE)
        if kind in _KINDS:
            text = "".join("".join(paragraph.itertext()) for paragraph in cell.iterchildren(_PARAGRAPH)).strip()
            shown = text if kind == "time" else _format(text, percent=kind == "percentage")
            if shown:
                yield range(column, column + repeated), shown
        column += repeated


@lru_cache(maxsize=4096)
def _format(text: str, *, percent: bool) -> NumberFormat | None:
    """What stands around a number in the text of its cell. Points and groups in it are those of some language."""
    found = _SHOWN.fullmatch(text)
    if found is None:
        return None
    point = _POINT.search(found[2])
    decimals = len(point[1]) if point and len(point[1]) != _GROUP else 0
    return around_number(found[1].lstrip("-−+("), found[3].rstrip(")"), decimals, percent=percent)
