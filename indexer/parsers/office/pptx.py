"""PowerPoint presentations (pptx): a slide is a page and a section under its title.

Dates, footers and slide numbers are left out. Notes and comments follow their slide. Source: ECMA-376 part 1
(PresentationML).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, BlockKind, Parsed, Title, bounded, one_line, slide_heading
from indexer.parsers.captions import by_their_words
from indexer.parsers.office.comments import slide_comments
from indexer.parsers.office.drawings import DRAWN, Drawings, alternative_text
from indexer.parsers.office.package import main_part, package_title, related, relations
from indexer.parsers.office.pptx_text import ListStyles, body_lines, is_furniture, placeholder, shape_text
from indexer.parsers.tables import table_blocks
from indexer.parsers.xml_parts import attribute, child, name_of, read_xml
from indexer.parsers.zip_limits import LimitedZip
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from lxml.etree import _Element

_TITLES: Final = frozenset({"title", "ctrTitle"})


def parse_pptx(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - XML says its encoding itself
    """Yield each slide's title as a heading, then its texts, lists, tables, charts, captions and notes.

    Raises:
        SourceDamaged, SourceEncrypted, SourceTooLarge: as the container or its XML shows.
    """
    with LimitedZip(file) as archive:
        part = main_part(archive)
        if title := package_title(archive):
            yield Title(text=title)
        yield from by_their_words(_parsed(archive, part))


def _parsed(archive: LimitedZip, part: str) -> Iterator[Parsed]:
    styles = ListStyles(archive)
    for number, slide in enumerate(_slides(archive, part), start=1):
        for block in _Slide(archive, slide, number, styles).blocks():
            yield from bounded(block)
        for line in slide_comments(archive, part, slide):
            yield from bounded(Block(text=f"{line}\n\n", page=number))
        yield None


def _slides(archive: LimitedZip, part: str) -> list[str]:
    """Names of the slides' parts in the order in which they are shown."""
    found = relations(archive, part)
    listed = child(read_xml(archive, part), "p:sldIdLst")
    if listed is None and related(found, "slideMaster") == "":
        raise SourceDamaged("It has no list of slides.", hint="Get or export the file again.")
    wanted = [found.get(attribute(slide, "r:id")) for slide in (() if listed is None else listed)]
    return [relation.target for relation in wanted if relation is not None and relation.target in archive]


class _Slide:
    def __init__(self, archive: LimitedZip, part: str, number: int, styles: ListStyles) -> None:
        self._archive = archive
        self._number = number
        self._relations = relations(archive, part)
        self._drawings = Drawings(archive, part)
        self._layout = related(self._relations, "slideLayout")
        self._styles = styles
        self._tree = child(read_xml(archive, part), "p:cSld", "p:spTree")

    def blocks(self) -> Iterator[Block]:
        shapes = [] if self._tree is None else list(_shapes(self._tree))
        title = next((shape for shape in shapes if placeholder(shape).kind in _TITLES and shape_text(shape)), None)
        yield from self._heading("" if title is None else shape_text(title))
        for shape in shapes:
            if shape is not title:
                yield from self._shape(shape)
        if (notes := related(self._relations, "notesSlide")) in self._archive:
            yield from self._notes(notes)

    def _heading(self, title: str) -> Iterator[Block]:
        short = one_line(title)
        heading = slide_heading(short, self._number)
        yield heading
        if short and heading.heading != short:
            yield Block(text=f"{title}\n\n", page=self._number)

    def _shape(self, shape: _Element) -> Iterator[Block]:
        kind = name_of(shape.tag)
        if kind == "p:graphicFrame":
            yield from self._graphic(shape)
        elif kind == "p:pic":
            properties = child(shape, "p:nvPicPr", "p:cNvPr")
            if properties is not None and (text := alternative_text(properties)):
                yield Block(text=f"{text}\n\n", page=self._number)
        elif not is_furniture(shape):
            yield from self._text(shape)

    def _text(self, shape: _Element) -> Iterator[Block]:
        """Runs of paragraphs and of list items, each as a block."""
        group: list[str] = []
        in_list = False
        for line in body_lines(shape, self._styles.of(shape, self._layout)):
            if group and line.listed is not in_list:
                yield self._group(group, in_list=in_list)
                group = []
            in_list = line.listed
            group.append(line.text)
        if group:
            yield self._group(group, in_list=in_list)

    def _group(self, lines: list[str], *, in_list: bool) -> Block:
        kind = BlockKind.LIST if in_list else BlockKind.PARAGRAPH
        return Block(text="\n".join(lines) + "\n\n", kind=kind, page=self._number)

    def _graphic(self, frame: _Element) -> Iterator[Block]:
        for element in frame.iter():
            name = name_of(element.tag)
            if name == "a:tbl":
                yield from table_blocks(_rows(element), header_rows=_header_rows(element), page=self._number)
            elif name in DRAWN:
                yield from self._drawings.blocks(attribute(element, "r:id") or attribute(element, "r:dm"), self._number)

    def _notes(self, part: str) -> Iterator[Block]:
        tree = child(read_xml(self._archive, part), "p:cSld", "p:spTree")
        for shape in () if tree is None else _shapes(tree):
            if placeholder(shape).kind == "body" and (text := shape_text(shape)):
                yield Block(text=f"Notes: {text}\n\n", page=self._number)


def _shapes(tree: _Element) -> Iterator[_Element]:
    """Shapes in drawing order, those of groups in the place of the group."""
    for element in tree:
        name = name_of(element.tag)
        if name in {"p:sp", "p:graphicFrame", "p:pic", "p:cxnSp"}:
            yield element
        elif name in {"p:grpSp", "mc:Choice", "mc:Fallback"}:
            yield from _shapes(element)
        elif name == "mc:AlternateContent":
            # The same shape twice, for newer and older programs; the newer one may be of a kind not known here.
            yield from next((found for inner in element if (found := list(_shapes(inner)))), [])


def _header_rows(table: _Element) -> int | None:
    properties = child(table, "a:tblPr")
    return 1 if properties is not None and properties.get("firstRow") in {"1", "true"} else None


def _rows(table: _Element) -> Iterator[list[str]]:
    """Cells with what is merged into several of them written in each; a cell over a whole row is written once."""
    above: list[str] = []
    for row in table:
        if name_of(row.tag) != "a:tr":
            continue
        cells: list[str] = []
        own = 0
        for cell in row:
            if name_of(cell.tag) != "a:tc":
                continue
            own += not any(cell.get(merge) in {"1", "true"} for merge in ("hMerge", "vMerge"))
            text = shape_text(cell)
            if cell.get("vMerge") in {"1", "true"} and len(cells) < len(above):
                text = text or above[len(cells)]
            elif cell.get("hMerge") in {"1", "true"} and cells:
                text = text or cells[-1]
            cells.append(text)
        above = cells
        yield cells[:1] if own == 1 and len(set(cells)) == 1 else cells
