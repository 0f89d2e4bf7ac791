"""Pages of MediaWiki: sections, lists, tables and code as text; notes stand behind what refers to them.

Links are their labels, pictures their captions. A template over several lines is what its fields say, one within a line
what stands in it; of conditions, all that they may show. Categories, comments and what only a wiki can work out are
left out.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, bounded, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.held import HELD, Held, without_marks
from indexer.parsers.mediawiki.inline import plain
from indexer.parsers.notes import beside_mentions
from indexer.parsers.spans import Cell, grid, head_rows, span_of
from indexer.parsers.tables import table_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_REGION = re.compile(r"<(ref|syntaxhighlight|source|pre|nowiki|!--)(?:\s[^<>]{0,500}?)?(/)?>|<!--", re.IGNORECASE)
_STATED: Final = r"\b{}\s*=\s*(?:\"([^\"]{{1,200}})\"|'([^']{{1,200}})'|([^\s\"'>/]{{1,200}}))"
_NAME, _GROUP = re.compile(_STATED.format("name")), re.compile(_STATED.format("group"))
_CODE: Final = frozenset({"syntaxhighlight", "source", "pre"})
_NOTE_MARK = re.compile(r"\[(\d+)\]")
_HEADING = re.compile(r"^(={1,6})(.{1,400}?)\1[ \t]*$")
_LIST_ITEM = re.compile(r"^[*#:;]")
_TABLE = re.compile(r"^:*\{\|")
_TABLE_END = re.compile(r"^\|\}")
_RULE = re.compile(r"^-{4,}")
_MAGIC = re.compile(r"__[A-Z]{3,20}__")
_ATTRIBUTES = re.compile(r"^[^|\[\]{}=]{0,500}=[^|\[\]{}]{0,500}+\|(?!\|)")
_SPAN: Final = r"{}\s*=\s*[\"']?\s*(\d{{1,4}})"
_COLUMNS, _ROWS = re.compile(_SPAN.format("colspan")), re.compile(_SPAN.format("rowspan"))


def parse_mediawiki(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield sections, paragraphs, lists, tables and code."""
    with TextReader(file, encoding) as reader:
        for block in wiki_blocks(reader.read()):
            yield from bounded(block)
        yield from reader.notices()


def wiki_blocks(text: str) -> Iterator[Block]:
    """The blocks of a page's source."""
    page = _Page(text)
    yield from beside_mentions(page.blocks(), page.notes, _NOTE_MARK)


