r"""Manual pages in troff's macros man(7) and mdoc(7): sections, options with what they do, code, and tables.

Fonts, sizes and places are left out.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, Title, bounded, included, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.manual.characters import exchanged, plain_text, plain_words, split_arguments
from indexer.parsers.manual.macros import expanded
from indexer.parsers.manual.mdoc import CALLED, Mdoc, glued_after, glued_before
from indexer.parsers.strings import Strings
from indexer.parsers.tables import table_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_REQUEST = re.compile(r"^[.'][ \t]*([A-Za-z]{1,3}|\.|%[A-Z])(?![A-Za-z])1?[ \t]*(.*)$")
_SECTIONS: Final = {"SH": 1, "Sh": 1, "SS": 2, "Ss": 2}
_ITEMS: Final = frozenset({"TP", "IP", "It"})
_BREAKS: Final = frozenset("PP P LP Pp sp Sp HP RS RE Bl El Bd Ed".split())
# Their arguments stand beside each other in fonts that alternate.
_ALTERNATING: Final = frozenset("BR RB BI IB IR RI".split())
_TEXTS: Final = frozenset("B I SM SB UR MT URL MTO SY".split())
_POINT = re.compile(r"[•*-]|\(?\w{1,3}[.)]")
# What DocBook and AsciiDoc write for a terminal: one that is moved into the margin.
_MOVED_POINT = re.compile(r"\\h'-\d{1,3}'(.{1,40}?)\\h'\+\d{1,3}'\\c$")
_STRING = re.compile(r'(\S+)[ \t]+"?(.*)')
_TAG_CHARS: Final = 1_000
_STRING_CHARS: Final = 500
_CODE: Final = {"nf": "fi", "EX": "EE", "Bd": "Ed", "Vb": "Ve"}
_ENDS: Final = frozenset({*_CODE.values(), "TE"})
# Of tbl(1): what parts cells, lines drawn between rows, and a cell on lines of its own.
_TAB = re.compile(r"\btab[ \t]*\((.)\)")
_RULE = re.compile(r"[ \t]*(?:\\?[_=]|\\\^)?[ \t]*")
_OPENED, _CLOSED = "T{", "T}"
_SHOWN: Final = frozenset({"D", "Dl"})  # D1 and Dl: one line of code
_PROTOTYPES: Final = frozenset({"In", "Fd", "Ft", "Nm"})  # that begin a line of a synopsis
_RUNNING: Final = frozenset({"-filled", "-ragged", "-centered", "-compact"})  # displays of mdoc that are no code
_KNOWN: Final = frozenset(
    {*_SECTIONS, *_ITEMS, *_BREAKS, *_ALTERNATING, *_TEXTS, *_CODE, *_ENDS, *_SHOWN, "OP", "TQ", "TS"}
)


def parse_manual_page(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield sections, paragraphs, lists of options, code and tables."""
    with TextReader(file, encoding) as reader:
        page = _Page(reader.read())
        if page.title:
            yield Title(text=page.title)
        for block in page.blocks():
            yield from bounded(page.exchanged(block))
        yield from included(page.included)
        yield from reader.notices()


