"""Word documents (docx): body text in order; headers, footers and tables of contents left out.

Source: ECMA-376 part 1 (WordprocessingML). Pages are those of the program that saved it, where it wrote them down.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, Title, bounded, one_line
from indexer.parsers.captions import by_their_words
from indexer.parsers.office.comments import comment_line
from indexer.parsers.office.docx_headings import docx_headings
from indexer.parsers.office.docx_styles import Numbering, Style, Styles, is_monospaced
from indexer.parsers.office.docx_tables import is_layout, table_cells, table_rows
from indexer.parsers.office.docx_text import COMMENT, NoteMark, ParagraphText, paragraph_text
from indexer.parsers.office.drawings import Drawings
from indexer.parsers.office.package import main_part, package_title, related, relations
from indexer.parsers.tables import TableWriter
from indexer.parsers.xml_parts import attribute, name_of, read_xml, top_elements
from indexer.parsers.zip_limits import LimitedZip

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from typing import BinaryIO

    from lxml.etree import _Element

_CONTAINERS: Final = frozenset({"w:document", "w:body", "w:sdt", "w:sdtContent", "w:customXml", "w:ins", "w:moveTo"})
_PAGE_MARK: Final = b"lastRenderedPageBreak"
# What is set in a typewriter's font may be prose.
_CODE_SIGN = re.compile(r"[(){}\[\]=<>;_\\|$#]|^\s{2,}", re.MULTILINE)
_GROUP_CHARS: Final = 8_192
_MAX_BOX_DEPTH: Final = 8


def parse_docx(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - XML says its encoding itself
    """Yield headings, paragraphs, lists, code and tables; notes and comments follow the paragraph that they belong to.

    Raises:
        SourceDamaged, SourceEncrypted, SourceTooLarge: as the container or its XML shows.
    """
    with LimitedZip(file) as archive:
        part = main_part(archive)
        if title := package_title(archive):
            yield Title(text=title)
        yield from by_their_words(_parsed(archive, part))


def _parsed(archive: LimitedZip, part: str) -> Iterator[Parsed]:
    reader = _BodyReader(archive, part)
    levels = yield from reader.unmarked_headings(top_elements(archive, part, _CONTAINERS))
    for place, element in enumerate(top_elements(archive, part, _CONTAINERS)):
        for block in reader.blocks(element, levels.get(place)):
            yield from bounded(block)
        yield None
    for block in reader.finish():
        yield from bounded(block)


class _BodyReader:
    """Turns the elements of a body into blocks; runs of list items and of code lines become one block each."""

    def __init__(self, archive: LimitedZip, part: str) -> None:
        found = relations(archive, part)
        self._styles = Styles(archive, related(found, "styles"))
        self._numbering = Numbering(archive, related(found, "numbering"), self._styles)
        self._notes = {
            (kind, attribute(note, "w:id")): note
            for kind in ("footnote", "endnote", COMMENT)
            if (notes := related(found, f"{kind}s")) in archive
            for note in read_xml(archive, notes)
        }
        self._drawings = Drawings(archive, part)
        self._mark = NoteMark()
        self._page = 1 if archive.holds(part, _PAGE_MARK) else None
        self._lines: list[str] = []
        self._kind = BlockKind.PARAGRAPH
        self._lines_page: int | None = None
        self._depth = 0

    def unmarked_headings(self, elements: Iterable[_Element]) -> Generator[None, None, dict[int, int]]:
        """Levels of the paragraphs that are headings without a heading's style, by place."""
        return docx_headings(elements, self._styles, self._numbering)

    def blocks(self, element: _Element, level: int | None = None) -> Iterator[Block]:
        """Of an element of the body; ``level`` is for a heading that is not marked as one."""
        name = name_of(element.tag)
        if name == "w:p":
            yield from self._paragraph(element, level)
        elif name == "w:tbl":
            yield from self.finish()
            yield from self._table(element)
        elif name in _CONTAINERS:
            for inner in element:
                yield from self.blocks(inner)

    def finish(self) -> Iterator[Block]:
        """What is still being collected."""
        lines, self._lines = self._lines, []
        if lines:
            yield Block(text="\n".join(lines) + "\n\n", kind=self._kind, page=self._lines_page)

    def _paragraph(self, element: _Element, level: int | None) -> Iterator[Block]:
        style = self._styles.of_paragraph(element)
        if level is not None:
            style = replace(style, level=level)
        content = paragraph_text(element, self._mark)
        self._turn(content.breaks_before)
        if not style.is_contents:
            yield from self._body(content, style)
        self._turn(content.breaks_inside)
        yield from self._attached(content)

    def _body(self, content: ParagraphText, style: Style) -> Iterator[Block]:
        text = content.lines
        if not text:
            # An empty line belongs to the code around it; anything else ends there or goes on as if it were not there.
            if self._kind is BlockKind.CODE and self._lines and style.is_code:
                self._lines.append("")
            return
        marker = self._numbering.marker(style.numbering) if style.numbering else ""
        if style.level is not None and len(heading := one_line(text)) <= MAX_HEADING_CHARS:
            heading = heading if marker in {"", "-"} else f"{marker} {heading}"
            yield from self.finish()
            yield Block(
                text=f"{heading}\n\n", kind=BlockKind.HEADING, level=style.level, heading=heading, page=self._page
            )
        elif style.is_caption:
            yield from self.finish()
            caption = text if marker in {"", "-"} else f"{marker} {text}"
            yield Block(text=f"{caption}\n\n", kind=BlockKind.CAPTION, page=self._page)
        elif style.numbering:
            indent = "  " * style.numbering[1]
            item = text.replace("\n", f"\n{indent}  ")
            yield from self._collect(f"{indent}{marker} {item}" if marker else f"{indent}{item}", BlockKind.LIST)
        elif style.is_code or (_is_code(content) and _CODE_SIGN.search(content.text)):
            yield from self._collect(content.text.rstrip(), BlockKind.CODE)
        else:
            yield from self.finish()
            yield Block(text=f"{text}\n\n", page=self._page)

    def _collect(self, line: str, kind: BlockKind) -> Iterator[Block]:
        if self._lines and (self._kind is not kind or sum(map(len, self._lines)) > _GROUP_CHARS):
            yield from self.finish()
        if self._lines and self._lines_page != self._page:
            yield from self.finish()
        if not self._lines:
            self._kind, self._lines_page = kind, self._page
        self._lines.append(line)

    def _attached(self, content: ParagraphText) -> Iterator[Block]:
        """Text boxes, drawings and notes, which a paragraph only holds in place."""
        if not (content.boxes or content.drawings or content.captions or content.notes):
            return
        yield from self.finish()
        for caption in dict.fromkeys(content.captions):
            yield Block(text=f"{caption}\n\n", page=self._page)
        for relation in content.drawings:
            yield from self._drawings.blocks(relation, self._page)
        for box in content.boxes if self._depth < _MAX_BOX_DEPTH else ():
            self._depth += 1
            yield from self._all(box)
            self._depth -= 1
        for note in content.notes:
            found = self._notes.get(note)
            if found is None or not (text := self._plain(found)):
                continue
            if note[0] == COMMENT:
                line = comment_line(attribute(found, "w:author"), attribute(found, "w:date"), text)
            else:
                line = f"{self._mark(note)} {text}"
            yield Block(text=f"{line}\n\n", page=self._page)

    def _all(self, elements: Iterable[_Element]) -> Iterator[Block]:
        for element in elements:
            yield from self.blocks(element)
        yield from self.finish()

    def _table(self, table: _Element) -> Iterator[Block]:
        rows = list(table_rows(table))
        if is_layout(rows, lambda paragraph: self._styles.of_paragraph(paragraph).level is not None):
            for row in rows:
                for cell in row.cells:
                    yield from self._all(cell.element)
            return
        attached: list[ParagraphText] = []
        writer = TableWriter(sum(row.header for row in rows) or None)
        for cells in table_cells(rows, lambda cell: self._cell(cell, attached)):
            page = self._page
            self._turn(max((content.breaks_before for content in attached), default=0))
            yield from writer.add(cells, self._page if page is not None else None)
            self._turn(max((content.breaks_inside for content in attached), default=0))
            for content in attached:
                content.breaks_before = content.breaks_inside = 0
        yield from writer.finish()
        for content in attached:
            yield from self._attached(content)

    def _cell(self, cell: _Element, attached: list[ParagraphText]) -> str:
        texts = []
        for paragraph in cell.iter():
            if name_of(paragraph.tag) == "w:p" and not _in_box(paragraph, cell):
                content = paragraph_text(paragraph, self._mark)
                attached.append(content)
                numbering = self._styles.of_paragraph(paragraph).numbering
                marker = self._numbering.marker(numbering) if numbering and content.lines else ""
                texts.append(f"{marker} {content.lines}" if marker else content.lines)
        return " ".join(texts)

    def _plain(self, element: _Element) -> str:
        paragraphs = [e for e in element.iter() if name_of(e.tag) == "w:p"]
        return one_line(" ".join(paragraph_text(paragraph, self._mark).text for paragraph in paragraphs))

    def _turn(self, pages: int) -> None:
        if self._page is not None:
            self._page += pages


def _is_code(content: ParagraphText) -> bool:
    """Whether all of it is in a monospaced font."""
    return bool(content.runs) and all(is_monospaced(properties) for _text, properties in content.runs)


def _in_box(paragraph: _Element, cell: _Element) -> bool:
    for outer in paragraph.iterancestors():
        if outer is cell:
            return False
        if name_of(outer.tag) in {"w:txbxContent", "w:del", "w:moveFrom"}:
            return True
    return False
