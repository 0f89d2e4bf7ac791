"""Tables of Markdown that are drawn, as Pandoc reads them: columns by dashes, or cells in a grid."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from indexer.parsers.blocks import Block, BlockKind, one_line
from indexer.parsers.tables import MAX_HEADER_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
# Of one run of dashes it is a heading's underline, or a border.
_RULE = re.compile(r" {0,3}-{2,}(?: +-{2,})+[ \t]*$")
_BORDER = re.compile(r" {0,3}-{3,}[ \t]*$")
_RUN = re.compile(r"-+")
_GRID_RULE = re.compile(r" {0,3}\+(?:[-=:]+\+)+[ \t]*$")
_GRID_HEADER_END = re.compile(r" {0,3}\+(?:[=:]+\+)+[ \t]*$")
_GRID_LINE = re.compile(r" {0,3}[+|]")
_MAX_HEADER_LINES: Final = 10
# Further below, a line like the one above is none of the same table.
_MAX_LINES: Final = 2000


class _Table(NamedTuple):
    """``header`` as in ``Block``."""

    end: int
    header: str | None


def part_tables(text: str) -> Iterator[str | Block]:
    """The text between the drawn tables, and these as blocks, in order."""
    lines = text.splitlines(keepends=True) if "--" in text else [text]
    drawn = _Drawn(lines)
    kept = at = 0
    fence, blank = "", True
    while at < len(lines):
        if (mark := _FENCE.match(lines[at])) is not None and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        table = drawn.table(at) if blank and not fence else None
        if table is None:
            blank = not lines[at].strip()
            at += 1
            continue
        if kept < at:
            yield "".join(lines[kept:at])
        kept = table.end
        while kept < len(lines) and not lines[kept].strip():
            kept += 1
        yield Block(text="".join(lines[at:kept]), kind=BlockKind.TABLE, header=table.header)
        at, blank = kept, True
    if kept < len(lines):
        yield "".join(lines[kept:])


class _Drawn:
    """Lines of a text, and which of them may end a table."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._rules: dict[str, list[int]] = defaultdict(list)
        self._borders: list[int] = []
        for number, line in enumerate(lines):
            if _BORDER.match(line) and not self._line(number + 1).strip():
                self._borders.append(number)
            elif _RULE.match(line):
                self._rules[line.rstrip()].append(number)

    def table(self, at: int) -> _Table | None:
        """The table that begins with a line; an empty one is above it."""
        line = self._line(at)
        if _GRID_RULE.match(line):
            return self._grid(at)
        if _RULE.match(line):
            return self._without_header(at)
        if _BORDER.match(line):
            return self._of_several_lines(at)
        return self._simple(at) if line.strip() and _RULE.match(self._line(at + 1)) else None

    def _simple(self, at: int) -> _Table | None:
        """A header, a rule, and rows up to an empty line or another rule."""
        end = at + 2
        while self._line(end).strip() and not _RULE.match(self._line(end)):
            end += 1
        if end == at + 2 or not all(_fits(self._line(row), self._line(at + 1)) for row in (at, at + 2)):
            return None
        return _Table(end + bool(self._line(end).strip()), None)

    def _without_header(self, at: int) -> _Table | None:
        """Rows between two rules that are the same."""
        rule = self._line(at).rstrip()
        end = _next(self._rules[rule], at)
        return None if end is None or end == at + 1 or not _fits(self._line(at + 1), rule) else _Table(end + 1, "")

    def _of_several_lines(self, at: int) -> _Table | None:
        """Between two borders a header, a rule, and rows of several lines each, with empty lines between them."""
        rule = at + 1
        while rule < at + _MAX_HEADER_LINES and self._line(rule).strip() and not _RULE.match(self._line(rule)):
            rule += 1
        marks = self._line(rule)
        if rule == at + 1 or not _RULE.match(marks) or not _fits(self._line(at + 1), marks):
            return None
        end = _next(self._borders, rule)
        return None if end is None else _Table(end + 1, _names(self._lines[at + 1 : rule], marks))

    def _grid(self, at: int) -> _Table | None:
        end = at + 1
        while _GRID_LINE.match(self._line(end)):
            end += 1
        if end < at + 3 or not _GRID_RULE.match(self._line(end - 1)):
            return None
        header = next((row for row in range(at + 1, end) if _GRID_HEADER_END.match(self._line(row))), None)
        if header is None:
            return _Table(end, "")
        corners = "".join("-" if character == "+" else " " for character in self._line(at))
        return _Table(end, _names([line.replace("|", " ") for line in self._lines[at + 1 : header]], corners))

    def _line(self, number: int) -> str:
        return self._lines[number] if number < len(self._lines) else ""


def _next(ends: Sequence[int], at: int) -> int | None:
    place = bisect_right(ends, at)
    return ends[place] if place < len(ends) and ends[place] <= at + _MAX_LINES else None


def _fits(line: str, rule: str) -> bool:
    """Whether a column's text does not run on into the next."""
    return all(not line[run.start() - 1 : run.start()].strip() for run in list(_RUN.finditer(rule))[1:])


def _names(header: Sequence[str], rule: str) -> str | None:
    """What several lines call each column; a single one can be read from the text."""
    if len(header) == 1:
        return None
    borders = [0, *(run.start() for run in list(_RUN.finditer(rule))[1:]), max(map(len, header), default=0)]
    columns = (" ".join(line[start:end] for line in header) for start, end in pairwise(borders))
    joined = " | ".join(filter(None, map(one_line, columns)))
    return joined if len(joined) <= MAX_HEADER_CHARS else ""
