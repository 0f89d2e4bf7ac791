"""What stands above the tables of a text, as programs of banks write it: accounts, periods and balances."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from indexer.parsers.blocks import Block, bounded, one_line
from indexer.parsers.separated.dialect import header_rows
from indexer.parsers.tables import holds_data, table_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GROUP_ABOVE = re.compile(r"(?<![\d.,])[-+(]?\D{0,3}\d{1,3}(?:,\d{3})*$")
_GROUP = re.compile(r"\d{3}(?!\d)")


def rows_above(rows: Sequence[Sequence[str]], width: int) -> int:
    """How many of the first rows stand above the table that most rows, of ``width`` cells, are of.

    They are all above a row of names that is wider than each of them; where there is none, those that are names with
    their values.
    """
    start = widest = 0
    for number in range(len(rows) - 1):
        count = filled(rows[number])
        if number and count > widest and _is_header(rows[number:]) and _are_above(rows[start:number], rows[number:]):
            start = number
        widest = max(widest, count)
    if start:
        return start
    short = list(itertools.takewhile(lambda row: len(row) < width and is_fact(row, width), rows))
    return len(short) if len(short) < len(rows) else 0


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns of those below, which are as wide, and not all of them words."""
    first, *below = rows
    wide = len(first) == len(below[0]) and bool(first[0].strip())
    return wide and any(map(holds_data, below)) and header_rows(rows) > 0


def _are_above(above: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows are narrower than a header below them.

    One alone may be that of groups of columns, or the header itself, above rows that begin with names of their own.
    """
    width, count = len(rows[0]), filled(rows[0])
    if not all(len(row) < width or filled(row) * 2 <= count or is_label(row) for row in above):
        return False
    return len(above) > 1 or filled(above[0]) == 1 or len(above[0]) < width - 1


def is_fact(row: Sequence[str], width: int) -> bool:
    """Whether a row is a name with its value, and takes no more than half of what most rows have."""
    count = filled(row)
    return count * 2 <= width and all(cell.strip() for cell in row[:count])


def is_label(row: Sequence[str]) -> bool:
    """Whether a row begins with what its value follows."""
    return next((cell for cell in row if cell), "").rstrip().endswith(":")


def facts(rows: Sequence[Sequence[str]], page: int | None = None) -> Iterator[Block]:
    """Rows above a table as lines, or as a table of their own where they are one."""
    counts = {filled(row) for row in rows}
    if len(rows) > 1 and len(counts) == 1 and min(counts) > 2 and header_rows(rows):
        yield from table_blocks(rows, header_rows=1, page=page)
    elif text := "\n".join(filter(None, map(_fact, rows))):
        yield from bounded(Block(text=f"{text}\n\n", page=page))


def _fact(row: Sequence[str]) -> str:
    cells: list[str] = []
    for cell in filter(None, map(one_line, row)):
        if cells and _GROUP.match(cell) and _GROUP_ABOVE.search(cells[-1]):
            cells[-1] += f",{cell}"  # an amount without quotation marks
        else:
            cells.append(cell)
    name, *values = cells or [""]
    return f"{name.rstrip(': ')}: {' '.join(values)}" if values else name


def filled(row: Sequence[str]) -> int:
    return sum(1 for cell in row if cell.strip())
