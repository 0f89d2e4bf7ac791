"""Cells that span rows and columns, as pages and wikis write them, laid out as rows of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.xml_parts import whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Larger spans are a way of writing "all of them", or damage.
_MAX_SPAN: Final = 100


# What spans may copy of the texts of cells: so much in any table, and so much more for each cell that is there.
_COPIES: Final = 1 << 16
_COPIES_PER_CELL: Final = 64


class Copies:
    """How many places of a table spans may still take. A few lines can claim more than any table has."""

    def __init__(self) -> None:
        self._left = _COPIES

    @property
    def spent(self) -> bool:
        return self._left < 0

    def count(self, cells: int, places: int) -> None:
        """A row of so many cells, on so many places."""
        self._left += cells * _COPIES_PER_CELL - places


@dataclass(frozen=True, slots=True)
class Cell:
    """``is_name``: it is marked as the name of a column or row."""

    text: str
    columns: int = 1
    rows: int = 1
    is_name: bool = False


def grid(rows: Iterable[Sequence[Cell]]) -> Iterator[list[str]]:
    """Texts of rows, column by column; a cell over several rows or columns says its text in each of them.

    As far as ``Copies`` go; then each cell says it once.
    """
    copies = Copies()
    # By column: how many more rows a cell above reaches into, and its text.
    above: dict[int, tuple[int, str]] = {}
    for row in rows:
        above = {} if copies.spent else above
        texts: list[str] = []
        below: dict[int, tuple[int, str]] = {}
        for cell in row:
            texts.extend(_reaching(above, below, len(texts)))
            for _ in range(1 if copies.spent else cell.columns):
                below[len(texts)] = (cell.rows - 1, cell.text)
                texts.append(cell.text)
        texts.extend(_reaching(above, below, len(texts)))
        above = below
        copies.count(len(row), len(texts))
        yield texts if len(set(texts)) > 1 or len(row) > 1 else texts[:1]


def head_rows(rows: Sequence[Sequence[Cell]]) -> int:
    """Rows at the start that hold nothing but cells marked as names, over all columns; one will do for the first."""
    heads = width = tall = 0
    for row in rows[:-1]:
        covered = sum(cell.columns for cell in row) + tall
        if not row or covered < width or not all(cell.is_name for cell in row):
            break
        heads, width = heads + 1, covered
        tall += sum(cell.columns for cell in row if cell.rows > 1)
    return heads or int(bool(rows) and any(cell.is_name for cell in rows[0]))


def span_of(text: str | None) -> int:
    """How many rows or columns a cell spans that says so; one for all else."""
    return max(1, min(whole_number((text or "").strip(), 1), _MAX_SPAN))


def _reaching(above: dict[int, tuple[int, str]], below: dict[int, tuple[int, str]], place: int) -> Iterator[str]:
    """Texts of cells above that reach into this row from ``place`` on."""
    while above.get(place, (0, ""))[0] > 0:
        left, text = above[place]
        below[place] = (left - 1, text)
        yield text
        place += 1
