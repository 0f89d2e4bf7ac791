"""Spreadsheets of Excel (xlsx, xlsm, xlsb, xls, XML of 2003): every sheet is a page and a section under its name.

Cells are read by calamine (MIT), with the values that the last calculation left. Charts and comments are
read from Excel's newer formats alone. What stands around numbers (%, €) calamine does not tell; it is read beside.
"""

from __future__ import annotations

import codecs
import datetime as dt
import operator
from collections import defaultdict
from contextlib import contextmanager
from itertools import compress, repeat
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, Parsed, Title, bounded
from indexer.parsers.office.biff_cells import XlsCells
from indexer.parsers.office.compound_file import CompoundFile
from indexer.parsers.office.far_columns import FarColumns
from indexer.parsers.office.sheet_rows import sheet_blocks, sheet_section
from indexer.parsers.office.workbook_parts import WorkbookParts
from indexer.parsers.office.xml_workbook import parse_xml_workbook
from indexer.parsers.zip_limits import LimitedZip
from rag.errors import SourceDamaged, SourceEncrypted, SourceTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    from python_calamine import CalamineSheet, CalamineWorkbook

    from indexer.parsers.office.number_formats import NumberFormat

    _CellFormat = tuple[int, int, NumberFormat | str]

_ZIP_MARK: Final = b"PK\x03\x04"
_BEFORE_XML: Final = codecs.BOM_UTF8 + b" \t\r\n"
_HINT: Final = "The file may be damaged; get or export it again."
_ROWS_PER_SIGN_OF_LIFE: Final = 1000
# Calamine holds the rectangle around all cells, 32 bytes for each.
_MAX_CELLS: Final = 1 << 26
# More is decoration: whole columns merged by a slip of the mouse.
_MAX_MERGED_CELLS: Final = 100_000


