"""Cells of Excel's binary formats: which of them show more than their numbers, which calamine does not tell.

Sources: [MS-XLS] 2.4 (xls; Excel 5 and 95 have the same records with other texts), [MS-XLSB] 2.4 and 2.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from indexer.parsers.office.number_formats import NumberFormat, formats_by_style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BOF: Final = 0x0809
_EOF: Final = 0x000A
_PASSWORD: Final = 0x002F
_SHEET: Final = 0x0085
_FORMAT: Final = 0x041E
_STYLE: Final = 0x00E0
_CODE_PAGE: Final = 0x0042
_NUMBERS: Final = frozenset({0x0203, 0x027E, 0x0006})  # NUMBER, RK, FORMULA
_NUMBERS_IN_A_ROW: Final = 0x00BD
_EXCEL_97: Final = 0x0600
_WIDE: Final = 1

_XLSB_SHEET: Final = 156
_XLSB_FORMAT: Final = 44
_XLSB_STYLE: Final = 47
_XLSB_STYLES_BEGIN: Final = 617
_XLSB_STYLES_END: Final = 618
_XLSB_ROW: Final = 0
_XLSB_NUMBERS: Final = frozenset({2, 5, 9})  # RK, real, formula
_XLSB_CELLS: Final = frozenset({*range(1, 12), 62})
_XLSB_SHORT_CELLS: Final = range(12, 19)
_XLSB_SHORT: Final = 11  # what makes the number of a cell's record that of its short form
_XLSB_LAST_COLUMN: Final = 16_383


class StyledCell(NamedTuple):
    """A cell with a number: row and column from 0, and the number of its style."""

    row: int
    column: int
    style: int


def shown_cells(
    cells: Iterator[StyledCell], formats: Sequence[NumberFormat | None]
) -> Iterator[tuple[int, int, NumberFormat]]:
    """The cells whose styles show more than a number, with what these show."""
    for cell in cells:
        if cell.style < len(formats) and (found := formats[cell.style]) is not None:
            yield cell.row, cell.column, found


class XlsCells:
    """The stream of a workbook of Excel 5 to 2003. ``encrypted``: all but the records' kinds and sizes is."""

    def __init__(self, stream: bytes) -> None:
        self._stream = stream
        self.encrypted = False
        self._sheets: list[int] = []
        styles: list[int] = []
        codes: dict[int, str] = {}
        encoding, wide = "cp1252", True
        for kind, data in _records(stream, 0):
            if kind == _BOF:
                wide = _number(data, 0) >= _EXCEL_97
            elif kind == _PASSWORD:
                self.encrypted = True
                break
            elif kind == _CODE_PAGE:
                encoding = _code_page(_number(data, 0))
            elif kind == _FORMAT:
                codes[_number(data, 0)] = (
                    _text(data[2:]) if wide else data[3 : 3 + _number(data, 2, 1)].decode(encoding, "replace")
                )
            elif kind == _STYLE:
                styles.append(_number(data, 2))
            elif kind == _SHEET:
                self._sheets.append(_number(data, 0, 4))
        self._formats = formats_by_style(codes, styles)

    def formats(self, number: int) -> Iterator[tuple[int, int, NumberFormat]]:
        """Cells of a sheet, counted from 1, that show more than a number; in the file's order."""
        if any(self._formats) and number <= len(self._sheets):
            yield from shown_cells(_xls_cells(self._stream, self._sheets[number - 1]), self._formats)


def _xls_cells(stream: bytes, start: int) -> Iterator[StyledCell]:
    depth = 0
    for kind, data in _records(stream, start):
        # Charts within the sheet have numbers, too.
        depth += (kind == _BOF) - (kind == _EOF)
        if depth == 1 and kind in _NUMBERS:
            yield StyledCell(_number(data, 0), _number(data, 2), _number(data, 4))
        elif depth == 1 and kind == _NUMBERS_IN_A_ROW:
            row, first = _number(data, 0), _number(data, 2)
            for place, at in enumerate(range(4, len(data) - 2, 6)):
                yield StyledCell(row, first + place, _number(data, at))


