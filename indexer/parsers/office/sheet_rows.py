"""Rows of a spreadsheet as blocks: which of them are titles, headers and tables is read from what they hold."""

from __future__ import annotations

from itertools import chain, groupby
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, bounded, one_line
from indexer.parsers.office.side_by_side import held_rows
from indexer.parsers.tables import TableWriter, names_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Rows at the start of a table that are looked at to tell its header from its data.
_AHEAD_ROWS: Final = 6
_MAX_HEADER_ROWS: Final = 3


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
    lines = ([one_line(cell) for cell in row] for row in rows)
    for filled, run in groupby(lines, key=any):
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

    def add(self, cells: Sequence[str]) -> Iterator[Block]:
        filled = [cell for cell in cells if cell]
        if not filled:
            self._gap = self._between = True
            return
        if self._gap and self._opening and not self._goes_on(cells):
            yield from self._start()
        self._gap = False
        if self._opening:
            self._opening.append(cells)
            if len(self._opening) >= _AHEAD_ROWS:
                yield from self._start()
        elif self._between and len(filled) == 1:
            yield from self._pause()
            yield from bounded(Block(text=f"{filled[0]}\n\n", page=self._page))
        elif self._between and (self._table is None or names_columns(cells)):
            yield from self._pause()
            self._opening.append(cells)
            self._between = False
        else:
            self._between = False
            if self._table is not None:
                yield from self._table.add(cells, self._page)

    def _goes_on(self, cells: Sequence[str]) -> bool:
        """Whether a row of data follows a gap below rows that are all header."""
        headers = len(self._opening) < _MAX_HEADER_ROWS and all(map(names_columns, self._opening))
        return headers and sum(map(bool, cells)) > 1 and not names_columns(cells)

    def finish(self) -> Iterator[Block]:
        yield from self._start()
        yield from self._pause()

    def _start(self) -> Iterator[Block]:
        if not self._opening:
            return
        rows, self._opening = self._opening, []
        self._table = TableWriter(_header_rows(rows))
        for row in rows:
            yield from self._table.add(row, self._page)

    def _pause(self) -> Iterator[Block]:
        if self._table is not None:
            yield from self._table.finish()


def _header_rows(rows: Sequence[Sequence[str]]) -> int:
    """Rows of words above the first row of numbers; a table of words alone has one."""
    words = 0
    while words < len(rows) and names_columns(rows[words]):
        words += 1
    return min(words, _MAX_HEADER_ROWS) if words < len(rows) else min(words, 1)
