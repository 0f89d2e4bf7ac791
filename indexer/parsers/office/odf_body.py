"""Turns the paragraphs, lists, tables and shapes of an OpenDocument body into blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, one_line
from indexer.parsers.office.comments import annotation_line
from indexer.parsers.office.drawings import useful_description
from indexer.parsers.tables import TableWriter
from indexer.parsers.xml_parts import attribute, child, name_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lxml.etree import _Element

    from indexer.parsers.office.odf_objects import OdfObjects
    from indexer.parsers.office.odf_styles import OdfStyles

_NEVER: Final = frozenset(
    {
        "text:tracked-changes", "text:table-of-content", "text:illustration-index", "text:table-index",
        "text:alphabetical-index", "text:ruby-text", "office:forms", "text:sequence-decls", "text:variable-decls",
        "office:annotation-end", "text:note-citation", "style:style",
    }
)  # fmt: skip
_CHARACTERS: Final = {"text:tab": "\t", "text:line-break": "\n"}
_CONTAINERS: Final = frozenset({"text:section", "draw:text-box", "draw:g", "draw:a", "text:index-body"})
_ROWS: Final = frozenset({"table:table-rows", "table:table-row-group", "table:table-header-rows"})
# Spreadsheet programs repeat an empty cell to the end of the sheet.
_MAX_REPEATED: Final = 100
_MAX_DEPTH: Final = 8
_MAX_LEVEL: Final = 9
_GROUP_CHARS: Final = 8_192


@dataclass(slots=True)
class _Inline:
    """Text of a paragraph, the pages that begin within it, and what it only holds in place with a note's mark."""

    parts: list[str] = field(default_factory=list)
    attached: list[tuple[_Element, str]] = field(default_factory=list)
    breaks: int = 0

    @property
    def text(self) -> str:
        lines = (one_line(line) for line in "".join(self.parts).split("\n"))
        return "\n".join(line for line in lines if line)


