"""OpenDocument texts (odt, fodt) and presentations (odp, fodp); their sheets are read with the other spreadsheets.

Page headers and footers, tables of contents, dates and numbers of slides are left out. Source: OpenDocument 1.3,
part 3. Pages are those of the program that saved the text, where it wrote them down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, Parsed, bounded, one_line, slide_heading
from indexer.parsers.captions import by_their_words
from indexer.parsers.office.odf_body import BodyReader
from indexer.parsers.office.odf_headings import odf_headings
from indexer.parsers.office.odf_objects import OdfObjects
from indexer.parsers.office.odf_package import CONTENT, ROOTS, odf_package, odf_title
from indexer.parsers.office.odf_styles import STYLES, OdfStyles
from indexer.parsers.xml_parts import attribute, name_of, top_elements

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip

_TEXT: Final = ROOTS | {"office:body", "office:text", "text:section"}
_SLIDES: Final = ROOTS | {"office:body", "office:presentation"}
_FURNITURE: Final = frozenset({"date-time", "footer", "header", "page-number", "page", "handout"})
_PAGE_MARK: Final = b"soft-page-break"


def parse_odt(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - XML says its encoding itself
    """Yield headings, paragraphs, lists, code and tables; notes and comments follow the paragraph they belong to.

    Raises:
        SourceDamaged, SourceEncrypted, SourceTooLarge: as the container or its XML shows.
    """
    with odf_package(file) as archive:
        yield from odf_title(archive)
        yield from by_their_words(_text(archive))


def _text(archive: LimitedZip) -> Iterator[Parsed]:
    styles = OdfStyles(archive)
    reader = BodyReader(styles, OdfObjects(archive), page=1 if archive.holds(CONTENT, _PAGE_MARK) else None)
    levels = yield from odf_headings(top_elements(archive, CONTENT, _TEXT), styles)
    for place, element in enumerate(top_elements(archive, CONTENT, _TEXT)):
        if name_of(element.tag) in STYLES:
            styles.add(element)
        else:
            for block in reader.blocks(element, levels.get(place)):
                yield from bounded(block)
        yield None
    for block in reader.finish():
        yield from bounded(block)


def parse_odp(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - XML says its encoding itself
    """Yield each slide's title as a heading, then its texts, lists, tables and notes.

    Raises:
        SourceDamaged, SourceEncrypted, SourceTooLarge: as the container or its XML shows.
    """
    with odf_package(file) as archive:
        yield from odf_title(archive)
        styles, objects = OdfStyles(archive), OdfObjects(archive)
        number = 0
        for element in top_elements(archive, CONTENT, _SLIDES):
            if name_of(element.tag) in STYLES:
                styles.add(element)
            elif name_of(element.tag) == "draw:page":
                number += 1
                for block in _slide(element, styles, objects, number):
                    yield from bounded(block)
            yield None


def _slide(page: _Element, styles: OdfStyles, objects: OdfObjects, number: int) -> Iterator[Block]:
    title = next((e for e in page if attribute(e, "presentation:class") == "title"), None)
    words = "" if title is None else one_line(" ".join(_plain(title, styles, objects, number)))
    heading = slide_heading(words, number)
    if heading.heading != words:
        title = None
    yield heading
    for element in page:
        reader = BodyReader(styles, objects, page=number, paged=True)
        kind = attribute(element, "presentation:class")
        if name_of(element.tag) == "presentation:notes":
            for notes in element:
                if attribute(notes, "presentation:class") == "notes":
                    for text in _plain(notes, styles, objects, number):
                        yield Block(text=f"Notes: {text}\n\n", page=number)
        elif element is not title and kind not in _FURNITURE:
            yield from reader.shape(element)
            yield from reader.finish()


def _plain(frame: _Element, styles: OdfStyles, objects: OdfObjects, number: int) -> Iterator[str]:
    reader = BodyReader(styles, objects, page=number, paged=True)
    for block in (*reader.shape(frame), *reader.finish()):
        yield block.text.strip()
