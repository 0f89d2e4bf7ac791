"""Tables in the lines of a PDF page: cells side by side whose columns line up in several rows."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from indexer.parsers.captions import is_caption
from indexer.parsers.heading_words import LIST_MARK, RIGHT_TO_LEFT
from indexer.parsers.pdf.lines import SAME_LINE
from indexer.parsers.tables import is_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from indexer.parsers.pdf.lines import Line

# A cell may be this many lines tall before a jump upwards means a new column of text instead.
_MAX_CELL_LINES: Final = 8
# Rows further apart than this many usual line distances are not one table's.
_ROW_GAP: Final = 3.5
_WRAP_GAP: Final = 1.3
# What stands above a table may look like a row of it.
_STARTS_TRIED: Final = 3
# Stands for the hyphen of a word that goes on below it.
CUT: Final = "\x02"
_MAX_LINES: Final = 2000
# Two rows are a table only if their cells are further apart than justified text moves its sentences, in font sizes.
_SURE_GAP: Final = 1.6
# Words of one justified line have spaces that differ by less, in font sizes: a comma takes some of one.
_SAME_GAP: Final = 0.3
_STRETCHED_WORDS: Final = 4
# Lines of columns have more characters.
_COLUMN_CHARS: Final = 20
# Two cells side by side that are both longer than this are columns of text.
_PROSE_CHARS: Final = 50
# Capitals of usual fonts take three fifths of the size of a line, as read, on the average; others less.
_SPACED: Final = 0.75
_FIRST_OF_CJK: Final = "\u2e80"
_ONLY_MARK = re.compile(rf"^(?:{LIST_MARK}|\d+(?:\.\d+)*\.?)$")
# What stands in front of a heading: the number of its section, a mark.
_LABEL = re.compile(rf"^(?:{LIST_MARK}|(?:\w+\s+)?(?:\d{{1,3}}|[A-Z]|[IVXLC]+)(?:\.\d{{1,3}})*[.:)]?|§+\s*\d+\w?)$")


@dataclass(slots=True, kw_only=True)
class Table:
    """Rows of as many cells as there are columns; cells may be empty."""

    rows: list[list[str]]

    @property
    def text(self) -> str:
        return "\n".join(" | ".join(row).strip() for row in self.rows)


def with_tables(lines: Sequence[Line], pitch: float) -> Iterator[Line | Table]:
    """Replace the lines of tables by tables, and join other lines that stand side by side.

    ``pitch`` is the usual distance of baselines in points. Nothing is reordered outside of tables.
    """
    start = 0
    while start < len(lines):
        end = _region_end(lines, start, pitch)
        region = lines[start:end]
        for skipped in _row_starts(region)[:_STARTS_TRIED]:
            if (table := _table(region[skipped:], pitch)) is not None:
                yield from _side_by_side(region[:skipped])
                yield table
                break
        else:
            yield from _side_by_side(region)
        start = end


def _row_starts(region: Sequence[Line]) -> list[int]:
    """Where the rows of a region begin, as far as its lines come row by row; none if it has no two lines."""
    if len(region) < 2:
        return []
    return [0, *(i for i in range(1, len(region)) if region[i - 1].base - region[i].base > SAME_LINE * region[i].size)]


def _beside(line: Line, other: Line) -> bool:
    """Whether both stand on one height, apart from each other."""
    if abs(line.base - other.base) > SAME_LINE * max(line.size, other.size) or line.turned or other.turned:
        return False
    return line.left >= other.right or line.right <= other.left


def _region_end(lines: Sequence[Line], start: int, pitch: float) -> int:
    """End of the lines that hang together with the one at ``start`` as rows of cells; ``start + 1`` if none does."""
    if (second := _first_beside(lines, start, pitch)) is None:
        return start + 1
    end = second + 1
    while end < min(len(lines), start + _MAX_LINES):
        line = lines[end]
        region = lines[start:end]
        bottom = min(other.base for other in region)
        gap = bottom - line.base
        if line.turned or gap > _ROW_GAP * pitch or -gap > _MAX_CELL_LINES * pitch:
            break
        if is_caption(line.text) and _is_stretched(_row_of(lines, end)):
            break
        if any(_beside(line, other) for other in region[-4 * _MAX_CELL_LINES :]):
            end += 1
            continue
        following = _first_beside(lines, end, pitch)
        if following is not None:
            end = following + 1
        elif gap > 0 and _is_wrapped(line, region, pitch):
            end += 1
        else:
            break
    return end


def _row_of(lines: Sequence[Line], start: int) -> list[Line]:
    """The lines that follow on the height of the one at ``start``, with it."""
    end = start + 1
    while end < len(lines) and _beside(lines[end - 1], lines[end]):
        end += 1
    return list(lines[start:end])


def _first_beside(lines: Sequence[Line], start: int, pitch: float) -> int | None:
    """Index of the first line beside the one at ``start``; between them only lines that wrap under it may stand."""
    first = lines[start]
    for index in range(start + 1, min(start + _MAX_CELL_LINES, len(lines))):
        line = lines[index]
        if _beside(first, line):
            return index
        step = lines[index - 1].base - line.base
        wraps = abs(line.left - first.left) <= 1.0 or abs(line.right - first.right) <= 1.0
        if not (wraps and 0 < step <= _WRAP_GAP * max(pitch, first.size) and line.size == first.size):
            return None
    return None


def _is_wrapped(line: Line, region: Sequence[Line], pitch: float) -> bool:
    """Whether a line goes on in the cell right above it, one that is not the first of its row."""
    above = [other for other in region if other.left < line.right and other.right > line.left]
    if not above:
        return False
    nearest = min(above, key=lambda other: other.base)
    leftmost = min(other.left for other in region)
    near = nearest.base - line.base <= _WRAP_GAP * max(pitch, line.size)
    return near and line.left > leftmost + line.size


def _visual_rows(lines: Sequence[Line]) -> list[list[Line]]:
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: -line.base):
        if rows and abs(rows[-1][0].base - line.base) <= SAME_LINE * max(line.size, rows[-1][0].size):
            rows[-1].append(line)
        else:
            rows.append([line])
    for row in rows:
        row.sort(key=lambda line: line.left)
    return rows


def _table(region: Sequence[Line], pitch: float) -> Table | None:
    visual = _visual_rows(region)
    multiple = [row for row in visual if len(row) > 1 and not _is_stretched(row)]
    if len(multiple) < 2:
        return None
    columns = _columns(multiple)
    if len(columns) < 2 or all(_ONLY_MARK.match(row[0].text) for row in multiple):
        return None
    if len(columns) == 2 and _is_prose(multiple):
        return None
    if len(multiple) == 2 and min(_narrowest_gap(row) for row in multiple) < _SURE_GAP:
        return None
    rows: list[list[str]] = []
    last: list[Line] = []
    for row in visual:
        cells = _cells(row, columns)
        if rows and _wraps(cells, columns, last[0].base - row[0].base, pitch) and not _counts_on(rows[-1], cells):
            rows[-1] = _joined(rows[-1], cells)
        else:
            rows.append(cells)
        last = row
    if _header_wraps(rows):
        rows[:2] = [_joined(rows[0], rows[1])]
    if sum(sum(map(bool, row)) > 1 for row in rows) < 2:
        return None
    if sum(len(RIGHT_TO_LEFT.findall(line.text)) for line in region) * 2 > sum(len(line.text) for line in region):
        rows = [row[::-1] for row in rows]
    return Table(rows=[[cell.replace(CUT, "-") for cell in row] for row in rows])


def _columns(rows: Sequence[Sequence[Line]]) -> list[tuple[float, float]]:
    """Extents of the columns, from the rows that have as many cells as most do: a cell across several joins them."""
    counts = Counter(len(row) for row in rows)
    usual = max(count for count, times in counts.items() if times == max(counts.values()) or (times > 1 and count > 2))
    columns: list[tuple[float, float]] = []
    for line in sorted((line for row in rows if len(row) >= usual for line in row), key=lambda line: line.left):
        if columns and line.left < columns[-1][1]:
            columns[-1] = (columns[-1][0], max(columns[-1][1], line.right))
        else:
            columns.append((line.left, line.right))
    return columns


def _is_prose(rows: Sequence[Sequence[Line]]) -> bool:
    long = sum(len(row) == 2 and min(len(line.text) for line in row) >= _PROSE_CHARS / 2 for row in rows)
    full = sum(max(len(line.text) for line in row) >= _PROSE_CHARS for row in rows)
    return long * 2 > len(rows) and full * 3 > len(rows)


def _narrowest_gap(row: Sequence[Line]) -> float:
    return min((right.left - left.right) / max(left.size, 1.0) for left, right in pairwise(row))


def _cells(row: Sequence[Line], columns: Sequence[tuple[float, float]]) -> list[str]:
    cells = [""] * len(columns)
    column = 0
    for line in row:
        for left, right, text in _parts(line, columns):
            distances = [max(start - right, left - end, 0.0) for start, end in columns]
            column = distances.index(min(distances))
            cells[column] = f"{cells[column]} {text}".strip()
        if line.hyphenated:
            cells[column] += CUT
    return cells


def _joined(above: Sequence[str], below: Sequence[str]) -> list[str]:
    """Cells that go on on the next line; words cut at its end are whole again."""
    pairs = zip(above, below, strict=True)
    return [f"{a} {b}".strip().replace(f"{CUT} ", "") if b else a for a, b in pairs]


def _parts(line: Line, columns: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float, str]]:
    """The line, cut where the space between two of its words is the space between two columns."""
    gutters = [(end, start) for (_, end), (start, _) in pairwise(columns) if line.left < end and line.right > start]
    words: list[tuple[float, float, str]] = []
    for word in line.words:
        if words and any(words[-1][1] <= start and word[0] >= end for end, start in gutters):
            yield words[0][0], words[-1][1], " ".join(text for _, _, text in words)
            words = []
        words.append(word)
    yield words[0][0], words[-1][1], " ".join(text for _, _, text in words)


def _wraps(cells: Sequence[str], columns: Sequence[tuple[float, float]], step: float, pitch: float) -> bool:
    """Whether a row only goes on with cells of the row above: its first cell is empty, and most others are."""
    filled = sum(map(bool, cells))
    return not cells[0] and filled <= max(1, len(columns) // 2) and step <= _WRAP_GAP * pitch


def _counts_on(above: Sequence[str], below: Sequence[str]) -> bool:
    """Whether a row has a number below one of the row above, and says what of: a sum below another."""
    numbers = sum(is_number(a) and is_number(b) for a, b in zip(above, below, strict=True))
    return 0 < numbers < sum(map(bool, below))


def _header_wraps(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the second row only goes on with the names of columns: it has gaps and no figures, others are full."""
    if len(rows) < 4 or all(rows[1]) or any(map(str.isdigit, rows[1])):
        return False
    names = all(above or not below for above, below in zip(rows[0], rows[1], strict=True))
    return names and all(map(all, rows[2:]))


