"""Markdown: structure by markdown-it, text verbatim from the source but for tags that say nothing."""

from __future__ import annotations

import html
import io
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from markdown_it import MarkdownIt

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, Title, bounded, one_line
from indexer.parsers.captions import beside_tables, is_marked_caption
from indexer.parsers.decoding import TextReader
from indexer.parsers.html.parser import parse_html
from indexer.parsers.markdown.footnotes import MENTION, part_notes, without_marks
from indexer.parsers.markdown.front import below_heading, front_matter
from indexer.parsers.markdown.furniture import is_badges, is_contents, is_contents_title
from indexer.parsers.markdown.tables import part_tables
from indexer.parsers.notes import beside_mentions
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from markdown_it.token import Token

# A segment is parsed as a whole, so it bounds memory; it ends at a heading if one comes, at a blank line if none does.
_SEGMENT_CHARS: Final = 1 << 18
_SEGMENT_MAX_CHARS: Final = 1 << 20
# Read limit for one line: Markdown has no business with longer ones, and a line is held in memory.
_LINE_CHARS: Final = 1 << 16

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_ATX_HEADING = re.compile(r"^#{1,6}\s")
# What lays out a page; a picture with a description is no such thing.
_TAGS_ONLY = re.compile(
    r"\A\s*(?:(?:<!--(?:(?!-->).)*-->|</?(?:details|summary|div|p|center|section|span|a|br|hr|picture|source|font)\b[^<>]*>)\s*)+\Z",
    re.DOTALL | re.IGNORECASE,
)
_FOLD = re.compile(r"</?details\b[^<>]*>[ \t]*\n?|<summary\b[^<>]*>\s*", re.IGNORECASE)
_FOLD_TITLE_END = re.compile(r"</summary>[ \t]*\n?", re.IGNORECASE)
# Where a program puts in a table of contents.
_CONTENTS = re.compile(r"\A\s*\[(?:\[_TOC_\]|TOC)\]\s*\Z")

# What Pandoc, Kramdown and Docusaurus take for a heading's identifier and its classes.
_ATTRIBUTES = re.compile(r"\s*\{:?\s*[#.-][^{}]*\}$")
_HTML_HEADING = re.compile(r"<h([1-6])\b[^<>]*>((?:(?!<h[1-6]\b).)*?)</h\1\s*>", re.DOTALL | re.IGNORECASE)
_HTML_TABLE = re.compile(r"\A\s*<table\b.*</table\s*>\s*\Z", re.DOTALL | re.IGNORECASE)
_MAX_HTML_HEADING: Final = 1 << 14
# Whose words the text of a page goes without.
_HTML_UNREAD = re.compile(r"<(?:nav|footer|button|option|textarea)\b|<[a-z][^<>]*\shidden\b", re.IGNORECASE)
_HTML_MARKUP = re.compile(r"""<!--.*?(?:-->|\Z)|</?[a-zA-Z](?:[^<>"']|"[^"]*"|'[^']*')*>?""", re.DOTALL)
# What is no text of a page, up to its end if it has one.
_HTML_SILENT = re.compile(
    r"<(script|style|annotation-xml|annotation)\b[^<>]*+>.*?(?:(</\1\s*+>)|\Z)", re.DOTALL | re.IGNORECASE
)
_HTML_TAG = re.compile(r"<!--.*?-->|</?[a-zA-Z][^>]*>", re.DOTALL)

_KINDS: Final = {
    "heading_open": BlockKind.HEADING,
    "bullet_list_open": BlockKind.LIST,
    "ordered_list_open": BlockKind.LIST,
    "table_open": BlockKind.TABLE,
    "fence": BlockKind.CODE,
    "code_block": BlockKind.CODE,
}


