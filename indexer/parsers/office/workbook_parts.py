"""What stands on a sheet of a workbook beside its values: charts, text boxes, comments, and signs of numbers."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, one_line
from indexer.parsers.office.comments import sheet_comments
from indexer.parsers.office.drawings import Drawings
from indexer.parsers.office.number_formats import NumberFormat, number_formats
from indexer.parsers.office.open_document_cells import CONTENT, OpenDocumentCells
from indexer.parsers.office.package import main_part, package_title, related, relations
from indexer.parsers.xml_parts import attribute, child, name_of, read_xml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip

# A cell that is not only formatted: its tag does not end where it begins.
_PLACE: Final = rb'[^<>]*?\br="([A-Z]{1,3})(\d{1,7})"[^<>]*(?<!/)>'
_FILLED_CELL = re.compile(rb"<(?:\w+:)?c\s" + _PLACE)
_STYLED_CELL = re.compile(rb'<(?:\w+:)?c\s(?=[^<>]*\bs="(\d{1,5})")' + _PLACE)
_READ_BYTES: Final = 1 << 18
_MAX_TAG_BYTES: Final = 1 << 10


class WorkbookParts:
    """The package of a workbook. Of those of OpenDocument only the signs of numbers are read, of xlsb nothing."""

    def __init__(self, archive: LimitedZip) -> None:
        self._archive = archive
        self._sheets: dict[str, str] = {}
        self._formats: list[NumberFormat | None] = []
        self._cells_shown = OpenDocumentCells(archive) if CONTENT in archive else None
        self.title = ""
        if "[Content_Types].xml" not in archive:
            return
        self.title = package_title(archive)
        self._main = main_part(archive)
        if not self._main.endswith(".xml"):
            return
        found = relations(archive, self._main)
        sheets = child(read_xml(archive, self._main), "x:sheets")
        for sheet in () if sheets is None else sheets:
            relation = found.get(attribute(sheet, "r:id"))
            if relation is not None and relation.target in archive:
                self._sheets[sheet.get("name") or ""] = relation.target
        if (styles := related(found, "styles")) in archive:
            self._formats = number_formats(read_xml(archive, styles))

    def extent(self, name: str) -> int:
        """Cells of the rectangle from A1 to the last row and the last column that hold something.

        0 where that is not known.
        """
        sheet = self._sheets.get(name)
        if sheet is None:
            return 0
        rows = columns = 0
        for match in self._cells(sheet, _FILLED_CELL):
            rows = max(rows, int(match[2]))
            columns = max(columns, _column(match[1]))
        return rows * columns

    def formats(self, name: str) -> Iterator[tuple[int, int, NumberFormat | str]]:
        """Cells of the sheet of this name that show more than a number: row and column from 0, in the file's order.

        Sheets are asked for in their order.
        """
        if self._cells_shown is not None:
            yield from self._cells_shown.formats(name)
        sheet = self._sheets.get(name)
        if sheet is None or not any(self._formats):
            return
        for match in self._cells(sheet, _STYLED_CELL):
            style = int(match[1])
            if style < len(self._formats) and (found := self._formats[style]) is not None:
                yield int(match[3]) - 1, _column(match[2]) - 1, found

    def _cells(self, sheet: str, pattern: re.Pattern[bytes]) -> Iterator[re.Match[bytes]]:
        with self._archive.open(sheet) as stream:
            rest = b""
            while data := stream.read(_READ_BYTES):
                data = rest + data
                yield from pattern.finditer(data)
                rest = data[data.rfind(b"<") :][-_MAX_TAG_BYTES:]

    def blocks(self, name: str, page: int) -> Iterator[Block]:
        """Text boxes, charts and comments of the sheet of this name."""
        sheet = self._sheets.get(name)
        if sheet is None:
            return
        if (part := related(relations(self._archive, sheet), "drawing")) in self._archive:
            drawings = Drawings(self._archive, part)
            for element in read_xml(self._archive, part).iter():
                kind = name_of(element.tag)
                if kind in {"c:chart", "dgm:relIds"}:
                    yield from drawings.blocks(attribute(element, "r:id") or attribute(element, "r:dm"), page)
                elif kind == "txBody" and (text := _text(element)):
                    yield Block(text=f"{text}\n\n", page=page)
        for line in sheet_comments(self._archive, self._main, sheet):
            yield Block(text=f"{line}\n\n", page=page)


@cache
def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number


def _text(body: _Element) -> str:
    lines = ["".join(t.text or "" for t in p.iter() if name_of(t.tag) == "a:t") for p in body]
    return "\n".join(line for each in lines if (line := one_line(each)))
