"""Ruled tables of a PDF page: the lines drawn on it, and the grids of cells that they make."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pypdfium2 import PdfPage

# All in points. What is thinner is a line, drawn or filled; lines this near are one, and meet.
_THIN: Final = 2.5
_NEAR: Final = 2.5
_MIN_LENGTH: Final = 6.0
# Pages with more are drawings.
_MAX_OBJECTS: Final = 4_000
_MAX_SEGMENTS: Final = 2_000
_RECTANGLE_SEGMENTS: Final = 6
_MAX_CROSSINGS: Final = 10_000
_MAX_PLACES: Final = 5_000
_Stroke = tuple[float, float, float, float]
_Color = tuple[int, ...]

# A frame of this share of the page is a background.
_PAGE_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line: where it lies across, and from where to where it goes along its direction."""

    at: float
    start: float
    end: float

    def covers(self, place: float) -> bool:
        return self.start - _NEAR <= place <= self.end + _NEAR


@dataclass(frozen=True, slots=True)
class Grid:
    """Borders of columns from left to right and of rows from top to bottom, and which place belongs to which cell.

    ``cells[row][column]`` are numbers; places of one cell have the same.
    """

    columns: tuple[float, ...]
    rows: tuple[float, ...]
    cells: tuple[tuple[int, ...], ...]

    def place(self, x: float, y: float) -> tuple[int, int] | None:
        """Row and column of a point; None outside."""
        row = next((i for i, (top, low) in enumerate(pairwise(self.rows)) if low <= y < top), None)
        column = next((i for i, (left, right) in enumerate(pairwise(self.columns)) if left <= x < right), None)
        return None if row is None or column is None else (row, column)


def page_grids(page: PdfPage) -> list[Grid]:
    """The grids of two rows and two columns at least. Raises PdfiumError where PDFium cannot read the page."""
    across, upright = _rules(page)
    if len(across) < 3 or not upright or len(across) * len(upright) > _MAX_CROSSINGS:
        return []
    found = (_grid(*each) for each in _connected(across, upright))
    return [grid for grid in found if grid is not None]


def _rules(page: PdfPage) -> tuple[list[Rule], list[Rule]]:
    """Horizontal and vertical lines, and the edges of backgrounds."""
    from pypdfium2 import raw

    left, low, right, high = page.get_bbox()
    page_area = (right - left) * (high - low)
    count = raw.FPDFPage_CountObjects(page)
    if count > _MAX_OBJECTS:
        return [], []
    strokes: list[_Stroke] = []
    backgrounds: list[tuple[_Color, _Stroke]] = []
    bounds = tuple(ctypes.c_float() for _ in range(4))
    pointers = tuple(map(ctypes.byref, bounds))
    for index in range(count):
        path = raw.FPDFPage_GetObject(page, index)
        if raw.FPDFPageObj_GetType(path) != raw.FPDF_PAGEOBJ_PATH or not raw.FPDFPageObj_GetBounds(path, *pointers):
            continue
        x0, y0, x1, y1 = (each.value for each in bounds)
        if (x1 - x0) * (y1 - y0) >= _PAGE_SHARE * page_area:
            continue
        if min(x1 - x0, y1 - y0) <= _THIN:
            strokes.append((x0, y0, x1, y1))
        elif _is_stroked(path):
            strokes.extend(_sides(path))
        elif raw.FPDFPath_CountSegments(path) <= _RECTANGLE_SEGMENTS:
            backgrounds.append((_color(path), (x0, y0, x1, y1)))
    strokes.extend(_edges(backgrounds))
    across = [Rule((y0 + y1) / 2, min(x0, x1), max(x0, x1)) for x0, y0, x1, y1 in strokes if abs(y0 - y1) <= _THIN]
    upright = [Rule((x0 + x1) / 2, min(y0, y1), max(y0, y1)) for x0, y0, x1, y1 in strokes if abs(x0 - x1) <= _THIN]
    return _merged(across), _merged(upright)


def _is_stroked(path: Any) -> bool:  # noqa: ANN401 - a pointer, as below
    from pypdfium2 import raw

    fill, stroke = ctypes.c_int(), ctypes.c_int()
    raw.FPDFPath_GetDrawMode(path, ctypes.byref(fill), ctypes.byref(stroke))
    return bool(stroke.value)


def _color(path: Any) -> _Color:  # noqa: ANN401
    from pypdfium2 import raw

    parts = [ctypes.c_uint() for _ in range(4)]
    raw.FPDFPageObj_GetFillColor(path, *map(ctypes.byref, parts))
    return tuple(part.value for part in parts)


def _edges(backgrounds: Sequence[tuple[_Color, _Stroke]]) -> Iterator[_Stroke]:
    """The edges of backgrounds; those of one color, one on top of the other, are lines of text in one cell."""
    ordered = sorted(backgrounds, key=lambda each: (each[0], round(each[1][0]), round(each[1][2]), each[1][1]))
    last: tuple[_Color, _Stroke] | None = None
    joined: list[_Stroke] = []
    for color, (x0, y0, x1, y1) in ordered:
        if last is not None and last[0] == color and abs(last[1][0] - x0) <= 1 >= abs(last[1][2] - x1):
            _, low, _, high = joined[-1]
            if y0 <= high + 1:
                joined[-1] = (x0, low, x1, max(high, y1))
                last = (color, joined[-1])
                continue
        joined.append((x0, y0, x1, y1))
        last = (color, joined[-1])
    for x0, y0, x1, y1 in joined:
        yield from ((x0, y0, x1, y0), (x0, y1, x1, y1), (x0, y0, x0, y1), (x1, y0, x1, y1))


