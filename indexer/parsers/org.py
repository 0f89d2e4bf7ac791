"""Org: structure by its lines, text verbatim. Comments, properties, log books and planning lines are left out."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import (
    MAX_HEADING_CHARS,
    Block,
    BlockKind,
    Parsed,
    Title,
    bounded,
    included,
    one_line,
    short_caption,
)
from indexer.parsers.decoding import TextReader
from indexer.parsers.notes import notes_beside_mentions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

_HEADING = re.compile(r"^(\*+)[ \t]+(.*)$")
_TAGS = re.compile(r"[ \t]*:[\w@#%:]+:[ \t]*$")
# A longer line is no heading, whatever marks are in it.
_MAX_LINE_CHARS: Final = 4 * MAX_HEADING_CHARS
_STATE = re.compile(r"^(?:(?:TODO|DONE|NEXT|WAITING|CANCELLED|COMMENT)[ \t]+)?(?:\[#[A-Z0-9]\][ \t]+)?")
_LINK = re.compile(r"\[\[[^\]]*\](?:\[([^\]]*)\])?\]")
_BEGIN = re.compile(r"^[ \t]*#\+begin_(\w+)", re.IGNORECASE)
_END = re.compile(r"^[ \t]*#\+end_(\w+)", re.IGNORECASE)
_KEYWORD = re.compile(r"^[ \t]*#\+(\w+)(?:\[[^\]\n]*\])?:[ \t]*+(.*)$")
_INCLUDE = re.compile(r"^[ \t]*#\+include:[ \t]*+(?:\"([^\"\n]*)\"|(\S+))?", re.IGNORECASE)
_COMMENT = re.compile(r"^[ \t]*#(?:[ \t]|$)")
_DRAWER = re.compile(r"^[ \t]*:([\w-]+):[ \t]*$")
_DRAWER_END = re.compile(r"^[ \t]*:END:[ \t]*$", re.IGNORECASE)
_PLANNING = re.compile(r"^[ \t]*(?:SCHEDULED|DEADLINE|CLOSED):[ \t]*[<\[]")
_TABLE = re.compile(r"^[ \t]*\|")
_LIST_ITEM = re.compile(r"^[ \t]*(?:[-+]|\d{1,3}[.)])[ \t]+\S|^[ \t]+\*[ \t]+\S")
_NOTE = re.compile(r"^\[fn:([\w-]+)\][ \t]")
_MENTION = re.compile(r"\[fn:([\w-]+)\]")
_CODE: Final = frozenset({"src", "example", "export"})
# What Org keeps there is not shown; other drawers are.
_HIDDEN: Final = frozenset({"properties", "logbook"})
_OF_DRAWERS: Final = ":"


def parse_org(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield headings, paragraphs, lists, tables and code of an Org file; ``#+TITLE`` is its title.

    Other files that it includes are told, not read.
    """
    with TextReader(file, encoding) as reader:
        lines = re.findall(r"[^\n]*\n|[^\n]+", reader.read())
        titles = [found[2] for line in lines if (found := _KEYWORD.match(line)) and found[1].lower() == "title"]
        if titles:
            yield Title(text=one_line(" ".join(titles)))
        names: list[str] = []
        for block in notes_beside_mentions(_blocks(lines, names), _NOTE, _MENTION):
            yield from bounded(block)
        yield from included(names)
        yield from reader.notices()


def _blocks(lines: list[str], names: list[str]) -> Iterator[Block]:
    """The blocks; ``names`` get those of files that are included."""
    at = 0
    ends = _ends(lines)
    captions: list[str] = []  # of what comes next
    while at < len(lines):
        end, block = _block(lines, at, ends)
        if block is None and (include := _INCLUDE.match(lines[at])) is not None:
            names.append((include[1] or include[2] or "?").partition("::")[0])
        following = end
        while following < len(lines) and not lines[following].strip():
            following += 1
        blank = "".join(lines[end:following])
        at = following
        if block is not None and block.kind is BlockKind.CAPTION:
            captions.extend(keyword[2] for keyword in [_KEYWORD.match(block.text)] if keyword)
        elif block is not None and block.kind is BlockKind.TABLE and captions:
            block = replace(block, caption=short_caption(" ".join(captions)))
        if blank or (block is not None and block.kind is not BlockKind.CAPTION):
            captions.clear()
        if block is not None:
            yield replace(block, text=block.text + blank)


