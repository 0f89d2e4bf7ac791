"""TAR archives, packed or not, and single files packed with gzip, bzip2 or xz. Nothing is written anywhere."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import posixpath
import tarfile
import zlib
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from indexer.detection.tar_headers import is_tar
from indexer.folders.walking import left_out
from indexer.parsers.archives.unpacking import PART_BYTES, Account, check_size, leads_out, parts, refused_link
from indexer.parsers.blocks import Member, Notice
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, BinaryIO

    from indexer.parsers.blocks import Limits, Parsed

_OPENERS: Final = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_TORN: Final = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError, OverflowError)
_tarfile: Final[Any] = tarfile  # its errors by kind are told nowhere
_BLOCK_BYTES: Final = 512
# tarfile skips an entry by reading it, for hours if it claims a terabyte and there is no more of it.
_READS_AT_END: Final = 32


def parse_tar(file: BinaryIO, encoding: str, limits: Limits) -> Iterator[Parsed]:  # noqa: ARG001 - a parser's signature
    """Yield the files of an archive, or the one file that is packed; hidden files and common junk are left out.

    Links to places in the archive, devices and the like are counted in a notice: they hold nothing of their own.

    Raises:
        SourceDamaged: it cannot be read to its end.
        SourceTooLarge: it is over a limit.
    """
    account = Account(limits, os.fstat(file.fileno()).st_size)
    with _unpacked(file) as stream:
        try:
            start = stream.read(_BLOCK_BYTES)
        except _TORN as error:
            raise _torn(error) from error
    if is_tar(start):
        yield from _members(file, account, limits)
        return
    account.add(0)
    # Twice, as an archive: what is torn is torn as a whole, and what was stored of it stays.
    for data in _single(file):
        account.spend(len(data))
        yield None
    yield Member(name="", content=_sized(_single(file), limits))


def _unpacked(file: BinaryIO) -> IO[bytes]:
    file.seek(0)
    head = file.read(_BLOCK_BYTES)
    file.seek(0)
    opener = next((opener for mark, opener in _OPENERS if head.startswith(mark)), None)
    if is_tar(head) or opener is None:
        # tarfile closes what it reads, and the file is needed twice.
        stream = os.fdopen(os.dup(file.fileno()), "rb")
        stream.seek(0)
        return stream
    return cast("IO[bytes]", opener(file, "rb"))


def _single(file: BinaryIO) -> Iterator[bytes]:
    try:
        with _unpacked(file) as stream:
            yield from parts(stream)
    except _TORN as error:
        raise _torn(error) from error


def _sized(content: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    count = 0
    for data in content:
        count += len(data)
        check_size(count, limits)
        yield data


def _members(file: BinaryIO, account: Account, limits: Limits) -> Iterator[Parsed]:
    others: Counter[str] = Counter()
    # Twice from its start: a packed archive has no directory, and what is over a limit is refused as a whole.
    for entry, _content in _entries(file, account.spend):
        if entry.isreg() and not left_out(entry.name):
            account.add(max(0, entry.size) if entry.issparse() else 0)  # holes take no bytes of the archive
        elif entry.issym() or entry.islnk():
            others["links"] += not _leads_out(entry)
        elif not entry.isdir():
            others["devices or the like"] += not entry.isreg()
        yield None
    for entry, content in _entries(file):
        if entry.isreg() and not left_out(entry.name):
            yield Member(name=entry.name, content=_checked(content, entry, limits))
        elif (entry.issym() or entry.islnk()) and _leads_out(entry):
            yield Member(name=entry.name, content=refused_link(entry.linkname))
    left = ", ".join(f"{count} {name}" for name, count in others.items() if count)
    if left:
        yield Notice(message=f"Left out: {left}; they hold no text of their own.")


def _entries(
    file: BinaryIO, spend: Callable[[int], None] | None = None
) -> Iterator[tuple[tarfile.TarInfo, Callable[[], IO[bytes] | None]]]:
    """What the archive holds, in order; ``spend`` is told the bytes that reading on takes.

    It is read to the end of the file: so the checksum of what is packed is looked at, and an archive that was appended
    to another is found.
    """
    try:
        with _unpacked(file) as stream:
            counted = cast("IO[bytes]", _Counted(stream, spend))
            with _Archive.open(fileobj=counted, mode="r|", tarinfo=_Entry, ignore_zeros=True) as archive:
                for entry in archive:
                    # It would keep a list of all that came before.
                    cast("Any", archive).members = []
                    yield entry, partial(archive.extractfile, entry)
    except _TORN as error:
        raise _torn(error) from error


class _Archive(tarfile.TarFile):
    """An archive that is being read."""

    zeros = 0  # blocks of zeros since the last entry: two end an archive, of which one may be missing at a file's end


class _Entry(tarfile.TarInfo):
    """Tells damage where tarfile takes it for the end of the archive, without what follows."""

    @classmethod
    def fromtarfile(cls, archive: _Archive) -> _Entry:  # type: ignore[override]
        zeros, archive.zeros = archive.zeros, 0
        try:
            entry = super().fromtarfile(archive)
        except _tarfile.EOFHeaderError:
            archive.zeros = zeros + 1
            raise
        except (_tarfile.EmptyHeaderError, _tarfile.TruncatedHeaderError) as error:
            if zeros:
                raise _tarfile.EmptyHeaderError("end of file") from error
            raise tarfile.ReadError("it ends without the mark of its end") from error
        except _tarfile.InvalidHeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        if zeros == 1:
            raise tarfile.ReadError("it goes on after a lone block of zeros")
        return entry


class _Counted:
    """What tarfile reads from, and how much."""

    def __init__(self, stream: IO[bytes], spend: Callable[[int], None] | None) -> None:
        self._stream = stream
        self._spend = spend
        self._vain = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, PART_BYTES))
        self._vain += not data
        if self._vain > _READS_AT_END:
            raise EOFError("it ends within an entry")
        if self._spend is not None:
            self._spend(len(data))
        return data


def _checked(content: Callable[[], IO[bytes] | None], entry: tarfile.TarInfo, limits: Limits) -> Iterator[bytes]:
    check_size(entry.size, limits)
    try:
        file = content()
        if file is not None:
            yield from parts(file)
    except _TORN as error:
        raise SourceDamaged(f"It cannot be unpacked: {error}.", hint="Get the archive again.") from error


def _leads_out(entry: tarfile.TarInfo) -> bool:
    return leads_out(posixpath.dirname(entry.name) if entry.issym() else "", entry.linkname)


def _torn(error: Exception) -> SourceDamaged:
    return SourceDamaged(f"The archive cannot be read to its end: {error}.", hint="Get it again.")
