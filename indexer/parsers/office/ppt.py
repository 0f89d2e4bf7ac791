"""PowerPoint presentations of the years 1997 to 2003 (ppt): a slide is a page and a section under its title.

Source: [MS-PPT], sections 2.1.2 (finding the live objects) and 2.9 (text). Dates, footers and numbers are left out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, BlockKind, Parsed, Title, bounded, one_line, slide_heading
from indexer.parsers.captions import by_their_words
from indexer.parsers.office.compound_file import HINT, CompoundFile
from indexer.parsers.office.ppt_records import BYTES, CHARS, Record, Records
from indexer.parsers.tables import table_blocks
from rag.errors import SourceDamaged, SourceEncrypted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

_ENCRYPTED: Final = 0xF3D1C4DF
# Kinds of records.
_SLIDE_LIST, _SLIDE_PERSIST, _NOTES_ATOM, _USER_EDIT, _PERSIST = 0x0FF0, 0x03F3, 0x03F1, 0x0FF5, 0x1772
_TEXT_KIND, _OUTLINE_TEXT = 0x0F9F, 0x0F9E
_GROUP, _SHAPE, _PLACEHOLDER = 0xF003, 0xF004, 0x0BC3
_SLIDES, _NOTES = 0, 2
_TITLES: Final = frozenset({0, 6})
_BODIES: Final = frozenset({1, 5, 7, 8})
_NOTES_TEXT: Final = 2
# Date, slide number, footer and header.
_FURNITURE: Final = frozenset({7, 8, 9, 10})
_MAX_DEPTH: Final = 32
_MAX_EDITS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A text of a slide with its kind, or the rows of a table."""

    kind: int = 4
    text: str = ""
    rows: Sequence[Sequence[str]] = ()


