"""PowerPoint presentations of the years 1997 to 2003 (ppt): a slide is a page and a section under its title.

Source: [MS-PPT], sections 2.1.2 (finding the live objects) and 2.9 (text). Dates, footers and numbers are left out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, Title, bounded, one_line
from indexer.parsers.compound_file import HINT, CompoundFile
from rag.errors import SourceDamaged, SourceEncrypted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

_ENCRYPTED: Final = 0xF3D1C4DF
_CONTAINER: Final = 0xF
# Kinds of records.
_SLIDE_LIST, _SLIDE_PERSIST, _NOTES_ATOM, _USER_EDIT, _PERSIST = 0x0FF0, 0x03F3, 0x03F1, 0x0FF5, 0x1772
_TEXT_KIND, _CHARS, _BYTES, _OUTLINE_TEXT = 0x0F9F, 0x0FA0, 0x0FA8, 0x0F9E
_SHAPE, _PLACEHOLDER = 0xF004, 0x0BC3
_SLIDES, _NOTES = 0, 2
_TITLES: Final = frozenset({0, 6})
_BODIES: Final = frozenset({1, 5, 7, 8})
_NOTES_TEXT: Final = 2
# Date, slide number, footer and header.
_FURNITURE: Final = frozenset({7, 8, 9, 10})
_MAX_DEPTH: Final = 32
_MAX_EDITS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Record:
    kind: int
    instance: int
    start: int
    end: int
    holds_records: bool


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
        for block in presentation.blocks():
            yield from bounded(block)
    except (struct.error, IndexError, RecursionError) as error:
        raise SourceDamaged(f"The slides of this presentation cannot be read: {error}.", hint=HINT) from error


class _Presentation:
    def __init__(self, data: bytes, last_edit: int) -> None:
        self._data = data
        self._offsets, document = self._persisted(last_edit)
        self._document = self._record(self._offsets.get(document, 0))

    def blocks(self) -> Iterator[Block]:
        notes = dict(self._notes())
        for number, (slide, identity, texts) in enumerate(self._listed(_SLIDES), start=1):
            yield from self._slide(slide, texts, number)
            for text in notes.get(identity, ()):
                yield Block(text=f"Notes: {text}\n\n", page=number)

    def _slide(self, slide: _Record | None, outline: list[tuple[int, str]], number: int) -> Iterator[Block]:
        texts = [] if slide is None else list(self._shapes(slide, outline))
        title = next((text for kind, text in texts if kind in _TITLES and text), "")
        heading = one_line(title)
        if not 0 < len(heading) <= MAX_HEADING_CHARS:
            # A slide without a title must not stand under the one before it.
            title, heading = "", f"Slide {number}"
        yield Block(text=f"{heading}\n\n", kind=BlockKind.HEADING, level=1, heading=heading, page=number)
        for kind, text in texts:
            if not text or (kind in _TITLES and text == title):
                continue
            if kind in _BODIES and "\n" in text:
                yield Block(text="- " + text.replace("\n", "\n- ") + "\n\n", kind=BlockKind.LIST, page=number)
            else:
                yield Block(text=f"{text}\n\n", page=number)

    def _persisted(self, edit: int) -> tuple[Mapping[int, int], int]:
        """Where the newest version of each object is: every save adds to the end and names the save before it."""
        offsets: dict[int, int] = {}
        document = 0
        seen: set[int] = set()
        while edit and edit not in seen and len(seen) < _MAX_EDITS:
            seen.add(edit)
            record = self._record(edit)
            if record.kind != _USER_EDIT:
                raise SourceDamaged("This presentation does not say where its slides are.", hint=HINT)
            before, directory, root = struct.unpack_from("<3I", self._data, record.start + 8)
            document = document or root
            self._add_directory(self._record(directory), offsets)
            edit = before
        return offsets, document

    def _add_directory(self, record: _Record, offsets: dict[int, int]) -> None:
        at = record.start
        while record.kind == _PERSIST and at + 4 <= record.end:
            entry = struct.unpack_from("<I", self._data, at)[0]
            first, count = entry & 0xFFFFF, entry >> 20
            for i, offset in enumerate(struct.unpack_from(f"<{count}I", self._data, at + 4)):
                offsets.setdefault(first + i, offset)
            at += 4 + 4 * count

    def _listed(self, instance: int) -> Iterator[tuple[_Record | None, int, list[tuple[int, str]]]]:
        """Slides, or notes, in their order: the object, its identity, and the texts of its outline."""
        for found in self._children(self._document):
            if found.kind != _SLIDE_LIST or found.instance != instance:
                continue
            current: tuple[_Record | None, int, list[tuple[int, str]]] | None = None
            kind = 0
            for record in self._children(found):
                if record.kind == _SLIDE_PERSIST:
                    if current is not None:
                        yield current
                    reference, _flags, _texts, identity = struct.unpack_from("<4I", self._data, record.start)
                    offset = self._offsets.get(reference)
                    current = (None if offset is None else self._record(offset), identity, [])
                elif record.kind == _TEXT_KIND:
                    kind = struct.unpack_from("<I", self._data, record.start)[0]
                elif record.kind in {_CHARS, _BYTES} and current is not None:
                    current[2].append((kind, self._text(record)))
            if current is not None:
                yield current

    def _notes(self) -> Iterator[tuple[int, list[str]]]:
        for notes, _identity, _texts in self._listed(_NOTES):
            atom = next((r for r in self._children(notes) if r.kind == _NOTES_ATOM), None) if notes else None
            if notes is not None and atom is not None:
                slide = struct.unpack_from("<I", self._data, atom.start)[0]
                yield slide, [text for kind, text in self._shapes(notes, []) if kind == _NOTES_TEXT and text]

    def _shapes(self, container: _Record, outline: list[tuple[int, str]], depth: int = 0) -> Iterator[tuple[int, str]]:
        for record in self._children(container):
            if record.kind == _SHAPE:
                if not self._is_furniture(record):
                    yield from self._texts(record, outline)
            elif record.holds_records and depth < _MAX_DEPTH:
                yield from self._shapes(record, outline, depth + 1)

    def _texts(self, shape: _Record, outline: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        kind = 4
        for record in self._all(shape):
            if record.kind == _TEXT_KIND:
                kind = struct.unpack_from("<I", self._data, record.start)[0]
            elif record.kind in {_CHARS, _BYTES}:
                yield kind, self._text(record)
            elif record.kind == _OUTLINE_TEXT:
                index = struct.unpack_from("<I", self._data, record.start)[0]
                if index < len(outline):
                    yield outline[index]

    def _is_furniture(self, shape: _Record) -> bool:
        places = (r for r in self._all(shape) if r.kind == _PLACEHOLDER and r.start + 4 < r.end)
        return any(self._data[record.start + 4] in _FURNITURE for record in places)

    def _all(self, container: _Record, depth: int = 0) -> Iterator[_Record]:
        for record in self._children(container):
            yield record
            if record.holds_records and depth < _MAX_DEPTH:
                yield from self._all(record, depth + 1)

    def _children(self, container: _Record) -> Iterator[_Record]:
        at = container.start
        while at + 8 <= container.end:
            record = self._record(at)
            yield record
            at = record.end

    def _record(self, offset: int) -> _Record:
        head, kind, length = struct.unpack_from("<HHI", self._data, offset)
        holds = head & 0xF == _CONTAINER or kind == 0xF00D
        end = min(offset + 8 + length, len(self._data))
        return _Record(kind, head >> 4, offset + 8, end, holds)

    def _text(self, record: _Record) -> str:
        data = self._data[record.start : record.end]
        text = data.decode("utf-16-le", errors="replace") if record.kind == _CHARS else data.decode("latin-1")
        lines = text.replace("\x0b", "\r").replace("\x00", "").split("\r")
        return "\n".join(line for each in lines if (line := one_line(each)))
