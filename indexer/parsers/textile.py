"""Textile: headings, lists, tables, code and quotations by the marks that lines begin with; notes behind what refers
to them. Source: textile-lang.com.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, bounded, included, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.held import Held, without_marks
from indexer.parsers.notes import notes_beside_mentions
from indexer.parsers.spans import Cell, grid, head_rows, span_of
from indexer.parsers.tables import table_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

# Classes, styles, languages and places, in brackets of their own.
_LOOK: Final = r"(?:\([^()\n]{0,200}\)|\{[^{}\n]{0,200}\}|\[[^\[\]\n]{0,40}\]|[<>=()~^-]){0,8}"
_MARK = re.compile(rf"^(h[1-6]|bq|bc|pre|p|fn\d+|notextile|table|###|clear){_LOOK}(\.\.?)(?::\S+)?(?:[ \t]+|$)")
_CODE_MARKS: Final = frozenset({"bc", "pre"})
_LIST_ITEM = re.compile(rf"^(?:[*#]{{1,6}}{_LOOK}|-)[ \t]+\S")
_ROW = re.compile(rf"^(?:{_LOOK}\.[ \t]+)?\|.*\|[ \t]*$", re.DOTALL)
_ROW_LOOK = re.compile(rf"^{_LOOK}\.[ \t]+(?=\|)")
_CELL = re.compile(rf"^(?:(_)|\\(\d{{1,3}})|/(\d{{1,3}})|{_LOOK}(?<=[^|])){{1,4}}\.[ \t]+|^_\.[ \t]*")
_COLUMNS, _ROWS = re.compile(r"\\(\d{1,3})"), re.compile(r"/(\d{1,3})")
_PRE = re.compile(r"<(pre|notextile)\b[^<>]{0,200}>", re.IGNORECASE)
_PRE_END: Final = {name: re.compile(f"</{name}>", re.IGNORECASE) for name in ("pre", "notextile")}
_NOTE = re.compile(r"^\[(\d+)\] ")
_MENTION = re.compile(r"\[(\d+)\]")
# Macros of Redmine, with lines of text in them; what ``collapse`` is called is shown.
_MACRO = re.compile(r"^(?:\{\{(?:collapse(?:\(([^\n]*)\))?|\w{1,80}(?:\([^\n]*\))?)|\}\})[ \t]*$", re.MULTILINE)
_CODE = re.compile(r"(?<![\w@])@([^@\n]{1,500})@(?![\w@])|<code>([^\n]{0,500}?)</code>")
_INCLUDE = re.compile(r"\{\{include\([ \t]*([^(){}\n,]{1,200})[^(){}\n]{0,200}\)\}\}")
_TAG = re.compile(r"</?[a-z][^<>\n]{0,300}>", re.IGNORECASE)
_INLINE: Final = (
    (re.compile(r"\{\{collapse(?:\(([^()\n]{0,300})\))?((?![\w(])[^{}\n]{0,300})\}\}"), r"\1\2"),
    (re.compile(r"\{\{[<>]?\w{1,80}(?:\([^{}\n]{0,300}\))?\}\}"), ""),
    (re.compile(rf'"{_LOOK}([^"\n]{{1,500}})":(?:https?://|mailto:|/|#|\w)[^\s"<>|]{{0,1000}}'), r"\1"),
    (re.compile(r"!(?:[<>=(][^!\n]{0,80})?[^\s!()]{1,300}\(([^()!\n]{1,300})\)!(?::\S{1,500})?"), r"\1"),
    (re.compile(r"!(?:https?:/|[\w./-]{0,200}/)?[\w./-]{1,200}\.(?:png|jpe?g|gif|svg)!(?::\S{1,500})?"), ""),
    (re.compile(rf"%{_LOOK}([^%\n]{{1,500}})%"), r"\1"),
    (_TAG, ""),
)


def parse_textile(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield headings, paragraphs, lists, tables and code."""
    with TextReader(file, encoding) as reader:
        names: list[str] = []
        for block in notes_beside_mentions(_blocks(reader.read(), names), _NOTE, _MENTION):
            yield from bounded(block)
        yield from included(names)
        yield from reader.notices()