def parse_ppt(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - texts say how they are stored
    """Yield each slide's title as a heading, then its texts and notes.

    Raises:
        SourceEncrypted: it opens only with a password.
        SourceDamaged: its container or its records cannot be read.
    """
    compound = CompoundFile(file)
    try:
        user = compound.read("Current User")
        if struct.unpack_from("<I", user, 12)[0] == _ENCRYPTED:
            raise SourceEncrypted(
                "This presentation is protected by a password.",
                hint="Save a copy without the password and ingest that.",
            )
        if title := compound.title():
            yield Title(text=title)
        presentation = _Presentation(compound.read("PowerPoint Document"), struct.unpack_from("<I", user, 16)[0])
        yield from by_their_words(piece for block in presentation.blocks() for piece in bounded(block))
    except (struct.error, IndexError, RecursionError) as error:
        raise SourceDamaged(f"The slides of this presentation cannot be read: {error}.", hint=HINT) from error


class _Presentation:
    def __init__(self, data: bytes, last_edit: int) -> None:
        self._records = Records(data)
        self._offsets, document = self._persisted(last_edit)
        self._document = self._records.at(self._offsets.get(document, 0))

    def blocks(self) -> Iterator[Block]:
        notes = dict(self._notes())
        for number, (slide, identity, texts) in enumerate(self._listed(_SLIDES), start=1):
            yield from self._slide(slide, texts, number)
            for text in notes.get(identity, ()):
                yield Block(text=f"Notes: {text}\n\n", page=number)

    def _slide(self, slide: Record | None, outline: list[_Piece], number: int) -> Iterator[Block]:
        pieces = [] if slide is None else list(self._shapes(slide, outline))
        title = next((piece for piece in pieces if piece.kind in _TITLES and piece.text), None)
        words = "" if title is None else one_line(title.text)
        heading = slide_heading(words, number)
        if heading.heading != words:
            title = None
        yield heading
        for piece in pieces:
            if piece.rows:
                yield from table_blocks(piece.rows, page=number)
            elif piece.text and piece is not title:
                yield _text_block(piece, number)

    def _persisted(self, edit: int) -> tuple[Mapping[int, int], int]:
        """Where the newest version of each object is: every save adds to the end and names the save before it."""
        offsets: dict[int, int] = {}
        document = 0
        seen: set[int] = set()
        while edit and edit not in seen and len(seen) < _MAX_EDITS:
            seen.add(edit)
            record = self._records.at(edit)
            if record.kind != _USER_EDIT:
                raise SourceDamaged("This presentation does not say where its slides are.", hint=HINT)
            before, directory, root = (self._records.number(record, place) for place in (8, 12, 16))
            document = document or root
            self._add_directory(self._records.at(directory), offsets)
            edit = before
        return offsets, document

    def _add_directory(self, record: Record, offsets: dict[int, int]) -> None:
        place = 0
        while record.kind == _PERSIST and record.start + place + 4 <= record.end:
            entry = self._records.number(record, place)
            first, count = entry & 0xFFFFF, entry >> 20
            for i in range(count):
                offsets.setdefault(first + i, self._records.number(record, place + 4 + 4 * i))
            place += 4 + 4 * count

    def _listed(self, instance: int) -> Iterator[tuple[Record | None, int, list[_Piece]]]:
        """Slides, or notes, in their order: the object, its identity, and the texts of its outline."""
        for found in self._records.children(self._document):
            if found.kind != _SLIDE_LIST or found.instance != instance:
                continue
            current: tuple[Record | None, int, list[_Piece]] | None = None
            kind = 0
            for record in self._records.children(found):
                if record.kind == _SLIDE_PERSIST:
                    if current is not None:
                        yield current
                    offset = self._offsets.get(self._records.number(record))
                    slide = None if offset is None else self._records.at(offset)
                    current = (slide, self._records.number(record, 12), [])
                elif record.kind == _TEXT_KIND:
                    kind = self._records.number(record)
                elif record.kind in {CHARS, BYTES} and current is not None:
                    current[2].append(_Piece(kind=kind, text=self._records.text(record)))
            if current is not None:
                yield current

    def _notes(self) -> Iterator[tuple[int, list[str]]]:
        for notes, _identity, _texts in self._listed(_NOTES):
            if notes is None:
                continue
            atom = next((record for record in self._records.children(notes) if record.kind == _NOTES_ATOM), None)
            if atom is not None:
                texts = [piece.text for piece in self._shapes(notes, []) if piece.kind == _NOTES_TEXT and piece.text]
                yield self._records.number(atom), texts

    def _shapes(self, container: Record, outline: list[_Piece], depth: int = 0) -> Iterator[_Piece]:
        for record in self._records.children(container):
            if record.kind == _SHAPE:
                if not self._is_furniture(record):
                    yield from self._texts(record, outline)
            elif record.kind == _GROUP and self._records.is_table(record):
                yield _Piece(rows=self._records.table_rows(record))
            elif record.holds_records and depth < _MAX_DEPTH:
                yield from self._shapes(record, outline, depth + 1)

    def _texts(self, shape: Record, outline: list[_Piece]) -> Iterator[_Piece]:
        kind = _Piece().kind
        for record in self._records.all_in(shape):
            if record.kind == _TEXT_KIND:
                kind = self._records.number(record)
            elif record.kind in {CHARS, BYTES}:
                yield _Piece(kind=kind, text=self._records.text(record))
            elif record.kind == _OUTLINE_TEXT:
                index = self._records.number(record)
                if index < len(outline):
                    yield outline[index]

    def _is_furniture(self, shape: Record) -> bool:
        places = (r for r in self._records.all_in(shape) if r.kind == _PLACEHOLDER and r.start + 4 < r.end)
        return any(self._records.data[record.start + 4] in _FURNITURE for record in places)


def _text_block(piece: _Piece, page: int) -> Block:
    if piece.kind in _BODIES and "\n" in piece.text:
        text = "- " + piece.text.replace("\n", "\n- ") + "\n\n"
        return Block(text=text, kind=BlockKind.LIST, page=page)
    return Block(text=f"{piece.text}\n\n", page=page)
