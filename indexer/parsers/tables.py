"""Tables of cells as blocks: a row is a line, and every group of rows knows the names of its columns."""

from __future__ import annotations

import itertools
import re
from itertools import compress
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, BlockKind, bounded, one_line, short_caption

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

# Longer headers would leave a chunk little room if it carried them along; each cell says its column's name instead.
MAX_HEADER_CHARS: Final = 160
# More rows than these name no columns together, if no document says so.
_MAX_LEVELS: Final = 3
# What is longer, in one column or on the whole, is text that somebody set in columns.
_MAX_NAME_CHARS: Final = 120
_MEAN_NAME_CHARS: Final = 60
# Of more lines above a table the first one is its title.
_TITLE_LINES: Final = 3
_SEPARATOR: Final = " | "
_BLOCK_CHARS: Final = 8_192
# Where more empty cells stand between others, these say their columns' names instead.
_MAX_GAP: Final = 32
# Of a row with the copies that merged cells make of a text.
_MAX_ROW_CHARS: Final = 1 << 18
_CURRENCY: Final = "[$€£¥₹₽₺₩₪₫₴]|kr|zł|Kč|EUR|USD|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|CAD|AUD|BRL"
_NUMBER = re.compile(rf"^[-+(−–]?(?:{_CURRENCY})?\s?\d[\d\s.,:/'’\-]*\)?\s?(?:%|{_CURRENCY})?$")
_DATA = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ]\d\d?:\d\d.*)?|\S+@\S+\.\S+|https?://\S+")
_YEAR = re.compile(r"^(?:1[89]|20)\d\d$")


def table_blocks(
    rows: Iterable[Sequence[str]], *, header_rows: int | None = None, page: int | None = None, caption: str = ""
) -> Iterator[Block]:
    """Yield a table that stands on one page; see ``TableWriter``."""
    writer = TableWriter(header_rows, caption)
    for row in rows:
        yield from writer.add(row, page)
    yield from writer.finish()


def lines_of(row: Sequence[str]) -> list[str]:
    """The cells of a row as one line each. Where all are very long, what several say stands in the first alone."""
    if sum(map(len, row)) > _MAX_ROW_CHARS:
        first: dict[str, int] = {}
        row = [cell if first.setdefault(cell, i) == i else "" for i, cell in enumerate(row)]
    return [cell and one_line(cell) for cell in row]


def names_columns(cells: Sequence[str]) -> bool:
    """Whether a row may be a header: most of what it holds are words, or years, and no text of any length."""
    filled = [cell for cell in cells if cell]
    numbers = sum(1 for cell in filled if is_number(cell) and not is_year(cell))
    return len(filled) > 1 and 2 * numbers < len(filled) and are_names(filled)


