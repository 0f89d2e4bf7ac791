"""The pages of a PDF as lines in reading order, from their text or, where that is missing, from their image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from indexer.parsers.ocr import MAX_SIDE, ocr_installed, recognizer
from indexer.parsers.pdf.annotations import annotated
from indexer.parsers.pdf.columns import in_reading_order
from indexer.parsers.pdf.edges import keep_tables
from indexer.parsers.pdf.figures import mark_drawn
from indexer.parsers.pdf.lines import PageLines, page_lines
from indexer.parsers.pdf.rules import page_grids
from indexer.parsers.pdf.turning import as_seen, turned_back
from rag.errors import SourceDamaged
from rag.retrieval.flaws import is_shifted

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

    from indexer.parsers.pdf.lines import Line
    from indexer.parsers.pdf.rules import Grid

# Above this share of characters that nothing tells the meaning of, a page's text is no text.
_MAX_UNMAPPED: Final = 0.4
_MAX_SHIFTED: Final = 0.2
_PIECE_CHARS: Final = 1000
# A page with fewer characters may be a scan with a stamp or a page number on it, if an image covers this much of it.
_FEW_CHARACTERS: Final = 200
_COVERED: Final = 0.5
_RENDER_DPI: Final = 200
_POINTS_PER_INCH: Final = 72


class Origin(StrEnum):
    """Where a page's lines come from, or why there are none: ``BEYOND`` is an image that was not to be recognised."""

    TEXT = "text"
    OCR = "ocr"
    NEEDS_OCR = "needs_ocr"
    BEYOND = "beyond"
    BLANK = "blank"


@dataclass(slots=True, kw_only=True)
class Page:
    """A page as read. ``lines`` are in reading order, ``grids`` its ruled tables, ``annotated`` what lies on it."""

    lines: list[Line]
    origin: Origin
    grids: list[Grid] = field(default_factory=list)
    annotated: list[str] = field(default_factory=list)


def read_page(document: PdfDocument, index: int, *, recognise: bool = True) -> Page:
    """Read the page at ``index``, from 0; with ``recognise`` by text recognition, if it has no text.

    Raises:
        SourceDamaged: PDFium cannot read it.
    """
    import pypdfium2

    try:
        page = as_seen(document, index)
        try:
            text = page_lines(page)
            readable = _is_readable(page, text)
            if readable and text.turn:
                page = turned_back(document, index, page, text.turn)
                text = page_lines(page)
            read = _read(page, text) if readable else _recognised(page, text, recognise=recognise)
            return replace(read, annotated=annotated(document, page))
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        raise SourceDamaged(
            f"Page {index + 1} of this PDF cannot be read: {error}", hint="Get or export the file again."
        ) from error


def _is_readable(page: PdfPage, text: PageLines) -> bool:
    """Whether a page has text, and is no image with a few words on it."""
    if not text.characters or _is_garbled(text):
        return False
    return text.characters >= _FEW_CHARACTERS or not _is_image(page)


def _is_garbled(text: PageLines) -> bool:
    if text.unmapped > _MAX_UNMAPPED * (text.characters or 1):
        return True
    said = " ".join(line.text for line in text.lines)
    pieces = [said[at : at + _PIECE_CHARS] for at in range(0, len(said), _PIECE_CHARS)]
    return sum(map(is_shifted, pieces)) > _MAX_SHIFTED * len(pieces)


def _read(page: PdfPage, text: PageLines) -> Page:
    grids = page_grids(page)
    mark_drawn(page, text.lines)
    keep_tables(text.lines, grids)
    return Page(lines=in_reading_order(text.lines), origin=Origin.TEXT, grids=grids)


def _recognised(page: PdfPage, text: PageLines, *, recognise: bool) -> Page:
    usable = PageLines() if _is_garbled(text) else text
    if not text.characters and not _has_content(page):
        return Page(lines=[], origin=Origin.BLANK)
    if not (recognise and ocr_installed()):
        origin = Origin.BEYOND if ocr_installed() else Origin.NEEDS_OCR
        return Page(lines=in_reading_order(usable.lines), origin=origin)
    recognized = _from_image(page)
    if recognized.characters > usable.characters:
        keep_tables(recognized.lines, [])
        return Page(lines=in_reading_order(recognized.lines), origin=Origin.OCR)
    return Page(lines=in_reading_order(usable.lines), origin=Origin.TEXT if usable.lines else Origin.BLANK)


def _has_content(page: PdfPage) -> bool:
    return next(iter(page.get_objects(max_depth=1)), None) is not None


def _is_image(page: PdfPage) -> bool:
    from pypdfium2 import raw

    left, low, right, high = page.get_bbox()
    area = max(1.0, (right - left) * (high - low))
    covered = 0.0
    for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=2):
        x0, y0, x1, y1 = image.get_bounds()
        covered += max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, high) - max(y0, low))
    return bool(covered >= _COVERED * area)


def _from_image(page: PdfPage) -> PageLines:
    width, height = page.get_size()
    scale = min(_RENDER_DPI / _POINTS_PER_INCH, MAX_SIDE / max(width, height, 1.0))
    bitmap = page.render(scale=scale, may_draw_forms=False)  # the values of their fields are read
    try:
        image = bitmap.to_numpy()[:, :, :3]
        found = recognizer().lines(image)
    finally:
        bitmap.close()
    for line in found.lines:
        # Points, as in text: sizes and distances of the document's style are in them.
        line.left, line.right, line.base = line.left / scale, line.right / scale, line.base / scale
        line.size = round(line.size / scale * 2) / 2
        line.words = [(left / scale, right / scale, word) for left, right, word in line.words]
    return found
