"""Rich Text (rtf): headings, paragraphs, list items and tables; striprtf (BSD) knows the words of the format."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, Title, bounded, one_line
from indexer.parsers.captions import by_their_words
from indexer.parsers.heading_words import MAX_LEVEL
from indexer.parsers.office.package import telling_title
from indexer.parsers.office.rtf_letters import LetterMarks
from indexer.parsers.office.unmarked_headings import Line, unmarked_headings
from indexer.parsers.tables import TableWriter
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    from indexer.parsers.office.rtf_letters import LetteredLine

_TITLE = re.compile(r"\{\\info\b.{0,2000}?\{\\title ([^{}\\]{1,300})\}", re.DOTALL)
_HEX_DATA = re.compile(r"[0-9a-fA-F\r\n]{512,}")
_SIGNS: Final = r"•‣▪·o*–\uf020-\uf0ff"  # and what fonts of signs have in their private area
_ITEM = re.compile(rf"^[\t ]*(?:[{_SIGNS}\-]|\(?\d{{1,3}}[.)]|\(?[a-z][.)])[\t ]+(?=\S)")
_BULLET = re.compile(rf"^[\t ]*[{_SIGNS}][\t ]+")
_CELL: Final = "|"


def parse_rtf(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - Rich Text says its encoding itself
    """Yield headings, paragraphs, lists and tables.

    Raises:
        SourceDamaged: it cannot be read as Rich Text.
    """
    from striprtf.striprtf import rtf_to_text

    source = file.read().decode("latin-1")
    yield None
    if (match := _TITLE.search(source[:20_000])) and (title := telling_title(match[1])):
        yield Title(text=title)
    if "\\pict" in source or "\\objdata" in source:
        # Pictures and embedded files, which striprtf would go through digit by digit.
        source = _HEX_DATA.sub("", source)
    try:
        marks = LetterMarks()
        text = rtf_to_text(marks.marked(source), errors="replace")
    except (ValueError, LookupError, OverflowError) as error:
        raise SourceDamaged(f"This cannot be read as Rich Text: {error}.", hint="Save it as docx or PDF.") from error
    # Characters beyond the first 65,536 come as two halves.
    text = text.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
    lines = list(marks.lines(text.replace("\x00", "").replace("\xad", "")))
    levels = yield from unmarked_headings(map(_seen, range(len(lines)), lines))
    levels.update((place, level) for place, line in enumerate(lines) if (level := _marked(line)) is not None)
    blocks = _blocks([line.text for line in lines], levels)
    yield from by_their_words(piece for block in blocks for piece in bounded(block))


def _seen(place: int, line: LetteredLine) -> Line:
    letters = line.letters
    apart = letters.in_table or line.text.rstrip().endswith(_CELL) or _BULLET.match(line.text) is not None
    return Line(
        place=place,
        text=one_line(line.text),
        size=letters.size,
        bold=letters.bold,
        slanted=letters.slanted,
        may_be=not apart,
        level=_marked(line),
    )


def _marked(line: LetteredLine) -> int | None:
    level = line.letters.level
    if level is None or line.letters.in_table or not 0 < len(one_line(line.text)) <= MAX_HEADING_CHARS:
        return None
    return min(level, MAX_LEVEL)


def _blocks(lines: Sequence[str], levels: Mapping[int, int]) -> Iterator[Block]:
    table: TableWriter | None = None
    items: list[str] = []
    for place, line in enumerate(lines):
        level = levels.get(place)
        row = line.rstrip().endswith(_CELL)
        if row and table is None:
            table = TableWriter()
        elif not row and table is not None and line.strip():
            yield from table.finish()
            table = None
        item = level is None and _ITEM.match(line) is not None
        if items and (row or not item) and line.strip():
            yield Block(text="\n".join(items) + "\n\n", kind=BlockKind.LIST)
            items = []
        if row and table is not None:
            yield from table.add(line.rstrip().removesuffix(_CELL).split(_CELL), None)
        elif item:
            items.append(_BULLET.sub("- ", line).strip())
        elif shown := one_line(line):
            yield _paragraph(shown, level)
    if items:
        yield Block(text="\n".join(items) + "\n\n", kind=BlockKind.LIST)
    if table is not None:
        yield from table.finish()


def _paragraph(text: str, level: int | None) -> Block:
    if level is None:
        return Block(text=f"{text}\n\n")
    return Block(text=f"{text}\n\n", kind=BlockKind.HEADING, level=level, heading=text)
