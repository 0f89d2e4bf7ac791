"""ZIP containers within limits: documents that are ZIP files inside are read member by member, never unpacked.

Nothing is written anywhere, so a member's name can lead nowhere; names that try are refused all the same, because no
program that writes documents makes them.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING, Final, Self

from rag.errors import SourceDamaged, SourceEncrypted, SourceTooLarge

if TYPE_CHECKING:
    from typing import IO, BinaryIO

MAX_ENTRIES: Final = 20_000
# All members together, as they say of themselves; reading more of one than it says is not possible.
MAX_EXPANDED_BYTES: Final = 1 << 30
# Markup shrinks to a twentieth, a sheet of equal cells to a hundredth; a bomb to a thousandth and less.
_MAX_RATIO: Final = 250
_RATIO_FROM_BYTES: Final = 1 << 23
_ENCRYPTED_FLAG: Final = 0x1
_PIECE = re.compile(r"(.+)/\[(\d{1,6})\](?:\.last)?\.piece")
_DAMAGED_HINT: Final = "The file may be cut off; get or export it again."
_BOMB_HINT: Final = "It may be a decompression bomb; if it is a real document, split it."


class LimitedZip:
    """An open ZIP file whose directory has passed the limits.

    Raises (when made):
        SourceDamaged: it has no readable directory, or a member's name leads out of the archive.
        SourceEncrypted: a member is encrypted.
        SourceTooLarge: more members, or more bytes in them, than a document has.
    """

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError) as error:
            raise SourceDamaged(f"Its ZIP directory cannot be read: {error}.", hint=_DAMAGED_HINT) from error
        members = self._archive.infolist()
        if len(members) > MAX_ENTRIES:
            raise SourceTooLarge(f"It holds {len(members):,} files, more than {MAX_ENTRIES:,}.", hint=_BOMB_HINT)
        for member in members:
            _check(member)
        expanded = sum(member.file_size for member in members)
        if expanded > MAX_EXPANDED_BYTES:
            raise SourceTooLarge(
                f"Its contents come to {expanded:,} bytes, more than {MAX_EXPANDED_BYTES:,}.", hint=_BOMB_HINT
            )
        self._members = {member.filename: member for member in members}
        self._pieces: dict[str, list[str]] = {}
        for piece in sorted(filter(None, map(_PIECE.fullmatch, self._members)), key=lambda piece: int(piece[2])):
            self._pieces.setdefault(piece[1], []).append(piece[0])
        for part, pieces in self._pieces.items():
            members = [self._members[piece] for piece in pieces]
            _check_growth(part, sum(m.compress_size for m in members), sum(m.file_size for m in members))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._archive.close()

    @property
    def names(self) -> list[str]:
        """Names of all members, folders included, in the directory's order."""
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members or name in self._pieces

    def size(self, name: str) -> int:
        """Bytes of a member when expanded."""
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        """All bytes of a member, or of a part that is written in pieces (ECMA-376 part 2, section 10.2.6).

        Raises:
            SourceDamaged: it is not there, or cannot be expanded.
        """
        data: list[bytes] = []
        for piece in self._pieces.get(name, [name]):
            with self.open(piece) as stream:
                data.append(stream.read())
        return b"".join(data)

    def holds(self, name: str, mark: bytes) -> bool:
        """Whether these bytes stand anywhere in a member. Raises as ``open``, and as reading does."""
        with self.open(name) as stream:
            tail = b""
            while data := stream.read(1 << 16):
                if mark in tail + data:
                    return True
                tail = data[-len(mark) :]
        return False

    def open(self, name: str) -> _Member:
        """A member as a stream of bytes; reading it may raise SourceDamaged.

        Raises:
            SourceDamaged: it is not there, or cannot be expanded.
        """
        member = self._members.get(name)
        if member is None:
            raise SourceDamaged(f"Its part {name} is missing.", hint=_DAMAGED_HINT)
        try:
            return _Member(name, self._archive.open(member))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError) as error:
            raise _unreadable(name, error) from error


class _Member:
    """Reads a member and tells of damage as such."""

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self._name = name
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stream.close()

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError) as error:
            raise _unreadable(self._name, error) from error


def _check(member: zipfile.ZipInfo) -> None:
    name = member.filename
    if member.flag_bits & _ENCRYPTED_FLAG:
        raise SourceEncrypted(
            f"Its part {name} is encrypted.", hint="Save a copy without the password and ingest that."
        )
    if leads_out(name) or is_link(member):
        raise SourceDamaged(f"Its part {name!r} points out of the archive.", hint="Do not trust this file.")
    _check_growth(name, member.compress_size, member.file_size)


def _check_growth(name: str, packed: int, expanded: int) -> None:
    if expanded > _RATIO_FROM_BYTES and expanded > _MAX_RATIO * packed:
        raise SourceTooLarge(f"Its part {name} grows from {packed:,} to {expanded:,} bytes.", hint=_BOMB_HINT)


def leads_out(name: str) -> bool:
    """Whether a member's name would be a place outside of the folder it is unpacked into."""
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or not parts[0] or parts[0].endswith(":")


def is_link(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a symbolic link (Unix archivers say so in the upper half of its attributes)."""
    return stat.S_ISLNK(member.external_attr >> 16)


def _unreadable(name: str, error: Exception) -> SourceDamaged:
    return SourceDamaged(f"Its part {name} cannot be expanded: {error}.", hint=_DAMAGED_HINT)
