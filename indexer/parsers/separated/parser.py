"""Tables as text (RFC 4180 and its many relatives): what separates their cells is read from the first rows."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.separated.dialect import Dialect, header_rows
from indexer.parsers.separated.preambles import facts, filled, rows_above
from indexer.parsers.separated.rows import Rows
from indexer.parsers.tables import TableWriter, TitleLines, holds_data, spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from indexer.parsers.blocks import Parsed

# Lines that are looked at before the first row is written; a file is never held as a whole.
_SAMPLE_LINES: Final = 50


def parse_csv(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the rows of a table whose cells are separated by commas, semicolons, tabs or bars, whatever fits best."""
    yield from _parse(file, encoding, ",;\t|")


def parse_tsv(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the rows of a table whose cells are separated by tabs, or as ``parse_csv`` where there are none."""
    yield from _parse(file, encoding, "\t")


def _parse(file: BinaryIO, encoding: str, delimiters: str) -> Iterator[Parsed]:
    with TextReader(file, encoding) as reader:
        lines = reader.lines()
        sample = list(itertools.islice(lines, _SAMPLE_LINES))
        dialect = Dialect.of(sample, delimiters)
        # The mark for a spreadsheet program is no row.
        rows = Rows(itertools.chain(sample[dialect.marked :], lines), dialect)
        tables = _Tables(_width(sample[dialect.marked :], dialect))
        for row in rows:
            yield from tables.add(row)
        yield from tables.finish()
        yield from rows.notices()
        yield from reader.notices()


class _Tables:
    """The tables, and what stands above them.

    A row of one cell at the start or after an empty row is the title of what follows, or a remark. Rows below it that
    begin with no header go on with the table above. Values above a wider table, as banks write them, are lines.
    ``width`` is how many cells most rows have.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._table: TableWriter | None = None
        self._columns = 0
        # Rows since an empty one, until they show whether they begin a table.
        self._opening: list[Sequence[str]] = []
        self._between = True
        self._titles = TitleLines()

    def add(self, row: Sequence[str]) -> Iterator[Block]:
        count = filled(row)
        if not count:
            self._between = True
            self._titles.gap(below_table=self._table is not None)
            return
        titled = self._between and self._width > 1 and count == 1 and any(map(str.isalpha, "".join(row)))
        if self._opening and (titled or self._is_whole()):
            yield from self._start()
        if titled:
            yield from self._pause()
            yield from self._titles.add(one_line("".join(row)))
        elif self._opening or self._between:
            self._between = False
            self._opening.append(row)
        elif self._table is not None:
            yield from self._table.add(row, None)

    def finish(self) -> Iterator[Block]:
        yield from self._start()
        yield from self._pause()
        yield from self._titles.alone()

    def _is_whole(self) -> bool:
        """Whether the row that comes is none of the first ones. Below names alone an empty row may stand."""
        names = len(self._opening) == 1 and not holds_data(self._opening[0]) and not self._are_facts()
        return len(self._opening) > _SAMPLE_LINES or (self._between and not names)

    def _are_facts(self) -> bool:
        narrow = self._table is None or all(len(row) < self._width for row in self._opening)
        return narrow and all(filled(row) * 2 <= self._width for row in self._opening)

    def _start(self) -> Iterator[Block]:
        rows, above = self._opening, len(self._opening)
        if not self._are_facts():
            above = rows_above(rows, self._width)
        self._opening = []
        if above:
            yield from self._pause()
            yield from self._titles.alone()
            yield from facts(rows[:above])
        if not (rows := rows[above:]):
            return
        headers = header_rows(rows)
        told = above or self._titles or len(rows[0]) != self._columns or any(map(holds_data, rows))
        if self._table is None or (headers and told and len(rows) > 1):
            yield from self._pause()
            self._table = TableWriter(headers, (yield from self._titles.above_table()))
            rows = [*spread(rows[:headers]), *rows[headers:]]
            self._columns = len(rows[0])
        else:
            yield from self._titles.alone()
        for row in rows:
            yield from self._table.add(row, None)

    def _pause(self) -> Iterator[Block]:
        if self._table is not None:
            yield from self._table.finish()


def _width(lines: Sequence[str], dialect: Dialect) -> int:
    """How many cells most rows have, of those that have more than one."""
    widths = [len(row) for row in Rows(iter(lines), dialect) if filled(row)]
    usual = Counter(width for width in widths if width > 1)
    return max(usual, key=lambda width: (usual[width], width), default=max(widths, default=0))
