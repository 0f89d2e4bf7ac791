"""Rich Text (rtf): paragraphs, list items and tables; striprtf (BSD) knows the words of the format.

Headings look like any other paragraph there, so only the parser for plain text's signs of one are left.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, BlockKind, Parsed, Title, bounded, one_line
from indexer.parsers.captions import by_their_words
from indexer.parsers.office_package import telling_title
from indexer.parsers.tables import TableWriter
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_TITLE = re.compile(r"\{\\info\b.{0,2000}?\{\\title ([^{}\\]{1,300})\}", re.DOTALL)
_HEX_DATA = re.compile(r"[0-9a-fA-F\r\n]{512,}")
_ITEM = re.compile(r"^[\t ]*(?:[•‣▪·o\-–*]|\(?\d{1,3}[.)]|\(?[a-z][.)])[\t ]+(?=\S)")
_BULLET = re.compile(r"^[\t ]*[•‣▪·o*–][\t ]+")
_CELL: Final = "|"


def parse_rtf(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - Rich Text says its encoding itself
    """Yield paragraphs, lists and tables.

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
        text = rtf_to_text(source, errors="replace")
    except (ValueError, LookupError, OverflowError) as error:
        raise SourceDamaged(f"This cannot be read as Rich Text: {error}.", hint="Save it as docx or PDF.") from error
    # Characters beyond the first 65,536 come as two halves.
    text = text.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
    blocks = _blocks(text.replace("\x00", "").replace("\xad", ""))
    yield from by_their_words(piece for block in blocks for piece in bounded(block))


def _blocks(text: str) -> Iterator[Block]:
    table: TableWriter | None = None
    items: list[str] = []
    for line in text.split("\n"):
        row = line.rstrip().endswith(_CELL)
        if row and table is None:
            table = TableWriter()
        elif not row and table is not None and line.strip():
            yield from table.finish()
            table = None
        if items and (row or not _ITEM.match(line)) and line.strip():
            yield Block(text="\n".join(items) + "\n\n", kind=BlockKind.LIST)
            items = []
        if row and table is not None:
            yield from table.add(line.rstrip().removesuffix(_CELL).split(_CELL), None)
        elif _ITEM.match(line):
            items.append(_BULLET.sub("- ", line).strip())
        elif shown := one_line(line):
            yield Block(text=f"{shown}\n\n")
    if items:
        yield Block(text="\n".join(items) + "\n\n", kind=BlockKind.LIST)
    if table is not None:
        yield from table.finish()
