"""What every parser yields: blocks whose texts, joined, are the source's normalised text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

# Long enough that cutting is rare, short enough that a block is never a memory problem.
MAX_BLOCK_CHARS: Final = 16_384
# Longer "headings" are paragraphs in disguise.
MAX_HEADING_CHARS: Final = 200
# What a block counts for beyond its characters: empty ones are work, too.
_BLOCK_COST: Final = 8
_NAMED_FILES: Final = 5
# What of a caption goes along with each group of its table's rows.
_CAPTION_CHARS: Final = 160

_WHITE_SPACE = re.compile(r"\s+")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_CELL_RULES = re.compile(r"^[\s|:+=\-]*$")
_SENTENCE_END = re.compile(r"[.!?。！？][\"'”’)\]]*\s+")


class BlockKind(StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"
    CAPTION = "caption"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A structural piece of a source.

    ``text`` holds the white space that follows the piece, too, so that joining all blocks gives the source text that
    offsets are counted in. ``heading`` and ``level`` (1 is outermost) are set for headings: ``heading`` is the title
    without markup. Code may have a ``heading`` without being one: the name of what it defines, where others share its
    section. ``page`` counts from 1: pages, slides or sheets. ``header`` is for tables, whose rows are lines: the
    names of the columns where the text does not begin with them, empty where rows say them themselves or nobody does;
    ``None``: the first row holds them. ``caption`` is for tables, too: what the block of the kind ``CAPTION`` beside it
    calls it, as ``short_caption`` has it. Captions of figures are blocks, and nothing more.
    """

    text: str
    kind: BlockKind = BlockKind.PARAGRAPH
    level: int = 0
    heading: str = ""
    page: int | None = None
    header: str | None = None
    caption: str = ""

    @property
    def cost(self) -> int:
        """What it counts for, in characters, where what a parser yields is limited."""
        return len(self.text) + len(self.heading) + len(self.header or "") + len(self.caption) + _BLOCK_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a person should know of a source that was still read, such as pages that are only images."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    """The source's own title, for formats that carry one. Comes before the first block."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may still be unpacked: ``members`` of ``total_bytes`` in all, none larger than ``member_bytes``."""

    members: int
    total_bytes: int
    member_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A document within a source: what an archive or a mail holds. Comes after the source's last block.

    ``name`` is as the source writes it, ``/`` between folders, bytes that are no UTF-8 as surrogates. ``content``
    yields its bytes; a ``SourceError`` from it costs this member alone.
    """

    name: str
    content: Iterable[bytes]


# ``None`` is a sign of life from a parser that has been busy without finding text.
Parsed = Block | Notice | Title | Member | None


class Parser(Protocol):
    """Parses one file. It runs in a child process and may raise any ``SourceError``."""

    def __call__(self, file: BinaryIO, encoding: str) -> Iterator[Parsed]: ...


class ContainerParser(Protocol):
    """Parses a source that may hold others, within limits on all that it unpacks."""

    def __call__(self, file: BinaryIO, encoding: str, limits: Limits) -> Iterator[Parsed]: ...


def slide_heading(title: str, number: int) -> Block:
    """The heading of a slide: a slide without a title must not stand under the one before it, so its number is one.

    A first slide's number is no heading of the first level, which would be the document's title.
    """
    named = 0 < len(title) <= MAX_HEADING_CHARS
    heading = title if named else f"Slide {number}"
    level = 2 if number == 1 and not named else 1
    return Block(text=f"{heading}\n\n", kind=BlockKind.HEADING, level=level, heading=heading, page=number)


def included(names: Sequence[str]) -> Iterator[Notice]:
    """What is said of other files that a source includes, if there are any."""
    if names := list(dict.fromkeys(names)):
        told = ", ".join(names[:_NAMED_FILES]) + (" and others" if len(names) > _NAMED_FILES else "")
        yield Notice(message=f"It includes other files ({told}), which are not part of its text here.")


def one_line(text: str) -> str:
    """Text with every run of white space as one space."""
    return _WHITE_SPACE.sub(" ", text).strip()


def short_caption(text: str) -> str:
    """A caption as one line that leaves a chunk room for more; cut at a space, with an ellipsis, where it is long."""
    caption = one_line(text)
    if len(caption) <= _CAPTION_CHARS:
        return caption
    cut = caption[:_CAPTION_CHARS]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut else cut}…"


def says_caption(text: str, caption: str) -> bool:
    """Whether a text holds a caption that ``short_caption`` made one line of."""
    return caption.removesuffix("…") in one_line(text)


def bounded(block: Block) -> Iterator[Block]:
    """Cut a block that is too long into pieces of the same kind, at sentence ends or white space if there are any."""
    text = block.text
    if len(text) <= MAX_BLOCK_CHARS:
        yield block
        return
    kind = BlockKind.PARAGRAPH if block.kind is BlockKind.HEADING else block.kind
    header, below = block.header, block.header
    if kind is BlockKind.TABLE and header is None:
        below, _end = first_row(text)
    start = 0
    while start < len(text):
        end = cut_point(text, start, kind)
        yield Block(
            text=text[start:end],
            kind=kind,
            page=block.page,
            header=below if start else header,
            caption=block.caption,
        )
        start = end


def is_rule(line: str) -> bool:
    """Whether a line of a table only divides what stands above and below it."""
    return _CELL_RULES.match(line) is not None


def first_row(table: str) -> tuple[str, int]:
    """The cells of a table's first row, and where the row ends."""
    for match in _LINE.finditer(table):
        if match[0].strip() and not is_rule(match[0]):
            return match[0].strip().strip("| "), match.end()
    return "", len(table)


def cut_point(text: str, start: int, kind: BlockKind = BlockKind.PARAGRAPH) -> int:
    """Where the piece that begins at ``start`` should end."""
    limit = start + MAX_BLOCK_CHARS
    if limit >= len(text):
        return len(text)
    earliest = start + MAX_BLOCK_CHARS // 2
    if (line_end := text.rfind("\n", earliest, limit)) >= 0:
        return line_end + 1
    if kind in {BlockKind.PARAGRAPH, BlockKind.CAPTION}:
        ends = [match.end() for match in _SENTENCE_END.finditer(text, earliest, limit)]
        if ends:
            return ends[-1]
    if (space := max(text.rfind(" ", earliest, limit), text.rfind("\t", earliest, limit))) >= 0:
        return space + 1
    return limit