def names_further(above: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether a row goes on with the names of columns that a cell across several of them in the row ``above`` begins.

    Elsewhere it says what stands above it, or one of the two says nothing. Rows of data say something else there.
    """
    if not names_columns(cells):
        return False
    below = [*cells, *[""] * (len(above) - len(cells))]
    across = [bool(cell) and cell in (*above[i - 1 : i], *above[i + 1 : i + 2]) for i, cell in enumerate(above)]
    if any(cell and above[i] and cell != above[i] for i, cell in enumerate(below[: len(above)]) if not across[i]):
        return False
    grouped = [cell for i, cell in enumerate(below[: len(above)]) if across[i] and cell]
    if not grouped or any(cell == above[i] for i, cell in enumerate(below[: len(above)]) if across[i]):
        return False
    tall = any(cell for i, cell in enumerate(below[: len(above)]) if not across[i])
    return tall or len(set(grouped)) < len(grouped)


def leading_names(rows: Sequence[Sequence[str]]) -> tuple[int, str]:
    """How many rows at the start of a table are its title and its header, and the names of columns as one row.

    Long names are none.
    """
    title = int(len(rows) > 1 and sum(map(bool, rows[0])) == 1 and bool(rows[0][0]))
    if len(rows) == title or not names_columns(rows[title]):
        return 0, ""
    end = title + 1
    while end < min(len(rows), title + _MAX_LEVELS) and names_further(rows[end - 1], rows[end]):
        end += 1
    header = _SEPARATOR.join(_joined_names(rows[title:end])).strip(_SEPARATOR)
    return end, header if len(header) <= MAX_HEADER_CHARS else ""


def stands_out(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row has words where most of those below it have numbers: it is none of them."""
    for first, *below in zip(*rows, strict=True):
        numbers = sum(map(is_number, below))
        if first and not is_number(first) and 2 * numbers > len(below):
            return True
    return False


def are_names(cells: Sequence[str]) -> bool:
    """Whether cells are short enough to be names, not text."""
    lengths = [len(cell) for cell in cells if cell]
    return max(lengths, default=0) <= _MAX_NAME_CHARS and sum(lengths) <= _MEAN_NAME_CHARS * len(lengths)


def is_number(cell: str) -> bool:
    """Whether a cell holds a number as people write them: with a currency, a percent sign, in parentheses."""
    return _NUMBER.match(cell) is not None


def is_year(cell: str) -> bool:
    return _YEAR.match(cell) is not None


def holds_data(row: Sequence[str]) -> bool:
    """Whether a row has a number, a date or an address in it."""
    return any(_kind(one_line(cell)) for cell in row)


def is_data(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether some cell of a row is what most below it are, and no word. A year above other numbers names them."""
    return any(is_like(cell, [row[i] for row in below if i < len(row) and row[i]]) for i, cell in enumerate(first))


def is_like(cell: str, below: Sequence[str]) -> bool:
    """The same of one cell."""
    kind = _kind(cell)
    alike = {"number": ("number", "year")}.get(kind, (kind,))
    return bool(kind) and sum(_kind(other) in alike for other in below) * 2 > len(below)


def _kind(cell: str) -> str:
    if _DATA.fullmatch(cell):
        return "data"
    if is_year(cell):
        return "year"
    return "number" if is_number(cell) else ""


def spread(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Rows of names with those of groups of columns in each of these, as merged cells have them."""
    if not rows:
        return []
    spread: list[Sequence[str]] = []
    for row, below in itertools.pairwise(rows):
        cells = list(row)
        for i in range(1, min(len(cells), len(below))):
            if not cells[i] and below[i] and (below[i - 1] or (i > 1 and row[i - 1])):
                cells[i] = cells[i - 1]
        spread.append(cells)
    return [*spread, rows[-1]]


class TitleLines:
    """Lines of one cell, kept until what follows them shows whether they are the title of a table.

    Those before an empty row belong to the table above, if there is one.
    """

    def __init__(self, page: int | None = None) -> None:
        self._page = page
        self._lines: list[str] = []
        self._gap = False

    def __bool__(self) -> bool:
        return bool(self._lines)

    def gap(self, *, below_table: bool) -> None:
        self._gap = below_table

    def add(self, line: str) -> Iterator[Block]:
        if self._gap:
            yield from self.alone()
        self._gap = False
        self._lines.append(line)

    def above_table(self) -> Generator[Block, None, str]:
        """Tell them, if there are any, and return what the table is called."""
        lines, self._lines = self._lines, []
        title = " ".join(lines if len(lines) <= _TITLE_LINES else lines[:1])
        if lines and len(lines[0]) > _MAX_NAME_CHARS:
            title = ""
        if lines:
            kind = BlockKind.CAPTION if title else BlockKind.PARAGRAPH
            yield from bounded(Block(text="\n".join(lines) + "\n\n", kind=kind, page=self._page))
        return title

    def alone(self) -> Iterator[Block]:
        """Tell them, if there are any, as text."""
        lines, self._lines = self._lines, []
        for line in lines:
            yield from bounded(Block(text=f"{line}\n\n", page=self._page))


class TableWriter:
    """Hands out a table in pieces, soon after their rows have come. Rows without text are left out.

    Rows are written as cells between bars. Where the header is longer than ``MAX_HEADER_CHARS``, and names columns
    rather than being text, the rows below it are written as ``name: value`` for each cell that holds something. So are
    rows that reach over a long gap, of their own or of the header.
    ``header_rows`` is how many rows at the start name the columns; ``None`` asks the first row itself. Where merged
    cells show that the row below goes on with names, it is one of them. ``caption`` is what a block beside the table
    says of it; without one, a first row of one cell above rows of several is written as a block that does.
    """

    def __init__(self, header_rows: int | None = None, caption: str = "") -> None:
        self._header_rows = header_rows
        self._caption = short_caption(caption)
        self._title = ""
        self._started = False
        self._page: int | None = None
        self._top: list[Sequence[str]] = []
        self._in_header = True
        self._names: list[str] = []
        # As ``Block.header`` of the next piece and of those after it.
        self._header: str | None = ""
        self._below = ""
        self._as_records = False
        self._near: int | None = None  # columns before a gap of the header
        self._lines: list[str] = []
        self._chars = 0

    def add(self, row: Sequence[str], page: int | None) -> Iterator[Block]:
        cells = lines_of(row)
        if not any(cells):
            return
        if len(cells) == 1 and not (self._started or self._caption or self._title) and len(cells[0]) <= _MAX_NAME_CHARS:
            self._title, self._page = cells[0], page
            return
        yield from self._titled(beside=len(cells) > 1)
        if self._header_rows is None:
            self._header_rows = int(names_columns(cells))
        goes_on = self._in_header and len(self._top) == self._header_rows < _MAX_LEVELS
        if goes_on and self._top and names_further(self._top[-1], cells):
            self._header_rows += 1
        in_header = self._in_header = len(self._top) < self._header_rows
        line = self._record(cells) if not in_header and self._needs_names(cells) else _line(cells)
        if self._lines and (self._chars + len(line) > _BLOCK_CHARS or page != self._page):
            yield from self._flush()
        self._page = page
        self._started = True
        self._lines.append(f"{line}\n")
        self._chars += len(line) + 1
        if in_header:
            self._top.append(cells)
            self._name_columns()

    def _titled(self, *, beside: bool) -> Iterator[Block]:
        """The row that was kept back, as the title of what follows or as the row that it is."""
        title, self._title = self._title, ""
        if title and beside:
            self._caption = short_caption(title)
            self._header_rows = (self._header_rows - 1 or None) if self._header_rows else self._header_rows
            yield Block(text=f"{title}\n\n", kind=BlockKind.CAPTION, page=self._page)
        elif title:
            self._started = True
            yield from self.add([title], self._page)

    def finish(self) -> Iterator[Block]:
        yield from self._titled(beside=False)
        if self._lines:
            self._lines[-1] += "\n"
            yield from self._flush()

    def _name_columns(self) -> None:
        self._names = _joined_names(self._top)
        self._near = _gap(self._names)
        header = _line(self._names).strip(_SEPARATOR)
        carried = len(header) <= MAX_HEADER_CHARS
        self._as_records = not carried and are_names(self._names)
        self._below = header if carried else ""
        # A header of several rows cannot be read from the text's first line.
        self._header = None if carried and len(self._top) == 1 else self._below

    def _needs_names(self, cells: Sequence[str]) -> bool:
        return self._as_records or _gap(cells) is not None or (self._near is not None and any(cells[self._near :]))

    def _record(self, cells: Sequence[str]) -> str:
        names = [*self._names, *[""] * len(cells)]
        return "; ".join(f"{name}: {cell}" if name else cell for name, cell in zip(names, cells, strict=False) if cell)

    def _flush(self) -> Iterator[Block]:
        text = "".join(self._lines)
        yield from bounded(
            Block(text=text, kind=BlockKind.TABLE, page=self._page, header=self._header, caption=self._caption)
        )
        self._header = self._below
        self._lines, self._chars = [], 0


def _joined_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """What several rows call each column, from the top down."""
    width = max(len(row) for row in rows)
    columns = [[row[i] for row in rows if i < len(row) and row[i]] for i in range(width)]
    return [" ".join(dict.fromkeys(parts)) for parts in columns]


def _line(cells: Sequence[str]) -> str:
    end = next((i for i in range(len(cells), 0, -1) if cells[i - 1]), 0)
    if _gap(cells) is not None:
        return _SEPARATOR.join(filter(None, cells))
    return _SEPARATOR.join(cells[:end])


def _gap(cells: Sequence[str]) -> int | None:
    """Where the first long run of empty cells before others begins."""
    start = 0
    for i in compress(range(len(cells)), cells) if len(cells) > _MAX_GAP else ():
        if i - start > _MAX_GAP:
            return start
        start = i + 1
    return None
