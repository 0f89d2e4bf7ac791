"""From the lines of a PDF page to headings, paragraphs, lists and tables, by font, place and gaps."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from indexer.parsers.pdf_lines import Line

_HEADING_SCALE: Final = 1.12
_MAX_HEADING_LINES: Final = 3
# Distances are between baselines, in units of the document's usual one.
_PARAGRAPH_GAP: Final = 1.25
# A cell may be this many lines tall before a jump upwards means a new column of text instead.
_MAX_CELL_LINES: Final = 8
_LIST_MARK = re.compile(r"^(?:[•‣▪◦●○■–*\-\uf0b7\uf0a7]|\(?\d{1,3}[.)]|\(?[a-z][.)])(?:\s+|$)")
_ONLY_MARK = re.compile(r"^(?:[•‣▪◦●○■–*\-\uf0b7\uf0a7]|\(?\d{1,3}[.)])$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What is usual in a document: the body's font size, the distance of its lines, the sizes of its headings."""

    body_size: float
    pitch: float
    heading_sizes: tuple[float, ...]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Style:
        weights: Counter[float] = Counter()
        for line in lines:
            weights[line.size] += len(line.text)
        body = weights.most_common(1)[0][0] if weights else 10.0
        steps = [
            above.bottom - below.bottom
            for above, below in pairwise(lines)
            if above.size == below.size == body and 0 < above.bottom - below.bottom < 2.5 * body
        ]
        larger = sorted((size for size in weights if size > body * _HEADING_SCALE), reverse=True)
        return cls(body_size=body, pitch=median(steps) if steps else body * 1.2, heading_sizes=tuple(larger))

    def heading_level(self, line: Line) -> int | None:
        """Level of the heading this line would be, or None for body text."""
        if not any(character.isalpha() for character in line.text):
            return None
        if line.size > self.body_size * _HEADING_SCALE:
            return 1 + sum(size > line.size for size in self.heading_sizes)
        if _LIST_MARK.match(line.text) and not line.text[0].isdigit():
            return None
        if line.bold and line.size >= self.body_size - 0.5 and line.text[-1] not in ".,;" and len(line.text) <= 100:
            return 1 + len(self.heading_sizes)
        return None


class PageWriter:
    """Groups the lines of one page after the other."""

    def __init__(self, style: Style) -> None:
        self._style = style

    def blocks(self, lines: Sequence[Line], *, page: int) -> Iterator[Block]:
        for group in self._groups(lines):
            yield self._block(group, page)

    def _groups(self, lines: Sequence[Line]) -> Iterator[list[_Row]]:
        group: list[_Row] = []
        for row in _rows(lines, self._style):
            if group and not self._joins(group, row):
                yield group
                group = []
            group.append(row)
        if group:
            yield group

    def _joins(self, group: list[_Row], row: _Row) -> bool:
        last = group[-1]
        first = group[0]
        if last.level is not None or row.level is not None:
            same = last.level == row.level and last.line.size == row.line.size
            return same and len(group) < _MAX_HEADING_LINES and self._near(last, row, 1.6)
        if last.is_table != row.is_table:
            return False
        if row.is_table:
            return self._near(last, row, 4.0)
        if row.is_item:
            return first.is_item and self._near(last, row, 2.0)
        return self._near(last, row, _PARAGRAPH_GAP) and abs(last.line.size - row.line.size) <= 1.0

    def _near(self, above: _Row, below: _Row, pitches: float) -> bool:
        step = above.bottom - below.line.bottom
        return 0 < step <= pitches * max(self._style.pitch, above.line.size)

    def _block(self, group: list[_Row], page: int) -> Block:
        first = group[0]
        if first.level is not None:
            title = one_line(" ".join(row.text for row in group))
            if len(title) <= MAX_HEADING_CHARS:
                return Block(text=f"{title}\n\n", kind=BlockKind.HEADING, level=first.level, heading=title, page=page)
        if first.is_table:
            text = "\n".join(row.text for row in group)
            return Block(text=f"{text}\n\n", kind=BlockKind.TABLE, page=page)
        kind = BlockKind.LIST if first.is_item else BlockKind.PARAGRAPH
        return Block(text=_joined(group) + "\n\n", kind=kind, page=page)


