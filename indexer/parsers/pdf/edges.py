"""Tables that reach the edge of a page: their rows repeat from page to page, and are no headers and footers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.pdf.grids import lines_of_tables
from indexer.parsers.pdf.lines import SAME_LINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indexer.parsers.pdf.lines import Line
    from indexer.parsers.pdf.rules import Grid

# Cells of a column begin, end or are centred this near to each other, in points.
_ALIGNED: Final = 2.0
# Rows of one table are as far apart as the rows before them, or a little more.
_ROW_STEP: Final = 1.3


def keep_tables(lines: Sequence[Line], grids: Sequence[Grid]) -> None:
    """Take lines out of a page's margins that belong to tables which reach into its text.

    ``grids`` are its ruled tables. What stands in a margin alone, ruled or in columns, stays there.
    """
    for table in lines_of_tables(lines, grids):
        if any(not line.margin for line in table):
            for line in table:
                line.margin = 0
    for side in (1, -1):
        _keep_rows(lines, side)


def _keep_rows(lines: Sequence[Line], side: int) -> None:
    """Rows of cells without rules that go on from the text into the margin at this side."""
    if not any(line.margin == side for line in lines):
        return
    upright = [line for line in lines if not line.turned and line.margin in (0, side)]
    rows: list[list[Line]] = []
    for line in sorted(upright, key=lambda line: line.base * side):  # from the text outwards
        if rows and abs(rows[-1][0].base - line.base) <= SAME_LINE * max(line.size, rows[-1][0].size):
            rows[-1].append(line)
        else:
            rows.append([line])
    outer = next((i for i, row in enumerate(rows) if any(line.margin for line in row)), len(rows))
    for i in range(max(outer, 2), len(rows)):
        step = abs(rows[i][0].base - rows[i - 1][0].base)
        before = abs(rows[i - 1][0].base - rows[i - 2][0].base)
        if step > _ROW_STEP * before or not (_aligned(rows[i], rows[i - 1]) and _aligned(rows[i - 1], rows[i - 2])):
            break
        for line in rows[i]:
            line.margin = 0


def _aligned(row: Sequence[Line], other: Sequence[Line]) -> bool:
    """Whether most cells of two rows are in columns that both have, two at least."""
    found = sum(any(_in_column(cell, above) for above in other) for cell in row)
    return found >= 2 and 2 * found >= min(len(row), len(other))


def _in_column(cell: Line, other: Line) -> bool:
    left, right = cell.left - other.left, cell.right - other.right
    return min(abs(left), abs(right), abs(left + right) / 2) <= _ALIGNED
