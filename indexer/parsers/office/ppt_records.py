"""The records that a PowerPoint 97 presentation is made of, and tables, which are groups of shapes there.

Source: [MS-PPT] 2.3.1 (header of a record) and [MS-ODRAW] 2.2.39 (place in a group), 2.3.4.37 (marks of tables).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CONTAINER: Final = 0xF
CHARS, BYTES = 0x0FA0, 0x0FA8
_SHAPE, _TEXTBOX, _CHILD_ANCHOR, _MORE_OPTIONS = 0xF004, 0xF00D, 0xF00F, 0xF122
_TABLE_OPTION: Final = 0x039F
_MAX_DEPTH: Final = 32
_MAX_TABLE_CELLS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Record:
    """``start`` and ``end`` are where its contents are."""

    kind: int
    instance: int
    start: int
    end: int
    holds_records: bool


class Records:
    """The stream of a presentation as records.

    Raises:
        struct.error: by any method, where the stream is cut off.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def at(self, offset: int) -> Record:
        head, kind, length = struct.unpack_from("<HHI", self.data, offset)
        holds = head & 0xF == _CONTAINER or kind == _TEXTBOX
        return Record(kind, head >> 4, offset + 8, min(offset + 8 + length, len(self.data)), holds)

    def children(self, container: Record) -> Iterator[Record]:
        offset = container.start
        while offset + 8 <= container.end:
            record = self.at(offset)
            yield record
            offset = record.end

    def all_in(self, container: Record, depth: int = 0) -> Iterator[Record]:
        """Everything inside, in order, whatever it is in."""
        for record in self.children(container):
            yield record
            if record.holds_records and depth < _MAX_DEPTH:
                yield from self.all_in(record, depth + 1)

    def number(self, record: Record, place: int = 0) -> int:
        """The unsigned number at a place, in bytes, of a record's contents."""
        return int(struct.unpack_from("<I", self.data, record.start + place)[0])

    def text(self, record: Record) -> str:
        """The lines of a record of text."""
        data = self.data[record.start : record.end]
        text = data.decode("utf-16-le", errors="replace") if record.kind == CHARS else data.decode("latin-1")
        lines = text.replace("\x0b", "\r").replace("\x00", "").split("\r")
        return "\n".join(line for each in lines if (line := one_line(each)))

    def is_table(self, group: Record) -> bool:
        """Whether a group of shapes is a table: the options of its first shape say so."""
        first = next((record for record in self.children(group) if record.kind == _SHAPE), None)
        options = (r for r in self.children(first) if r.kind == _MORE_OPTIONS) if first else ()
        for record in options:
            places = range(record.start, min(record.start + 6 * record.instance, record.end - 5), 6)
            values = (struct.unpack_from("<HI", self.data, place) for place in places)
            if any(option == _TABLE_OPTION and value & 1 for option, value in values):
                return True
        return False

    def table_rows(self, group: Record) -> list[list[str]]:
        """Texts of a table's cells by row and column; merged ones say theirs in each place that they cover."""
        cells: list[tuple[tuple[int, int, int, int], str]] = []
        for shape in self.children(group):
            inside = list(self.all_in(shape)) if shape.kind == _SHAPE else []
            anchor = next((record for record in inside if record.kind == _CHILD_ANCHOR), None)
            if anchor is None or not any(record.kind == _TEXTBOX for record in inside):
                continue
            left, top, right, bottom = struct.unpack_from("<4i", self.data, anchor.start)
            if left < right and top < bottom:
                texts = (self.text(record) for record in inside if record.kind in {CHARS, BYTES})
                cells.append(((left, top, right, bottom), " ".join(texts)))
        return _grid(cells)


def _grid(cells: Sequence[tuple[tuple[int, int, int, int], str]]) -> list[list[str]]:
    columns = sorted({place[0] for place, _text in cells})
    rows = sorted({place[1] for place, _text in cells})
    if len(columns) * len(rows) > _MAX_TABLE_CELLS:
        return [[text] for _place, text in cells]
    grid = [[""] * len(columns) for _ in rows]
    for (left, top, right, bottom), text in cells:
        for row in grid[bisect_left(rows, top) : bisect_left(rows, bottom)]:
            first, end = bisect_left(columns, left), bisect_left(columns, right)
            row[first:end] = [text] * (end - first)
    return grid
