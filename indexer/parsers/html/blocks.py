"""Turns an HTML element tree into blocks, in document order and without recursion: pages nest as deep as they like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, one_line
from indexer.parsers.raised import is_power
from indexer.parsers.spans import Cell, grid, head_rows, span_of
from indexer.parsers.tables import table_blocks
from indexer.parsers.xml_parts import whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.html import HtmlElement

_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_LISTS: Final = frozenset({"ul", "ol", "dl"})
_BREAKS: Final = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "caption", "center", "details", "div", "dd", "dt",
        "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "li", "main", "nav",
        "p", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", *_LISTS, *_HEADINGS,
    }
)  # fmt: skip
_CAPTIONS: Final = frozenset({"caption", "figcaption"})
_CODE_IN_CELL_CHARS: Final = 200
# As much text of a cell as a raised number may belong to.
_PARTS_BEFORE: Final = 16


@dataclass(slots=True)
class _List:
    ordered: bool
    number: int = 0


class BlockWriter:
    """Collects inline text and hands out a block at every border."""

    def __init__(self) -> None:
        self._inline: list[str] = []
        self._lists: list[_List] = []
        self._items: list[str] = []
        self._marker = ""
        self._captions = 0  # that are open

    def blocks(self, root: HtmlElement) -> Iterator[Block]:
        from lxml import etree

        walker = etree.iterwalk(root, events=("start", "end"))
        for event, element in walker:
            tag = element.tag
            if event == "start":
                if tag == "pre" or (tag == "table" and is_data_table(element)):
                    yield from self._flush()
                    yield from self._whole(element)
                    walker.skip_subtree()
                else:
                    yield from self._start(element)
            else:
                yield from self._end(element)
                # The root's tail lies outside of what was asked for.
                if element is not root and element.tail:
                    self._inline.append(element.tail)
        yield from self._flush()
        yield from self._flush_list()

    def _start(self, element: HtmlElement) -> Iterator[Block]:
        tag = element.tag
        if tag in _BREAKS:
            yield from self._flush()
        if tag in _CAPTIONS:
            self._captions += 1
        if tag in _HEADINGS:
            yield from self._flush_list()
        elif tag in _LISTS:
            self._lists.append(_List(ordered=tag == "ol", number=_start_number(element)))
        elif tag in {"li", "dt"}:
            self._marker = self._next_marker(tag)
        elif tag == "br":
            self._inline.append("\v")
        elif tag == "img" and _is_link(element):
            self._inline.append(f" {element.get('alt') or ''} ")
        elif tag == "sup" and self._is_power(element):
            # 10<sup>21</sup> must not become 1021.
            self._inline.append("^")
        if element.text:
            self._inline.append(element.text)

    def _end(self, element: HtmlElement) -> Iterator[Block]:
        tag = element.tag
        if tag in _HEADINGS:
            yield from self._heading(_HEADINGS[tag])
        elif tag in _BREAKS:
            yield from self._flush()
        if tag in _CAPTIONS:
            self._captions -= 1
        if tag in _LISTS and self._lists:
            self._lists.pop()
            if not self._lists:
                yield from self._flush_list()

    def _next_marker(self, tag: str) -> str:
        if tag == "dt":
            # A term stands above its definitions, and behind the marker of the list that it is in.
            return self._marker if self._marker.strip() else "  " * (len(self._lists) - 1)
        if not self._lists:
            return "- "
        current = self._lists[-1]
        indent = "  " * (len(self._lists) - 1)
        if not current.ordered:
            return f"{indent}- "
        current.number += 1
        return f"{indent}{current.number}. "

    def _is_power(self, element: HtmlElement) -> bool:
        before = "".join(self._inline[-2:]).rstrip()
        return is_power(before, "".join(element.itertext()))

    def _take(self) -> str:
        text = "".join(self._inline)
        self._inline.clear()
        lines = (_shown(line) for line in text.split("\v"))
        return "\n".join(line for line in lines if line)

    def _flush(self) -> Iterator[Block]:
        text = self._take()
        if not text:
            return
        if self._lists:
            self._items.append(self._marker + text)
            self._marker = "  " * len(self._lists)
        else:
            kind = BlockKind.CAPTION if self._captions else BlockKind.PARAGRAPH
            yield Block(text=f"{self._marker}{text}\n\n", kind=kind)
            self._marker = ""

    def _flush_list(self) -> Iterator[Block]:
        if self._items:
            yield Block(text="\n".join(self._items) + "\n\n", kind=BlockKind.LIST)
            self._items = []
        if not self._lists:
            self._marker = ""

    def _heading(self, level: int) -> Iterator[Block]:
        text = _shown(self._take())
        if text and len(text) <= MAX_HEADING_CHARS:
            yield Block(text=f"{text}\n\n", kind=BlockKind.HEADING, level=level, heading=text)
        elif text:
            yield Block(text=f"{text}\n\n")

    def _whole(self, element: HtmlElement) -> Iterator[Block]:
        """Preformatted text and tables of data: blocks of their own, also inside a list."""
        yield from self._flush_list()
        if element.tag == "pre":
            code = "".join(element.itertext()).replace("\r\n", "\n").strip("\n")
            if code.strip():
                yield Block(text=f"{code}\n\n", kind=BlockKind.CODE)
            return
        caption = _text_of(element.find("caption"))
        if caption:
            yield Block(text=f"{caption}\n\n", kind=BlockKind.CAPTION)
        rows = list(element.iter("tr"))
        heads = sum(1 for row in rows if row.getparent().tag == "thead")
        cells = list(map(_cells, rows))
        marked = heads or head_rows(cells)
        yield from table_blocks(grid(cells), header_rows=marked or None, caption=caption or _figure_caption(element))


def _shown(text: str) -> str:
    """Text as one line, without soft hyphens and invisible ends."""
    return one_line(text.replace("\xad", "")).strip("\u200b ")


def _text_of(element: HtmlElement | None) -> str:
    return "" if element is None else _shown(_cell_text(element))


def _figure_caption(table: HtmlElement) -> str:
    """What the figure around a table is called, which is text of its own."""
    figure = next(table.iterancestors("figure"), None)
    return "" if figure is None else _text_of(next(figure.iter("figcaption"), None))


def _is_link(image: HtmlElement) -> bool:
    """Whether a picture is all that a link shows: what it is called is the link's text then."""
    link = image.getparent()
    return link is not None and link.tag == "a" and not "".join(link.itertext()).strip()


