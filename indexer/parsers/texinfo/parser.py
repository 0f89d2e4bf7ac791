"""Texinfo, the manuals of GNU: sections, lists, definitions of functions, tables and code. Source: texinfo(5).

Of what is meant for one kind of output, that for a terminal is read. Menus, nodes and indexes are left out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, Title, bounded, included, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.tables import table_blocks
from indexer.parsers.texinfo.text import TexinfoText

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_INPUT = re.compile(r"\A\s*+\\input[ \t]+[^\n]*texinfo[^\n]*")
_COMMAND = re.compile(r"[ \t]*@([a-zA-Z]+)(?![a-zA-Z{])[ \t]*(.*)")
_COMMENT = re.compile(r"(?<!@)((?:@@)*+)@(?:c|comment)(?![A-Za-z{]).*")
_HEADINGS: Final = {
    name: level
    for level, names in enumerate(
        (
            "top part chapter unnumbered appendix chapheading majorheading centerchap",
            "section unnumberedsec appendixsec appendixsection heading",
            "subsection unnumberedsubsec appendixsubsec subheading",
            "subsubsection unnumberedsubsubsec appendixsubsubsec subsubheading",
        ),
        start=1,
    )
    for name in names.split()
}
_CODE: Final = frozenset("example smallexample lisp smalllisp verbatim".split())
_LINES: Final = frozenset("display smalldisplay format smallformat".split())
_SKIPPED: Final = frozenset(
    "ignore menu detailmenu direntry tex html xml docbook latex iftex ifhtml ifxml ifdocbook iflatex ifnotinfo "
    "ifnotplaintext".split()
)
_LISTS: Final = frozenset("itemize enumerate table ftable vtable".split())
_QUOTATIONS: Final = frozenset({"quotation", "smallquotation"})
_BORDERS: Final = frozenset(
    "copying titlepage group cartouche flushleft flushright raggedright indentedblock smallindentedblock float "
    "documentdescription ifinfo ifplaintext ifnottex ifnothtml ifnotxml ifnotdocbook ifnotlatex ifset ifclear "
    "ifcommanddefined ifcommandnotdefined nodedescriptionblock".split()
)
_TEXTS: Final = frozenset({"center", "author", "subtitle", "exdent", "abstract"})
_SILENT: Final = frozenset(
    "node setfilename settitle shorttitlepage documentencoding documentlanguage paragraphindent exampleindent page sp "
    "setchapternewpage footnotestyle finalout headings everyheading vskip "
    "everyfooting evenheading evenfooting oddheading oddfooting need contents shortcontents summarycontents bye alias "
    "dircategory firstparagraphindent afourpaper afivepaper bsixpaper smallbook kbdinputstyle allowcodebreaks clear "
    "codequoteundirected codequotebacktick xrefautomaticsectiontitle microtype urefbreakstyle lowersections indent "
    "raisesections noindent refill clickstyle unmacro listoffloats insertcopying definfoenclose "
    "deftypefnnewline frenchspacing pagesizes setcontentsaftertitlepage "
    "novalidate nodedescription pagestyle".split()
)
# What their first word is, where they do not name it themselves, and how many words stand before a name.
_KINDS: Final = {
    "defun": "Function", "defmac": "Macro", "defspec": "Special Form", "defvar": "Variable", "defopt": "User Option",
    "deftypefun": "Function", "deftypevar": "Variable", "defivar": "Instance Variable", "defmethod": "Method",
    "deftypeivar": "Instance Variable", "deftypemethod": "Method",
}  # fmt: skip
_DEFINITION = re.compile(
    r"(def(?:fn|vr|tp|cv|op|typefn|typevr|typecv|typeop|line|typeline|block)|" + "|".join(_KINDS) + ")(x?)"
)
_KIND = re.compile(r"\{([^{}]*)\}[ \t]*|(\S+)[ \t]*")
_MACRO = re.compile(r"([^\s{]+)[ \t]*(?:\{([^{}]*)\})?")
_TAB = re.compile(r"@tab\b[ \t]*")
_NUMBER = re.compile(r"[0-9]{1,9}")
_POINT = re.compile(r"[•*−-]|\(?\w{1,3}[.)]")
_CAPTION: Final = "@caption{"


@dataclass(slots=True)
class _List:
    name: str
    mark: str = ""
    number: int = 0

    def next_mark(self) -> str:
        """Of an item: its point, number or letter; of a table none."""
        if self.name != "enumerate":
            return self.mark
        self.number += 1
        left = ord("z" if self.mark.islower() else "Z") - ord(self.mark) + 1 if self.mark else 0
        return f"{chr(ord(self.mark) + self.number - 1) if self.number <= left else self.number}."


def parse_texinfo(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield sections, paragraphs, lists, definitions, tables and code. Other files that it includes are told."""
    with TextReader(file, encoding) as reader:
        walk = _Walk(reader.read())
        blocks = list(walk.blocks())
        if walk.title:
            yield Title(text=walk.title)
        for block in blocks:
            yield from bounded(block)
        yield from included(walk.included)
        yield from reader.notices()


