"""Tables that stand side by side on a sheet, told from one table with an empty column in it."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from indexer.parsers.tables import is_number, is_year, names_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Rows = Sequence[Sequence[str]]

_MIN_TABLES: Final = 2
# Fewer may be how far one table has been filled in.
_MIN_ROWS: Final = 3
_MAX_HEADER_ROWS: Final = 3
# Cells and characters that are held at most; longer tables are written as they come.
_MAX_HELD: Final = 1 << 18
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def held_rows(run: Iterator[Sequence[str]]) -> tuple[Rows, list[Rows]]:
    """Rows taken from the start of a run without empty ones, and the tables that they are, from left to right.

    No tables: the rows are not side by side, and others may follow in the run.
    """
    rows: list[Sequence[str]] = []
    size = 0
    for row in run:
        rows.append(row)
        size += len(row) + sum(map(len, row))
        if size > _MAX_HELD:
            return rows, []
    # What stands in the first column alone, above other rows, is said before them.
    top = int(not any(rows[0][1:]))
    sides = _sides(rows[top:])
    if len(sides) < _MIN_TABLES or not all(side.names and side.body for side in sides):
        return rows, []
    if not all(map(_are_apart, sides, sides[1:])):
        return rows, []
    return rows, [rows[:top], *([side.title[:1], side.names, *side.body] for side in sides)]


class _Side(NamedTuple):
    """Rows between empty columns, read as a table: the row that is its title and that of its names, if it has them."""

    start: int
    title: Sequence[str]
    names: Sequence[str]
    body: Rows


def _sides(rows: Rows) -> list[_Side]:
    """Rows cut at the columns that are empty in all of them."""
    width = max(map(len, rows), default=0)
    filled = [any(i < len(row) and row[i] for row in rows) for i in range(width)]
    spans = [[i for i, _ in span] for some, span in groupby(enumerate(filled), key=lambda column: column[1]) if some]
    return [_side([row[span[0] : span[-1] + 1] for row in rows]) for span in spans]


def _side(rows: Rows) -> _Side:
    start = next(i for i, row in enumerate(rows) if any(row))
    end = next(i for i in range(len(rows), 0, -1) if any(rows[i - 1]))
    first = [cell for cell in rows[start] if cell]
    title = first if len(set(first)) == 1 else []
    start += bool(title)
    names = rows[start] if start < end and names_columns(rows[start]) else []
    return _Side(start, title, names, rows[start + 1 : end])


def _are_apart(left: _Side, right: _Side) -> bool:
    """Whether neighbours differ as the columns of one table do not.

    The header of one stands far below the other's. Or the rows of both have names of their own, and each has a title
    in one cell (those of groups of columns stand across them), their headers stand at different heights or say the
    same, or one is longer by more than a line of totals.
    """
    shorter, longer = sorted([len(left.body), len(right.body)])
    if abs(left.start - right.start) > _MAX_HEADER_ROWS and shorter >= _MIN_ROWS:
        return True
    if not (_has_keys(left) and _has_keys(right)):
        return False
    titled = len(left.title) == len(right.title) == 1
    differ = titled or left.start != right.start or left.names == right.names
    return differ or (shorter >= _MIN_ROWS and longer > shorter + 1)


def _has_keys(side: _Side) -> bool:
    """Whether the first column says of each row what it is about, as it does not where columns go on with a table."""
    keys = [row[0] for row in side.body if sum(map(bool, row)) > 1]
    return len(set(keys)) == len(keys) > 0 and all(map(_is_key, keys))


def _is_key(cell: str) -> bool:
    return bool(cell) and (not is_number(cell) or is_year(cell) or _DATE.match(cell) is not None)
