"""Outlines: what a chunker reads of blocks besides their text, kept with it so that a document can be cut anew."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from indexer.parsers.blocks import Block, BlockKind
from rag.stores.checksums import RowDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# A part is of at most as many blocks as a parser hands over at once: far less than this even when it is hostile.
_MOST_BYTES: Final = 1 << 26


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """A block without its text, of which only the length is kept."""

    length: _Count
    kind: BlockKind
    level: _Count
    heading: str
    page: int | None
    header: str | None
    caption: str = ""  # outlines of before have none


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Entry])


def outline_of(blocks: Sequence[Block]) -> bytes:
    """A part of an outline, of blocks that follow each other; empty for none."""
    if not blocks:
        return b""
    entries = [
        _Entry(len(block.text), block.kind, block.level, block.heading, block.page, block.header, block.caption)
        for block in blocks
    ]
    return zlib.compress(_encoder.encode(entries))


def blocks_of(parts: Iterable[bytes], texts: Iterable[str]) -> Iterator[Block]:
    """The blocks that an outline was made of, from its parts and the pieces, cut anywhere, of their joined text.

    Raises:
        RowDamaged: the one is not of the other.
    """
    pieces = iter(texts)
    held, at = "", 0
    for part in parts:
        for entry in _entries(part):
            while len(held) - at < entry.length:
                piece = next(pieces, None)
                if piece is None:
                    raise _misfit()
                held, at = held[at:] + piece, 0
            yield Block(
                text=held[at : at + entry.length],
                kind=entry.kind,
                level=entry.level,
                heading=entry.heading,
                page=entry.page,
                header=entry.header,
                caption=entry.caption,
            )
            at += entry.length
    if len(held) > at or any(pieces):
        raise _misfit()


def _entries(part: bytes) -> list[_Entry]:
    reader = zlib.decompressobj()
    try:
        return _decoder.decode(reader.decompress(part, _MOST_BYTES))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise _misfit() from error


def _misfit() -> RowDamaged:
    return RowDamaged(
        "The outline that a document is cut by is not that of its text: the database is damaged.",
        hint="`indexer verify` tells which one; delete it with --purge and ingest it again.",
    )
