"""How the cells of a table in text are told apart, and which of its rows name the columns: read from its first rows."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from indexer.parsers.blocks import one_line
from indexer.parsers.tables import are_names, holds_data, is_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Of two that fit the rows equally well, what stands in words and numbers less often is meant.
_DELIMITERS: Final = "\t;|,"
# Asked only where none of them makes cells of the rows, and believed only if nearly all rows agree.
_RARE_DELIMITERS: Final = "^~¦"
_RARE_FIT: Final = 0.9
_ESCAPE: Final = "\\"
# Lines of prose have a comma as often as two cells.
_PAIR: Final = 2
# A cell longer than this is a quotation mark that is never closed.
_MAX_CELL_CHARS: Final = 1 << 20
_MARK = re.compile(r"\ufeff?sep=([^\w\s\"\\]|\t)\n?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """``escape`` stands before quotation marks within cells; ``marked`` is how many lines stand before the table."""

    delimiter: str
    escape: str | None = None
    marked: int = 0

    @classmethod
    def of(cls, sample: Sequence[str], delimiters: str) -> Self:
        """The one of some delimiters that gives the rows the same number of cells, and more than one."""
        if sample and (mark := _MARK.match(sample[0])):
            return cls(delimiter=mark[1], marked=1)
        if not any(delimiter in line for delimiter in delimiters for line in sample):
            delimiters = _DELIMITERS
        escapes = (None, _ESCAPE) if any('\\"' in line for line in sample) else (None,)
        tried = [cls(delimiter=each, escape=escape) for escape in escapes for each in _DELIMITERS if each in delimiters]
        best = max(tried, key=lambda dialect: dialect.fit(sample))
        if not best.fit(sample):
            rare = max(map(cls._rare, _RARE_DELIMITERS), key=lambda dialect: dialect.fit(sample))
            return rare if rare.fit(sample) >= _RARE_FIT else best
        return best

    @classmethod
    def _rare(cls, delimiter: str) -> Self:
        return cls(delimiter=delimiter)

    def reader(self, lines: Iterator[str], *, quoted: bool = True) -> Iterator[list[str]]:
        """Rows of cells; a quotation mark is a character like any other unless ``quoted``."""
        csv.field_size_limit(_MAX_CELL_CHARS)
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            escapechar=self.escape,
            skipinitialspace=True,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )

    def fit(self, lines: Sequence[str]) -> float:
        """The share of rows that have the usual number of cells, or that of a neighbour in a table of their own.

        Nothing where the usual number is one and no two neighbours have three and more.
        """
        try:
            widths = [len(row) for row in self.reader(iter(lines)) if any(row)]
        except csv.Error:
            return 0.0
        usual = max(set(widths), key=widths.count, default=0)
        beside = zip(widths, [0, *widths], [*widths[1:], 0], strict=False)
        alike = sum((width > _PAIR and width in others) or width == usual for width, *others in beside if width > 1)
        return alike / len(widths) if widths else 0.0


def header_rows(rows: Sequence[Sequence[str]]) -> int:
    """How many of the first rows name the columns: none if they are data, two if the second fills gaps of the first."""
    first, *below = [[one_line(cell) for cell in row] for row in rows]
    if not are_names(first) or is_data(first, below):
        return 0
    if len(below) < 2 or below[0][0] or all(first) or holds_data(below[0]):
        return 1
    return 2 if are_names(below[0]) else 1