class _Page:
    """Goes through the lines once, after notes and code have been taken out of them."""

    def __init__(self, text: str) -> None:
        self.notes: dict[str, str] = {}
        self._numbers: dict[str, str] = {}  # of notes with a name
        self._held = Held()
        self._lines = plain(_MAGIC.sub("", self._without_regions(without_marks(text)))).split("\n")
        self._at = 0

    def blocks(self) -> Iterator[Block]:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            heading = _HEADING.match(line)
            if not line.strip() or _RULE.match(line):
                self._at += 1
            elif heading is not None:
                self._at += 1
                yield self._heading(len(heading[1]), one_line(self._shown(heading[2])))
            elif _TABLE.match(line):
                yield from self._table()
            elif HELD.fullmatch(line.strip()):
                self._at += 1
                yield Block(text=self._shown(line.strip()).strip("\n") + "\n\n", kind=BlockKind.CODE)
            else:
                yield self._group()

    def _without_regions(self, text: str) -> str:
        """Text without comments, with marks for its notes and for what is to be read as it stands."""
        parts: list[str] = []
        at = 0
        low = text.lower()
        low = low if len(low) == len(text) else text
        unclosed: set[str] = set()
        while (found := _REGION.search(text, at)) is not None:
            parts.append(text[at : found.start()])
            name = (found[1] or "!--").lower()
            closer = "-->" if name == "!--" else f"</{name}>"
            end = found.end() if found[2] or closer in unclosed else low.find(closer, found.end())
            if end < 0 or closer in unclosed:
                unclosed.add(closer)
                parts.append("" if name in {"!--", "ref"} else found[0])
                at = found.end()
                continue
            inner = "" if found[2] else text[found.end() : end]
            at = found.end() if found[2] else end + len(closer)
            parts.append(self._region(name, found[0], inner))
        return "".join([*parts, text[at:]])

    def _region(self, name: str, tag: str, inner: str) -> str:
        if name == "!--":
            return ""
        if name == "ref":
            return self._note(tag, inner)
        mark = self._held.hold(unescape(inner))
        return f"\n\n{mark}\n\n" if name in _CODE and "\n" in inner.strip() else mark

    def _note(self, tag: str, inner: str) -> str:
        name, group = (
            next(filter(None, found.groups()), "") if found else "" for found in (_NAME.search(tag), _GROUP.search(tag))
        )
        key = f"{group.strip()}\n{name.strip()}" if name else f"{len(self._numbers)}"
        number = self._numbers.setdefault(key, str(len(self._numbers) + 1))
        if text := one_line(plain(inner)):
            self.notes.setdefault(number, f"[{number}] {text}\n\n")
        return f"[{number}]"

    def _heading(self, level: int, name: str) -> Block:
        if len(name) > MAX_HEADING_CHARS or not name:
            return Block(text=f"{name}\n\n")
        return Block(text=f"{name}\n\n", kind=BlockKind.HEADING, level=level, heading=name)

    def _group(self) -> Block:
        """Lines of one kind up to an empty one: list items, code that is indented, or a paragraph."""
        start = self._at
        kind = self._kind(self._lines[start])
        while self._at < len(self._lines) and self._lines[self._at].strip():
            line = self._lines[self._at]
            if self._at > start and (self._kind(line) is not kind or _TABLE.match(line) or _HEADING.match(line)):
                break
            self._at += 1
        lines = self._lines[start : self._at]
        shown = "\n".join(lines if kind is BlockKind.CODE else map(str.strip, lines))
        return Block(text=f"{self._shown(shown)}\n\n", kind=kind)

    def _kind(self, line: str) -> BlockKind:
        if _LIST_ITEM.match(line):
            return BlockKind.LIST
        return BlockKind.CODE if line.startswith(" ") and not HELD.search(line) else BlockKind.PARAGRAPH

    def _table(self) -> Iterator[Block]:
        body: list[str] = []
        depth = 0
        while self._at < len(self._lines):
            line = self._lines[self._at].strip()
            self._at += 1
            depth += bool(_TABLE.match(line)) - bool(_TABLE_END.match(line))
            if not depth:
                self._at -= 1
                self._lines[self._at] = line[2:].lstrip()  # what stands behind its end
                break
            body.append(line)
        caption, outside, rows = self._rows(body[1:])
        if outside:
            yield Block(text=f"{outside}\n\n")
        if caption:
            yield Block(text=f"{caption}\n\n", kind=BlockKind.CAPTION)
        yield from table_blocks(grid(rows), header_rows=head_rows(rows) or None, caption=caption)

    def _rows(self, body: Sequence[str]) -> tuple[str, str, list[list[Cell]]]:
        """The caption of a table, lines that stand in none of its cells, and its rows."""
        caption = ""
        outside: list[str] = []
        rows: list[list[Cell]] = []
        cells: list[list[str]] = []  # of the row that is read: its sign, and its lines

        def end_row() -> None:
            rows.append([self._cell(sign, " ".join(lines)) for sign, *lines in cells])
            cells.clear()

        for line in (_TABLE_END.sub("", line).strip() for line in body):
            if line.startswith("|-"):
                end_row()
            elif line.startswith("|+"):
                caption = one_line(self._shown(_ATTRIBUTES.sub("", line[2:])))
            elif line.startswith(("|", "!")):
                marks = r"\|\||!!" if line[0] == "!" else r"\|\|"
                cells.extend([line[0], text] for text in re.split(marks, line[1:]))
            elif line and not _TABLE.match(line):
                if cells:
                    cells[-1].append(line)
                else:
                    outside.append(self._shown(line))
        end_row()
        return caption, "\n".join(outside), [row for row in rows if row]

    def _cell(self, sign: str, text: str) -> Cell:
        attributes = _ATTRIBUTES.match(text)
        stated = "" if attributes is None else attributes[0]
        columns, rows = _COLUMNS.search(stated), _ROWS.search(stated)
        return Cell(
            one_line(self._shown(text[len(stated) :])),
            span_of(columns[1] if columns is not None else None),
            span_of(rows[1] if rows is not None else None),
            sign == "!",
        )

    def _shown(self, text: str) -> str:
        return self._held.put_back(text)
