"""LaTeX: sections, paragraphs, lists, tables, captions and code as text; formulas stay as they are written.

Read by its own rules and in one pass: a parser that follows TeX's grammar takes exponential time on documents of the
old style, and none can follow what documents define for themselves.
"""

from __future__ import annotations

import re
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
from indexer.parsers.latex.arguments import Arguments
from indexer.parsers.latex.macros import DEFINING, Macros
from indexer.parsers.latex.tables import Cells
from indexer.parsers.latex.tokens import SYMBOLS, Kind, Token, spaced, tokens
from indexer.parsers.latex.vocabulary import (
    BOXES,
    FLOATS,
    INCLUDES,
    LEVELS,
    LISTS,
    REFERENCES,
    SILENT,
    SKIPPED_ARGUMENTS,
    SPANS,
    TABLES,
    THEOREMS,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import BinaryIO

_BARE_NAME = re.compile(r"\s*\S+")
_MAX_ARGUMENT_DEPTH: Final = 20
_DASHES: Final = (("---", "—"), ("--", "–"), ("``", "“"), ("''", "”"))


def parse_latex(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the text of a document or of a part of one. Files that it includes are told, not read."""
    with TextReader(file, encoding) as reader:
        arguments = Arguments(tokens(reader.read()))
        writer = _Writer(arguments, Macros(arguments))
        start = writer.read_preamble()
        if writer.title:
            yield Title(text=writer.title)
        for block in writer.blocks(start):
            yield from bounded(block)
        yield from included(writer.included)
        yield from reader.notices()


class _Writer:
    """Goes through the tokens once, collects text, and hands out a block at every border."""

    def __init__(self, arguments: Arguments, macros: Macros, depth: int = 0) -> None:
        self._depth = depth  # of arguments within arguments
        self._arguments = arguments
        self._tokens = arguments.tokens
        self.title = ""
        self.included: list[str] = []
        self._authors = ""
        self._said_apart: list[str] = []  # thanks in titles and names of authors
        self._thanks: list[str] | None = None  # where they are collected
        self._macros = macros
        self._inline: list[str] = []
        self._lists: list[tuple[str, int]] = []
        self._items: list[str] = []
        self._marker = ""
        self._cells = Cells()
        self._table_depth = 0
        self._caption = ""  # of the tables here
        # What is to be done where a group closes.
        self._closing: dict[int, str] = {}

    def read_preamble(self) -> int:
        """Take title, authors and macros from it; returns where the text begins."""
        begin = next((n for n, t in enumerate(self._tokens) if t == Token(Kind.BEGIN, "document")), None)
        if begin is None:
            return 0
        at = 0
        if not any(token == Token(Kind.MACRO, "title") for token in self._tokens[:begin]):
            at = begin  # some classes have it in the text
            while at < len(self._tokens) and not self.title:
                token = self._tokens[at]
                at += 1
                if token == Token(Kind.MACRO, "title"):
                    at = self._titled("title", at)
            at = 0
        while at < begin:
            token = self._tokens[at]
            at += 1
            if token.kind is Kind.MACRO:
                if token.text in {"title", "author"}:
                    at = self._titled(token.text, at)
                elif token.text in DEFINING:
                    at = self._macros.define(token.text, at)
        return begin + 1

    def blocks(self, start: int) -> Iterator[Block]:
        if self.title:
            yield _heading(self.title, 1)
        for said in (self._authors, *self._said_apart):
            if said:
                yield Block(text=f"{said}\n\n")
        yield from self._walk(start, len(self._tokens))
        yield from self._flush()
        yield from self._end_lists()

    def _walk(self, start: int, end: int) -> Iterator[Block]:
        ranges = [(start, end)]
        while ranges:
            at, stop = ranges.pop()
            if at >= stop:
                continue
            token = self._tokens[at]
            if token.kind is Kind.END and token.text == "document":
                return
            body = self._macros.expand(token.text, len(ranges)) if token.kind is Kind.MACRO else None
            if body is not None:
                ranges += [(at + 1, stop), body]
                continue
            after = yield from self._step(token, at)
            ranges.append((after, stop))

    def _step(  # noqa: C901, PLR0912 - one branch a kind of token
        self, token: Token, at: int
    ) -> Generator[Block, None, int]:
        """Deal with one token; returns where to go on."""
        kind = token.kind
        if kind is Kind.MACRO:
            return (yield from self._macro(token.text, at + 1))
        if kind is Kind.BEGIN:
            return (yield from self._begin(token.text, at + 1))
        if kind is Kind.END:
            yield from self._end(token.text)
        elif kind is Kind.PARAGRAPH:
            if self._table_depth:
                self._inline.append(" ")
            else:
                yield from self._flush()
        elif kind is Kind.CODE:
            yield from self._flush()
            yield from self._put(token.text, BlockKind.CODE)
        elif kind is Kind.MATH:
            yield from self._formula(token.text)
        elif kind is Kind.ALIGN:
            self._end_cell()
        elif kind is Kind.CLOSE:
            yield from self._close(at)
        elif kind is Kind.OPEN:
            self._cells.groups += self._arguments.group_end(at) is not None
        else:
            text = token.text
            for mark, shown in _DASHES:
                text = text.replace(mark, shown)
            self._inline.append(text)
        return at + 1

    def _macro(self, name: str, after: int) -> Generator[Block, None, int]:  # noqa: C901, PLR0912, PLR0915 - a branch a kind
        if name in LEVELS:
            yield from self._flush()
            self._lists.clear()  # the macro of its own that ended one was not known
            yield from self._end_lists()
            title, after = self._argument(after)
            if title:
                yield _heading(title, LEVELS[name])
        elif name == "title":
            after = self._titled(name, after)
        elif name == "author":  # of a class that has it in the text
            yield from self._flush()
            authors, after = self._argument(after)
            yield from self._put(authors, BlockKind.PARAGRAPH)
        elif name in DEFINING:
            after = self._macros.define(name, after)
        elif name in {"item", "bibitem"}:
            after = yield from self._item(name, after)
        elif name == "par":
            yield from self._flush()
        elif name in {"\\", "tabularnewline", "cr"}:
            after = self._arguments.after_options(after)
            self._end_row(in_group=self._cells.groups > 0)
        elif name in INCLUDES:
            after = self._include(INCLUDES[name], after)
        elif name in {"and", "And", "AND"}:
            said = "".join(self._inline).rstrip()
            self._inline = [said, ", "] if said else []
        elif name == "thanks" and self._thanks is not None:
            said, after = self._argument(after)
            self._thanks.append(said)
        elif REFERENCES.match(name):
            keys, after = self._argument(after)
            self._inline.append(f"[{keys}]" if keys else "")
        elif name == "caption" and self._table_depth:
            said, after = self._argument(after)
            if said and not self._cells.begun:  # long tables say it again at the top of each page
                yield from self._put(said, BlockKind.CAPTION)
        elif name in {"caption", "footnote", "thanks"}:
            after = self._arguments.after_options(after)
            if (close := self._arguments.group_end(after)) is not None:
                self._closing[close] = name
                if name == "caption":
                    yield from self._flush()
                else:
                    self._inline.append(" (")
        elif name in SILENT:
            after = self._arguments.after_arguments(after)
        elif name in SKIPPED_ARGUMENTS:
            if name in SPANS and self._table_depth == 1:
                self._cells.span(name, self._argument(after)[0])
            after = self._arguments.after_options(after)  # boxes have two: their width, and where the text is in it
            after = self._arguments.after_arguments(after, SKIPPED_ARGUMENTS[name])
        elif name in SYMBOLS:
            self._inline.append(SYMBOLS[name])
        else:
            after = self._arguments.after_options(after)
        return after

    def _close(self, at: int) -> Iterator[Block]:
        self._cells.groups = max(0, self._cells.groups - 1)
        action = self._closing.pop(at, "")
        if action == "caption":
            yield from self._flush(BlockKind.CAPTION)
        elif action:
            self._inline.append(")")

    def _include(self, parts: int, after: int) -> int:
        """Note a file that is put in; plain TeX writes its name without braces."""
        target = ""
        for _ in range(parts):
            part, after = self._argument(after)
            target += part
        bare = None if target or after >= len(self._tokens) else _BARE_NAME.match(self._tokens[after].text)
        if bare is not None and self._tokens[after].kind is Kind.TEXT:
            target, after = bare[0].strip(), after + 1
            self._inline.append(bare.string[bare.end() :])
        self.included.append(target or "?")
        return after

    def _titled(self, name: str, after: int) -> int:
        text, after = self._argument(after, self._said_apart)
        if name == "title":
            self.title = self.title or text
        elif text not in self._authors:
            self._authors = f"{self._authors}, {text}" if self._authors else text
        return after

    def _begin(self, name: str, after: int) -> Generator[Block, None, int]:
        base = name.rstrip("*")
        if (caption := self._arguments.captions.get(after - 1)) is not None:
            self._caption, _end = self._argument(caption + 1)
        if name in TABLES or base in TABLES:
            after = self._arguments.after_arguments(after, TABLES.get(name, TABLES.get(base, 1)))
            if not self._table_depth:
                yield from self._flush()
                self._cells = Cells()
            self._table_depth += 1
            return after
        yield from self._flush()
        if base in LISTS:
            self._lists.append((base, 0))
            return (
                self._arguments.after_arguments(after)
                if base in {"thebibliography", "list"}
                else self._arguments.after_options(after)
            )
        if base == "abstract":
            yield _heading("Abstract", 2)
        if base in BOXES:
            return self._arguments.after_arguments(after)
        close = self._arguments.after_options(after)
        if base.lower() in THEOREMS and (said := self._plain(after, close)[1:-1].strip()):
            self._inline.append(f"({said}) ")
        return close

    def _end(self, name: str) -> Iterator[Block]:
        base = name.rstrip("*")
        if base in TABLES and self._table_depth:
            self._end_row()
            self._table_depth -= 1
            if not self._table_depth:
                yield from self._put(self._cells.text(), BlockKind.TABLE)
                self._caption = "" if base in FLOATS else self._caption
            return
        if self._table_depth:
            return
        yield from self._flush()
        if base in FLOATS:
            self._caption = ""
        if base in LISTS and self._lists:
            self._lists.pop()
            if not self._lists:
                yield from self._end_lists()

    def _end_cell(self) -> None:
        if self._table_depth == 1:
            self._cells.end_cell(self._taken())
        else:
            self._inline.append(" ")

    def _end_row(self, *, in_group: bool = False) -> None:
        """A line's end within braces is one of a cell."""
        if self._table_depth == 1 and not in_group:
            self._cells.end_row(self._taken())
        else:
            self._inline.append(" ")

    def _formula(self, text: str) -> Iterator[Block]:
        display = text.startswith(("$$", "\\[", "\\begin"))
        if not display or self._table_depth:
            self._inline.append(text)
            return
        yield from self._flush()
        yield from self._put(one_line(text), BlockKind.PARAGRAPH)

    def _item(self, name: str, after: int) -> Generator[Block, None, int]:
        yield from self._flush()
        label, close = "", self._arguments.after_options(after)
        if close > after:
            label = self._plain(after + 1, close - 1)
        if name == "bibitem":
            key, close = self._argument(close)
            label = label or key
        kind, number = self._lists.pop() if self._lists else ("itemize", 0)
        self._lists.append((kind, number + 1))
        indent = "  " * (len(self._lists) - 1)
        if label:
            self._marker = f"{indent}- {label}: "
        else:
            self._marker = f"{indent}{number + 1}. " if kind == "enumerate" else f"{indent}- "
        return close

    def _argument(self, at: int, thanks: list[str] | None = None) -> tuple[str, int]:
        """The text of the next group as one line, and where it ends; thanks in it are put apart where that is asked."""
        at = self._arguments.after_options(at)
        close = self._arguments.group_end(at)
        if close is None or self._depth > _MAX_ARGUMENT_DEPTH:
            return "", at
        return self._plain(at + 1, close, thanks), close + 1

    def _plain(self, start: int, end: int, thanks: list[str] | None = None) -> str:
        inner = _Writer(self._arguments, self._macros, self._depth + 1)
        inner._thanks = thanks
        return one_line(" ".join(block.text for block in inner._all(start, end)))

    def _all(self, start: int, end: int) -> Iterator[Block]:
        yield from self._walk(start, end)
        yield from self._flush()
        yield from self._end_lists()

    def _taken(self) -> str:
        text = one_line(spaced("".join(self._inline)))
        self._inline.clear()
        return text

    def _put(self, text: str, kind: BlockKind) -> Iterator[Block]:
        if not text.strip():
            return
        if self._lists:
            self._items.append(text)
        else:
            caption = short_caption(self._caption) if kind is BlockKind.TABLE else ""
            yield Block(text=f"{text}\n\n", kind=kind, caption=caption)

    def _flush(self, kind: BlockKind = BlockKind.PARAGRAPH) -> Iterator[Block]:
        text = self._taken()
        if not text:
            return
        if self._table_depth:
            self._inline.append(f"{text} ")
        elif self._lists:
            self._items.append(self._marker + text)
            self._marker = "  " * len(self._lists)
        else:
            yield Block(text=f"{text}\n\n", kind=kind)

    def _end_lists(self) -> Iterator[Block]:
        if self._items:
            yield Block(text="\n".join(self._items) + "\n\n", kind=BlockKind.LIST)
            self._items = []
        if not self._lists:
            self._marker = ""


def _heading(title: str, level: int) -> Block:
    if len(title) > MAX_HEADING_CHARS:
        return Block(text=f"{title}\n\n")
    return Block(text=f"{title}\n\n", kind=BlockKind.HEADING, level=level, heading=title)