def _sides(path: Any) -> Iterator[_Stroke]:  # noqa: ANN401
    """The straight parts of a path, from point to point."""
    from pypdfium2 import raw

    count = raw.FPDFPath_CountSegments(path)
    if not 2 <= count <= _MAX_SEGMENTS:
        return
    matrix = raw.FS_MATRIX()
    raw.FPDFPageObj_GetMatrix(path, ctypes.byref(matrix))
    x, y = ctypes.c_float(), ctypes.c_float()
    began = last = (0.0, 0.0)
    for index in range(count):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        raw.FPDFPathSegment_GetPoint(segment, ctypes.byref(x), ctypes.byref(y))
        point = (
            matrix.a * x.value + matrix.c * y.value + matrix.e,
            matrix.b * x.value + matrix.d * y.value + matrix.f,
        )
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            began = point
        elif kind == raw.FPDF_SEGMENT_LINETO:
            yield *last, *point
        last = point
        if raw.FPDFPathSegment_GetClose(segment):
            yield *last, *began
            last = began


def _merged(rules: Sequence[Rule]) -> list[Rule]:
    """Rules of one line that touch or overlap as one; doubled lines are one, too. Short ones are marks."""
    lines: list[list[Rule]] = []
    for rule in sorted((rule for rule in rules if rule.end - rule.start >= _MIN_LENGTH), key=lambda rule: rule.at):
        if lines and rule.at - lines[-1][0].at <= _NEAR:
            lines[-1].append(rule)
        else:
            lines.append([rule])
    merged: list[Rule] = []
    for line in lines:
        at = sum(rule.at for rule in line) / len(line)
        begin = len(merged)
        for rule in sorted(line, key=lambda rule: rule.start):
            if len(merged) > begin and rule.start <= merged[-1].end + _NEAR:
                merged[-1] = Rule(at, merged[-1].start, max(merged[-1].end, rule.end))
            else:
                merged.append(Rule(at, rule.start, rule.end))
    return merged


class _Union:
    """Numbers that belong together, from 0 on."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def root(self, number: int) -> int:
        parents = self._parents
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    def join(self, one: int, other: int) -> None:
        self._parents[self.root(other)] = self.root(one)


def _connected(across: Sequence[Rule], upright: Sequence[Rule]) -> list[tuple[list[Rule], list[Rule]]]:
    """Rules that hang together by crossings."""
    union = _Union(len(across) + len(upright))
    for i, horizontal in enumerate(across):
        for j, vertical in enumerate(upright, len(across)):
            if horizontal.covers(vertical.at) and vertical.covers(horizontal.at):
                union.join(i, j)
    parts: dict[int, tuple[list[Rule], list[Rule]]] = defaultdict(lambda: ([], []))
    for index, rule in enumerate([*across, *upright]):
        parts[union.root(index)][index >= len(across)].append(rule)
    return list(parts.values())


def _grid(across: Sequence[Rule], upright: Sequence[Rule]) -> Grid | None:
    if len(across) < 3 or not upright:
        return None
    # Tables that are open at their sides have no rule there.
    columns = _borders([rule.at for rule in upright] + [r.start for r in across] + [r.end for r in across])
    rows = _borders([rule.at for rule in across])[::-1]
    height, width = len(rows) - 1, len(columns) - 1
    if height < 2 or width < 2 or height * width > _MAX_PLACES:
        return None
    walls, floors = _by_border(upright, columns), _by_border(across, rows)
    union = _Union(height * width)
    for row in range(height):
        middle = (rows[row] + rows[row + 1]) / 2
        for column in range(width):
            center = (columns[column] + columns[column + 1]) / 2
            place = row * width + column
            if column and not _divides(walls[column], middle):
                union.join(place - 1, place)
            if row and not _divides(floors[row], center):
                union.join(place - width, place)
    cells = tuple(tuple(union.root(row * width + column) for column in range(width)) for row in range(height))
    return Grid(tuple(columns), tuple(rows), cells) if _are_rectangles(cells) else None


def _borders(places: Sequence[float]) -> list[float]:
    borders: list[float] = []
    for place in sorted(places):
        if not borders or place - borders[-1] > 2 * _NEAR:
            borders.append(place)
    return borders


def _by_border(rules: Sequence[Rule], borders: Sequence[float]) -> list[list[Rule]]:
    return [[rule for rule in rules if abs(rule.at - border) <= 2 * _NEAR] for border in borders]


def _divides(rules: Sequence[Rule], place: float) -> bool:
    return any(rule.start <= place <= rule.end for rule in rules)


def _are_rectangles(cells: Sequence[Sequence[int]]) -> bool:
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, row in enumerate(cells):
        for j, number in enumerate(row):
            places[number].append((i, j))
    for own in places.values():
        rows, columns = [i for i, _ in own], [j for _, j in own]
        if len(own) != (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1):
            return False
    return True
