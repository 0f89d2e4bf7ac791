"""Sources: the files that the paths on a command line stand for, opened and read safely."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final, Protocol, Self

from indexer.folders.beneath import LeadsOut, open_beneath
from indexer.folders.ignoring import IGNORE_FILE, UnusableIgnoreFile
from indexer.folders.walking import BROKEN_LINK, DATA_DIRECTORY, OUTSIDE_LINK, walk
from rag.errors import (
    SourceDamaged,
    SourceError,
    SourceLeftOut,
    SourceNotFound,
    SourceTooLarge,
    SourceUnreadable,
    SourceUnsafe,
)
from rag.unicode import is_storable, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from indexer.folders.walking import WalkedPath

_READ_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 1 << 16
_LINE_BYTES: Final = 1 << 10
# No text of any encoding has so many NUL bytes in a row.
_LEAST_PADDING: Final = bytes(16)
_PADDING = re.compile(rb"\x00{16,}")
_LINK_HINT: Final = "If the file that it is meant to lead to is wanted, name that file."
_NO_FILE_HINT: Final = "It is never opened; what comes out of it can be saved as a file."
_LEFT_OUT_HINTS: Final = {
    BROKEN_LINK: _LINK_HINT,
    OUTSIDE_LINK: _LINK_HINT,
    DATA_DIRECTORY: "It holds what was taken in; `indexer export` writes that into a file.",
}
_UNREADABLE_HINTS: Final = {
    errno.EACCES: "Check its permissions.",
    errno.EPERM: "Check its permissions.",
    errno.EIO: "The disk or network drive that holds it reports an error: check it, or ingest a copy from elsewhere.",
    errno.ELOOP: "Its link leads back to itself: name the file that it should lead to.",
    errno.ENOTDIR: "Check the path: a part of it that should be a folder is a file.",
    errno.ENAMETOOLONG: "Check the path; its name is longer than this file system allows.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStat:
    """A file at one moment; equal values mean that nobody wrote to it, or put another in its place, in between."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceScan:
    """What one pass over a file's bytes tells. ``utf8`` holds for the whole file, not for a sample.

    ``late`` begins at the line where a file whose head is UTF-8, or ASCII, ceases to be. ``charset`` is Python's name
    of the encoding that whoever sent the bytes states. ``padding`` is how many of its bytes are in runs of NUL, as a
    crash leaves them in logs; ``unpadded`` is the head that it would have without.
    """

    sha256: str
    size: int
    head: bytes
    utf8: bool
    nul_bytes: int
    late: bytes = b""
    charset: str | None = None
    padding: int = 0
    unpadded: bytes = b""

    def without_padding(self) -> SourceScan:
        return replace(
            self,
            size=self.size - self.padding,
            head=self.unpadded,
            nul_bytes=self.nul_bytes - self.padding,
            late=b"",
            padding=0,
        )


class OpenSource(Protocol):
    """What an ingestion reads: a file, or a document in a container. ``path`` is for messages and its ending.

    ``opened`` is None where only the content tells whether it changed.
    """

    @property
    def path(self) -> PurePath: ...
    @property
    def uri(self) -> str: ...
    @property
    def file(self) -> BinaryIO: ...
    @property
    def opened(self) -> SourceStat | None: ...
    def changed(self) -> bool: ...
    def scan(self) -> SourceScan: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePath:
    """A file to take in, or the reason why a path that was asked for cannot be.

    ``address`` is its URI where that is known already; ``name`` and ``sha256`` are of a file that was handed over: what
    its sender calls it, and the hash of the bytes that were acknowledged. ``within`` is the folder that it was found
    in, with links resolved, and is not to lead out of.
    """

    path: Path
    error: SourceError | None = None
    address: str | None = None
    name: PurePath | None = None
    sha256: str | None = None
    within: Path | None = None

    @property
    def uri(self) -> str:
        return self.address or uri_of(self.path)


def uri_of(path: Path) -> str:
    """A file's address in the store: its absolute path, links in its folders resolved, its own name kept."""
    return (path.parent.resolve() / path.name).as_posix() if path.name else path.resolve().as_posix()


