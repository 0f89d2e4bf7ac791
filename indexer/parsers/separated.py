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
    from collections.abc import Generator, Iterable, Iterator, Sequence
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
        yield from _blocks(rows, _width(sample[dialect.marked :], dialect))
        yield from rows.notices()
        yield from reader.notices()


def _blocks(rows: Iterable[Sequence[str]], width: int) -> Iterator[Block]:
    """The tables, and what stands above them.

    A row of one cell at the start or after an empty row is the title of what follows, or a remark. Rows below it that
    begin with no header go on with the table above. Values above a wider table, as banks write them, are lines.
    """
    table: TableWriter | None = None
    opening: list[Sequence[str]] = []
    between = True
    for row in rows:
        filled = _filled(row)
        if not filled:
            between = True
        elif between and width > 1 and filled == 1 and any(map(str.isalpha, "".join(row))):
            table = yield from _started(opening, table, width)
            opening = []
            yield from table.finish() if table is not None else ()
            yield from bounded(Block(text=f"{one_line(''.join(row))}\n\n"))
        elif opening or between:
            if between and table is None and all(_is_fact(above, width) for above in opening):
                yield from _facts(opening)
                opening = []
            between = False
            opening.append(row)
            if len(opening) > _SAMPLE_LINES:
                table = yield from _started(opening, table, width)
                opening = []
        elif table is not None:
            yield from table.add(row, None)
    table = yield from _started(opening, table, width)
    if table is not None:
        yield from table.finish()


def _started(
    opening: Sequence[Sequence[str]], table: TableWriter | None, width: int
) -> Generator[Block, None, TableWriter | None]:
    """The first rows of a table are written, now that they show whether it is another."""
    if table is None:
        short = list(itertools.takewhile(lambda row: len(row) < width and _is_fact(row, width), opening))
        if len(short) < len(opening):
            yield from _facts(short)
            opening = opening[len(short) :]
    if not opening:
        return table
    headers = header_rows(opening)
    if table is None or headers:
        yield from table.finish() if table is not None else ()
        table = TableWriter(headers)
    for row in opening:
        yield from table.add(row, None)
    return table


def _is_fact(row: Sequence[str], width: int) -> bool:
    """Whether a row is a name with its value, and takes no more than half of what most rows have."""
    filled = _filled(row)
    return filled * 2 <= width and all(cell.strip() for cell in row[:filled])


def _facts(rows: Sequence[Sequence[str]]) -> Iterator[Block]:
    lines = (": ".join(filter(None, map(one_line, row))) for row in rows)
    if text := "\n".join(lines):
        yield from bounded(Block(text=f"{text}\n\n"))


def _width(lines: Sequence[str], dialect: Dialect) -> int:
    """How many cells most rows have."""
    widths = [len(row) for row in Rows(iter(lines), dialect) if _filled(row)]
    return max(set(widths), key=widths.count, default=0)


def _filled(row: Sequence[str]) -> int:
    return sum(1 for cell in row if cell.strip())
