"""Tables as text (RFC 4180 and its many relatives): what separates their cells is read from the first rows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, bounded, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.separated_dialect import Dialect, header_rows
from indexer.parsers.separated_rows import Rows
from indexer.parsers.tables import TableWriter

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
        yield from _blocks(filter(_filled, rows), _width(sample[dialect.marked :], dialect))
        yield from rows.notices()
        yield from reader.notices()


def _blocks(rows: Iterator[Sequence[str]], width: int) -> Iterator[Block]:
    row = next(rows, None)
    # A row of one cell above a table of several is its title, or a remark.
    while row is not None and width > 1 and _filled(row) == 1:
        yield from bounded(Block(text=f"{one_line(''.join(row))}\n\n"))
        row = next(rows, None)
    if row is None:
        return
    opening = [row, *itertools.islice(rows, _SAMPLE_LINES)]
    table = TableWriter(header_rows(opening))
    for row in itertools.chain(opening, rows):
        yield from table.add(row, None)
    yield from table.finish()


def _width(lines: Sequence[str], dialect: Dialect) -> int:
    """How many cells most rows have."""
    widths = [len(row) for row in Rows(iter(lines), dialect) if _filled(row)]
    return max(set(widths), key=widths.count, default=0)


def _filled(row: Sequence[str]) -> int:
    return sum(1 for cell in row if cell.strip())
