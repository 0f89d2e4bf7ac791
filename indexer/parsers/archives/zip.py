"""ZIP archives: what they hold, in the order of their directory. Nothing is written anywhere."""

from __future__ import annotations

import io
import lzma
import os
import posixpath
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final, cast

from indexer.folders.walking import left_out
from indexer.parsers.archives.unpacking import Account, check_size, leads_out, parts, refused_link
from indexer.parsers.blocks import Member, Notice
from rag.errors import SourceDamaged, SourceEncrypted, SourceError, SourceUnsupported
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, BinaryIO

    from indexer.parsers.blocks import Limits, Parsed

_ENCRYPTED: Final = 0x1
_UTF8_NAME: Final = 0x800
_UNICODE_NAME: Final = 0x7075
_EXTRA_BYTES: Final = 4  # before each extra field: its kind and its size
_ENTRY_MARK: Final = b"PK\x01\x02"
_HEADER_MARK: Final = b"PK\x03\x04"
_HEADER_BYTES: Final = 30
_ENTRIES: Final = 4  # where zipfile has their number
_LINK: Final = 0o120000
_KIND: Final = 0o170000
_UNIX: Final = 3
# The directory is at the end; ones longer than this hold more names than any limit lets through.
_MAX_DIRECTORY_BYTES: Final = 1 << 26


def parse_zip(file: BinaryIO, encoding: str, limits: Limits) -> Iterator[Parsed]:  # noqa: ARG001 - a parser's signature
    """Yield the files of an archive; folders, hidden files and common junk are left out.

    Links to places in the archive are counted in a notice: they hold nothing of their own.

    Raises:
        SourceDamaged: its directory cannot be read.
        SourceEncrypted: every file in it needs a password.
        SourceTooLarge: it is over a limit.
    """
    archive, marked = _open(file)
    with archive:
        entries = [
            (entry, name)
            for entry in archive.infolist()
            if not entry.is_dir() and not left_out(name := _name(entry, marked=marked))
        ]
        account = Account(limits, os.fstat(file.fileno()).st_size)
        for entry, _entry_name in entries:
            account.add(entry.file_size)
        if entries and all(entry.flag_bits & _ENCRYPTED for entry, _entry_name in entries):
            raise SourceEncrypted("The archive needs a password.", hint="Unpack it and ingest the folder.")
        links = 0
        for entry, name in entries:
            content = _content(archive, entry, limits)
            if _is_link(entry) and (target := _target(archive, entry, limits)) is not None:
                if not leads_out(posixpath.dirname(name), target):
                    links += 1
                    continue
                content = refused_link(target)
            yield Member(name=name, content=content)
        if links:
            yield Notice(message=f"Left out: {plural(links, 'link')}; they hold no text of their own.")


def _open(file: BinaryIO) -> tuple[zipfile.ZipFile, bool]:
    """The archive, and whether names in it are marked as UTF-8 and are none."""
    try:
        try:
            archive, marked = zipfile.ZipFile(file), False
        except UnicodeDecodeError:
            # A name that is marked as UTF-8 and is none: the others are fine.
            archive, marked = zipfile.ZipFile(cast("IO[bytes]", _WithoutUtf8Marks(file))), True
        # A length in it that is damaged skips what follows. Some programs count beyond 65,535 from 0 again.
        stated = cast("Any", zipfile)._EndRecData(file)[_ENTRIES]
        if (stated - len(archive.infolist())) & 0xFFFF:
            raise zipfile.BadZipFile(f"{stated:,} files by its end, and it names {len(archive.infolist()):,}")
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, EOFError) as error:
        raise SourceDamaged(
            f"The archive's directory cannot be read: {error}.", hint="Get it again, or repair it with `zip -FF`."
        ) from error
    return archive, marked


class _WithoutUtf8Marks(io.RawIOBase):
    """An archive that does not say of any name that it is UTF-8, so that reading it does not insist."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._from = max(0, self._size - _MAX_DIRECTORY_BYTES)
        file.seek(self._from)
        end = bytearray(file.read())
        directory = end.rfind(b"PK\x05\x06")
        start = self._size - len(end)
        offset = int.from_bytes(end[directory + 16 : directory + 20], "little") - start if directory >= 0 else -1
        while 0 <= offset < directory and end[offset : offset + 4] == _ENTRY_MARK:
            flags = int.from_bytes(end[offset + 8 : offset + 10], "little") & ~_UTF8_NAME
            end[offset + 8 : offset + 10] = flags.to_bytes(2, "little")
            lengths = [int.from_bytes(end[offset + at : offset + at + 2], "little") for at in (28, 30, 32)]
            offset += 46 + sum(lengths)
        self._end = bytes(end)
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        if self._position < 0:
            raise OSError("a seek before the start")
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._size - self._position if size < 0 else min(size, self._size - self._position)
        data = b""
        if self._position < self._from:
            self._file.seek(self._position)
            data = self._file.read(min(wanted, self._from - self._position))
        start = self._position + len(data) - self._from
        data += self._end[start : start + wanted - len(data)]
        self._position += len(data)
        if size == _HEADER_BYTES and data.startswith(_HEADER_MARK):
            flags = int.from_bytes(data[6:8], "little") & ~_UTF8_NAME
            data = data[:6] + flags.to_bytes(2, "little") + data[8:]
        return data


def _name(entry: zipfile.ZipInfo, *, marked: bool) -> str:
    name = entry.orig_filename.partition("\0")[0]
    if not entry.flag_bits & _UTF8_NAME:
        # The format has no other encoding than this one of old; what writes UTF-8 without saying so is common.
        raw = name.encode("cp437", errors="replace")
        try:
            name = (_unicode_name(entry.extra, raw) or raw).decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("utf-8", errors="surrogateescape") if marked else name
    return name.replace("\\", "/")


def _unicode_name(extra: bytes, raw: bytes) -> bytes | None:
    """The name in UTF-8 that stands beside one in another encoding, if it is that one's (APPNOTE, section 4.6.9)."""
    while len(extra) > _EXTRA_BYTES:
        kind, size = (int.from_bytes(extra[at : at + 2], "little") for at in (0, 2))
        version, checksum, name = extra[4:5], extra[5:9], extra[9 : 4 + size]
        if kind == _UNICODE_NAME and version == b"\1" and int.from_bytes(checksum, "little") == zlib.crc32(raw):
            return name
        extra = extra[_EXTRA_BYTES + size :]
    return None


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return entry.create_system == _UNIX and (entry.external_attr >> 16) & _KIND == _LINK


def _target(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits) -> str | None:
    """Where a link leads; None if it cannot be read."""
    try:
        return next(_content(archive, entry, limits), b"").decode("utf-8", errors="replace")
    except SourceError:
        return None


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits) -> Iterator[bytes]:
    if entry.flag_bits & _ENCRYPTED:
        raise SourceEncrypted("It needs a password.", hint="Unpack it by hand and ingest the folder.")
    check_size(entry.file_size, limits)
    try:
        with archive.open(entry) as file:
            yield from parts(file)
    except NotImplementedError as error:
        raise SourceUnsupported(
            f"It is packed in a way that cannot be unpacked: {error}.", hint="Unpack it and ingest the folder."
        ) from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise SourceDamaged(f"It cannot be unpacked: {reason}.", hint="Get the archive again.") from error
