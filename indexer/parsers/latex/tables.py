"""The cells of a table in LaTeX, with what spans several rows or columns in each of its places."""

from __future__ import annotations

from typing import Final

# More than a page holds.
_MAX_COLUMNS: Final = 64
_MAX_ROWS: Final = 1000
# Longer texts are no names of rows or columns, and would make a document many times its size.
_MAX_REPEATED_CHARS: Final = 200


class Cells:
    """Collects the cells of one table. ``groups`` is how many braces are open in the cell that is being read."""

    def __init__(self) -> None:
        self.groups = 0
        self._rows: list[list[str]] = [[]]
        self._columns = self._lines = 1  # that the present cell spans
        # By column: in how many more rows a text stands, and the text.
        self._held: dict[int, tuple[int, str]] = {}
        self._begun: dict[int, tuple[int, str]] = {}

    @property
    def begun(self) -> bool:
        """Whether a cell of the first row has ended."""
        return bool(self._rows[0])

    def span(self, macro: str, count: str) -> None:
        """The present cell spans so many columns or rows; a number below zero is of rows above. Others are ignored."""
        try:
            number = int(count)
        except ValueError:
            return
        if macro == "multicolumn":
            self._columns = min(max(1, number), _MAX_COLUMNS)
        else:
            self._lines = min(max(-_MAX_ROWS, number), _MAX_ROWS)

    def end_cell(self, text: str) -> None:
        """Take the text of the present cell; the next one begins."""
        row = self._rows[-1]
        short = len(text) <= _MAX_REPEATED_CHARS
        for column in range(len(row), len(row) + (self._columns if short else 1)):
            row.append(text)
            if text and short and self._lines > 1:
                self._begun[column] = (self._lines - 1, text)
            elif text and short and self._lines < -1:
                self._fill_above(column, text)
        self._columns = self._lines = 1

    def end_row(self, text: str) -> None:
        """Take the text of the last cell of a row."""
        self.end_cell(text)
        row = self._rows[-1]
        filled = any(row)
        if filled or len(row) > 1:  # a rule between rows is none
            for column, (left, held) in list(self._held.items()):
                if filled and column < len(row) and not row[column]:
                    row[column] = held
                self._held[column] = (left - 1, held)
                if left == 1:
                    del self._held[column]
        self._held |= self._begun
        self._begun.clear()
        self._rows.append([])

    def text(self) -> str:
        """The rows that hold something, as lines."""
        return "\n".join(" | ".join(cells) for cells in self._rows if any(cells))

    def _fill_above(self, column: int, text: str) -> None:
        for row in self._rows[self._lines : -1]:
            if column < len(row) and not row[column]:
                row[column] = text
