"""Where a PDF page has drawings that were put on it whole, such as charts: their text are labels."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pypdfium2 import PdfPage

    from indexer.parsers.pdf.lines import Line

# Larger forms are pages that were put on a page.
_MAX_SHARE: Final = 0.6
_MIN_PATHS: Final = 3
_MAX_DEPTH: Final = 4
_MAX_OBJECTS: Final = 4_000
# The middle of a line lies this share of its size above its baseline.
_MIDDLE: Final = 0.3
_Box = tuple[float, float, float, float]


def mark_drawn(page: PdfPage, lines: Sequence[Line]) -> None:
    """Mark the lines of an upright page that are part of a drawing."""
    boxes = _drawings(page)
    for line in lines:
        x, y = (line.left + line.right) / 2, line.base + _MIDDLE * line.size
        line.drawn = any(left <= x <= right and low <= y <= high for left, low, right, high in boxes)


def _drawings(page: PdfPage) -> list[_Box]:
    """Left, lower, right and upper ends of the forms on a page that paths are drawn in."""
    from pypdfium2 import raw

    left, low, right, high = page.get_bbox()
    area = (right - left) * (high - low)
    boxes: list[_Box] = []
    bounds = tuple(ctypes.c_float() for _ in range(4))
    for index in range(min(_MAX_OBJECTS, raw.FPDFPage_CountObjects(page))):
        form = raw.FPDFPage_GetObject(page, index)
        if raw.FPDFPageObj_GetType(form) != raw.FPDF_PAGEOBJ_FORM:
            continue
        if not raw.FPDFPageObj_GetBounds(form, *map(ctypes.byref, bounds)):
            continue
        x0, y0, x1, y1 = (each.value for each in bounds)
        if (x1 - x0) * (y1 - y0) <= _MAX_SHARE * area and _paths(form, 0) >= _MIN_PATHS:
            boxes.append((x0, y0, x1, y1))
    return boxes


def _paths(form: Any, depth: int) -> int:  # noqa: ANN401 - a pointer of PDFium
    """How many paths a form draws, counted as far as it matters."""
    from pypdfium2 import raw

    found = 0
    for index in range(min(_MAX_OBJECTS, raw.FPDFFormObj_CountObjects(form))):
        each = raw.FPDFFormObj_GetObject(form, index)
        kind = raw.FPDFPageObj_GetType(each)
        if kind == raw.FPDF_PAGEOBJ_PATH:
            found += 1
        elif kind == raw.FPDF_PAGEOBJ_FORM and depth < _MAX_DEPTH:
            found += _paths(each, depth + 1)
        if found >= _MIN_PATHS:
            break
    return found
