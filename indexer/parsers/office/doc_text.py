"""The characters of an old Word document with the properties of their paragraphs ([MS-DOC] 2.4.1 and 2.4.6.1)."""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLX: Final = 0x01A2
_PARAGRAPH_PAGES: Final = 0x0102
# Lengths of main text, footnotes, headers, (macros), comments, endnotes and text boxes in the file's head.
_LENGTHS: Final = 0x4C
_PAGE_BYTES: Final = 512
_COMPRESSED: Final = 1 << 30
_CELL, _PARAGRAPH, _PAGE = "\x07", "\r", "\x0c"
# Instructions on a paragraph: their codes, and how many bytes follow.
_IN_TABLE, _ENDS_ROW, _LIST_LEVEL, _LIST_ID, _OUTLINE = 0x2416, 0x2417, 0x260A, 0x460B, 0x2640
_OPERAND_BYTES: Final = (1, 1, 2, 4, 2, 2, 0, 3)
_LAST_HEADING_STYLE: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """``level`` is 0 for body text; ``list_depth`` counts from 0 and is None outside of lists."""

    text: str
    level: int = 0
    list_depth: int | None = None
    in_table: bool = False
    ends_cell: bool = False
    ends_row: bool = False


@dataclass(slots=True, kw_only=True)
class _Properties:
    style: int = 0
    outline: int = 9
    list_depth: int = 0
    listed: bool = False
    in_table: bool = False
    ends_row: bool = False


class DocText:
    """Text of a document from its two streams.

    Raises:
        SourceDamaged, struct.error, IndexError: a stream is cut off or holds something else.
    """

    def __init__(self, document: bytes, table: bytes) -> None:
        self._document = document
        self._ends: list[int] = []
        self._properties: list[bytes] = []
        self._pieces = list(_pieces(document, table))
        self._read_pages(table)

    def paragraphs(self) -> Iterator[Paragraph]:
        """Paragraphs and cells of the main text, then of foot- and endnotes, then of text boxes."""
        lengths = struct.unpack_from("<7i", self._document, _LENGTHS)
        main, footnotes, headers, _macros, comments, endnotes, boxes = lengths
        yield from self._range(0, main + footnotes)
        rest = main + footnotes + headers + comments
        yield from self._range(rest, rest + endnotes + boxes)

    def _range(self, start: int, end: int) -> Iterator[Paragraph]:
        collected: list[str] = []
        for first, last, offset, width in self._pieces:
            if last <= start or first >= end:
                continue
            low, high = max(first, start), min(last, end)
            data = self._document[offset + (low - first) * width : offset + (high - first) * width]
            text = data.decode("utf-16-le" if width == 2 else "cp1252", errors="replace")
            begun = 0
            for place, character in enumerate(text):
                if character in {_PARAGRAPH, _CELL, _PAGE}:
                    collected.append(text[begun:place])
                    begun = place + 1
                    at = offset + (low - first + place) * width
                    yield self._paragraph("".join(collected), character, at)
                    collected = []
            collected.append(text[begun:])
        if rest := "".join(collected):
            yield Paragraph(text=rest)

    def _paragraph(self, text: str, mark: str, offset: int) -> Paragraph:
        found = self._properties_at(offset)
        style_level = found.style if 1 <= found.style <= _LAST_HEADING_STYLE else 0
        return Paragraph(
            text=text,
            level=found.outline + 1 if found.outline < 9 else style_level,
            list_depth=found.list_depth if found.listed else None,
            in_table=found.in_table,
            ends_cell=mark == _CELL,
            ends_row=found.ends_row and mark == _CELL,
        )

    def _read_pages(self, table: bytes) -> None:
        """Where each run of equal properties ends in the file, and the properties themselves."""
        start, size = struct.unpack_from("<2I", self._document, _PARAGRAPH_PAGES)
        count = (size - 4) // 8
        pages = struct.unpack_from(f"<{count}I", table, start + 4 * (count + 1))
        for number in pages:
            page = self._document[number * _PAGE_BYTES : (number + 1) * _PAGE_BYTES]
            if len(page) < _PAGE_BYTES:
                continue
            runs = page[-1]
            ends = struct.unpack_from(f"<{runs}I", page, 4)
            for i, end in enumerate(ends):
                self._ends.append(end)
                self._properties.append(_stored(page, page[4 * (runs + 1) + 13 * i] * 2))

    def _properties_at(self, offset: int) -> _Properties:
        place = bisect.bisect_right(self._ends, offset)
        data = self._properties[place] if place < len(self._properties) else b""
        found = _Properties()
        if len(data) < 2:
            return found
        found.style = struct.unpack_from("<H", data)[0]
        at = 2
        while at + 3 <= len(data):
            code = struct.unpack_from("<H", data, at)[0]
            operand = data[at + 2]
            size = _OPERAND_BYTES[code >> 13]
            _apply(found, code, operand)
            # Operands of their own length say it in their first byte.
            at += 2 + (size or operand + 1)
        return found


def _stored(page: bytes, place: int) -> bytes:
    if not place:
        return b""
    size = page[place]
    return page[place + 1 : place + 2 * size] if size else page[place + 2 : place + 2 + 2 * page[place + 1]]


def _apply(found: _Properties, code: int, operand: int) -> None:
    if code == _IN_TABLE:
        found.in_table = bool(operand)
    elif code == _ENDS_ROW:
        found.ends_row = bool(operand)
    elif code == _LIST_LEVEL:
        found.list_depth = min(operand, 8)
    elif code == _LIST_ID:
        found.listed = bool(operand)
    elif code == _OUTLINE:
        found.outline = min(operand, 9)


def _pieces(document: bytes, table: bytes) -> Iterator[tuple[int, int, int, int]]:
    """First and last character, offset in the file and bytes a character of each piece."""
    start, size = struct.unpack_from("<2I", document, _CLX)
    at, end = start, min(start + size, len(table))
    while at < end and table[at] == 1:
        at += 3 + struct.unpack_from("<H", table, at + 1)[0]
    if at >= end or table[at] != 2:
        raise SourceDamaged("This document does not say where its text is.", hint="Get or export the file again.")
    count = (struct.unpack_from("<I", table, at + 1)[0] - 4) // 12
    at += 5
    borders = struct.unpack_from(f"<{count + 1}I", table, at)
    for i in range(count):
        place = struct.unpack_from("<I", table, at + 4 * (count + 1) + 8 * i + 2)[0]
        compressed = bool(place & _COMPRESSED)
        offset = (place & (_COMPRESSED - 1)) // 2 if compressed else place
        yield borders[i], borders[i + 1], offset, 1 if compressed else 2
