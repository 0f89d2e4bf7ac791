"""The lines of a PDF page with their place and font, read from PDFium's character list."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pypdfium2 import PdfPage, PdfTextPage

# A gap this many times the font size between two characters of a line parts two table cells, not two words.
_CELL_GAP: Final = 1.0
# Share of a page's height, at the top and at the bottom, where headers and footers stand.
_MARGIN_SHARE: Final = 0.12
_BOLD = re.compile(rb"bold|black|heavy|semibold|demi", re.IGNORECASE)
_FORCE_BOLD_FLAG: Final = 1 << 18
_HYPHENS: Final = frozenset({0x02, 0xFFFE})
_LAST_BMP: Final = 0xFFFF


@dataclass(slots=True, kw_only=True)
class Line:
    """A run of characters on one baseline without wide gaps; a row of a table is several of them, side by side.

    Coordinates are in points from the page's lower left corner. ``hyphenated`` lines end inside a word whose hyphen
    is left out. ``in_margin`` lines stand where headers and footers do.
    """

    left: float
    right: float
    bottom: float = 0.0
    top: float = 0.0
    size: float = 0.0
    bold: bool = False
    text: str = ""
    hyphenated: bool = False
    in_margin: bool = False


def page_lines(page: PdfPage) -> list[Line]:
    """All lines of a page in the order of its content stream, which is reading order in nearly all documents."""
    text_page = page.get_textpage()
    try:
        lines = _LineReader(text_page).read()
    finally:
        text_page.close()
    _left, low, _right, high = page.get_bbox()
    margin = _MARGIN_SHARE * (high - low)
    for line in lines:
        line.in_margin = line.bottom > high - margin or line.top < low + margin
    return lines


class _LineReader:
    def __init__(self, text_page: PdfTextPage) -> None:
        from pypdfium2 import raw

        self._raw = raw
        self._page = text_page
        self._box = raw.FS_RECTF()
        self._name = ctypes.create_string_buffer(128)
        self._flags = ctypes.c_int()
        self._lines: list[Line] = []
        self._line: Line | None = None
        self._characters: list[str] = []
        self._measured = False
        self._last_letter = 0
        self._high = 0

    def read(self) -> list[Line]:
        for index in range(self._page.count_chars()):
            code = self._raw.FPDFText_GetUnicode(self._page, index)
            if code in {0x0A, 0x0D}:
                self._end_line()
            elif code in _HYPHENS:
                if self._line is not None:
                    self._line.hyphenated = True
            elif code:
                self._add(index, code)
        self._end_line()
        return self._lines

    def _add(self, index: int, code: int) -> None:
        character = self._character(code)
        if not character:
            return
        if self._raw.FPDFText_IsGenerated(self._page, index) == 1 or character.isspace():
            self._characters.append(" ")
            return
        self._raw.FPDFText_GetLooseCharBox(self._page, index, ctypes.byref(self._box))
        box = self._box
        line = self._line
        if line is not None and box.left - line.right > _CELL_GAP * max(line.size, 1.0):
            self._end_line()
            line = None
        if line is None:
            line = self._line = Line(left=box.left, right=box.right)
            self._characters.clear()
        if not self._measured:
            # A bullet often has a font of its own; the first letter or digit is what the line looks like.
            self._measured = character.isalnum()
            line.bottom, line.top = box.bottom, box.top
            line.size = round((box.top - box.bottom) * 2) / 2
            line.bold = self._is_bold(index)
        if character.isalnum():
            self._last_letter = index
        line.right = max(line.right, box.right)
        line.hyphenated = False
        self._characters.append(character)

    def _character(self, code: int) -> str:
        """The character of a UTF-16 unit or code point; empty for the first half of a pair and for controls."""
        if 0xD800 <= code <= 0xDBFF:
            self._high = code
            return ""
        if 0xDC00 <= code <= 0xDFFF:
            high, self._high = self._high, 0
            return chr(0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)) if high else ""
        if code > 0x10FFFF or (code < 0x20 and code != 0x09):
            return ""
        return chr(code)

    def _is_bold(self, index: int) -> bool:
        self._raw.FPDFText_GetFontInfo(self._page, index, self._name, len(self._name), ctypes.byref(self._flags))
        return bool(_BOLD.search(self._name.value)) or bool(self._flags.value & _FORCE_BOLD_FLAG)

    def _end_line(self) -> None:
        line, self._line, self._measured = self._line, None, False
        if line is not None and (text := " ".join("".join(self._characters).split())):
            line.text = text
            # A bold word at the start is an emphasis, not a heading.
            line.bold = line.bold and self._is_bold(self._last_letter)
            self._lines.append(line)
        self._characters.clear()