def _records(stream: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Records until the end of what begins here with BOF."""
    depth = 0
    while at + 4 <= len(stream):
        kind, size = _number(stream, at), _number(stream, at + 2)
        yield kind, stream[at + 4 : at + 4 + size]
        depth += (kind == _BOF) - (kind == _EOF)
        if depth <= 0:
            return
        at += 4 + size


def _code_page(number: int) -> str:
    names = {10_000: "mac_roman", 32_768: "mac_roman", 1200: "utf-16-le"}
    return names.get(number, f"cp{number}" if number in range(1250, 1259) else "cp1252")


def _text(data: bytes) -> str:
    """A text of Excel 97: how many characters, how wide they are, and these."""
    if len(data) < 3:
        return ""
    length, wide = _number(data, 0), data[2] & _WIDE
    return data[3 : 3 + (length << wide)].decode("utf-16-le" if wide else "latin-1", "replace")


def _number(data: bytes, at: int, size: int = 2) -> int:
    return int.from_bytes(data[at : at + size], "little")


def xlsb_sheets(workbook: bytes) -> list[tuple[str, str]]:
    """Names of the sheets of a workbook's main part, and the ids of their relations."""
    found = []
    for kind, data in _xlsb_records(workbook):
        if kind == _XLSB_SHEET:
            relation, end = _xlsb_text(data, 8)
            found.append((_xlsb_text(data, end)[0], relation))
    return found


def xlsb_formats(styles: bytes) -> list[NumberFormat | None]:
    """As ``number_formats``, of the part with the styles."""
    codes: dict[int, str] = {}
    used: list[int] = []
    of_cells = False
    for kind, data in _xlsb_records(styles):
        if kind == _XLSB_FORMAT:
            codes[_number(data, 0)] = _xlsb_text(data, 2)[0]
        elif kind in {_XLSB_STYLES_BEGIN, _XLSB_STYLES_END}:
            of_cells = kind == _XLSB_STYLES_BEGIN
        elif kind == _XLSB_STYLE and of_cells:
            used.append(_number(data, 2))
    return formats_by_style(codes, used)


def xlsb_cells(sheet: bytes) -> Iterator[StyledCell]:
    """Cells of a sheet's part that hold numbers."""
    row = 0
    for kind, data in _xlsb_records(sheet):
        if kind == _XLSB_ROW:
            row = _number(data, 0, 4)
        elif kind in _XLSB_NUMBERS:
            yield StyledCell(row, _number(data, 0, 4), _number(data, 4, 3))


def with_columns(sheet: bytes) -> bytes | None:
    """A sheet's part with a column in each of its cells; ``None`` if none lacks it.

    Short cells, as SheetJS writes them, stand right of the cell before; calamine passes over them without a word.
    """
    if all(kind not in _XLSB_SHORT_CELLS for kind, _data in _xlsb_records(sheet)):
        return None
    written = bytearray()
    column = 0
    for kind, data in _xlsb_records(sheet):
        if kind in _XLSB_CELLS:
            column = _number(data, 0, 4)
        elif kind in _XLSB_SHORT_CELLS:
            column = min(column + 1, _XLSB_LAST_COLUMN)
            kind -= _XLSB_SHORT  # noqa: PLW2901
            data = column.to_bytes(4, "little") + data  # noqa: PLW2901
        written += _xlsb_written(kind) + _xlsb_written(len(data)) + data
    return bytes(written)


def _xlsb_records(part: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(part):
        kind, at = _xlsb_number(part, at, 2)
        size, at = _xlsb_number(part, at, 4)
        yield kind, part[at : at + size]
        at += size


def _xlsb_number(part: bytes, at: int, most: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first, as long as the eighth is set; and where it ends."""
    number = 0
    for place, byte in enumerate(part[at : at + most]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    return number, at + most


def _xlsb_written(number: int) -> bytes:
    """The bytes that ``_xlsb_number`` reads."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _xlsb_text(data: bytes, at: int) -> tuple[str, int]:
    """A text with its length in front, and where it ends."""
    end = at + 4 + 2 * _number(data, at, 4)
    return data[at + 4 : end].decode("utf-16-le", "replace"), end
