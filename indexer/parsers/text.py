"""Plain text, line by line, in memory that does not grow with the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_BLOCK_CHARS, Block, BlockKind, Parsed, bounded, cut_point, one_line
from indexer.parsers.decoding import TextReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# Colours and moves of a terminal (ECMA-48), and titles of its window.
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
_UNDERLINE = re.compile(r"^ {0,3}(={3,}|-{3,}|~{3,})\s*$")
_UNDERLINE_LEVELS: Final = {"=": 1, "-": 2, "~": 3}
_SECTION_LEVEL: Final = 2
_NUMBERED = re.compile(r"^ {0,3}(\d{1,2}(?:\.\d{1,2}){0,3})\.?\s+[^\W\d_].*[^\s.,;:!?]\s*$")
_LIST_ITEM = re.compile(r"^\s*(?:[-*+•‣–]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+\S")
_TABLE_ROW = re.compile(r"\S\s*\|\s*\S|\S\t+\S|\S {3,}\S+(?:.*\S)? {3,}\S")
_COLUMNS = re.compile(r"\S {3,}\S")
_MAX_TITLE_CHARS: Final = 90


def parse_text(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield paragraphs, lists, tables and headings (underlined, in capitals, or numbered and alone on their line)."""
    opening = True
    with TextReader(file, encoding) as reader:
        lines = (_TERMINAL.sub("", line) if "\x1b" in line else line for line in reader.lines(MAX_BLOCK_CHARS))
        for group in _groups(lines):
            yield from _blocks(group, opening=opening)
            opening = opening and not group.strip()
        yield from reader.notices()


def _groups(lines: Iterator[str]) -> Iterator[str]:
    """Text between blank lines, the blank lines that follow included; long runs come in pieces."""
    group: list[str] = []
    size = 0
    has_text = ended = False
    for line in lines:
        blank = not line.strip()
        if ended and not blank:
            yield "".join(group)
            group, size, has_text = [], 0, False
        group.append(line)
        size += len(line)
        has_text = has_text or not blank
        ended = has_text and blank and line.endswith("\n")
        if size > 2 * MAX_BLOCK_CHARS:
            text = "".join(group)
            end = cut_point(text, 0)
            yield text[:end]
            group, size = [text[end:]], len(text) - end
            has_text = bool(group[0].strip())
    if group:
        yield "".join(group)


def _blocks(text: str, *, opening: bool) -> Iterator[Block]:
    body = [line for line in _LINE.findall(text) if line.strip()]
    if len(body) > 1 and (level := _underlined(body)) is not None:
        # What follows an underline on the next line is text of its own.
        end = len(text) if len(body) == 2 else text.index(body[1], text.index(body[0]) + len(body[0])) + len(body[1])
        yield Block(text=text[:end], kind=BlockKind.HEADING, level=level, heading=one_line(body[0]))
        if end < len(text):
            yield from _blocks(text[end:], opening=False)
    elif len(body) == 1 and (level := _standalone_level(body[0])) is not None:
        # A document that opens with a title has its sections one level below it.
        yield Block(text=text, kind=BlockKind.HEADING, level=1 if opening else level, heading=one_line(body[0]))
    else:
        yield from bounded(Block(text=text, kind=_kind(body)))


def _underlined(body: list[str]) -> int | None:
    title = one_line(body[0])
    match = _UNDERLINE.match(body[1])
    if not match or len(title) > _MAX_TITLE_CHARS or _TABLE_ROW.search(body[0]) or _COLUMNS.search(body[0]):
        return None
    if len(match[1]) * 2 < len(title) or not re.search(r"\w", title):
        return None
    return _UNDERLINE_LEVELS[match[1][0]]


def _standalone_level(line: str) -> int | None:
    """Level of a title that stands alone between blank lines, or None for ordinary text."""
    title = one_line(line)
    if len(title) > _MAX_TITLE_CHARS or _TABLE_ROW.search(line):
        return None
    letters = sum(character.isalpha() for character in title)
    if title.isupper() and letters >= 4 and letters * 2 > len(title) and title[-1] not in ".,;":
        return _SECTION_LEVEL
    if (match := _NUMBERED.match(line)) and len(title.split()) <= 10:
        return _SECTION_LEVEL + match[1].count(".")
    return None


def _kind(body: list[str]) -> BlockKind:
    if sum(bool(_TABLE_ROW.search(line)) for line in body) > max(1, len(body) // 2):
        return BlockKind.TABLE
    if body and _LIST_ITEM.match(body[0]):
        return BlockKind.LIST
    return BlockKind.PARAGRAPH
