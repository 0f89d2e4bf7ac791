"""What all archives have in common: limits that are checked before anything is unpacked, and bytes in parts."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from rag.errors import SourceTooLarge, SourceUnsafe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from indexer.parsers.blocks import Limits

PART_BYTES: Final = 1 << 20
# Text packs to a tenth, logs to a fiftieth. What packs to less than a two-hundredth is made of nothing.
_MAX_RATIO: Final = 200
# Small files may pack as well as they like.
_FREE_BYTES: Final = 1 << 26
_TOLD_CHARACTERS: Final = 500


class Account:
    """Adds up what an archive would unpack to, and refuses it as a whole where that is over a limit."""

    def __init__(self, limits: Limits, packed_bytes: int) -> None:
        self._limits = limits
        self._packed_bytes = packed_bytes
        self._members = 0
        self._bytes = 0

    def add(self, count: int) -> None:
        """One more file of so many bytes. Raises SourceTooLarge."""
        self._members += 1
        if self._members > self._limits.members:
            raise SourceTooLarge(
                f"It holds more than {self._limits.members:,} files, the limit for one archive or mail.",
                hint="Raise RAG_MAX_MEMBERS, or unpack it and ingest the folder.",
            )
        self.spend(count)

    def spend(self, count: int) -> None:
        """So many more bytes. Raises SourceTooLarge."""
        self._bytes += count
        if self._bytes > self._limits.total_bytes:
            raise SourceTooLarge(
                f"It unpacks to more than {self._limits.total_bytes:,} bytes, the limit for one archive or mail.",
                hint="Raise RAG_MAX_UNPACKED_BYTES, or unpack it and ingest the folder.",
            )
        if self._bytes > max(_FREE_BYTES, _MAX_RATIO * self._packed_bytes):
            raise SourceTooLarge(
                f"It unpacks to more than {_MAX_RATIO} times its size: a decompression bomb.",
                hint="If it is none, unpack it and ingest the folder.",
            )


def check_size(count: int, limits: Limits) -> None:
    """Raises SourceTooLarge: one file is larger than any that is taken in."""
    if count > limits.member_bytes:
        raise SourceTooLarge(
            f"It has {count:,} bytes, more than the limit of {limits.member_bytes:,}.",
            hint="Split the file, or raise RAG_MAX_FILE_BYTES.",
        )


def parts(file: IO[bytes]) -> Iterator[bytes]:
    while data := file.read(PART_BYTES):
        yield data


def leads_out(base: str, target: str) -> bool:
    """Whether a link in the folder ``base`` of an archive leads to a place that is not in it."""
    place = posixpath.normpath(posixpath.join(base, target))
    return place.startswith(("/", "../")) or place == ".."


def refused_link(target: str) -> Iterator[bytes]:
    """The content of a link that leads out. Raises SourceUnsafe when asked for."""
    yield b""
    raise SourceUnsafe(
        f"It is a link that leads out of the archive, to {target[:_TOLD_CHARACTERS]}.",
        hint="If that file is wanted, ingest it where it is.",
    )
