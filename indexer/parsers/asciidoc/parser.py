"""AsciiDoc: sections, lists, tables, code and admonitions. References to attributes and inline macros are their text.

Comments, conditions, anchors and what blocks are to look like are left out. Source: docs.asciidoctor.org.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.asciidoc.tables import asciidoc_table
from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, bounded, included, one_line
from indexer.parsers.decoding import TextReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_HEADING = re.compile(r"^(={1,6}|#{1,6})[ \t]+(\S.*?)(?:[ \t]+\1)?[ \t]*$")
_UNDERLINE = re.compile(r"^(=+|-+|~+|\^+|\++)[ \t]*$")
_LEVELS: Final = {mark: level for level, mark in enumerate("=-~^+", start=1)}
_ATTRIBUTE = re.compile(r"^:(!?)([\w-]{1,80})(!?):(?:[ \t]+(.*))?$")
_STYLE = re.compile(r"^\[((?:[^\W\d]|[.#%{,\"'])(?:[^\]]|\](?=\S))*)?\][ \t]*$|^\[\[[^\]]*\]\][ \t]*$")
_TITLE = re.compile(r"^\.([^\s.].*)$")
_CODE = re.compile(r"^(-{4,}|\.{4,}|`{3,})[\w+#-]*[ \t]*$")
_COMMENT = re.compile(r"^/{4,}[ \t]*$")
_FORMULA = re.compile(r"^\+{4,}[ \t]*$")
# Blocks that hold others: examples, sidebars, quotations, open ones.
_HOLDER = re.compile(r"^(?:={4,}|\*{4,}|_{4,}|--)[ \t]*$")
_TABLE = re.compile(r"^([|,:!])={3,}[ \t]*$")
_CONDITION = re.compile(r"^(?:ifn?def|ifeval|endif)::[^\[\s]*\[.*\][ \t]*$")
_OPENED_IF = re.compile(r"ifn?def::[^\[\s]*\[")
_INCLUDE = re.compile(r"^include::([^\[]+)\[.*\][ \t]*$")
_PICTURE = re.compile(r"^(?:image|video|audio)::([^\[\s]*)\[(.*)\][ \t]*$")
_ASIDE = re.compile(r"^(?:\+|'{3,}|<{3,}|-{3}|\*{3}|toc::\[\])[ \t]*$|^//(?!/)")
_LIST_ITEM = re.compile(
    r"^[ \t]*(?:\*{1,5}|-|\.{1,5}|\d{1,3}\.|[a-zA-Z]\.|<(?:\d{1,3}|\.)>)[ \t]+\S"
    r"|^[ \t]*\S.{0,200}?(?::{2,4}|;;)(?:[ \t]|$)"
)
_BARS = re.compile(r"^\|.*\|")
# What ends a paragraph that it stands right below.
_BEGINNINGS: Final = (
    _CODE, _COMMENT, _HOLDER, _TABLE, _FORMULA, _ASIDE, _STYLE, _INCLUDE, _PICTURE, _CONDITION, _ATTRIBUTE,
)  # fmt: skip
_ADMONITION = re.compile(r"^(NOTE|TIP|IMPORTANT|CAUTION|WARNING)\b")
# By whom, and from what.
_QUOTED = re.compile(r"^[\"']?(?:quote|verse)[\w.#%-]*[\"']?[ \t]*,(.+)$")
_LISTING = re.compile(r"^(?:source|listing|literal)\b|^,\w")
_ALT = re.compile(r"^(?:alt=)?(?:\"([^\"]*)\"|'([^']*)'|([^,=]++)(?!=))")

_REFERENCE = re.compile(r"\{([\w-]{1,80})\}")
_LABELLED: Final = r"\[([^\]\n]{0,500})\]"
_INLINE: Final = (
    (re.compile(r"\(\(\([^()\n]{0,300}\)\)\)"), ""),
    (re.compile(r"\(\(([^()\n]{1,300})\)\)"), r"\1"),
    (re.compile(r"\[{2,3}[^\[\]\n]{1,200}\]{2,3}|anchor:[\w-]{1,80}\[[^\]\n]{0,200}\]"), ""),
    (re.compile(r"<<[^<>,\n]{1,200},[ \t]*([^<>\n]{1,300})>>"), r"\1"),
    (re.compile(r"<<#?([^<>,\n]{1,200})>>"), r"\1"),
    (re.compile(rf"[ \t]?footnote:(?:[\w-]{{0,80}}){_LABELLED}"), r" (\1)"),
    (re.compile(r"\b(?:link|xref|mailto):([^\s\[\]]{1,500})\[\]"), r"\1"),
    (re.compile(rf"\b(?:link|xref|mailto):[^\s\[\]]{{1,500}}{_LABELLED}"), r"\1"),
    (re.compile(r"(?:https?|ftp|irc)://[^\s\[\]<>]{1,500}\[([^\]\n]{1,500})\]"), r"\1"),
    (re.compile(r"((?:https?|ftp|irc)://[^\s\[\]<>]{1,500})\[\]"), r"\1"),
    (re.compile(r"\bmenu:([^\[\]\n]{1,80})\[([^\]\n]{1,200})\]"), r"\1 > \2"),
    (re.compile(rf"\b(?:kbd|btn|pass|stem|latexmath|asciimath):(?:[\w,]{{0,20}}){_LABELLED}"), r"\1"),
    (re.compile(r"\b(?:image|icon):[^\s\[\]]{1,300}\[([^\],\n]{0,300}+)[^\]\n]{0,300}+\]"), r"\1"),
    (re.compile(r"\[[.#][\w.#-]{1,80}\]#([^#\n]{1,300})#"), r"\1"),
    (re.compile(r"\+\+\+([^+\n]{1,300})\+\+\+"), r"\1"),
    (re.compile(r"[ \t]\+$", re.MULTILINE), ""),
)  # fmt: skip
_KEPT_ATTRIBUTES: Final = {"nbsp": " ", "sp": " ", "empty": "", "blank": "", "plus": "+", "vbar": "|", "zwsp": ""}
_MAX_REFERENCES: Final = 20_000


def parse_asciidoc(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield sections, paragraphs, lists, tables and code. Other files that it includes are told, not read."""
    with TextReader(file, encoding) as reader:
        walk = _Walk(reader.read())
        for block in walk.blocks():
            yield from bounded(block)
        yield from included(walk.included)
        yield from reader.notices()


