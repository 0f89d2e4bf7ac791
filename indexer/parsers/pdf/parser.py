"""PDF: text by PDFium, scanned pages by text recognition, page by page; running headers and footers left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, Notice, Parsed, Title, bounded, one_line
from indexer.parsers.captions import beside_tables
from indexer.parsers.ocr import INSTALL, MAX_PAGES
from indexer.parsers.pdf.blocks import PageWriter
from indexer.parsers.pdf.file import PdfFile
from indexer.parsers.pdf.headings import Style
from indexer.parsers.pdf.pages import Origin
from indexer.parsers.pdf.running import Running
from rag.errors import SourceDamaged, SourceHasNoText, SourceNeedsOcr, SourceUnsupported
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from indexer.parsers.pdf.pages import Page
    from rag.errors import SourceError

# Pages read ahead to learn the body's font size and what repeats on every page.
_SAMPLE_PAGES: Final = 12
# The program that the page for others speaks of, in every language.
_ASKED_FOR: Final = "Adobe Reader"
_XFA_HINT: Final = "Open it in Adobe Reader, print it to a PDF file and ingest that."
# Titles that word processors, printers and libraries leave behind name a file or nothing, not the text.
_FILE_TITLE = re.compile(
    r"\.(?:docx?|pptx?|xlsx?|tex|dvi|indd|pdf|odt|rtf|md|html?)$|^microsoft word|^untitled"
    r"|^\((?:anonymous|unspecified|untitled)\)$|^anonymous$|^unspecified$",
    re.IGNORECASE,
)


def parse_pdf(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - PDF strings carry their own encoding
    """Yield each page's headings, paragraphs, lists and tables, then fields and comments on it, with its number.

    Raises:
        SourceEncrypted: it opens only with a password.
        SourceDamaged: it, or one of its pages, cannot be read.
        SourceHasNoText: it has pages, but no text on any of them.
        SourceNeedsOcr: all of its pages are images, and the extra ``ocr`` is not installed.
        SourceUnsupported: it is a form in XFA, and its only page asks for a program that can show it.
    """
    with PdfFile(file) as document:
        yield from beside_tables(_parse(document))


def _parse(document: PdfFile) -> Iterator[Parsed]:
    count = document.page_count
    if not count:
        raise SourceDamaged("This PDF has no pages.", hint="The file may be cut off; get or export it again.")
    if title := _title(document.metadata_title):
        yield Title(text=title)
    sample: dict[int, Page] = {}
    for index in _sampled(count):
        sample[index] = document.read(index)
        yield None
    if document.is_dynamic_form and count == 1:
        _refuse_empty_form(sample[0])
    running = Running.of([page.lines for page in sample.values()])
    written = [page.lines for page in sample.values() if page.origin is not Origin.OCR]
    style = Style.of(written, whole=len(sample) == count)
    writer = PageWriter(style, document.outline())
    writer.learn(*written)
    origins: dict[Origin, list[int]] = {origin: [] for origin in Origin}
    found = False
    for index in range(count):
        page = sample.pop(index) if index in sample else document.read(index)
        number = index + 1
        if page.origin is not Origin.TEXT and not (page.origin is Origin.BLANK and page.annotated):
            origins[page.origin].append(number)
        for block in _page_blocks(page, number, writer, running):
            found = True
            yield block
        yield None
    if not found:
        raise _no_text(count, origins)
    yield from _notices(count, origins)
    yield from _left_out(document)
    if running.shown:
        yield Notice(message=f"Left out as running headers and footers: {running.shown}")


def _refuse_empty_form(page: Page) -> None:
    if _ASKED_FOR in " ".join(line.text for line in page.lines):
        raise SourceUnsupported("This is a form in XFA, which no parser reads.", hint=_XFA_HINT)


def _left_out(document: PdfFile) -> Iterator[Notice]:
    if document.attachments:
        yield Notice(message=f"{plural(document.attachments, 'file')} attached to it left out.")
    if document.is_dynamic_form:
        yield Notice(message=f"It is a form in XFA, and what the form says is not read. {_XFA_HINT}")


def _page_blocks(page: Page, number: int, writer: PageWriter, running: Running) -> Iterator[Block]:
    # Scans differ from the text around them, and from each other.
    own = PageWriter(Style.of([page.lines])) if page.origin is Origin.OCR else writer
    for block in own.blocks(running.without(page.lines, number), page=number, grids=page.grids):
        yield from bounded(block)
    for text in page.annotated:
        yield from bounded(Block(text=f"{text}\n\n", page=number))


def _no_text(count: int, origins: dict[Origin, list[int]]) -> SourceError:
    if origins[Origin.NEEDS_OCR]:
        return SourceNeedsOcr(
            f"This PDF of {plural(count, 'page')} holds images and no text; text recognition (OCR) is not installed.",
            hint=f"Install it with {INSTALL} and ingest this again.",
        )
    return SourceHasNoText(
        f"This PDF of {plural(count, 'page')} holds no text.", hint="If its pages show text, scan them more finely."
    )


def _notices(count: int, origins: dict[Origin, list[int]]) -> Iterator[Notice]:
    pages = plural(count, "page")
    if unread := origins[Origin.NEEDS_OCR]:
        yield Notice(
            message=f"{len(unread)} of {pages} not read, being images: {_ranges(unread)}."
            f" Text recognition (OCR) is not installed: {INSTALL}"
        )
    if beyond := origins[Origin.BEYOND]:
        yield Notice(
            message=f"{len(beyond)} of {pages} not read, being images after {MAX_PAGES:,} others: {_ranges(beyond)}"
        )
    if recognized := origins[Origin.OCR]:
        yield Notice(message=f"{len(recognized)} of {pages} read by text recognition: {_ranges(recognized)}")
    if blank := origins[Origin.BLANK]:
        yield Notice(message=f"{len(blank)} of {pages} without text: {_ranges(blank)}")


def _title(title: str) -> str:
    title = one_line(title.replace("\x00", ""))
    return "" if _FILE_TITLE.search(title) or len(title) < 3 else title[:300]


def _sampled(count: int) -> Sequence[int]:
    if count <= _SAMPLE_PAGES:
        return range(count)
    return [round(i * (count - 1) / (_SAMPLE_PAGES - 1)) for i in range(_SAMPLE_PAGES)]


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
