"""What stands on a sheet of a workbook beside its values: charts, text boxes, comments, and signs of numbers."""

from __future__ import annotations

import re
import zipfile
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Final

from lxml.etree import tostring

from indexer.parsers.blocks import Block, one_line
from indexer.parsers.office.biff_cells import (
    StyledCell,
    shown_cells,
    with_columns,
    xlsb_cells,
    xlsb_formats,
    xlsb_sheets,
)
from indexer.parsers.office.comments import sheet_comments
from indexer.parsers.office.drawings import DRAWN, Drawings
from indexer.parsers.office.number_formats import NumberFormat, number_formats
from indexer.parsers.office.package import main_part, package_title, related, relations, relations_path
from indexer.parsers.xml_parts import attribute, child, name_of, read_xml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    from lxml.etree import _Element

    from indexer.parsers.office.package import Relation
    from indexer.parsers.zip_limits import LimitedZip

# A cell that is not only formatted: its tag does not end where it begins.
_PLACE: Final = rb'[^<>]*?\br="([A-Z]{1,3})(\d{1,7})"[^<>]*(?<!/)>'
_FILLED_CELL = re.compile(rb"<(?:\w+:)?c\s" + _PLACE)
_STYLED_CELL = re.compile(rb'<(?:\w+:)?c\s(?=[^<>]*\bs="(\d{1,5})")' + _PLACE)
_BINARY: Final = ".bin"
_READ_BYTES: Final = 1 << 18
_MAX_TAG_BYTES: Final = 1 << 10
_KNOWN_KINDS: Final = frozenset({"worksheet", "chartsheet", "dialogsheet"})
_KNOWN_FOLDERS: Final = frozenset({f"xl/{kind}s" for kind in _KNOWN_KINDS})
_TYPES: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


class WorkbookParts:
    """The package of a workbook. Of xlsb no comments are read."""

    def __init__(self, archive: LimitedZip) -> None:
        self._archive = archive
        self._sheets: dict[str, str] = {}
        self._relations: Mapping[str, Relation] = {}
        self._formats: list[NumberFormat | None] = []
        self.title = ""
        if "[Content_Types].xml" not in archive:
            return
        self.title = package_title(archive)
        self._main = main_part(archive)
        self._relations = found = relations(archive, self._main)
        for name, key in self._listed():
            if (relation := found.get(key)) is not None and relation.target in archive:
                self._sheets[name] = relation.target
        if (styles := related(found, "styles")) in archive:
            binary = styles.endswith(_BINARY)
            self._formats = xlsb_formats(archive.read(styles)) if binary else number_formats(read_xml(archive, styles))

    def _listed(self) -> list[tuple[str, str]]:
        """Names of the sheets and the ids of their relations."""
        if self._main.endswith(_BINARY):
            return xlsb_sheets(self._archive.read(self._main))
        sheets = child(read_xml(self._archive, self._main), "x:sheets")
        return [(sheet.get("name") or "", attribute(sheet, "r:id")) for sheet in (() if sheets is None else sheets)]

    def with_columns(self) -> BinaryIO | None:
        """The package with a column in each cell of its sheets, where some of an xlsb lack it (``biff_cells``)."""
        binary = [sheet for sheet in self._sheets.values() if sheet.endswith(_BINARY)]
        whole = {sheet: part for sheet in binary if (part := with_columns(self._archive.read(sheet))) is not None}
        return self._rewritten(whole) if whole else None

    def of_known_kinds(self) -> BinaryIO | None:
        """The package with its sheets of macros as others, which calamine reads; it reads none where one is of a kind
        that it does not know: by the relation's type, and of an xlsb by the folder.
        """
        moved: dict[str, str] = {}
        for key, each in self._relations.items():
            folder, _, name = each.target.rpartition("/")
            known = each.kind in _KNOWN_KINDS and (folder in _KNOWN_FOLDERS or not name.endswith(_BINARY))
            if each.target in self._sheets.values() and not known:
                moved[key] = f"worksheets/{key}-{name}"
        if not moved:
            return None
        path = relations_path(self._main)
        links = read_xml(self._archive, path)
        for link in links:
            if (place := moved.get(link.get("Id") or "")) is not None:
                link.set("Target", place)
                link.set("Type", f"{_TYPES}worksheet")
        places = {self._relations[key].target: f"xl/{place}" for key, place in moved.items()}
        return self._rewritten({path: tostring(links)}, places)

    def _rewritten(self, parts: Mapping[str, bytes], places: Mapping[str, str] | None = None) -> BinaryIO:
        """The package with other ``parts``, and some of them at other ``places``."""
        package = BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            for name in self._archive.names:
                if not name.endswith("/"):
                    content = parts[name] if name in parts else self._archive.read(name)
                    archive.writestr((places or {}).get(name, name), content)
        return package

    def extent(self, name: str) -> int:
        """Cells of the rectangle from A1 to the last row and the last column that hold something.

        0 where that is not known.
        """
        sheet = self._sheets.get(name)
        if sheet is None or sheet.endswith(_BINARY):
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
        sheet = self._sheets.get(name)
        if sheet is None or not any(self._formats):
            return
        if sheet.endswith(_BINARY):
            yield from shown_cells(xlsb_cells(self._archive.read(sheet)), self._formats)
            return
        found = self._cells(sheet, _STYLED_CELL)
        cells = (StyledCell(int(match[3]) - 1, _column(match[2]) - 1, int(match[1])) for match in found)
        yield from shown_cells(cells, self._formats)

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
                if kind in {*DRAWN, "txBody"} and _is_stand_in(element):
                    continue
                if kind in DRAWN:
                    yield from drawings.blocks(attribute(element, "r:id") or attribute(element, "r:dm"), page)
                elif kind == "txBody" and (text := _text(element)):
                    yield Block(text=f"{text}\n\n", page=page)
        for line in () if sheet.endswith(_BINARY) else sheet_comments(self._archive, self._main, sheet):
            yield Block(text=f"{line}\n\n", page=page)


def _is_stand_in(element: _Element) -> bool:
    """Whether it tells programs of old that they cannot show what is here."""
    return any(name_of(outer.tag) == "mc:Fallback" for outer in element.iterancestors())


@cache
def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number


def _text(body: _Element) -> str:
    lines = ["".join(t.text or "" for t in p.iter() if name_of(t.tag) == "a:t") for p in body]
    return "\n".join(line for each in lines if (line := one_line(each)))