def expand(paths: Iterable[Path]) -> Iterator[SourcePath]:
    """Files that the paths stand for: files as named, folders with everything below them in a stable order.

    Inside of folders hidden files, common junk and what ignore files name are left out. Links that lead out of the
    folder or nowhere, and what is not a file, come with the error ``SourceLeftOut``. What was named itself comes with
    its error whatever it is. No file comes twice.
    """
    seen: set[str] = set()
    for path in paths:
        for source in _expand_one(path):
            if source.uri not in seen:
                seen.add(source.uri)
                yield _storable(source)


def _expand_one(path: Path) -> Iterator[SourcePath]:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        yield SourcePath(path=path, error=_not_found(path))
        return
    except (OSError, ValueError) as error:
        yield SourcePath(path=path, error=_unreadable(path, error))
        return
    if stat.S_ISDIR(mode):
        found = False
        for source in _sources_of(walk(path)):
            found = found or not isinstance(source.error, SourceLeftOut)
            yield source
        if not found:
            yield SourcePath(path=path, error=_nothing_in(path))
    else:
        yield SourcePath(path=path)


def sources_of(walked: Iterable[WalkedPath]) -> Iterator[SourcePath]:
    """What a walk finds, to be taken in; what cannot be, or is not to be, comes with its error."""
    return map(_storable, _sources_of(walked))


def _sources_of(walked: Iterable[WalkedPath]) -> Iterator[SourcePath]:
    for found in walked:
        error: SourceError | None = None
        if isinstance(found.error, UnusableIgnoreFile):
            error = SourceUnreadable(f"{found.error}.", hint="Correct or delete it; its folder is left as it is.")
        elif found.error is not None:
            error = _unreadable(found.path, found.error)
        elif found.left_out is not None:
            hint = _LEFT_OUT_HINTS.get(found.left_out, _NO_FILE_HINT)
            error = SourceLeftOut(f"{found.path} is a {found.left_out}.", kind=found.left_out, hint=hint)
        yield SourcePath(path=found.path, address=found.uri, error=error, within=found.root)


def _storable(source: SourcePath) -> SourcePath:
    if is_storable(source.uri):
        return source
    shown = shown_path(source.uri)
    error = SourceUnreadable(f"The name of {shown} is not valid UTF-8.", hint="Rename it.")
    return SourcePath(path=Path(shown), error=error)