@dataclass(slots=True, kw_only=True)
class _Row:
    """One line of text, or one row of a table with all of its cells."""

    line: Line
    cells: list[str]
    bottom: float
    level: int | None

    @property
    def is_table(self) -> bool:
        return len(self.cells) > 1

    @property
    def is_item(self) -> bool:
        return not self.is_table and bool(_LIST_MARK.match(self.cells[0]))

    @property
    def text(self) -> str:
        return " | ".join(self.cells)


def _rows(lines: Sequence[Line], style: Style) -> Iterator[_Row]:
    """Lines as rows; fragments side by side, each perhaps several lines tall, become one row of cells."""
    pending: list[Line] = []
    for line in lines:
        if pending and not _beside(pending, line, style):
            yield from _rows_of(pending, style)
            pending = []
        pending.append(line)
    yield from _rows_of(pending, style)


def _beside(pending: Sequence[Line], line: Line, style: Style) -> bool:
    """Whether a line belongs with those before it: it stands right of one of them, or might be followed by one."""
    last = pending[-1]
    rise = line.bottom - last.bottom
    if abs(rise) <= 0.5 * last.size:
        return True
    if rise > 0:
        # Up again: the next cell of a row that began a few lines above, if it stands to the right of that.
        tall = rise <= _MAX_CELL_LINES * style.pitch
        return tall and any(abs(line.bottom - p.bottom) <= 0.5 * p.size and line.left > p.right for p in pending)
    # Down: a wrapped cell is known only by what comes after it; keep a few lines in view.
    return False if len(pending) >= _MAX_CELL_LINES * 4 else _wraps(last, line, style)


def _wraps(above: Line, below: Line, style: Style) -> bool:
    step = above.bottom - below.bottom
    return abs(above.left - below.left) <= 1.0 and step <= style.pitch * _PARAGRAPH_GAP and above.size == below.size


def _rows_of(pending: Sequence[Line], style: Style) -> Iterator[_Row]:
    start = 0
    while start < len(pending):
        end = _row_end(pending, start)
        yield _row(pending[start:end], style)
        start = end


def _row_end(pending: Sequence[Line], start: int) -> int:
    """End of the row that begins at ``start``: past the last line that stands on its first line's height."""
    first = pending[start]
    end = start + 1
    for index in range(start + 1, len(pending)):
        if abs(pending[index].bottom - first.bottom) <= 0.5 * first.size and pending[index].left > first.left:
            end = index + 1
    if end == start + 1:
        return end
    # Lines that follow the last cell's first line and wrap under it are that cell's.
    last = pending[end - 1]
    while end < len(pending) and abs(pending[end].left - last.left) <= 1.0 and last.left > first.left + 1.0:
        end += 1
    return end


def _row(lines: Sequence[Line], style: Style) -> _Row:
    first = lines[0]
    cells: list[list[str]] = []
    for index, line in enumerate(lines):
        wrapped = index > 0 and line.bottom < lines[index - 1].bottom - 0.5 * line.size
        if wrapped:
            cells[-1].append(line.text)
        else:
            cells.append([line.text])
    texts = [" ".join(parts) for parts in cells]
    if len(texts) > 1 and _ONLY_MARK.match(texts[0]):
        # A list mark set apart from its item is no table cell.
        texts = [f"{texts[0]} {' | '.join(texts[1:])}"]
    level = style.heading_level(first) if len(texts) == 1 else None
    return _Row(line=lines[-1], cells=texts, bottom=min(line.bottom for line in lines), level=level)


def _joined(group: Sequence[_Row]) -> str:
    """Lines of a paragraph as running text; words cut at a line's end are whole again; list items keep their lines."""
    parts: list[str] = []
    for index, row in enumerate(group):
        text = row.text
        if index == 0:
            parts.append(text)
        elif row.is_item:
            parts.append(f"\n{text}")
        elif group[index - 1].line.hyphenated:
            parts.append(text)
        else:
            parts.append(f" {text}")
    return "".join(parts)
