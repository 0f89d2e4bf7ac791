"""POD, Perl's documentation: headings, items with what they say, code as it stands. Source: perlpodspec(1).

Looks, entries of an index and what is for other formats are left out; links are their words.
"""

from __future__ import annotations

import re
from html.entities import html5
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, Title, bounded, one_line
from indexer.parsers.decoding import TextReader, storable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_COMMAND = re.compile(r"=([a-zA-Z]\w*)[ \t]*(.*)", re.DOTALL)
_HEADING = re.compile(r"head([1-6])")
_SILENT: Final = frozenset({"pod", "cut", "over", "back", "encoding", "end"})
_POINT = re.compile(r"[•*o-]|\(?\w{1,3}[.)]")
_SENTENCE_ENDS: Final = (":", ".", "?", "!", ";")
# What begins a code, and what may end one: as many brackets as it began with, behind a space if there are several.
_BRACKET = re.compile(r"(?P<letter>[A-Z])(?P<opened><<+(?=\s)|<)|\s(?P<closed>>{2,})|>")
_MAX_DEPTH: Final = 100
_NUMBER = re.compile(r"0?x([0-9a-fA-F]{1,6})|(0[0-7]{1,7})|(\d{1,7})")
_NAMES: Final = {"verbar": "|", "sol": "/", "lchevron": "«", "rchevron": "»"}
_TARGET = re.compile(r'([^/]*)/"?(.*?)"?', re.DOTALL)
_ADDRESS = re.compile(r"\w+:[^:\s]\S*")