class _Page:
    """Goes through the lines once."""

    def __init__(self, text: str) -> None:
        self.included: list[str] = []
        self._lines = list(expanded(text, _KNOWN))
        self._at = 0
        self._text: list[str] = []
        self._tag: str | None = None  # of an option or item whose description is read
        self._awaits_tag = False
        self._synopsis = False
        self._extended = False  # a tag of many lines
        self._glued = False  # to the text before it is what comes next
        self._signs: dict[int, str] = {}  # that stand for others where text is put out
        # What pod2man defines is a dash by way of a sign that it replaces later.
        self._strings = Strings(text)
        self._strings.update({"--": "—", "PI": "π"})
        self._mdoc = Mdoc(text, self._strings)
        self.title = next(filter(None, map(self._titled, self._lines)), "")

    def _titled(self, line: str) -> str:
        found = _REQUEST.match(line)
        words = self._plain(split_arguments(found[2])) if found is not None and found[1] in {"TH", "Dt"} else []
        return f"{words[0].lower()}({words[1]})" if len(words) > 1 else ""

    def blocks(self) -> Iterator[Block]:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            request = _REQUEST.match(line)
            if request is not None:
                yield from self._request(request[1], request[2])
            elif not line.startswith((".", "'")):
                if (point := _MOVED_POINT.match(line)) is not None:
                    yield from self._flush()
                    self._tag = plain_text(point[1], self._strings)
                elif not line.strip():
                    # Between an option and what it does there may be one.
                    yield from () if self._tag and not self._text else self._flush()
                else:
                    self._add(plain_text(line, self._strings))
                    self._glued = line.endswith("\\c") or not self._mdoc.spaced
        yield from self._flush()

    def exchanged(self, block: Block) -> Block:
        """With the characters that ``.tr`` has named."""
        if not self._signs:
            return block
        heading = block.heading and block.heading.translate(self._signs)
        return replace(block, text=block.text.translate(self._signs), heading=heading)

    def _request(self, name: str, rest: str) -> Iterator[Block]:
        words = split_arguments(rest, CALLED)
        if (text := self._spoken(name, words)) is not None:
            yield from self._flush() if self._synopsis and name in _PROTOTYPES else ()
            self._glued = self._glued or glued_before(name)
            self._add(text)
            self._glued = glued_after([name, *words]) or not self._mdoc.spaced
            self._named(words)
        elif name in _SECTIONS:
            yield from self._flush()
            heading = one_line(" ".join(self._plain(words)))
            self._synopsis = heading == "SYNOPSIS"
            if len(heading) > MAX_HEADING_CHARS:
                yield Block(text=f"{heading}\n\n")
            elif heading:
                yield Block(text=f"{heading}\n\n", kind=BlockKind.HEADING, level=_SECTIONS[name], heading=heading)
        elif (name in _CODE and not (name == "Bd" and _RUNNING & {*words})) or name in {"TS", *_SHOWN}:
            yield from self._flush()
            yield from self._whole(name, words)
        elif name in _ITEMS:
            yield from self._flush()
            self._awaits_tag = name == "TP"
            if name != "TP":
                self._tag = self._item(name, words)
                self._extended = "Xo" in words
        elif name in _BREAKS:
            yield from self._parted(name)
            self._listed(name, words)
        elif name == "PS":
            self._skip("PE")
        else:
            self._placed(name, words)
            self._noted(name, words, rest)

    def _placed(self, name: str, words: list[str]) -> None:
        """What belongs to text or a tag before it."""
        self._glued = False
        if name == "TQ":
            self._awaits_tag = True
        elif name == "Xc":
            self._add(self._mdoc.said(words))
            self._named([name])
        elif name in {"UE", "ME"}:
            self._glued = bool(words)
            self._add("".join(self._plain(words)))

    def _named(self, words: Sequence[str]) -> None:
        """End a tag of many lines."""
        if self._extended and "Xc" in words:
            self._tag, self._text, self._extended = "".join([self._tag or "", *self._text]), [], False

    def _noted(self, name: str, words: list[str], rest: str) -> None:
        """What is no text where it stands."""
        if name == "so":
            self.included.extend(self._plain(words[:1]))
        elif name == "tr":
            self._signs.update(exchanged(rest, self._strings))
        elif name == "ds" and (string := _STRING.match(rest)) is not None and "\\k" not in string[2]:
            # What goes back in the line is for printers. Of two kinds of device the page names the terminal first.
            self._strings.setdefault(string[1], plain_text(string[2], self._strings)[:_STRING_CHARS])

    def _spoken(self, name: str, words: list[str]) -> str | None:
        """What a request adds to the line, if it is one that stands within text."""
        if name in _ALTERNATING:
            return "".join(self._plain(words))
        if name in _TEXTS:
            return " ".join(self._plain(words))
        if name == "OP":
            return f"[{' '.join(self._plain(words))}]"
        return self._mdoc.spoken(name, words)

    def _item(self, name: str, words: list[str]) -> str:
        return self._mdoc.item(words) if name == "It" else "".join(self._plain(words[:1])) if name == "IP" else ""

    def _plain(self, words: Sequence[str]) -> list[str]:
        return plain_words(words, self._strings)

    def _parted(self, name: str) -> Iterator[Block]:
        """What is indented is about the line above it, and of one paragraph with it."""
        if name == "RS" and self._tag is None and self._text:
            self._tag, self._text = "".join(self._text), []
        elif name != "RS" or not self._tag or self._text:
            yield from self._flush()

    def _listed(self, name: str, words: list[str]) -> None:
        if name == "Bl":
            self._mdoc.opens(words)
        elif name == "El":
            self._mdoc.closes()

    def _add(self, text: str) -> None:
        """Text of the paragraph, or the tag that was announced."""
        awaited, self._awaits_tag = self._awaits_tag, False
        if awaited and len(self._tag or "") < _TAG_CHARS:
            self._tag = text if self._tag is None else f"{self._tag}, {text}"
        elif text:
            self._text.append(text if self._glued else f" {text}")
            self._glued = False

    def _flush(self) -> Iterator[Block]:
        text, tag = one_line("".join(self._text)), self._tag
        self._text, self._tag = [], None
        self._awaits_tag = self._extended = self._glued = False
        if tag is not None and one_line(f"{tag}{text}"):
            tag = one_line(tag)
            between = "" if not (tag and text) else " " if _POINT.fullmatch(tag) else ": "
            yield Block(text=f"{tag}{between}{text}\n\n", kind=BlockKind.LIST)
        elif text:
            yield Block(text=f"{text}\n\n")

    def _whole(self, name: str, words: list[str]) -> Iterator[Block]:
        """Code, or a table, up to where it ends."""
        if name in _SHOWN:
            yield from (
                Block(text=f"{said}\n\n", kind=BlockKind.CODE) for said in filter(None, [self._mdoc.said(words)])
            )
            return
        lines = self._skip({**_CODE, "TS": "TE"}[name])
        if name == "TS":
            yield from table_blocks(self._rows(lines))
        elif code := "\n".join(self._bare(lines)).strip("\n"):
            yield Block(text=f"{code}\n\n", kind=BlockKind.CODE)

    def _bare(self, lines: Sequence[str]) -> Iterator[str]:
        """The text of lines as they stand, without what only places them."""
        for line in lines:
            request = _REQUEST.match(line)
            if request is None:
                yield plain_text(line, self._strings)
                continue
            words = split_arguments(request[2], CALLED)
            if (text := self._spoken(request[1], words)) is not None:
                yield text
            elif request[1] in _ITEMS:
                yield from filter(None, [self._item(request[1], words)])
            elif request[1] in _BREAKS:
                self._listed(request[1], words)
                yield ""
            else:
                self._noted(request[1], words, request[2])

    def _rows(self, lines: Sequence[str]) -> Iterator[list[str]]:
        """Rows of tbl(1), whose layout comes before them, and again where it changes."""
        tab = _TAB.search(lines[0]) if lines and lines[0].rstrip().endswith(";") else None
        sign = "\t" if tab is None else tab[1]
        in_layout = any(line.rstrip().endswith(".") for line in lines)
        row: list[str] = []
        within: list[str] | None = None  # a cell that is open
        for line in lines:
            if within is not None:
                if not line.startswith(_CLOSED):
                    within.append(line)
                    continue
                row.append(" ".join(self._bare(within)))
                within, cells = None, line.removeprefix(_CLOSED).split(sign)[1:]
            elif in_layout:
                in_layout = not line.rstrip().endswith(".")
                continue
            elif line.startswith(".") and _REQUEST.match(line):
                in_layout = line.startswith(".T&")
                continue
            else:
                row, cells = [], line.split(sign)
            if cells and cells[-1].rstrip() == _OPENED:
                within = []
                cells.pop()
            row += ["" if _RULE.fullmatch(cell) else one_line(plain_text(cell, self._strings)) for cell in cells]
            if within is None:
                yield row
        if within is not None:
            yield [*row, " ".join(self._bare(within))]

    def _skip(self, end: str) -> list[str]:
        """Lines up to the request that ends them."""
        start = self._at
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            request = _REQUEST.match(line)
            if request is not None and request[1] in _SECTIONS and end in _ENDS:
                self._at -= 1
                return list(self._lines[start : self._at])
            if request is not None and request[1] == end:
                return list(self._lines[start : self._at - 1])
        return list(self._lines[start:])
