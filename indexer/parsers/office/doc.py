"""Word documents of the years 1997 to 2003 (doc): headings, paragraphs, list items and tables of the main text.

Source: [MS-DOC], sections 2.4 (text by pieces) and 2.4.6.1 (properties of paragraphs). Headers, footers and
comments are left out; notes and text boxes stand at the end. Numbers of list items are not kept in the file.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, Title, bounded, one_line
from indexer.parsers.captions import by_their_words
from indexer.parsers.office.compound_file import HINT, CompoundFile
from indexer.parsers.office.doc_text import DocText, Paragraph
from indexer.parsers.tables import TableWriter
from rag.errors import SourceDamaged, SourceEncrypted, SourceUnsupported

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_MAGIC: Final = 0xA5EC
_WORD_97: Final = 0x00C1
_ENCRYPTED: Final = 0x0100
_TABLE_1: Final = 0x0200
_PARAGRAPHS_PER_SIGN_OF_LIFE: Final = 2000
# Instructions of a field stand between the first two of these marks, what it shows between the last two.
_FIELD_CODE = re.compile(r"\x13[^\x13\x14\x15]*(?:\x14|(?=\x15))")
_CONTROLS: Final = str.maketrans(
    {
        "\x0b": "\n",
        "\x0c": "\n",
        "\x0e": "\n",
        "\x1e": "-",
        "\x1f": "",
        "\xa0": " ",
        **dict.fromkeys("\x01\x02\x03\x04\x05\x08\x13\x14\x15"),
    }
)


def parse_doc(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - pieces say how they are stored
    """Yield the blocks of the text.

    Raises:
        SourceEncrypted: it opens only with a password.
        SourceUnsupported: it is of Word 95 or older.
        SourceDamaged: its container or its text cannot be read.
    """
    compound = CompoundFile(file)
    document = compound.read("WordDocument")
    try:
        magic, version = struct.unpack_from("<HH", document, 0)
        flags = struct.unpack_from("<H", document, 0x0A)[0]
        if magic != _MAGIC or version < _WORD_97:
            raise SourceUnsupported(
                "This document is of Word 95 or older, which no parser reads.", hint="Save it as docx or PDF."
            )
        if flags & _ENCRYPTED:
            raise SourceEncrypted(
                "This document is protected by a password.", hint="Save a copy without the password and ingest that."
            )
        text = DocText(document, compound.read("1Table" if flags & _TABLE_1 else "0Table"))
        if title := compound.title():
            yield Title(text=title)
        yield from by_their_words(_blocks(text))
    except (struct.error, IndexError) as error:
        raise SourceDamaged(f"The text of this document cannot be read: {error}.", hint=HINT) from error


def _blocks(text: DocText) -> Iterator[Parsed]:
    writer = _Writer()
    for number, paragraph in enumerate(text.paragraphs()):
        for block in writer.add(paragraph):
            yield from bounded(block)
        if number % _PARAGRAPHS_PER_SIGN_OF_LIFE == 0:
            yield None
    for block in writer.finish():
        yield from bounded(block)


class _Writer:
    def __init__(self) -> None:
        self._cells: list[str] = []
        self._cell: list[str] = []
        self._table: TableWriter | None = None
        self._items: list[str] = []

    def add(self, paragraph: Paragraph) -> Iterator[Block]:
        text = _shown(paragraph.text)
        if paragraph.ends_row:
            if self._table is None:
                yield from self._end_list()
                self._table = TableWriter()
            yield from self._table.add(self._cells, None)
            self._cells = []
        elif paragraph.ends_cell:
            self._cells.append(" ".join([*self._cell, text]))
            self._cell = []
        elif paragraph.in_table:
            self._cell.append(text)
        elif text:
            yield from self._end_table()
            yield from self._body(paragraph, text)

    def finish(self) -> Iterator[Block]:
        yield from self._end_table()
        yield from self._end_list()

    def _body(self, paragraph: Paragraph, text: str) -> Iterator[Block]:
        heading = one_line(text)
        if paragraph.level and len(heading) <= MAX_HEADING_CHARS:
            yield from self._end_list()
            yield Block(text=f"{heading}\n\n", kind=BlockKind.HEADING, level=paragraph.level, heading=heading)
        elif paragraph.list_depth is not None:
            indent = "  " * paragraph.list_depth
            self._items.append(f"{indent}- " + text.replace("\n", f"\n{indent}  "))
        else:
            yield from self._end_list()
            yield Block(text=f"{text}\n\n")

    def _end_list(self) -> Iterator[Block]:
        items, self._items = self._items, []
        if items:
            yield Block(text="\n".join(items) + "\n\n", kind=BlockKind.LIST)

    def _end_table(self) -> Iterator[Block]:
        if self._cell or self._cells:
            # A last row that the file does not end.
            self._table = self._table or TableWriter()
            yield from self._table.add([*self._cells, *self._cell], None)
            self._cells, self._cell = [], []
        if self._table is not None:
            yield from self._table.finish()
            self._table = None


def _shown(text: str) -> str:
    # From the inside out: what an inner field shows may be part of an outer one's instructions.
    before = ""
    while before != text:
        before, text = text, _FIELD_CODE.sub("", text)
    return "\n".join(line for part in text.translate(_CONTROLS).split("\n") if (line := one_line(part)))
