"""Workbooks of Excel 2003 in XML, which other programs still export under the name of an xls.

Source: Microsoft's XML Spreadsheet Reference. Every sheet is a page and a section under its name.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from itertools import groupby
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, Parsed, Title, bounded
from indexer.parsers.office.comments import comment_line
from indexer.parsers.office.far_columns import FarColumns
from indexer.parsers.office.number_formats import NumberFormat, is_date_format, parse_format
from indexer.parsers.office.odf_package import CONTENT, odf_package
from indexer.parsers.office.package import telling_title
from indexer.parsers.office.sheet_rows import sheet_blocks, sheet_section
from indexer.parsers.spans import Copies
from indexer.parsers.xml_parts import elements_named, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from lxml.etree import _Element

    _Formats = dict[str, NumberFormat | str]

_SHEETS: Final = "{urn:schemas-microsoft-com:office:spreadsheet}"
_OFFICE: Final = "{urn:schemas-microsoft-com:office:office}"
_ROW: Final = f"{_SHEETS}Row"
_SHEET: Final = f"{_SHEETS}Worksheet"
_INDEX: Final = f"{_SHEETS}Index"
_NAMED: Final = {"Percent": "0.00%", "Short Date": "m/d/yyyy", "Medium Date": "d-mmm-yy", "Long Date": "d mmmm yyyy"}
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FIRST_DAY: Final = dt.datetime.fromisoformat("1899-12-30")
_LAST_DAY: Final = 2_958_465
_DAY_SECONDS: Final = 86_400
# A time of day is one of the first day; midnight is a day without one.
_MOMENT: Final = re.compile(r"(?:1899-12-3[01]T)?(.+?)(?:T00:00:00)?(?:\.0+)?")
_MAX_COLUMNS: Final = 1 << 14
_ROWS_PER_SIGN_OF_LIFE: Final = 1000


def parse_xml_workbook(file: BinaryIO) -> Iterator[Parsed]:
    """Yield for each sheet that holds something its name as a heading, then tables and comments.

    Raises:
        SourceDamaged, SourceTooLarge: as its XML shows.
    """
    with odf_package(file) as archive:
        formats: _Formats | None = None
        for sheet, rows in groupby(elements_named(archive, CONTENT, _ROW, outside=(_ROW,)), key=_sheet):
            if sheet is None:
                continue
            if formats is None:
                root = sheet.getroottree().getroot()
                formats = _formats(root)
                if title := telling_title(root.findtext(f".//{_OFFICE}Title") or ""):
                    yield Title(text=title)
            number = 1 + sum(1 for _ in sheet.itersiblings(_SHEET, preceding=True))
            yield from sheet_section(sheet.get(f"{_SHEETS}Name") or "", number, _blocks(rows, formats, number))


def _sheet(row: _Element) -> _Element | None:
    return next(row.iterancestors(_SHEET), None)


def _formats(root: _Element) -> _Formats:
    """Of styles that show more than a number; of dates ``date``."""
    found: _Formats = {}
    for style in root.iterfind(f"{_SHEETS}Styles/{_SHEETS}Style"):
        element = style.find(f"{_SHEETS}NumberFormat")
        code = "" if element is None else element.get(f"{_SHEETS}Format") or ""
        code = _NAMED.get(code, code)
        if (around := "date" if is_date_format(code) else parse_format(code)) is not None:
            found[style.get(f"{_SHEETS}ID") or ""] = around
    return found


def _blocks(rows: Iterable[_Element], formats: _Formats, page: int) -> Iterator[Block | None]:
    comments: list[str] = []
    for position, block in enumerate(sheet_blocks(_rows(rows, formats, comments), page=page)):
        yield from bounded(block)
        if position % _ROWS_PER_SIGN_OF_LIFE == 0:
            yield None
    for line in comments:
        yield from bounded(Block(text=f"{line}\n\n", page=page))


def _rows(rows: Iterable[_Element], formats: _Formats, comments: list[str]) -> Iterator[list[str]]:
    """Cells of each row; merged ones say their text in each place. Of rows that are left out one is empty."""
    last = 0
    # By column: the last row that a cell above reaches into, and its text.
    above: dict[int, tuple[int, str]] = {}
    copies = Copies()
    columns = FarColumns()
    for row in rows:
        number = whole_number(row.get(_INDEX)) or last + 1
        if number > last + 1:
            yield []
        last = number
        above = {} if copies.spent else {place: (end, text) for place, (end, text) in above.items() if number <= end}
        cells = {place: text for place, (_end, text) in above.items()}
        place = count = 0
        merged = bool(cells)
        for cell in row.iterchildren(f"{_SHEETS}Cell"):
            told = whole_number(cell.get(_INDEX))
            if place < told <= _MAX_COLUMNS:
                place = told
            else:
                place += 1
                while place in cells:
                    place += 1
            text = _text(cell, formats)
            end = max(place, min(place + whole_number(cell.get(f"{_SHEETS}MergeAcross")), _MAX_COLUMNS))
            end = place if copies.spent else end
            down = whole_number(cell.get(f"{_SHEETS}MergeDown"))
            for covered in range(place, end + 1):
                cells[covered] = text
                above[covered] = (number + down, text)
            count += 1
            merged = merged or end > place
            place = end
            comments.extend(_comments(cell))
        copies.count(count, len(cells))
        said = {text for text in cells.values() if text}
        # A title over several columns is one.
        whole = columns.moved((place - 1, text) for place, text in sorted(cells.items()) if text)
        yield list(said) if merged and len(said) == 1 else whole


def _comments(cell: _Element) -> Iterator[str]:
    for comment in cell.iterchildren(f"{_SHEETS}Comment"):
        yield comment_line(comment.get(f"{_SHEETS}Author") or "", "", "".join(map(str, comment.itertext())))


def _text(cell: _Element, formats: _Formats) -> str:
    data = cell.find(f"{_SHEETS}Data")
    if data is None:
        return ""
    text = "".join(map(str, data.itertext()))
    kind = data.get(f"{_SHEETS}Type")
    if kind == "Boolean":
        return {"1": "TRUE", "0": "FALSE"}.get(text, text)
    if kind == "DateTime":
        found = _MOMENT.fullmatch(text)
        return text if found is None else found[1].replace("T", " ")
    if kind == "Number" and _NUMBER.fullmatch(text) and math.isfinite(value := float(text)):
        return _shown(value, formats.get(cell.get(f"{_SHEETS}StyleID") or ""))
    return text


def _shown(value: float, around: NumberFormat | str | None) -> str:
    if around == "date" and 0 <= value <= _LAST_DAY:
        moment = _FIRST_DAY + dt.timedelta(seconds=round(value * _DAY_SECONDS))
        return str(moment).removesuffix(" 00:00:00") if value >= 1 else str(moment.time())
    return around.shown(value) if isinstance(around, NumberFormat) else f"{value:.15g}"
