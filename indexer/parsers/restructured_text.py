"""reStructuredText: structure by its lines, text verbatim. Comments and lists of pages are left out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import (
    MAX_HEADING_CHARS,
    Block,
    BlockKind,
    Parsed,
    bounded,
    included,
    one_line,
    short_caption,
)
from indexer.parsers.decoding import TextReader
from indexer.parsers.notes import notes_beside_mentions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_ADORNMENT = re.compile(r"^([!-/:-@\[-`{-~])\1+\s*$")
_DIRECTIVE = re.compile(r"^\.\. +(?:\|[^|]+\| +)?([A-Za-z][\w:.+-]*)::(?: +(.*))?$")
# Targets, footnotes and citations; what else begins with two dots is a comment.
_EXPLICIT = re.compile(r"^\.\. +(?:_|\[|\||__ )")
_COMMENT = re.compile(r"^\.\.(?:\s|$)")
# Those with a number or a name, and those without and targets without a name, which go by their order; citations stay
# in their list.
_NOTE = re.compile(r"^\s*(?:\.\. +(?:\[(?=[\d#*]))?)?(\d+(?=\])|#[\w.+-]*(?=\])|\*(?=\])|__(?=:?\s))[\]:]?\s")
_MENTION = re.compile(r"(?:\[(?=[\d#*])|`(?=__))(\d+|#[\w.+-]*|\*|__)(?:(?<!_)\]_|(?<=__)(?![\w_]))")
_ANONYMOUS: Final = frozenset({"#", "*", "__"})
_LIST_ITEM = re.compile(r"^\s*(?:[-*+•‣⁃]|\(?(?:\d{1,3}|[a-z#])[.)])\s+\S")
_TABLE_START = re.compile(r"^\s*(?:\+[-=+]{3,}\+|={2,}(?:\s+={2,})+)\s*$")
_INLINE = re.compile(
    r":[\w:+.-]+:`([^`<]+?)(?:\s*<[^`]*>)?`|`{1,2}([^`<]+?)(?:\s*<[^`]*>)?`{1,2}_{0,2}|\*{1,2}([^*]+)\*{1,2}"
)
_OPTION = re.compile(r"^\s+:[\w -]+:(?:\s|$)")
_TABLES: Final = frozenset({"table", "csv-table", "list-table"})
_CODE: Final = ("code", "code-block", "sourcecode", "highlight", "parsed-literal", "doctest", "literalinclude")
_DIRECTIVES: Final = {
    **dict.fromkeys(_TABLES, BlockKind.TABLE),
    **dict.fromkeys(_CODE, BlockKind.CODE),
    "figure": BlockKind.CAPTION,
}
_SILENT: Final = frozenset({"toctree", "contents", "index", "raw", "meta", "default-role", "sectnum", "role"})
# What is indented below them is text.
_LOOKS: Final = frozenset({"class", "rst-class", "container", "cssclass"})


def parse_rst(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield sections, paragraphs, lists, tables and code. Other files that it includes are told, not read."""
    with TextReader(file, encoding) as reader:
        walk = _Walk(reader.read())
        for block in notes_beside_mentions(walk.blocks(), _NOTE, _MENTION, anonymous=_ANONYMOUS):
            yield from bounded(block)
        yield from included(walk.included)
        yield from reader.notices()