def is_data_table(table: HtmlElement) -> bool:
    """Whether a table holds data; the others only place parts of a page side by side."""
    if table.get("role") in {"presentation", "none"} or table.find(".//table") is not None:
        return False
    if any(table.find(f".//{tag}") is not None for tag in _HEADINGS):
        return False
    # A row is a line, which code of many lines cannot be; a command in a table with named columns can.
    listings = ["".join(listing.itertext()).strip() for listing in table.iter("pre")]
    if listings and (table.find(".//th") is None or max(map(len, listings)) > _CODE_IN_CELL_CHARS):
        return False
    widths = [sum(1 for cell in row if cell.tag in {"td", "th"}) for row in table.iter("tr")]
    return len(widths) > 1 and max(widths) > 1


def _cells(row: HtmlElement) -> list[Cell]:
    return [
        Cell(
            text=_shown(_cell_text(cell)),
            columns=span_of(cell.get("colspan")),
            rows=span_of(cell.get("rowspan")),
            is_name=cell.tag == "th",
        )
        for cell in row
        if cell.tag in {"td", "th"}
    ]


def _cell_text(cell: HtmlElement) -> str:
    from lxml import etree

    parts: list[str] = []
    for event, element in etree.iterwalk(cell, events=("start", "end")):
        if element.tag in _BREAKS or element.tag in {"br", "pre"}:
            parts.append(" ")
        if event == "start":
            power = element.tag == "sup" and is_power("".join(parts[-_PARTS_BEFORE:]), "".join(element.itertext()))
            parts.append("^" if power else "")
            parts.append(element.text or "")
        elif element is not cell:
            parts.append(element.tail or "")
    return "".join(parts)


def _start_number(element: HtmlElement) -> int:
    return whole_number(element.get("start"), 1) - 1
