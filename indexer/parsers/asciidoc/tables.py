"""Tables of AsciiDoc: cells of any number of lines, told apart by bars with what they span before them, or as CSV."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block
from indexer.parsers.separated.dialect import Dialect
from indexer.parsers.separated.rows import Rows
from indexer.parsers.spans import Cell, Copies, grid, head_rows, span_of
from indexer.parsers.tables import table_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# What may stand before the bar of a cell: spans or copies, the place of its text, its style.
_BAR: Final = (
    r"(?:(?<!\S)(?:(?P<columns>\d{1,3})?(?:\.(?P<rows>\d{1,3}))?(?P<kind>[+*]))?"
    r"[<^>]?(?:\.[<^>])?(?P<style>[adehlmsv])?)?"
)
_COLUMNS = re.compile(r"cols=(?:\"([^\"]{0,500})\"|'([^']{0,500})'|(\d{1,3}[^,\s]{0,20}))")
_COPIES = re.compile(r"(\d{1,3})\*")
_FORMAT = re.compile(r"format=[\"']?(csv|tsv|dsv)\b")
_SEPARATOR = re.compile(r"separator=[\"']?(\\t|.)")
_HEADER = re.compile(r"%[\w%]*header|\b(?:options|opts)=(?:\"[^\"]*|'[^']*)?\bheader\b")
_NO_HEADER = re.compile(r"%[\w%]*noheader|\bnoheader\b")
# An empty line follows the first one, which is right below the border.
_FIRST_ALONE = re.compile(r"(?=[^\n]*\S)[^\n]*+\n[^\S\n]*+\n.", re.DOTALL)
_SEPARATORS: Final = {"csv": ",", "tsv": "\t", "dsv": ":", ",": ",", ":": ":"}
_MAX_COLUMNS: Final = 200
# A line as ``Rows`` takes them.
_PIECE = re.compile(r"[^\n]{1,500000}\n?")


@dataclass(slots=True)
class _Bar:
    start: int
    end: int
    columns: int
    rows: int
    copies: int
    is_name: bool


def asciidoc_table(
    lines: Sequence[str], style: str, mark: str, *, caption: str, inline: Callable[[str], str]
) -> Iterator[Block]:
    """Yield a table: ``lines`` stand between its borders, ``style`` is what stands in brackets above it.

    Text before its first bar is told in paragraphs.
    """
    stated = _FORMAT.search(style)
    kind = stated[1] if stated is not None else mark
    separator = _SEPARATOR.search(style)
    by = separator[1].replace("\\t", "\t") if separator is not None else _SEPARATORS.get(kind, mark)
    text = "".join(line for line in lines if not line.startswith("//"))
    if kind in _SEPARATORS:
        pieces = (piece for piece in _PIECE.findall(text) if piece.strip())
        rows = [[Cell(inline(cell)) for cell in row] for row in Rows(pieces, Dialect(delimiter=by))]
    else:
        bar = re.compile(_BAR + r"(?<!\\)" + re.escape(by))
        first = bar.search(text)
        for above in re.split(r"\n\s*\n", text if first is None else text[: first.start()]):
            if above.strip():
                yield Block(text=f"{inline(above)}\n\n")
        text = "" if first is None else text[first.start() :]
        rows = _rows(text, bar, _stated_columns(style), by, inline) if text else []
    names = 0 if _NO_HEADER.search(style) else int(bool(_HEADER.search(style) or _FIRST_ALONE.match(text)))
    yield from table_blocks(grid(rows), header_rows=names or head_rows(rows) or None, caption=caption)


def _stated_columns(style: str) -> int:
    found = _COLUMNS.search(style)
    if found is None:
        return 0
    count = 0
    for part in re.split("[,;]", next(filter(None, found.groups()), "")):
        copies = _COPIES.match(part.strip())
        count += int(copies[1]) if copies is not None else 1
    return min(count, _MAX_COLUMNS)


def _rows(
    text: str, bar: re.Pattern[str], columns: int, separator: str, inline: Callable[[str], str]
) -> list[list[Cell]]:
    if not columns:
        first = next((line for line in text.split("\n") if line.strip()), "")
        columns = min(sum(found.columns * found.copies for found in map(_bar, bar.finditer(first))), _MAX_COLUMNS)
    bars = list(map(_bar, bar.finditer(text)))
    rows: list[list[Cell]] = [[]]
    used = 0  # columns of the last row
    reached: dict[int, int] = {}  # by row: columns that cells of rows above take
    copies = Copies()
    for found, ends in zip(bars, [each.start for each in bars[1:]] + [len(text)], strict=True):
        shown = inline(text[found.end : ends].replace(f"\\{separator}", separator))
        count = 1 if copies.spent else found.copies
        copies.count(1, count)
        for _ in range(count):
            while used >= max(1, columns):
                rows.append([])
                used = reached.pop(len(rows), 0)
            used += found.columns
            rows[-1].append(Cell(shown, found.columns, found.rows, found.is_name))
            for below in range(1, found.rows):
                reached[len(rows) + below] = reached.get(len(rows) + below, 0) + found.columns
    return rows


def _bar(found: re.Match[str]) -> _Bar:
    columns, copied = span_of(found["columns"]), found["kind"] == "*"
    return _Bar(
        start=found.start(),
        end=found.end(),
        columns=1 if copied else columns,
        rows=1 if copied else span_of(found["rows"]),
        copies=columns if copied else 1,
        is_name=found["style"] == "h",
    )