def _ends(lines: list[str]) -> dict[str, list[int]]:
    """Lines that end what begins above them, by its name; a heading ends drawers, too."""
    ends: dict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        if (end := _END.match(line)) is not None:
            ends[end[1].lower()].append(number)
        elif _DRAWER_END.match(line) or _HEADING.match(line):
            ends[_OF_DRAWERS].append(number)
    return ends


def _next(ends: list[int], at: int) -> int | None:
    place = bisect_right(ends, at)
    return ends[place] if place < len(ends) else None


def _block(lines: list[str], at: int, ends: Mapping[str, list[int]]) -> tuple[int, Block | None]:
    """The block that begins at a line, and where it ends; None for what is not text."""
    line = lines[at]
    if heading := _HEADING.match(line):
        name = _name(heading[2]) if len(line) <= _MAX_LINE_CHARS else ""
        titled = Block(text=line, kind=BlockKind.HEADING, level=len(heading[1]), heading=name)
        return at + 1, titled if name and len(name) <= MAX_HEADING_CHARS else Block(text=line)
    if begin := _BEGIN.match(line):
        return _environment(lines, at, begin[1].lower(), ends)
    if (after := _after_drawer(lines, at, ends)) is not None:
        return after, None
    keyword = _KEYWORD.match(line)
    if keyword is not None and keyword[1].lower() == "caption" and keyword[2]:
        return at + 1, Block(text=line, kind=BlockKind.CAPTION)
    if keyword is not None or not line.strip() or _COMMENT.match(line) or _PLANNING.match(line):
        return at + 1, None
    return _group(lines, at)


def _after_drawer(lines: list[str], at: int, ends: Mapping[str, list[int]]) -> int | None:
    """Where the text goes on if a drawer begins or ends here."""
    drawer = _DRAWER.match(lines[at])
    if drawer is None or _DRAWER_END.match(lines[at]):
        return None if drawer is None else at + 1
    end = _next(ends.get(_OF_DRAWERS, []), at)
    if end is None or not _DRAWER_END.match(lines[end]):
        return None
    return (end if drawer[1].lower() in _HIDDEN else at) + 1


def _name(heading: str) -> str:
    heading = _TAGS.sub("", heading)
    return one_line(_LINK.sub(lambda link: link[1] or "", _STATE.sub("", heading)))


def _environment(lines: list[str], at: int, name: str, ends: Mapping[str, list[int]]) -> tuple[int, Block | None]:
    end = _next(ends.get(name, []), at)
    if end is None:
        return at + 1, Block(text=lines[at])
    if name == "comment":
        return end + 1, None
    kind = BlockKind.CODE if name in _CODE else BlockKind.PARAGRAPH
    return end + 1, Block(text="".join(lines[at : end + 1]), kind=kind)


def _group(lines: list[str], at: int) -> tuple[int, Block]:
    end = at + 1
    table = bool(_TABLE.match(lines[at]))
    while end < len(lines) and lines[end].strip() and table == bool(_TABLE.match(lines[end])):
        if any(start.match(lines[end]) for start in (_HEADING, _BEGIN, _KEYWORD, _COMMENT, _NOTE, _DRAWER)):
            break
        end += 1
    text = "".join(lines[at:end])
    if table:
        return end, Block(text=text, kind=BlockKind.TABLE)
    return end, Block(text=text, kind=BlockKind.LIST if _LIST_ITEM.match(lines[at]) else BlockKind.PARAGRAPH)
