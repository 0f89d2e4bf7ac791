"""The lines of a PDF page put into the cells of its ruled tables."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from indexer.parsers.heading_words import RIGHT_TO_LEFT
from indexer.parsers.pdf.lines import SAME_LINE, Line
from indexer.parsers.pdf.tables import CUT, Table
from indexer.parsers.tables import is_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from indexer.parsers.pdf.rules import Grid

# Cells with more text than this are columns or boxes of a page.
_MAX_CELL_CHARS: Final = 1_200
_MEAN_CELL_CHARS: Final = 250
# The middle of a line lies this share of its size above its baseline.
_MIDDLE: Final = 0.3


@dataclass(slots=True)
class _Piece:
    """A part of a line that lies in one cell."""

    left: float
    right: float
    base: float
    size: float
    text: str
    first_word: float


def with_grids(lines: Sequence[Line], grids: Sequence[Grid]) -> Iterator[list[Line] | Table]:
    """Runs of lines in their order, and each grid's table in the place of the first of its lines."""
    owner: dict[int, int] = {}
    tables: dict[int, Table] = {}
    for number, grid in enumerate(grids):
        within = [i for i, line in enumerate(lines) if i not in owner and _is_within(line, grid)]
        table = _table(grid, [lines[i] for i in within])
        if table is not None:
            tables[number] = table
            owner |= dict.fromkeys(within, number)
    run: list[Line] = []
    for i, line in enumerate(lines):
        if i not in owner:
            run.append(line)
        elif (table := tables.pop(owner[i], None)) is not None:
            if run:
                yield run
            run = []
            yield table
    if run:
        yield run


def lines_of_tables(lines: Sequence[Line], grids: Sequence[Grid]) -> Iterator[list[Line]]:
    """The lines of each grid that is a table."""
    for grid in grids:
        within = [line for line in lines if _is_within(line, grid)]
        if _table(grid, within) is not None:
            yield within


def _is_within(line: Line, grid: Grid) -> bool:
    return not line.turned and grid.place((line.left + line.right) / 2, line.base + _MIDDLE * line.size) is not None


def _table(grid: Grid, lines: Sequence[Line]) -> Table | None:
    held = _held(grid, lines)
    if held is None:
        return None
    rows: list[list[str]] = []
    for numbers in grid.cells:
        rows.extend(_rows(numbers, held, grid))
    rows = [row for i, row in enumerate(rows) if any(row) and (not i or row != rows[i - 1])]
    kept = [j for j in range(len(grid.columns) - 1) if any(row[j] for row in rows)]
    rows = [[row[j] for j in kept] for row in rows]
    cells = {number for numbers in grid.cells for number in numbers}
    if len(held) * 2 < len(cells) or not _is_table(rows, ["".join(p.text for p in each) for each in held.values()]):
        return None
    if sum(len(RIGHT_TO_LEFT.findall(line.text)) for line in lines) * 2 > sum(len(line.text) for line in lines):
        rows = [row[::-1] for row in rows]
    return Table(rows=rows)


def _is_table(rows: Sequence[Sequence[str]], cells: Sequence[str]) -> bool:
    several = sum(len({cell for cell in row if cell}) > 1 for row in rows)
    if len(rows) < 2 or len(rows[0]) < 2 or several * 2 < len(rows) or several < 2:
        return False
    sizes = [len(cell) for cell in cells]
    return max(sizes) <= _MAX_CELL_CHARS and sum(sizes) <= _MEAN_CELL_CHARS * len(sizes)


def _held(grid: Grid, lines: Sequence[Line]) -> dict[int, list[_Piece]] | None:
    """The pieces of each cell; None if a line leaves the grid."""
    held: dict[int, list[_Piece]] = defaultdict(list)
    for line in lines:
        before = -1
        for left, right, word in line.words:
            place = grid.place((left + right) / 2, line.base + _MIDDLE * line.size)
            if place is None:
                return None
            cell = grid.cells[place[0]][place[1]]
            pieces = held[cell]
            if cell == before:
                pieces[-1].right = right
                pieces[-1].text += f" {word}"
            else:
                pieces.append(_Piece(left, right, line.base, line.size, word, right - left))
            before = cell
        if line.hyphenated:
            held[before][-1].text += CUT
    return held


def _rows(numbers: Sequence[int], held: dict[int, list[_Piece]], grid: Grid) -> Iterator[list[str]]:
    """The rows of text between two rules: one, unless lines in several cells stand side by side on purpose."""
    if len(set(numbers)) == 1:  # across the whole table
        yield [_joined(_lines(held.get(numbers[0], []))), *[""] * (len(numbers) - 1)]
        return
    lines = {number: _lines(held.get(number, [])) for number in numbers}
    many = [number for number in lines if len(lines[number]) > 1]
    own = all(sum(number in row for row in grid.cells) == 1 for number in many)
    if own and _are_rows([lines[number] for number in many], grid):
        for i in range(len(lines[many[0]])):
            yield [lines[number][i][2] if number in many else _joined(lines[number]) for number in numbers]
    else:
        yield [_joined(lines[number]) for number in numbers]


_Text = tuple[_Piece, float, str]


def _lines(pieces: Sequence[_Piece]) -> list[_Text]:
    """First piece, right end and text of each line of a cell, from top to bottom."""
    rows: list[list[_Piece]] = []
    for piece in sorted(pieces, key=lambda piece: -piece.base):
        if rows and rows[-1][0].base - piece.base <= SAME_LINE * max(piece.size, rows[-1][0].size):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    for row in rows:
        row.sort(key=lambda piece: piece.left, reverse=all(RIGHT_TO_LEFT.search(piece.text) for piece in row))
    return [(row[0], row[-1].right, " ".join(piece.text for piece in row)) for row in rows]


def _are_rows(cells: Sequence[Sequence[_Text]], grid: Grid) -> bool:
    """Whether lines of several cells stand on the same heights, most of them numbers or broken where they had room."""
    if len(cells) < 2 or len({len(cell) for cell in cells}) > 1:
        return False
    for texts in zip(*cells, strict=True):
        bases = [piece.base for piece, _right, _text in texts]
        if max(bases) - min(bases) > SAME_LINE * texts[0][0].size:
            return False
    # Two lines beside two lines are often two cells that are wrapped.
    needed = len(cells) // 2 + 1 if len(cells[0]) == 2 else (len(cells) + 1) // 2
    return sum(_is_broken_on_purpose(cell, grid) for cell in cells) >= needed


def _is_broken_on_purpose(cell: Sequence[_Text], grid: Grid) -> bool:
    if any(RIGHT_TO_LEFT.search(text) for _piece, _right, text in cell):
        return False
    if all(is_number(text) for _piece, _right, text in cell):
        return True
    edge = next(border for border in grid.columns if border > cell[0][0].left)
    return all(right + next_.first_word + next_.size <= edge for (_, right, _), (next_, _, _) in pairwise(cell))


def _joined(lines: Sequence[_Text]) -> str:
    text = " ".join(text for _piece, _right, text in lines)
    return re.sub(f"{CUT} ?", lambda cut: "" if cut[0] != CUT else "-", text)