class _Walk:
    """Goes through the lines once."""

    def __init__(self, text: str) -> None:
        self.included: list[str] = []
        self._lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        self._at = 0
        self._attributes = dict(_KEPT_ATTRIBUTES)
        self._references = 0
        self._style = ""  # in brackets above what comes
        self._title = ""
        self._label = ""  # of an admonition or a quotation that begins
        self._open: list[str] = []  # borders of blocks that hold others
        # Titles use attributes that are set below them.
        for found in filter(None, map(_ATTRIBUTE.match, self._lines)):
            self._attributes.setdefault(found[2], (found[4] or "").strip()[:MAX_HEADING_CHARS])

    def blocks(self) -> Iterator[Block]:
        while self._at < len(self._lines):
            line = self._line(self._at)
            if not line.strip() or _ASIDE.match(line):
                self._at += 1
            elif not self._noted(line):
                yield from self._block(line)
                self._style = ""

    def _noted(self, line: str) -> bool:
        """Whether a line is no text itself: it says something of what comes, or holds nothing to read."""
        if shown := _shown_if(line):
            self._lines[self._at] = f"{shown}\n"
            return True
        if _CONDITION.match(line):
            pass
        elif (attribute := _ATTRIBUTE.match(line)) is not None:
            self._define(attribute)
        elif (include := _INCLUDE.match(line)) is not None:
            self.included.append(include[1])
        elif (style := _STYLE.match(line)) is not None:
            self._style = style[1] or self._style
        elif (title := _TITLE.match(line)) is not None and not _LIST_ITEM.match(line):
            self._title = self._inline(title[1].rstrip())
        elif _COMMENT.match(line):
            self._until(_COMMENT)
            return True
        elif _HOLDER.match(line) is not None:
            self._hold(line.rstrip())
        else:
            return False
        self._at += 1
        return True

    def _hold(self, border: str) -> None:
        """Begin a block that holds others, or end it."""
        if border in self._open:
            del self._open[self._open.index(border) :]
            return
        self._open.append(border)
        self._label = self._stated_label() or self._label
        self._style = ""

    def _stated_label(self) -> str:
        """What an admonition is, and whose a quotation, as its style says it."""
        if (admonition := _ADMONITION.match(self._style)) is not None:
            return f"{admonition[1]}: "
        quoted = _QUOTED.match(self._style)
        stated = [] if quoted is None else [part.strip(" \t\"'") for part in quoted[1].split(",")]
        whose = ", ".join(part for part in stated if part and "=" not in part)
        return f"{self._shown(whose)}: " if whose else ""

    def _define(self, attribute: re.Match[str]) -> None:
        value = (attribute[4] or "").rstrip()
        while value.endswith("\\") and self._at + 1 < len(self._lines):
            self._at += 1
            value = value[:-1].rstrip("+ \t") + " " + self._line(self._at).strip()
        if attribute[1] or attribute[3]:
            self._attributes.pop(attribute[2], None)
        else:
            self._attributes[attribute[2]] = self._replaced(value)[:MAX_HEADING_CHARS]

    def _block(self, line: str) -> Iterator[Block]:
        if (heading := self._heading(line)) is not None:
            self._title = self._label = ""
            yield heading
            return
        title, self._title = self._title, ""
        if (table := _TABLE.match(line)) is not None:
            if title:
                yield Block(text=f"{title}\n\n", kind=BlockKind.CAPTION)
            body = self._body(re.compile(rf"^{re.escape(line.rstrip())}[ \t]*$"))
            yield from asciidoc_table(body, self._style, table[1], caption=title, inline=self._shown)
        elif (picture := _PICTURE.match(line)) is not None:
            self._at += 1
            named = _ALT.match(picture[2])
            alt = next(filter(None, named.groups()), "") if named is not None else ""
            if text := one_line(f"{title} {self._inline(alt)}"):
                yield Block(text=f"{text}\n\n", kind=BlockKind.CAPTION)
        else:
            if title:
                yield Block(text=f"{title}\n\n")
            yield from self._text(line)

    def _text(self, line: str) -> Iterator[Block]:
        kind = BlockKind.CODE
        if (code := _CODE.match(line)) is not None:
            body = "".join(self._body(re.compile(rf"^{re.escape(code[1])}[ \t]*$"))).strip("\n")
        elif _FORMULA.match(line):
            kind, body = BlockKind.PARAGRAPH, "".join(self._until(_FORMULA)).strip("\n")
        elif _LISTING.match(self._style) or (line[0] in " \t" and not _LIST_ITEM.match(line)):
            body = "".join(self._run()).rstrip("\n")
        else:
            yield from self._prose()
            return
        if body.strip():
            yield Block(text=f"{body}\n\n", kind=kind)

    def _heading(self, line: str) -> Block | None:
        if len(line) > 2 * MAX_HEADING_CHARS:
            return None
        if (found := _HEADING.match(line)) is not None:
            level, name, count = len(found[1]), found[2], 1
        elif self._is_underline(self._at + 1):
            level, name, count = _LEVELS[self._line(self._at + 1)[0]], line, 2
        else:
            return None
        name = one_line(self._inline(name).replace("`", ""))
        if not name or len(name) > MAX_HEADING_CHARS:
            return None
        self._at += count
        return Block(text=f"{name}\n\n", kind=BlockKind.HEADING, level=level, heading=name)

    def _is_underline(self, number: int) -> bool:
        """Whether a line underlines a title: as long as that but for a character, below an empty line."""
        under, title = self._line(number).rstrip(), self._line(number - 1).rstrip() if number else ""
        if len(under) < 2 or not _UNDERLINE.match(under) or under in self._open:
            return False
        if abs(len(under) - len(title)) > 1 or not title[:1].isalnum():
            return False
        above = self._line(number - 2) if number > 1 else ""
        return not above.strip() or bool(_STYLE.match(above) or _ASIDE.match(above))

    def _prose(self) -> Iterator[Block]:
        lines = self._run()
        kind = BlockKind.LIST if _LIST_ITEM.match(lines[0]) else BlockKind.PARAGRAPH
        if all(map(_BARS.match, lines)):
            kind = BlockKind.TABLE
        label, self._label = self._label, ""
        label = self._stated_label() or label
        text = self._inline("".join(lines)).strip("\n")
        if text.strip():
            yield Block(text=f"{label}{text}\n\n", kind=kind)

    def _run(self) -> list[str]:
        """Lines up to an empty one, or to one that begins something else."""
        start = self._at
        self._at += 1
        while self._at < len(self._lines) and self._lines[self._at].strip():
            line = self._line(self._at)
            if any(each.match(line) for each in _BEGINNINGS):
                break
            self._at += 1
        return self._lines[start : self._at]

    def _body(self, end: re.Pattern[str]) -> list[str]:
        """Lines up to one that ends them, without conditions, and without other files, which are told."""
        body = [f"{shown}\n" if (shown := _shown_if(line.rstrip("\n"))) else line for line in self._until(end)]
        self.included.extend(found[1] for found in map(_INCLUDE.match, body) if found is not None)
        return [line for line in body if not _INCLUDE.match(line) and not _CONDITION.match(line)]

    def _until(self, end: re.Pattern[str]) -> list[str]:
        """Lines after this one up to one that ends them, or all that there are."""
        start = self._at + 1
        self._at = next((n for n in range(start, len(self._lines)) if end.match(self._line(n))), len(self._lines))
        body = self._lines[start : self._at]
        self._at += 1
        return body

    def _shown(self, text: str) -> str:
        return one_line(self._inline(text))

    def _inline(self, text: str) -> str:
        text = self._replaced(text)
        for pattern, shown in _INLINE:
            text = pattern.sub(shown, text)
        return text

    def _replaced(self, text: str) -> str:
        """Text with the values of attributes that are set; so many in all, for values may be long."""
        if self._references > _MAX_REFERENCES:
            return text
        text, count = _REFERENCE.subn(lambda found: self._attributes.get(found[1], found[0]), text)
        self._references += count
        return text

    def _line(self, number: int) -> str:
        return self._lines[number].rstrip("\n") if number < len(self._lines) else ""


def _shown_if(line: str) -> str:
    """What conditions of one line, within one another, show; empty where there are none."""
    start, end = 0, len(line)
    while (opened := _OPENED_IF.match(line, start, end)) is not None:
        last = end - 1
        while line[last] in " \t":
            last -= 1
        if line[last] != "]" or last <= opened.end():
            break
        start, end = opened.end(), last
    return line[start:end] if start else ""