def parse_pod(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield headings, paragraphs, items and code; the first paragraph below ``NAME`` is the title."""
    with TextReader(file, encoding) as reader:
        blocks = list(_blocks(list(_groups(reader.read()))))
        if title := _title(blocks):
            yield Title(text=title)
        for block in blocks:
            yield from bounded(block)
        yield from reader.notices()


def _title(blocks: list[Block]) -> str:
    for block, below in pairwise(blocks):
        if block.heading.upper() == "NAME" and below.kind is BlockKind.PARAGRAPH:
            return title if len(title := one_line(below.text)) <= MAX_HEADING_CHARS else ""
    return ""


def _groups(text: str) -> Iterator[str]:
    """Paragraphs, without the empty lines between them; a command begins one. One that shows nothing is its line."""
    lines: list[str] = []
    for line in text.split("\n"):
        if lines and (not line.strip() or _COMMAND.match(line) or _is_silent(lines[0])):
            yield "\n".join(lines)
            lines = []
        if line.strip():
            lines.append(line)
    if lines:
        yield "\n".join(lines)


def _is_silent(line: str) -> bool:
    return (command := _COMMAND.match(line)) is not None and command[1] in _SILENT


def _blocks(groups: list[str]) -> Iterator[Block]:
    writer = _Writer()
    ends = {"".join(group.split()[1:2]): at for at, group in enumerate(groups) if group.startswith("=end")}
    skipped = ""  # the format of what is not read
    inside = False  # documentation, not a program
    for at, group in enumerate(groups):
        command = _COMMAND.match(group)
        name, rest = (command[1], command[2]) if command is not None else ("", group)
        word = "".join(rest.split()[:1])
        inside = (inside or bool(name)) and name != "cut"
        if skipped:
            skipped = "" if name == "end" and word == skipped else skipped
        elif name == "begin":
            yield from writer.flush()
            skipped = word if not _is_read(word) and ends.get(word, 0) > at else ""
        elif name == "for":
            yield from writer.text(rest.removeprefix(word)) if _is_read(word) else writer.flush()
        elif name:
            yield from writer.command(name, rest)
        elif not inside or group[0] in " \t":
            yield from writer.verbatim(group)
        else:
            yield from writer.text(group)
    yield from writer.flush()


def _is_read(name: str) -> bool:
    return name.startswith(":") or name == "text"


class _Writer:
    def __init__(self) -> None:
        self._tag = ""  # of an item whose text comes
        self._code: list[str] = []

    def flush(self) -> Iterator[Block]:
        """What has been kept back: an item without text, or code."""
        if self._tag:
            yield Block(text=f"{self._tag}\n\n", kind=BlockKind.LIST)
        if self._code:
            code = "\n\n".join(self._code)
            yield Block(text=f"{code}\n\n", kind=BlockKind.CODE)
        self._tag, self._code = "", []

    def command(self, name: str, rest: str) -> Iterator[Block]:
        yield from self.flush()
        heading = _HEADING.fullmatch(name)
        shown = "" if name in _SILENT else one_line(_shown(rest))
        if name == "item":
            self._tag = shown or "*"
        elif heading is not None and 0 < len(shown) <= MAX_HEADING_CHARS:
            yield Block(text=f"{shown}\n\n", kind=BlockKind.HEADING, level=int(heading[1]), heading=shown)
        elif shown:
            yield Block(text=f"{shown}\n\n")

    def verbatim(self, text: str) -> Iterator[Block]:
        if self._tag:
            yield from self.flush()
        self._code.append(text)

    def text(self, text: str) -> Iterator[Block]:
        shown = one_line(_shown(text))
        if not shown:
            return
        tag, self._tag = self._tag, ""
        yield from self.flush()
        if not tag:
            yield Block(text=f"{shown}\n\n")
            return
        between = " " if _POINT.fullmatch(tag) or tag.endswith(_SENTENCE_ENDS) else ": "
        yield Block(text=f"{tag}{between}{shown}\n\n", kind=BlockKind.LIST)


def _shown(text: str) -> str:
    """A paragraph with its codes as what they say, from the inside out."""
    open_codes: list[tuple[str, int, list[str]]] = [("", 0, [])]
    at = 0
    for found in _BRACKET.finditer(text):
        parts = open_codes[-1][2]
        parts.append(text[at : found.start()])
        at = found.end()
        count = open_codes[-1][1]
        closes = len(found["closed"] or "")
        if found["letter"]:
            if len(open_codes) > _MAX_DEPTH:
                parts.append(found[0])
            else:
                open_codes.append((found[0], len(found["opened"]), []))
        elif closes >= count > 1:
            _close(open_codes)
            for _ in range(closes - count):
                _end_one(open_codes)
        else:
            parts.append(found[0][:1] if closes else "")
            for _ in range(closes or 1):
                _end_one(open_codes)
    return "".join(begun + "".join(parts) for begun, _count, parts in open_codes) + text[at:]


def _end_one(open_codes: list[tuple[str, int, list[str]]]) -> None:
    """A single bracket: it ends a code that began with one, or is text."""
    if open_codes[-1][1] == 1:
        _close(open_codes)
    else:
        open_codes[-1][2].append(">")


def _close(open_codes: list[tuple[str, int, list[str]]]) -> None:
    begun, count, parts = open_codes.pop()
    inner = "".join(parts)
    open_codes[-1][2].append(_said(begun[0], inner if count == 1 else inner.strip()))


def _said(letter: str, inner: str) -> str:
    if letter in "XZ":
        return ""
    if letter == "E":
        return _character(inner)
    return _link(inner) if letter == "L" else inner


def _character(name: str) -> str:
    if (number := _NUMBER.fullmatch(name)) is not None:
        code = int(number[1], 16) if number[1] else int(number[2], 8) if number[2] else int(number[3])
        return storable(chr(code)) if code < 0x110000 else ""
    return _NAMES.get(name) or html5.get(f"{name};", name)


def _link(inner: str) -> str:
    label, bar, _target = inner.partition("|")
    if bar:
        return label
    if _ADDRESS.fullmatch(inner) or (found := _TARGET.fullmatch(inner)) is None:
        return inner.strip('"')
    return f"“{found[2]}” in {found[1]}" if found[1] else f"“{found[2]}”"