class Source:
    """An open file. All reading goes through one descriptor, so a path swapped meanwhile changes nothing.

    Raises (when entered):
        SourceNotFound, SourceUnreadable, SourceTooLarge.
        SourceUnsafe: it leads out of the folder that it was found in.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        address: str | None = None,
        name: PurePath | None = None,
        sha256: str | None = None,
        within: Path | None = None,
    ) -> None:
        """``address``, ``name``, ``sha256`` and ``within`` are as in ``SourcePath``."""
        self._on_disk = path
        self.path: PurePath = name or path
        self.uri = address or uri_of(path)
        self._max_bytes = max_bytes
        self._sha256 = sha256
        self._within = within
        self._file: BinaryIO | None = None
        self.opened = SourceStat(size=0, mtime_ns=0, inode=0)

    def __enter__(self) -> Self:
        try:
            # Opening a device can do something, and a socket cannot be opened.
            self._check(self._on_disk.stat())
            descriptor = self._open()
        except LeadsOut as error:
            raise SourceUnsafe(
                f"{self.path} is, or lies behind, a link that leads out of {self._within}.",
                hint="If the file is wanted, name it itself.",
            ) from error
        except FileNotFoundError as error:
            raise (_lost(self.path) if self._sha256 else _not_found(self.path)) from error
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        try:
            status = os.fstat(descriptor)
            self._check(status)
            self.opened = _stat_of(status)
            self._file = os.fdopen(descriptor, "rb")
        except SourceError:
            os.close(descriptor)
            raise
        return self

    def _open(self) -> int:
        # Non-blocking: opening a FIFO without a writer must not wait for one.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        if self._within is None:
            return os.open(self._on_disk, flags)
        return open_beneath(self._within, Path(self.uri), flags)

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def file(self) -> BinaryIO:
        if self._file is None:
            raise SourceUnreadable(f"{self.path} is not open.")
        return self._file

    def changed(self) -> bool:
        """Whether the file at the path is no longer what was opened: written to, replaced or gone."""
        try:
            return _stat_of(self._on_disk.stat()) != self.opened
        except OSError:
            return True

    def scan(self) -> SourceScan:
        """Read all bytes once. Raises SourceDamaged if they are not those that were handed over."""
        try:
            scan = scan_file(self.file)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if self._sha256 not in (None, scan.sha256):
            raise SourceDamaged(
                f"{self.path} has changed since it was handed over: its SHA-256 is not the one that was noted then.",
                hint="Hand it over again; if that happens again, check the disk that holds the data directory.",
            )
        return scan

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise SourceUnreadable(
                f"{self.path} is a {_file_kind(status.st_mode)}, not a file.", hint="Name a file or a folder of files."
            )
        if status.st_size > self._max_bytes:
            raise too_large(self.path, status.st_size, self._max_bytes)


def scan_file(file: BinaryIO) -> SourceScan:
    """Read all bytes of an open file once, from its start."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    size = nul_bytes = padding = 0
    head = unpadded = late = b""
    utf8 = True
    file.seek(0)
    while block := file.read(_READ_BYTES):
        digest.update(block)
        if late:
            late += block[: _HEAD_BYTES - len(late)]
        if utf8 and (at := _undecodable(decoder, block)) is not None:
            utf8 = False
            if size + at >= _HEAD_BYTES:
                start = max(block.rfind(b"\n", 0, at) + 1, at - _LINE_BYTES)
                late = block[start : start + _HEAD_BYTES]
        size += len(block)
        nul_bytes += block.count(0)
        kept = _PADDING.sub(b"", block) if _LEAST_PADDING in block else block
        padding += len(block) - len(kept)
        unpadded += kept[: _HEAD_BYTES - len(unpadded)]
        head = head or block[:_HEAD_BYTES]
    utf8 = utf8 and _undecodable(decoder, b"", final=True) is None
    return SourceScan(
        sha256=digest.hexdigest(),
        size=size,
        head=head,
        utf8=utf8,
        nul_bytes=nul_bytes,
        late=late,
        padding=padding,
        unpadded=unpadded,
    )


def too_large(path: PurePath, size: int, max_bytes: int) -> SourceTooLarge:
    """The error of a file that is larger than what is taken in."""
    return SourceTooLarge(
        f"{path} has {size:,} bytes, more than the limit of {max_bytes:,}.",
        hint="Split the file, or raise RAG_MAX_FILE_BYTES.",
    )


def _stat_of(status: os.stat_result) -> SourceStat:
    return SourceStat(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def _undecodable(decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> int | None:
    """Where in the block, or before it, the first bytes are that cannot be decoded."""
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError as error:  # of what was left of the block before, and this one
        return max(0, error.start - (len(error.object) - len(block)))
    return None


def _file_kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "character device",
        stat.S_IFBLK: "block device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def _nothing_in(path: PurePath) -> SourceNotFound:
    return SourceNotFound(
        f"{path} holds no files to take in.",
        hint=f"Hidden files, and those that a {IGNORE_FILE} names, are left out; name them.",
    )


def _not_found(path: PurePath) -> SourceNotFound:
    return SourceNotFound(
        f"{path} does not exist.", hint="Check the path; relative paths start at the working directory."
    )


def _lost(path: PurePath) -> SourceNotFound:
    return SourceNotFound(
        f"{path} was handed over and is not in the data directory any more.",
        hint="Hand it over again; if that happens again, see what else deletes files there.",
    )


def _unreadable(path: PurePath, error: OSError | ValueError) -> SourceUnreadable:
    number, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (None, None)
    hint = _UNREADABLE_HINTS.get(number or 0, "See whether another program can open it.")
    return SourceUnreadable(f"{path} cannot be read: {reason or error}.", hint=hint)
