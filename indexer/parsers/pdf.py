"""PDF: text by PDFium, page by page; running headers, footers and page numbers left out."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Notice, Parsed, Title, bounded, one_line
from indexer.parsers.pdf_blocks import PageWriter, Style, folded
from indexer.parsers.pdf_columns import in_reading_order
from indexer.parsers.pdf_lines import Line, page_lines
from rag.errors import SourceDamaged, SourceEncrypted, SourceHasNoText

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from pypdfium2 import PdfDocument

# Pages read ahead to learn the body's font size and what repeats on every page.
_SAMPLE_PAGES: Final = 12
# Lines at the top and the bottom of a page that may be running headers and footers.
_MARGIN_LINES: Final = 2
_RUNNING_SHARE: Final = 0.6
_PASSWORD_ERROR: Final = 4
_PAGE_NUMBER = re.compile(r"^(?:page|seite|p\.)\s*\d+(?:\s*(?:of|/|von)\s*\d+)?$|^\d+\s*(?:of|/)\s*\d+$", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
# Titles that word processors and printers leave behind name a file, not the text.
_FILE_TITLE = re.compile(
    r"\.(?:docx?|pptx?|xlsx?|tex|dvi|indd|pdf|odt|rtf|md|html?)$|^microsoft word|^untitled", re.IGNORECASE
)


def parse_pdf(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - PDF strings carry their own encoding
    """Yield each page's headings, paragraphs, lists and tables, with the page's number.

    Raises:
        SourceEncrypted: it opens only with a password.
        SourceDamaged: it, or one of its pages, cannot be read.
        SourceHasNoText: it has pages, but no text on any of them.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if error.err_code == _PASSWORD_ERROR:
            raise SourceEncrypted(
                "This PDF is protected by a password.", hint="Save a copy without the password and ingest that."
            ) from error
        raise SourceDamaged(
            f"This PDF cannot be opened: {error}", hint="The file may be cut off; get or export it again."
        ) from error
    try:
        yield from _parse(document)
    finally:
        document.close()


def _parse(document: PdfDocument) -> Iterator[Parsed]:
    count = len(document)
    if not count:
        raise SourceDamaged("This PDF has no pages.", hint="The file may be cut off; get or export it again.")
    if title := _title(document):
        yield Title(text=title)
    sample: dict[int, list[Line]] = {}
    for index in _sampled(count):
        sample[index] = _lines(document, index)
        yield None
    style = Style.of([line for lines in sample.values() for line in lines])
    running = _running_lines(list(sample.values()))
    writer = PageWriter(style)
    without_text = []
    for index in range(count):
        lines = sample.pop(index) if index in sample else _lines(document, index)
        if not lines:
            without_text.append(index + 1)
        body = list(_trimmed(lines, running, index + 1))
        for block in writer.blocks(body, page=index + 1):
            yield from bounded(block)
        yield None
    if len(without_text) == count:
        raise SourceHasNoText(
            f"None of the {count} page(s) of this PDF holds text; they are images or empty.",
            hint="Text recognition (OCR) is not part of Plumbline yet; run it first and ingest its result.",
        )
    if without_text:
        yield Notice(message=f"{len(without_text)} of {count} pages hold no text: {_ranges(without_text)}")


def _lines(document: PdfDocument, index: int) -> list[Line]:
    import pypdfium2

    try:
        page = document[index]
        try:
            return in_reading_order(page_lines(page).lines)
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        raise SourceDamaged(
            f"Page {index + 1} of this PDF cannot be read: {error}", hint="Get or export the file again."
        ) from error


def _title(document: PdfDocument) -> str:
    title = one_line(document.get_metadata_value("Title").replace("\x00", ""))
    return "" if _FILE_TITLE.search(title) or len(title) < 3 else title[:300]


def _sampled(count: int) -> Sequence[int]:
    if count <= _SAMPLE_PAGES:
        return range(count)
    return [round(i * (count - 1) / (_SAMPLE_PAGES - 1)) for i in range(_SAMPLE_PAGES)]


def _shape(line: Line) -> str:
    return _DIGITS.sub("#", one_line(line.text).lower())


def _margins(lines: Sequence[Line]) -> list[Line]:
    """Lines that stand at the top and the bottom of a page, wherever they stand in its stream."""
    ordered = sorted((line for line in lines if line.in_margin), key=lambda line: -line.base)
    return ordered[:_MARGIN_LINES] + ordered[max(_MARGIN_LINES, len(ordered) - _MARGIN_LINES) :]


def _running_lines(pages: list[list[Line]]) -> frozenset[str]:
    if len(pages) < 3:
        return frozenset()
    seen = Counter(shape for lines in pages for shape in {_shape(line) for line in _margins(lines)})
    return frozenset(shape for shape, times in seen.items() if times >= max(3, _RUNNING_SHARE * len(pages)))


def _trimmed(lines: list[Line], running: frozenset[str], page: int) -> Iterator[Line]:
    margins = {id(line) for line in _margins(lines)}
    for line in lines:
        text = one_line(line.text)
        furniture = text == str(page) or _PAGE_NUMBER.match(text) or _shape(line) in running
        if id(line) not in margins or not furniture:
            yield line


def _ranges(pages: list[int]) -> str:
    """``[1, 2, 3, 7]`` as ``1-3, 7``."""
    parts: list[list[int]] = []
    for page in pages:
        if parts and page == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], page]
        else:
            parts.append([page])
    shown = ", ".join("-".join(map(str, part)) for part in parts[:20])
    return shown + (" …" if len(parts) > 20 else "")
