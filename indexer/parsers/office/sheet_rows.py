"""Rows of a spreadsheet as blocks: which of them are titles, headers and tables is read from what they hold."""

from __future__ import annotations

import re
from itertools import chain, groupby
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, one_line
from indexer.parsers.office.side_by_side import held_rows
from indexer.parsers.separated.preambles import facts, is_label, rows_above
from indexer.parsers.tables import (
    TableWriter,
    TitleLines,
    is_data,
    is_like,
    is_number,
    lines_of,
    names_columns,
    names_further,
    spread,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Rows at the start of a table that are looked at to tell its header from its data.
_AHEAD_ROWS: Final = 12
_MAX_HEADER_ROWS: Final = 3
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def sheet_section(name: str, number: int, blocks: Iterable[Block | None]) -> Iterator[Block | None]:
    """What a sheet holds, below its name as a heading; nothing where it holds nothing."""
    heading = (one_line(name) or f"Sheet {number}")[:MAX_HEADING_CHARS]
    opened = False
    for block in blocks:
        if block is not None and not opened:
            opened = True
            # One level below the file's name, which is the title; the first sheet's name is none.
            yield Block(text=f"{heading}\n\n", kind=BlockKind.HEADING, level=2, heading=heading, page=number)
        yield block


def sheet_blocks(rows: Iterable[Sequence[str]], *, page: int) -> Iterator[Block]:
    """Yield the tables of a sheet and the lines of text between them.

    A table begins with the sheet or after an empty row, if the row there names columns; otherwise the table before the
    gap goes on, and its header with it. A row of one cell in such a place is a title or a remark. Tables side by side
    are handed out from left to right.
    """
    writer = _SheetWriter(page)
    for filled, run in groupby(map(lines_of, rows), key=any):
        if not filled:
            yield from writer.add([])
            continue
        held, tables = held_rows(run)
        for table in tables:
            yield from writer.finish()
            writer = _SheetWriter(page)
            for row in table:
                yield from writer.add(row)
        for row in () if tables else chain(held, run):
            yield from writer.add(row)
    yield from writer.finish()


class _SheetWriter:
    def __init__(self, page: int) -> None:
        self._page = page
        self._table: TableWriter | None = None
        # The first rows of a new table, until its header is known.
        self._opening: list[Sequence[str]] = []
        self._between = True
        self._gap = False
        # Of the first rows those above an empty one.
        self._named = 0
        self._titles = TitleLines(page)

    def add(self, cells: Sequence[str]) -> Iterator[Block]:
        filled = [cell for cell in cells if cell]
        if not filled:
            self._gap = self._between = True
            self._titles.gap(below_table=self._table is not None)
            return
        if self._gap and self._opening:
            self._named = len(self._opening)
            if not self._goes_on(cells):
                yield from self._start()
        self._gap = False
        if self._opening:
            self._opening.append(cells)
            if len(self._opening) >= _AHEAD_ROWS:
                yield from self._start()
        elif self._between and len(filled) == 1:
            yield from self._pause()
            yield from self._titles.add(filled[0])
        elif self._between and (self._table is None or names_columns(cells)):
            yield from self._pause()
            self._opening.append(cells)
            self._between = False
        else:
            self._between = False
            yield from self._titles.alone()
            if self._table is not None:
                yield from self._table.add(cells, self._page)

    def _goes_on(self, cells: Sequence[str]) -> bool:
        """Whether a row of data follows a gap below rows that are all header."""
        headers = len(self._opening) < _MAX_HEADER_ROWS and all(map(names_columns, self._opening))
        return headers and sum(map(bool, cells)) > 1 and not names_columns(cells)

    def finish(self) -> Iterator[Block]:
        yield from self._start()
        yield from self._pause()
        yield from self._titles.alone()

    def _start(self) -> Iterator[Block]:
        if not self._opening:
            return
        rows, self._opening = self._opening, []
        named, self._named = self._named, 0
        if above := rows_above(rows, len(rows[0])):
            yield from self._titles.alone()
            yield from facts(rows[:above], self._page)
            rows, named = rows[above:], named - above
        headers = max(_header_rows(rows), named if named < len(rows) else 0)
        self._table = TableWriter(headers, (yield from self._titles.above_table()))
        for row in [*spread(rows[:headers]), *rows[headers:]]:
            yield from self._table.add(row, self._page)

    def _pause(self) -> Iterator[Block]:
        if self._table is not None:
            yield from self._table.finish()


def _header_rows(rows: Sequence[Sequence[str]]) -> int:
    """How many of the first rows name the columns.

    Dates do so above what is no date, and no row that is like those below it, or says a value beside its name.
    """
    width = max(map(len, rows))
    first, *below = rows = [[*row, *[""] * (width - len(row))] for row in rows]
    columns = [[row[i] for row in below if row[i]] for i in range(width)]
    named = ["date" if _DATE.match(cell) and not is_like(cell, columns[i]) else cell for i, cell in enumerate(first)]
    if not names_columns(named) or is_data(first, below) or is_label(first):
        return 0
    count = 1
    while count < min(len(rows) - 1, _MAX_HEADER_ROWS) and _names_further(rows[count - 1 :]):
        count += 1
    return count


def _names_further(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the second row goes on with the names of the first.

    Merged cells show that, or names in the gaps of groups of columns, or that it stands above numbers alone, there or
    everywhere, as units of measure do.
    """
    above, row, *below = rows
    if names_further(above, row):
        return True
    if not names_columns(row):
        return False
    gaps = {i for i, cell in enumerate(row) if cell and not above[i]}
    both = {i for i, cell in enumerate(row) if cell and above[i]}
    if gaps and all(i + 1 in gaps for i in both):
        return True
    numbers = [i for i, cell in enumerate(row) if cell and _is_of_numbers([other[i] for other in below if other[i]])]
    return len(numbers) == len(gaps | both) or (any(i + 1 in gaps for i in both) and gaps.issubset(numbers))


def _is_of_numbers(column: Sequence[str]) -> bool:
    return sum(map(is_number, column)) * 2 > len(column)