def parse_markdown(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the top-level blocks of a Markdown file.

    Comments, badges and lists of its own contents are left out. The title of front matter is used, and what else that
    says stands below the first heading.
    """
    yield from beside_tables(_parsed(file, encoding))


def _parsed(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    first = True
    with TextReader(file, encoding) as source:
        for segment in _segments(source.lines(_LINE_CHARS)):
            text, said = segment, ""
            if first and (front := front_matter(text)) is not None:
                text, said = text[front.end :], front.said
                if front.title:
                    yield Title(text=front.title)
            first = False
            text, notes = part_notes(text)
            for block in below_heading(beside_mentions(_with_tables(reader, text), notes, MENTION), said):
                yield from bounded(block)
        yield from source.notices()


def _segments(source: Iterator[str]) -> Iterator[str]:
    lines: list[str] = []
    size = 0
    fence = ""
    after_blank = True
    for line in source:
        heading = after_blank and not fence and _ATX_HEADING.match(line)
        if (size >= _SEGMENT_CHARS and heading) or (size >= _SEGMENT_MAX_CHARS and (after_blank or fence)):
            yield "".join(lines)
            lines, size = [], 0
        if marker := _FENCE.match(line):
            if not fence:
                fence = marker[1]
            elif marker[1].startswith(fence):
                fence = ""
        lines.append(line)
        size += len(line)
        after_blank = not line.strip()
    if lines:
        yield "".join(lines)


def _with_tables(reader: MarkdownIt, text: str) -> Iterator[Block]:
    for part in part_tables(text):
        if isinstance(part, Block):
            yield part
        else:
            yield from _blocks(reader, part)


def _blocks(reader: MarkdownIt, text: str) -> Iterator[Block]:
    tokens = reader.parse(text)
    starts: list[tuple[int, int]] = []
    for index, token in enumerate(tokens):
        if token.level == 0 and token.map is not None and token.nesting >= 0:
            starts.append((token.map[0], index))
    offsets = _line_offsets(text)
    held: Block | None = None  # a heading that goes with what is below it
    for number, (line, index) in enumerate(starts):
        begin = offsets[line] if number else 0
        end = offsets[starts[number + 1][0]] if number + 1 < len(starts) else len(text)
        contents = is_contents(tokens, index)
        if held is not None and not contents:
            yield held
        held = None
        if tokens[index].type == "html_block" and (tables := _html_tables(text[begin:end])):
            yield from tables
            continue
        block = None if contents else _block(tokens, index, text[begin:end])
        if block is not None and block.kind is BlockKind.HEADING and is_contents_title(block.heading):
            held = block
        elif block is not None:
            yield block
    if held is not None:
        yield held


def _line_offsets(text: str) -> list[int]:
    offsets = [0]
    position = text.find("\n")
    while position >= 0:
        offsets.append(position + 1)
        position = text.find("\n", position + 1)
    return offsets


def _block(tokens: list[Token], index: int, text: str) -> Block | None:
    token = tokens[index]
    if token.type == "html_block" and _TAGS_ONLY.match(text):
        return None
    if token.type == "paragraph_open" and (_CONTENTS.match(text) or is_badges(tokens[index + 1])):
        return None
    if token.type == "html_block" and (titled := _html_heading(text)):
        return titled
    if token.type == "html_block":
        text = _FOLD.sub("", _FOLD_TITLE_END.sub("\n", text))
    kind = _KINDS.get(token.type, BlockKind.PARAGRAPH)
    if token.type == "paragraph_open" and (is_marked_caption(text) or _is_picture(tokens[index + 1])):
        kind = BlockKind.CAPTION
    if kind is not BlockKind.HEADING:
        return Block(text=text, kind=kind)
    heading = _ATTRIBUTES.sub("", one_line(without_marks(_plain(tokens[index + 1]))))
    if not heading or len(heading) > MAX_HEADING_CHARS:
        return Block(text=text)
    return Block(text=text, kind=BlockKind.HEADING, level=int(token.tag[1:]), heading=heading)


def _html_tables(text: str) -> list[Block]:
    """Of a table in HTML, as text recognition writes them into Markdown; nothing where it cannot be read as one.

    Nor where words would be lost, as those of buttons. A heading in a cell is none of the document.
    """
    if not _HTML_TABLE.match(text) or _html_heading(text):
        return []
    read = _HTML_SILENT.sub(lambda silent: "" if silent[2] else silent[0], text)
    if _HTML_UNREAD.search(read):
        return []
    try:
        parsed = [item for item in parse_html(io.BytesIO(text.encode()), "utf-8") if isinstance(item, Block)]
    except SourceDamaged:
        return []
    if _letters(html.unescape(_HTML_MARKUP.sub("", read))) - _letters("".join(block.text for block in parsed)):
        return []
    return [Block(text=item.text) if item.kind is BlockKind.HEADING else item for item in parsed]


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalpha, text))


def _html_heading(text: str) -> Block | None:
    """A heading in HTML, as the titles of many projects are, if it is all that a block says."""
    found = _HTML_HEADING.search(text) if len(text) <= _MAX_HTML_HEADING else None
    title = _html_text(found[2]) if found else ""
    if not found or not title or len(title) > MAX_HEADING_CHARS or title != _html_text(text):
        return None
    return Block(text=text, kind=BlockKind.HEADING, level=int(found[1]), heading=title)


def _html_text(text: str) -> str:
    return one_line(html.unescape(_HTML_TAG.sub("", text)))


def _is_picture(inline: Token) -> bool:
    """Whether a picture is all of a paragraph: what it is called is its caption then, as Pandoc and others show it."""
    return [bool(child.type == "image" and child.content) for child in inline.children or ()] == [True]


def _plain(inline: Token) -> str:
    """Text of an inline token as a reader sees it."""
    parts = []
    for child in inline.children or ():
        if child.type in {"softbreak", "hardbreak"}:
            parts.append(" ")
        elif child.type in {"text", "code_inline", "image"}:
            parts.append(child.content)
    return "".join(parts)