class BodyReader:
    """Reads elements in document order. ``page`` is None where pages are not known, fixed where ``paged``."""

    def __init__(self, styles: OdfStyles, objects: OdfObjects, *, page: int | None, paged: bool = False) -> None:
        self._styles = styles
        self._objects = objects
        self._page = page
        self._paged = paged
        self._notes = 0
        self._depth = 0
        self._lines: list[str] = []
        self._lines_page = page
        self._kind = BlockKind.LIST

    def blocks(self, element: _Element, level: int | None = None) -> Iterator[Block]:
        """Of an element of the body; ``level`` is for a heading that is not marked as one."""
        name = name_of(element.tag)
        if name in {"text:p", "text:h"}:
            yield from self._paragraph(element, level=level)
        elif name == "text:list":
            yield from self._list(element, "", 1)
        elif name == "table:table":
            yield from self.finish()
            yield from self._table(element)
        elif name == "text:soft-page-break":
            self._turn(1)
        elif name.startswith("draw:") or name in _CONTAINERS:
            yield from self.shape(element)

    def shape(self, element: _Element) -> Iterator[Block]:
        """A frame, a group or any other drawn thing with the text in it."""
        if self._depth >= _MAX_DEPTH:
            return
        self._depth += 1
        described = child(element, "desc")
        if described is not None and (text := useful_description(described.text or "")):
            yield from self.finish()
            yield Block(text=f"{text}\n\n", page=self._page)
        if formula := self._objects.formula(element):
            yield from self.finish()
            yield Block(text=f"{formula}\n\n", page=self._page)
        caption, data = self._objects.chart(element)
        if caption:
            yield from self.finish()
            yield Block(text=f"{caption}\n\n", kind=BlockKind.CAPTION, page=self._page)
        if data is not None:
            yield from self.finish()
            yield from self._table(data, caption)
        # Frames may hold the same thing twice, as an object and as its picture; only text is looked for.
        for inner in element:
            if name_of(inner.tag) not in _NEVER:
                yield from self.blocks(inner)
        self._depth -= 1

    def finish(self) -> Iterator[Block]:
        """What is still being collected."""
        lines, self._lines = self._lines, []
        if lines:
            yield Block(text="\n".join(lines) + "\n\n", kind=self._kind, page=self._lines_page)

    def _paragraph(
        self, element: _Element, marker: str = "", indent: str = "", *, level: int | None = None
    ) -> Iterator[Block]:
        style = attribute(element, "text:style-name")
        if self._styles.is_contents(style):
            return
        inline = _Inline()
        self._read(element, inline)
        text = inline.text
        level = level or self._level(element, style)
        if text and level and len(heading := one_line(text)) <= MAX_HEADING_CHARS:
            yield from self.finish()
            yield Block(text=f"{heading}\n\n", kind=BlockKind.HEADING, level=level, heading=heading, page=self._page)
        elif marker and text:
            yield from self._collect(indent + marker + text.replace("\n", f"\n{indent}  "), BlockKind.LIST)
        elif self._styles.is_code(style):
            yield from self._collect("".join(inline.parts).rstrip(), BlockKind.CODE)
        elif text:
            yield from self.finish()
            kind = BlockKind.CAPTION if self._styles.is_caption(style) else BlockKind.PARAGRAPH
            yield Block(text=f"{text}\n\n", kind=kind, page=self._page)
        self._turn(inline.breaks)
        for attached, mark in inline.attached:
            yield from self._attached(attached, mark)

    def _level(self, element: _Element, style: str) -> int | None:
        if name_of(element.tag) == "text:h":
            return max(1, min(whole_number(attribute(element, "text:outline-level"), 1), _MAX_LEVEL))
        return 1 if self._styles.is_title(style) else None

    def _collect(self, line: str, kind: BlockKind) -> Iterator[Block]:
        full = self._kind is not kind or sum(map(len, self._lines)) > _GROUP_CHARS
        if self._lines and (full or self._lines_page != self._page):
            yield from self.finish()
        self._kind, self._lines_page = kind, self._page
        if line or self._lines:
            self._lines.append(line)

    def _list(self, element: _Element, style: str, depth: int) -> Iterator[Block]:
        style = attribute(element, "text:style-name") or style
        ordered = self._styles.is_ordered(style, depth)
        number = 0
        indent = "  " * (depth - 1)
        for item in element:
            if name_of(item.tag) not in {"text:list-item", "text:list-header"}:
                continue
            marker = "  "
            if name_of(item.tag) == "text:list-item":
                number = whole_number(attribute(item, "text:start-value"), number + 1)
                marker = f"{number}. " if ordered else "- "
            for inner in item:
                name = name_of(inner.tag)
                if name == "text:list":
                    yield from self._list(inner, style, depth + 1)
                elif name in {"text:p", "text:h"}:
                    yield from self._paragraph(inner, marker, indent)
                    marker = "  "
                else:
                    yield from self.blocks(inner)
        if depth == 1:
            yield from self.finish()

    def _attached(self, element: _Element, mark: str) -> Iterator[Block]:
        name = name_of(element.tag)
        if name.startswith("draw:"):
            yield from self.finish()
            yield from self.shape(element)
            yield from self.finish()
        elif text := self.plain(element):
            yield from self.finish()
            line = annotation_line(element, text) if name == "office:annotation" else f"{mark} {text}"
            yield Block(text=f"{line}\n\n", page=self._page)

    def _read(self, element: _Element, inline: _Inline) -> None:
        inline.parts.append(element.text or "")
        for inner in element:
            name = name_of(inner.tag)
            if name == "text:s":
                inline.parts.append(" " * min(whole_number(attribute(inner, "text:c"), 1), _MAX_REPEATED))
            elif name in _CHARACTERS:
                inline.parts.append(_CHARACTERS[name])
            elif name == "text:soft-page-break":
                if "".join(inline.parts).strip():
                    inline.breaks += 1
                else:
                    self._turn(1)
            elif name == "text:note":
                self._notes += 1
                inline.parts.append(f"[{self._notes}]")
                inline.attached.append((inner, f"[{self._notes}]"))
            elif formula := self._objects.formula(inner):
                inline.parts.append(formula)
            elif name == "office:annotation" or name.startswith("draw:"):
                inline.attached.append((inner, ""))
            elif name not in _NEVER:
                self._read(inner, inline)
            inline.parts.append(inner.tail or "")

    def plain(self, element: _Element) -> str:
        texts = []
        for paragraph in element.iter():
            if name_of(paragraph.tag) in {"text:p", "text:h"}:
                inline = _Inline()
                self._read(paragraph, inline)
                texts.append(inline.text)
                self._turn(inline.breaks)
        return one_line(" ".join(texts))

    def _table(self, table: _Element, caption: str = "") -> Iterator[Block]:
        headers = [row for group in table if name_of(group.tag) == "table:table-header-rows" for row in group]
        rows = list(_rows(table))
        cells = [[cell for cell in row if name_of(cell.tag) == "table:table-cell"] for row in rows]
        nested = any(name_of(inner.tag) == "table:table" for row in rows for inner in row.iter())
        if nested or max(map(len, cells), default=0) < 2:
            for row in cells:
                for cell in row:
                    for inner in cell:
                        yield from self.blocks(inner)
                    yield from self.finish()
            return
        writer = TableWriter(len(headers) or None, one_line(caption))
        for row, texts in zip(rows, filled_cells(rows, self.plain), strict=True):
            before = row.getprevious()
            self._turn(int(before is not None and name_of(before.tag) == "text:soft-page-break"))
            yield from writer.add(texts, self._page)
        yield from writer.finish()

    def _turn(self, pages: int) -> None:
        if self._page is not None and not self._paged:
            self._page += pages


def filled_cells(
    rows: Iterable[_Element], text_of: Callable[[_Element], str], *, most: int = _MAX_REPEATED
) -> Iterator[list[str]]:
    """Cells of a table row by row; merged ones say their text in each place that they cover, ``most`` at most."""
    # By column: how many more rows a cell above reaches into, and its text.
    above: dict[int, tuple[int, str]] = {}
    for row in rows:
        above = {place: (left - 1, text) for place, (left, text) in above.items() if left > 1}
        texts: list[str] = []
        for cell in row:
            name = name_of(cell.tag)
            repeated = min(_count(cell, "table:number-columns-repeated"), max(1, most - len(texts)))
            if name == "table:covered-table-cell":
                texts.extend(above.get(len(texts) + i, (0, ""))[1] for i in range(repeated))
            elif name == "table:table-cell":
                text = text_of(cell)
                reach = _count(cell, "table:number-rows-spanned")
                for i in range(min(_count(cell, "table:number-columns-spanned"), most)):
                    above[len(texts) + i] = (reach, text)
                if text or cell.getnext() is not None:
                    texts.extend([text] * repeated)
        yield texts


def _rows(table: _Element) -> Iterator[_Element]:
    for element in table:
        name = name_of(element.tag)
        if name == "table:table-row":
            yield element
        elif name in _ROWS:
            yield from _rows(element)


def _count(cell: _Element, name: str) -> int:
    return whole_number(attribute(cell, name)) or 1