class _Walk:
    """Goes through the lines once."""

    def __init__(self, text: str) -> None:
        self.included: list[str] = []
        self._lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        self._at = 0
        self._styles: list[tuple[str, bool]] = []
        self._literal_follows = False
        self._table_follows = ""  # its caption

    def blocks(self) -> Iterator[Block]:
        lead = self._blank_lines()
        while self._at < len(self._lines):
            block = self._heading() or self._explicit() or self._group()
            if block.kind is not BlockKind.CAPTION:
                self._table_follows = ""
            if block.text:
                text, lead = lead + block.text, ""
                yield replace(block, text=text)

    def _heading(self) -> Block | None:
        line = self._line(self._at)
        over = bool(_ADORNMENT.match(line)) and bool(self._line(self._at + 1).strip())
        title = self._line(self._at + over)
        under = self._line(self._at + over + 1)
        mark = _ADORNMENT.match(under)
        if not title.strip() or mark is None or _ADORNMENT.match(title) or (title[:1].isspace() and not over):
            return None
        if over and (line[0] != mark[1]):
            return None
        name = one_line(_INLINE.sub(lambda match: next(filter(None, match.groups()), ""), title))
        if len(under.strip()) < min(4, len(title.strip())) or not name or len(name) > MAX_HEADING_CHARS:
            return None
        style = (mark[1], over)
        if style not in self._styles:
            self._styles.append(style)
        self._literal_follows = False
        text = self._take(over + 2) + self._blank_lines()
        return Block(text=text, kind=BlockKind.HEADING, level=self._styles.index(style) + 1, heading=name)

    def _explicit(self) -> Block | None:
        """Directives, targets, footnotes and comments."""
        line = self._line(self._at).rstrip("\n")
        if not _COMMENT.match(line):
            return None
        directive = _DIRECTIVE.match(line)
        if directive is not None and directive[2] and directive[1].lower() in _TABLES:
            return self._captioned(directive[2])
        self._literal_follows = False
        if directive is not None and directive[1].lower() in _LOOKS:
            self._take(1)
            self._blank_lines()
            return Block(text="")
        text = self._take(1) + self._indented()
        if directive is None:
            return Block(text=text) if _EXPLICIT.match(line) else Block(text="")
        name = directive[1].lower()
        if name == "include":
            self.included.append(directive[2] or "?")
        if name == "include" or name in _SILENT:
            return Block(text="")
        return Block(text=text, kind=_DIRECTIVES.get(name, BlockKind.PARAGRAPH))

    def _captioned(self, caption: str) -> Block:
        """The line that names a table, with the options below it; the table comes next."""
        start = self._at
        self._at += 1
        while _OPTION.match(self._line(self._at)):
            self._at += 1
        self._table_follows = short_caption(caption)
        self._literal_follows = False
        return Block(text="".join(self._lines[start : self._at]) + self._blank_lines(), kind=BlockKind.CAPTION)

    def _group(self) -> Block:
        """Lines up to the next empty one; a literal block with all of its stanzas."""
        line = self._line(self._at)
        if self._table_follows and line[:1].isspace():
            return Block(text=self._indented(), kind=BlockKind.TABLE, caption=self._table_follows)
        if self._literal_follows and line[:1].isspace():
            self._literal_follows = False
            return Block(text=self._indented(), kind=BlockKind.CODE)
        start = self._at
        while self._line(self._at).strip() and not (self._at > start and self._is_heading_here()):
            self._at += 1
        body = self._lines[start : self._at]
        text = "".join(body) + self._blank_lines()
        self._literal_follows = bool(body) and body[-1].rstrip().endswith("::")
        if _TABLE_START.match(line):
            kind = BlockKind.TABLE
        elif _LIST_ITEM.match(line):
            kind = BlockKind.LIST
        else:
            kind = BlockKind.CODE if line.startswith(">>> ") else BlockKind.PARAGRAPH
        return Block(text=text, kind=kind)

    def _is_heading_here(self) -> bool:
        """An overlined title may follow a paragraph without an empty line."""
        over, title, under = (self._line(self._at + step) for step in range(3))
        return bool(_ADORNMENT.match(over)) and over.strip() == under.strip() and bool(title.strip()) and len(over) > 4

    def _indented(self) -> str:
        """Lines that are indented, and the empty ones between and after them."""
        start = self._at
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.strip() and not line[0].isspace():
                break
            self._at += 1
        return "".join(self._lines[start : self._at])

    def _blank_lines(self) -> str:
        start = self._at
        while self._at < len(self._lines) and not self._lines[self._at].strip():
            self._at += 1
        return "".join(self._lines[start : self._at])

    def _take(self, count: int) -> str:
        self._at += count
        return "".join(self._lines[self._at - count : self._at])

    def _line(self, number: int) -> str:
        return self._lines[number] if number < len(self._lines) else ""