class _Walk:
    """Goes through the lines once."""

    def __init__(self, page: str) -> None:
        self.title = ""
        self.included: list[str] = []
        self._lines = _INPUT.sub("", page).split("\n")
        self._at = 0
        self._text: list[str] = []
        self._tag = ""  # of an item or a definition whose text comes
        self._lists: list[_List] = []
        self._says = TexinfoText(page)
        self._ends: dict[str, list[int]] = defaultdict(list)
        for number, line in enumerate(self._lines):
            command = _COMMAND.match(line)
            if command is not None and command[1] == "end":
                self._ends["".join(command[2].split()[:1])].append(number)
            elif command is not None and command[1] == "set":  # titles use values that are set below them
                self._set(command[2], otherwise=True)

    def blocks(self) -> Iterator[Block]:
        while self._at < len(self._lines):
            line = _COMMENT.sub(r"\1", raw := self._lines[self._at])
            self._at += 1
            command = _COMMAND.match(line)
            if command is not None and command[1] == "bye":
                break
            if command is not None and (done := self._command(command[1], command[2].strip())) is not None:
                yield from done
            elif line.strip():
                yield from self._flush() if line.startswith(_CAPTION) else ()
                self._text.append(line)
            elif not raw.strip() and not (self._tag and not self._text):
                yield from self._flush()
        yield from self._flush()

    def _command(self, name: str, rest: str) -> Iterator[Block] | None:
        """What a line's command yields; None for one that stands within text."""
        if name in _HEADINGS:
            found = self._heading(_HEADINGS[name], rest)
        elif name in {"item", "itemx", "headitem"}:
            found = self._item(name, rest)
        elif name in _CODE or name in _LINES:
            found = self._whole(name)
        elif name == "multitable":
            found = self._table()
        elif name in _LISTS or name in _QUOTATIONS or name in _BORDERS or name == "end":
            found = self._border(name, rest)
        elif (definition := _DEFINITION.fullmatch(name)) is not None:
            found = self._definition(definition[1], rest, further=bool(definition[2]))
        else:
            return self._line(rest) if name in _TEXTS else self._noted(name, rest)
        return found

    def _noted(self, name: str, rest: str) -> Iterator[Block] | None:
        """What is no text where it stands."""
        if name in _SKIPPED or name in {"macro", "rmacro", "linemacro"}:
            body = self._until(name)
            if name.endswith("macro") and (found := _MACRO.match(rest)) is not None:
                parameters = [each.strip() for each in (found[2] or "").split(",")]
                self._says.define(found[1], parameters, "\n".join(body or ()))
        elif name in {"settitle", "title"}:
            title = one_line(self._says.shown(rest))
            self.title = self.title or (title if len(title) <= MAX_HEADING_CHARS else "")
            return self._line(rest) if title != self.title else iter(())
        elif name == "set":
            self._set(rest)
        elif name in {"include", "verbatiminclude"}:
            self.included.append(self._says.shown(rest))
        elif name not in _SILENT and not name.endswith("index"):  # of which pages have more of their own
            return None
        return iter(())

    def _set(self, rest: str, *, otherwise: bool = False) -> None:
        key, _space, value = _COMMENT.sub(r"\1", rest).partition(" ")
        if not (otherwise and key in self._says.values):
            self._says.values[key] = self._says.shown(value.strip())

    def _heading(self, level: int, rest: str) -> Iterator[Block]:
        yield from self._flush()
        heading = one_line(self._says.shown(rest))
        if len(heading) > MAX_HEADING_CHARS:
            yield Block(text=f"{heading}\n\n")
        elif heading:
            yield Block(text=f"{heading}\n\n", kind=BlockKind.HEADING, level=level, heading=heading)

    def _line(self, rest: str) -> Iterator[Block]:
        yield from self._flush()
        self._text.append(rest)
        yield from self._flush()

    def _border(self, name: str, rest: str) -> Iterator[Block]:
        """What begins and ends lists, quotations and blocks that only hold others."""
        yield from self._flush()
        if name in _LISTS:
            self._lists.append(_begun(name, one_line(self._says.shown(rest))))
        elif name in _QUOTATIONS:
            self._tag = one_line(self._says.shown(rest))
        elif name == "end" and self._lists and rest.split()[:1] == [self._lists[-1].name]:
            self._lists.pop()

    def _item(self, name: str, rest: str) -> Iterator[Block]:
        mark = self._lists[-1].next_mark() if self._lists and name == "item" else ""
        if mark:
            yield from self._flush()
            self._tag = mark
            self._text.extend([rest] if rest else [])
            return
        yield from self._tagged(one_line(self._says.shown(rest)), further=name == "itemx")

    def _definition(self, name: str, rest: str, *, further: bool) -> Iterator[Block]:
        while rest.endswith("@") and not rest.endswith("@@") and self._at < len(self._lines):  # goes on below
            rest = rest[:-1] + _COMMENT.sub(r"\1", self._lines[self._at]).strip()
            self._at += 1
        kind, named = _KINDS.get(name, ""), rest
        if not kind and (found := _KIND.match(rest)) is not None:
            kind, named = found[1] or found[2] or "", rest[found.end() :]
        shown, kind = (one_line(self._says.shown(each)) for each in (named, kind))
        yield from self._tagged(f"{shown} [{kind}]" if kind else shown, further=further)

    def _tagged(self, tag: str, *, further: bool) -> Iterator[Block]:
        """Begin what is about a tag; a further one is about the same."""
        if further and self._tag and not self._text:
            self._tag = f"{self._tag}, {tag}"
        else:
            yield from self._flush()
            self._tag = tag

    def _flush(self) -> Iterator[Block]:
        written, tag = "\n".join(self._text).lstrip(), self._tag
        self._text, self._tag = [], ""
        text = one_line(self._says.shown(written))
        if tag:
            between = "" if not text else " " if _POINT.fullmatch(tag) else ": "
            yield Block(text=f"{tag}{between}{text}\n\n", kind=BlockKind.LIST)
        elif text:
            kind = BlockKind.CAPTION if written.startswith(_CAPTION) else BlockKind.PARAGRAPH
            yield Block(text=f"{text}\n\n", kind=kind)

    def _whole(self, name: str) -> Iterator[Block]:
        """Lines as they stand."""
        yield from self._flush()
        lines = self._until(name)
        if lines is None:
            return
        body = (
            "\n".join(lines)
            if name == "verbatim"
            else self._says.shown("\n".join(self._bare(lines)), code=name in _CODE)
        )
        if body := body.strip("\n"):
            yield Block(text=f"{body}\n\n", kind=BlockKind.CODE if name in _CODE else BlockKind.PARAGRAPH)

    def _bare(self, lines: Sequence[str]) -> Iterator[str]:
        """Lines without comments and commands that only place them."""
        for line in lines:
            text = _COMMENT.sub(r"\1", line)
            command = _COMMAND.match(text)
            if command is not None and command[1] in _TEXTS:
                yield command[2]
            elif (text.strip() or not line.strip()) and (command is None or not _is_placing(command[1])):
                yield text

    def _table(self) -> Iterator[Block]:
        yield from self._flush()
        rows: list[list[str]] = []
        heads = 0
        nested = 0  # lists in cells
        for line in self._until("multitable") or ():
            command = _COMMAND.match(line)
            name, rest = (command[1], command[2]) if command is not None else ("", line)
            nested += (name in _LISTS) - (name == "end" and rest.strip() in _LISTS)
            if not nested and name in {"item", "headitem"}:
                heads += name == "headitem" and heads == len(rows)
                rows.append([""])
            if rows:
                first, *others = _TAB.split("\n".join(self._bare([line if name not in {"item", "headitem"} else rest])))
                rows[-1][-1] += f"{first}\n"
                rows[-1].extend(others)
        shown = [[one_line(self._says.shown(cell)) for cell in row] for row in rows]
        yield from table_blocks(shown, header_rows=heads or None)

    def _until(self, name: str) -> Sequence[str] | None:
        """Lines up to the end of a block; None, and none of them, where it has no end."""
        ends = self._ends.get(name, [])
        place = bisect_right(ends, self._at - 1)
        if place == len(ends):
            return None
        start, self._at = self._at, ends[place] + 1
        return self._lines[start : ends[place]]


def _begun(name: str, mark: str) -> _List:
    """A list of this kind, with what is said of its marks."""
    if name == "enumerate":
        letter = mark if len(mark) == 1 and mark.isascii() and mark.isalpha() else ""
        return _List(name, letter, int(mark) - 1 if _NUMBER.fullmatch(mark) else 0)
    return _List(name, mark[:1] or "•" if name == "itemize" else "")


def _is_placing(name: str) -> bool:
    return (
        name in _SILENT
        or name.endswith("index")
        or name in _BORDERS
        or name in _SKIPPED
        or name in _QUOTATIONS
        or name in {"end", *_LISTS}
    )
