"""The order in which a page's lines are read, where its content stream goes across columns."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from indexer.parsers.pdf.lines import Line

# Columns of text have at least this many lines of at least this share of the column's width; less is a table.
_MIN_LINES: Final = 6
_FULL_LINE: Final = 0.7
_FULL_SHARE: Final = 0.6
_MIN_CHARS: Final = 20
# Going from one column to the other more often than this means that the stream goes row by row.
_MAX_CROSSINGS: Final = 3
_GUTTERS_TRIED: Final = 60
# Lines of a column stand out of it by less, in points: a quotation mark, a letter without a stem.
_OVERHANG: Final = 2.0


def in_reading_order(lines: Sequence[Line]) -> list[Line]:
    """Lines in the order they are read.

    The order of the content stream is reading order in nearly all documents, and right where geometry is ambiguous, so
    it stays unless it jumps between two columns of text line by line, as scanners' text layers and some layout
    programs do. Then each column is read from top to bottom; lines across the columns part them into bands.
    """
    upright = [line for line in lines if not line.turned]
    turned = [line for line in lines if line.turned]
    return [*_ordered(upright), *turned]


def _ordered(lines: list[Line]) -> list[Line]:
    if len(lines) < 2 * _MIN_LINES or (gutter := _gutter(lines)) is None:
        return lines
    ordered: list[Line] = []
    for band in _bands(lines, gutter):
        left = [line for line in band if _side(line, gutter) < 0]
        right = [line for line in band if _side(line, gutter) > 0]
        if _is_interleaved(band, gutter) and _is_text(left) and _is_text(right):
            ordered.extend([*_ordered(_downwards(left)), *_ordered(_downwards(right))])
        else:
            ordered.extend(band)
    return ordered


def _gutter(lines: Sequence[Line]) -> float | None:
    """The height that the fewest lines cross while many stand on both sides."""
    low, high = min(line.left for line in lines), max(line.right for line in lines)
    best, best_weight = None, 0
    for step in range(_GUTTERS_TRIED // 5, _GUTTERS_TRIED * 4 // 5 + 1):
        x = low + (high - low) * step / _GUTTERS_TRIED
        left = sum(line.right <= x for line in lines)
        right = sum(line.left >= x for line in lines)
        crossing = len(lines) - left - right
        weight = min(left, right) - 2 * crossing
        if min(left, right) >= _MIN_LINES and weight > best_weight:
            best, best_weight = x, weight
    return best


def _side(line: Line, gutter: float) -> int:
    """-1 for a line on the left of the gutter, 1 for one on the right, 0 for one that crosses it."""
    overhang = _OVERHANG if len(line.text) >= _MIN_CHARS else 0.0
    if line.right <= gutter + overhang:
        return -1
    return int(line.left >= gutter - overhang)


def _bands(lines: Sequence[Line], gutter: float) -> Iterator[list[Line]]:
    """Stretches of the page between lines that cross the gutter; each of those is a band of its own."""
    crossing = sorted((line for line in lines if not _side(line, gutter)), key=lambda line: -line.base)
    rest = [line for line in lines if _side(line, gutter)]
    for line in crossing:
        if above := [other for other in rest if other.base > line.base]:
            yield above
            rest = [other for other in rest if other.base <= line.base]
        yield [line]
    if rest:
        yield rest


def _is_interleaved(band: Sequence[Line], gutter: float) -> bool:
    sides = [_side(line, gutter) > 0 for line in band]
    return sum(a != b for a, b in pairwise(sides)) > _MAX_CROSSINGS


def _is_text(column: Sequence[Line]) -> bool:
    if len(column) < _MIN_LINES:
        return False
    width = max(line.right for line in column) - min(line.left for line in column)
    full = sum(line.width >= _FULL_LINE * width for line in column)
    return full >= _FULL_SHARE * len(column) and median(len(line.text) for line in column) >= _MIN_CHARS


def _downwards(column: list[Line]) -> list[Line]:
    return sorted(column, key=lambda line: (-line.base, line.left))