def is_column(line: Line, before: Line) -> bool:
    """Whether two lines in this order are of two columns, the one on the left being read after the one on the right."""
    if RIGHT_TO_LEFT.search(line.text) or RIGHT_TO_LEFT.search(before.text):
        return False
    return before.right <= line.left and min(len(line.text), len(before.text)) >= _COLUMN_CHARS


def _is_stretched(row: Sequence[Line]) -> bool:
    """Whether it is one justified line: single words with the same space between all of them."""
    if len(row) < _STRETCHED_WORDS or any(len(line.words) > 1 or _has_digit(line) for line in row[1:]):
        return False
    if len(row[0].words) > 1 and not is_caption(row[0].text):
        return False
    gaps = [(right.left - left.right) / max(left.size, 1.0) for left, right in pairwise(row)]
    return max(gaps) < _SURE_GAP and max(gaps) - min(gaps) <= _SAME_GAP


def _has_digit(line: Line) -> bool:
    return any(map(str.isdigit, line.text))


def _is_spaced(line: Line) -> bool:
    """Whether it is set with space between its letters, and so with more of it between words."""
    return line.text.isalpha() and line.text < _FIRST_OF_CJK and line.width >= _SPACED * line.size * len(line.text)


def _side_by_side(lines: Sequence[Line]) -> Iterator[Line]:
    """Join lines on one height that are no table's: a mark and its item, a number and its heading, wide spaces."""
    pending: Line | None = None
    for line in lines:
        if pending is not None and _beside(line, pending) and not (pending.hyphenated or is_column(pending, line)):
            first, second = (pending, line) if line.left >= pending.right else (line, pending)
            if RIGHT_TO_LEFT.search(pending.text):
                first, second = pending, line
            label = _LABEL.match(first.text) is not None
            # Of a bold name and the paragraph that runs on beside it, the line is not bold.
            pending.bold = second.bold and (first.bold or label)
            one = label or (_is_spaced(first) and _is_spaced(second))
            pending.apart = pending.apart or line.apart or not one
            if len(line.text) > len(pending.text):
                pending.size, pending.mono = line.size, line.mono
            pending.drawn = pending.drawn or line.drawn
            pending.text = f"{first.text} {second.text}"
            pending.left, pending.right = min(first.left, second.left), max(first.right, second.right)
            pending.hyphenated = line.hyphenated
            continue
        if pending is not None:
            yield pending
        pending = line
    if pending is not None:
        yield pending
