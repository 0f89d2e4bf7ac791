"""Columns far to the right of a sheet, moved together: a row costs what it holds and not how far that is away."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# As many as a sheet had before Excel 2007; these stay where they are.
_NEAR: Final = 1 << 8


class FarColumns:
    """Where columns of one sheet stand: those far off in the order in which they first hold something.

    What stood apart stays apart, by one column.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._last = _NEAR - 1
        self._end = _NEAR

    def row(self, cells: Sequence[str]) -> Sequence[str]:
        """Cells from the first column on."""
        return cells if len(cells) <= _NEAR else self.moved(compress(enumerate(cells), cells))

    def moved(self, cells: Iterable[tuple[int, str]]) -> list[str]:
        """Cells of a row, from left to right: column from 0, and text."""
        row: list[str] = []
        for column, text in cells:
            place = self._place(column)
            row.extend([""] * (place + 1 - len(row)))
            row[place] = text
        return row

    def _place(self, column: int) -> int:
        if column < _NEAR:
            return column
        if (place := self._places.get(column)) is None:
            self._end += column != self._last + 1
            place = self._places[column] = self._end
            self._last, self._end = column, self._end + 1
        return place
