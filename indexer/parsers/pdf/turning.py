"""Pages that lie on their side, by their flag or by their text, are turned upright before they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage


def as_seen(document: PdfDocument, index: int) -> PdfPage:
    """The page at ``index``, from 0, with its content turned as its /Rotate says (ISO 32000-1, section 7.7.3.3)."""
    page = document[index]
    turn = page.get_rotation() // 90
    return turned_back(document, index, page, turn) if turn else page


def turned_back(document: PdfDocument, index: int, page: PdfPage, turn: int) -> PdfPage:
    """The page, whose content goes so many quarters anticlockwise, with content that is upright.

    The document is changed in memory, and the page that was open is closed.
    """
    from pypdfium2 import raw

    left, low, right, high = page.get_bbox()
    turn %= 4
    a, b, c, d, e, f = {
        1: (0, -1, 1, 0, -low, right),
        2: (-1, 0, 0, -1, right, high),
        3: (0, 1, -1, 0, high, -left),
    }[turn]
    raw.FPDFPage_TransFormWithClip(page, raw.FS_MATRIX(a, b, c, d, e, f), None)
    raw.FPDFPage_TransformAnnots(page, a, b, c, d, e, f)
    width, height = (high - low, right - left) if turn % 2 else (right - left, high - low)
    page.set_rotation(0)
    page.set_mediabox(0, 0, width, height)
    page.set_cropbox(0, 0, width, height)
    page.close()
    return document[index]