def _blocks(text: str, names: list[str]) -> Iterator[Block]:
    """Groups of lines; one that ends with two points goes on until another begins. ``names``: of included pages."""
    going_on = ""
    for group in _groups(text):
        at = 0
        while (begun := _PRE.match(group, at)) is not None:
            end = _PRE_END[begun[1].lower()].search(group, begun.end())
            inner = group[begun.end() : end.start() if end is not None else len(group)]
            at = end.end() if end is not None else len(group)
            yield from _code(inner) if begun[1].lower() == "pre" else _whole(inner)
        group = group[at:].lstrip("\n") if at else group  # noqa: PLW2901 - what is left of it
        if not group.strip():
            continue
        mark = _MARK.match(group)
        is_code = (going_on if mark is None else mark[1]) in _CODE_MARKS
        for part in [group] if is_code else _without_macros(group):
            if (mark := _MARK.match(part)) is not None:
                going_on = mark[1] if mark[2] == ".." else ""
            name = going_on if mark is None else mark[1]
            names.extend(_INCLUDE.findall(_CODE.sub("", part)) if name not in _CODE_MARKS else [])
            yield from _block(name, part[0 if mark is None else mark.end() :])


def _without_macros(group: str) -> Iterator[str]:
    """What stands before, in and after macros."""
    for part in _MACRO.split(group):
        if part is not None and part.strip():
            yield part.lstrip("\n")


def _groups(text: str) -> Iterator[str]:
    """What stands between empty lines; preformatted text with the empty lines in it."""
    lines: list[str] = []
    preformatted = False
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        begins = _PRE.match(line) is not None
        if lines and not preformatted and (begins or not line.strip()):
            yield "".join(lines)
            lines = []
        preformatted = (preformatted or begins) and not any(end.search(line) for end in _PRE_END.values())
        if line.strip() or preformatted:
            lines.append(line)
    if lines:
        yield "".join(lines)


def _block(name: str, body: str) -> Iterator[Block]:
    if name in _CODE_MARKS:
        yield from _code(body)
    elif name == "###":
        return
    elif name.startswith("fn"):
        yield Block(text=f"[{name[2:]}] {_shown(body)}\n\n")
    elif name.startswith("h") and 0 < len(heading := one_line(_shown(body))) <= MAX_HEADING_CHARS:
        yield Block(text=f"{heading}\n\n", kind=BlockKind.HEADING, level=int(name[1]), heading=heading)
    elif name == "table" or _ROW.match(body.strip()):
        yield from _table(body.strip().split("\n"))
    elif shown := _shown(body).strip("\n"):
        kind = BlockKind.LIST if _LIST_ITEM.match(body) else BlockKind.PARAGRAPH
        yield Block(text=f"{shown}\n\n", kind=kind)


def _code(text: str) -> Iterator[Block]:
    code = unescape(re.sub(r"</?code[^<>\n]{0,100}>", "", text)).strip("\n")
    if code.strip():
        yield Block(text=f"{code}\n\n", kind=BlockKind.CODE)


def _whole(text: str) -> Iterator[Block]:
    """What stands as it is, but for its tags."""
    if shown := unescape(_TAG.sub("", text)).strip("\n"):
        yield Block(text=f"{shown}\n\n")


def _table(lines: Sequence[str]) -> Iterator[Block]:
    rows: list[list[Cell]] = []
    for line in lines:
        row = _ROW_LOOK.sub("", line.lstrip())
        if row.startswith("|") or not rows:
            texts = row.removeprefix("|").rstrip().removesuffix("|").split("|")
            rows.append([_cell(text) for text in texts])
        elif rows[-1]:  # a cell of several lines
            last = rows[-1].pop()
            rest = line.rstrip().removesuffix("|").split("|")
            rows[-1].append(Cell(f"{last.text} {one_line(_shown(rest[0]))}", last.columns, last.rows, last.is_name))
            rows[-1].extend(map(_cell, rest[1:]))
    yield from table_blocks(grid(rows), header_rows=head_rows(rows) or None)


def _cell(text: str) -> Cell:
    mark = _CELL.match(text)
    look = "" if mark is None else mark[0]
    columns, rows = _COLUMNS.search(look), _ROWS.search(look)
    return Cell(
        one_line(_shown(text[len(look) :])),
        span_of(columns[1] if columns is not None else None),
        span_of(rows[1] if rows is not None else None),
        "_" in look.partition(".")[0],
    )


def _shown(text: str) -> str:
    held = Held()
    text = _CODE.sub(lambda code: held.hold(unescape(code[1] or code[2] or "")), without_marks(text))
    for pattern, shown in _INLINE:
        text = pattern.sub(shown, text)
    return held.put_back(unescape(text))