def parse_spreadsheet(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - the formats say it inside
    """Yield for each sheet that holds something its name as a heading, then tables and remarks.

    Raises:
        SourceDamaged, SourceTooLarge: as the container or its contents show.
        SourceEncrypted: it opens only with a password.
    """
    parts: WorkbookParts | None = None
    stream = b""
    mark = file.read(len(_ZIP_MARK))
    file.seek(0)
    if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or mark.lstrip(_BEFORE_XML).startswith(b"<"):
        yield from parse_xml_workbook(file)
        return
    if mark == _ZIP_MARK:
        parts = WorkbookParts(LimitedZip(file))
        if (whole := parts.with_columns()) is not None:
            file = whole
            parts = WorkbookParts(LimitedZip(file))
        file = parts.of_known_kinds() or file
        if title := parts.title:
            yield Title(text=title)
    else:
        # Calamine follows the chain of a stream without end where it leads in circles; olefile sees that it does.
        file.seek(0)
        compound = CompoundFile(file)
        stream = compound.read("Workbook" if "Workbook" in compound else "Book")
    file.seek(0)
    cells = XlsCells(stream)
    if cells.encrypted:
        raise SourceEncrypted(
            "This workbook is protected by a password.", hint="Save a copy without the password and ingest that."
        )
    workbook = _opened(file)
    for number, name in enumerate(workbook.sheet_names, start=1):
        formats = cells.formats(number) if parts is None else parts.formats(name)
        yield from sheet_section(name, number, _sheet(workbook, name, number, parts, formats))


def _sheet(
    workbook: CalamineWorkbook, name: str, number: int, parts: WorkbookParts | None, formats: Iterator[_CellFormat]
) -> Iterator[Block | None]:
    if parts is not None and (cells := parts.extent(name)) > _MAX_CELLS:
        raise SourceTooLarge(
            f"The sheet {name} reaches over {cells:,} cells, more than {_MAX_CELLS:,}.",
            hint="Look for a stray value far from the others (Ctrl+End in Excel), delete it and save.",
        )
    for position, block in enumerate(sheet_blocks(_rows(workbook, name, formats), page=number)):
        yield from bounded(block)
        if position % _ROWS_PER_SIGN_OF_LIFE == 0:
            yield None
    for block in () if parts is None else parts.blocks(name, number):
        yield from bounded(block)


def _opened(file: BinaryIO) -> CalamineWorkbook:
    import python_calamine

    with _told("This workbook"):
        return python_calamine.CalamineWorkbook.from_filelike(file)


def _rows(workbook: CalamineWorkbook, name: str, formats: Iterator[_CellFormat]) -> Iterator[Sequence[str]]:
    sheet = _loaded(workbook, name)
    if sheet is None or sheet.start is None:
        return
    merged = _Merged(sheet)
    shown = _Formats(formats, sheet.start[1])
    columns = FarColumns()
    for number, row in enumerate(sheet.iter_rows()):
        if number not in merged.rows and row.count("") == len(row):
            # Most rows of a sheet that reaches to the last one possible.
            yield []
            continue
        around = shown.of(number)
        cells = [""] * len(row)
        for i, value in compress(enumerate(row), map(operator.ne, row, repeat(""))):
            cells[i] = _shown(value, around.get(i))
        merged.fill(number, cells)
        filled = set(filter(None, cells))
        # A title over several columns is one.
        yield list(filled) if len(filled) == 1 and number in merged.rows else columns.row(cells)


def _loaded(workbook: CalamineWorkbook, name: str) -> CalamineSheet | None:
    import python_calamine

    with _told(f"The sheet {name}"):
        try:
            return workbook.get_sheet_by_name(name)
        except python_calamine.WorksheetNotFound:
            # A sheet that is a chart has no cells.
            return None


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Calamine's errors as those of the source."""
    import python_calamine

    try:
        yield
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise SourceDamaged(f"{what} cannot be read: {error}.", hint=_HINT) from error
    except BaseException as error:
        # Rust's panics are no Exception for Python; here they are damage that calamine does not expect.
        if type(error).__name__ != "PanicException":
            raise
        raise SourceDamaged(f"{what} cannot be read: {error}.", hint=_HINT) from error


class _Merged:
    """Merged cells: their text stands in each cell that they cover, but a title over the whole width only once."""

    def __init__(self, sheet: CalamineSheet) -> None:
        self.rows: Mapping[int, list[tuple[int, int]]] = {}
        start = sheet.start or (0, 0)
        self._first = start[1]
        at: dict[int, list[tuple[int, int]]] = defaultdict(list)
        covered = 0
        self._sources: dict[tuple[int, int], tuple[int, int]] = {}
        for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
            covered += (bottom - top + 1) * (right - left + 1)
            if covered > _MAX_MERGED_CELLS:
                break
            last = left if right - left + 1 >= sheet.width else right
            for row in range(top, bottom + 1):
                at[row].append((left, last))
                self._sources[row, left] = (top, left)
        self.rows = at
        self._texts: dict[tuple[int, int], str] = {}

    def fill(self, row: int, cells: list[str]) -> None:
        for left, last in self.rows.get(row, ()):
            place = left - self._first
            if not 0 <= place < len(cells):
                continue
            source = self._sources[row, left]
            if source[0] == row:
                self._texts[source] = cells[place]
            text = self._texts.get(source, "")
            for column in range(place, min(last - self._first + 1, len(cells))):
                cells[column] = cells[column] or text


class _Formats:
    """What cells show beside their numbers, row by row as a sheet is read."""

    def __init__(self, found: Iterator[_CellFormat], first: int) -> None:
        self._found = found
        self._first = first
        self._ahead = next(found, None)

    def of(self, row: int) -> dict[int, NumberFormat | str]:
        """Formats by the place of a cell in a row; rows are asked for in their order."""
        around: dict[int, NumberFormat | str] = {}
        while self._ahead is not None and self._ahead[0] <= row:
            at, column, found = self._ahead
            if at == row:
                around[column - self._first] = found
            self._ahead = next(self._found, None)
        return around


def _shown(value: object, around: NumberFormat | str | None) -> str:
    """A value as text: whole numbers without a point, dates without an empty time."""
    if isinstance(around, str):
        return around
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return f"{value:.15g}" if around is None else around.shown(value)
    if isinstance(value, dt.datetime):
        midnight = value.time() == dt.time()
        return value.date().isoformat() if midnight else value.isoformat(sep=" ", timespec="seconds")
    return _hours(value) if isinstance(value, (dt.time, dt.timedelta)) else str(value)


def _hours(value: dt.time | dt.timedelta) -> str:
    if isinstance(value, dt.time):
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
    minutes, seconds = divmod(round(abs(value.total_seconds())), 60)
    return f"{'-' if value < dt.timedelta() else ''}{minutes // 60}:{minutes % 60:02}:{seconds:02}"
