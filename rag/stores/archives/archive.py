"""The format of a backup: a ZIP whose comment holds the sha256 of every byte before it.

    indexes/<collection id>/<generation>/<file>  any number of them
    blobs/<name>                                 the uploads that wait to be taken in
    plumbline.db                                 the whole database in one file
    manifest.json                                settings, models, collections; size and sha256 of every member

Whatever unpacks a ZIP unpacks it. One byte that is missing, added or changed, wherever it is, makes it refused.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from rag.errors import (
    BackupDamaged,
    Conflict,
    DatabaseTooNew,
    DiskFull,
    InvalidRequest,
    SourceError,
    SourceNotFound,
    SourceUnreadable,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    # Told what is being done, and how many of how many bytes of it are done.
    Report = Callable[[str, int, int], None]

# Bump when an older program would misread an archive.
FORMAT_VERSION: Final = 2

DATABASE: Final = "plumbline.db"
BLOBS: Final = "blobs"
_MANIFEST = "manifest.json"
_FOLDERS: Final = (BLOBS, "indexes", "kv", "locks", "spool")  # of a data directory
_FILE = re.compile(r"plumbline\.db|blobs/[0-9a-f]{32}|indexes/[0-9]{1,19}(/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){2}")

_SEAL = b"plumbline-backup sha256 "
_HEX = hashlib.sha256().digest_size * 2
_PIECE = 1 << 20
_LONGEST_MANIFEST = 64 << 20
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # that the format can hold; a clock may have been lost
_LEVEL = 1  # text shrinks at any level, embeddings at none
_THROUGH_A_FILE = "Check the path: a part of it that should be a folder is a file."
_AGAIN = "Nothing was changed. Copy it again from where it was made, or use another one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of the archive; ``size`` in bytes, ``sha256`` in lower-case hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """A model the settings name. ``sha256`` as in ``ResolvedModel``; ``None`` if it was not on the machine."""

    role: str
    name: str
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionRecord:
    """Active documents of a collection and their chunks. ``embedder`` is the identity in its fingerprint."""

    name: str
    embedder: str
    documents: int
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive holds.

    ``program`` is the version that wrote it, ``revision`` the database's, ``created`` an RFC 3339 time in UTC,
    ``settings`` are without secrets, and ``left_out`` names index generations that searches will make anew.
    """

    format_version: int
    program: str
    revision: str
    created: str
    settings: dict[str, Any]
    models: tuple[ModelRecord, ...]
    collections: tuple[CollectionRecord, ...]
    left_out: tuple[str, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class _Format:
    format_version: int


class ArchiveWriter:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, source: IO[bytes], report: Report) -> Member:
        """Add what is left of ``source`` as a member.

        Raises:
            ValueError: the name is none of a member.
        """
        if not _FILE.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of a member")
        total = os.fstat(source.fileno()).st_size
        digest, size = hashlib.sha256(), 0
        with self._archive.open(self._entry(name), "w", force_zip64=True) as member:
            while piece := source.read(_PIECE):
                digest.update(piece)
                member.write(piece)
                size += len(piece)
                report(f"writing {name}", size, total)
        return Member(name=name, size=size, sha256=digest.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        self._archive.writestr(self._entry(_MANIFEST), msgspec.json.format(msgspec.json.encode(manifest)))

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, max(time.localtime()[:6], _FIRST_TIME))
        entry.compress_type = self._archive.compression
        entry.external_attr = 0o600 << 16
        return entry


@contextmanager
def writing(path: Path, *, compress: bool) -> Iterator[ArchiveWriter]:
    """Write a new archive, readable by its owner alone; sealed and synced when the block ends."""
    path.touch(mode=0o600, exist_ok=False)
    with path.open("r+b") as file:
        method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", method, compresslevel=_LEVEL if compress else None) as archive:
            yield ArchiveWriter(archive)
            archive.comment = _SEAL + b"0" * _HEX
        end = file.seek(-_HEX, os.SEEK_END)
        digest = _digest(file, end, lambda *_: None)
        file.seek(end)
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


class ArchiveReader:
    """An archive whose every byte has been checked."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._archive = archive
        self.manifest = manifest

    def extract(self, member: Member, target: Path, report: Report) -> None:
        """Write a member to a new file for its owner alone, synced. Raises BackupDamaged unless it is what the
        manifest says.
        """
        digest, size = hashlib.sha256(), 0
        target.touch(mode=0o600, exist_ok=False)
        with _undamaged(), self._archive.open(member.name) as source, target.open("r+b") as file:
            while piece := source.read(min(_PIECE, member.size + 1 - size)):  # a lie about the size fills no disk
                digest.update(piece)
                file.write(piece)
                size += len(piece)
                report(f"reading {member.name}", size, member.size)
            file.flush()
            os.fsync(file.fileno())
        if (size, digest.hexdigest()) != (member.size, member.sha256):
            raise BackupDamaged(f"{member.name} in the backup is not what its manifest says.", hint=_AGAIN)


@contextmanager
def reading(path: Path, report: Report) -> Iterator[ArchiveReader]:
    """Open an archive after reading it to the end.

    Raises:
        BackupDamaged: it is no backup, or not all of it, or not as it was written.
        DatabaseTooNew: its format is a newer program's.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - len(_SEAL) - _HEX
        file.seek(max(end, 0))
        seal = file.read()
        if end < 0 or not seal.startswith(_SEAL):
            raise BackupDamaged(f"{path} is no backup, or its end is missing.", hint=_AGAIN)
        if _digest(file, end + len(_SEAL), report) != seal[len(_SEAL) :]:
            raise BackupDamaged(f"The backup {path} has been changed since it was written.", hint=_AGAIN)
        with _undamaged():
            archive = zipfile.ZipFile(file)  # does not close a file that it has not opened
            manifest = _manifest(archive)
        with archive:
            yield ArchiveReader(archive, manifest)


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    with archive.open(_MANIFEST) as member:
        written = member.read(_LONGEST_MANIFEST)
    version = msgspec.json.decode(written, type=_Format).format_version
    if version > FORMAT_VERSION:
        raise DatabaseTooNew(
            f"The backup has format {version}; this program reads formats up to {FORMAT_VERSION}.",
            hint="Upgrade Plumbline.",
        )
    manifest = msgspec.json.decode(written, type=Manifest)
    names = [member.name for member in manifest.members]
    if names.count(DATABASE) != 1 or len(set(names)) != len(names) or not all(map(_FILE.fullmatch, names)):
        raise BackupDamaged("The backup's manifest names other files than a backup has.", hint=_AGAIN)
    return manifest


def _digest(file: IO[bytes], end: int, report: Report) -> bytes:
    """The sha256 of the first ``end`` bytes in hexadecimal."""
    file.seek(0)
    digest, done = hashlib.sha256(), 0
    while piece := file.read(min(_PIECE, end - done)):
        digest.update(piece)
        done += len(piece)
        report("checking the backup", done, end)
    return digest.hexdigest().encode()


@contextmanager
def _undamaged() -> Iterator[None]:
    """What the seal cannot tell: an archive that never was what it says."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, msgspec.MsgspecError, KeyError, EOFError, NotImplementedError) as error:
        raise BackupDamaged(f"The backup was not written by this program ({error}).", hint=_AGAIN) from error


def require_free(target: Path, *, database: Path, home: Path, force: bool) -> None:
    """What is written to ``target``, an archive or an export, takes nothing's place.

    Raises:
        Conflict: it exists, and is not to be replaced by ``force``.
        InvalidRequest: the data directory's own data is there, or will be; or what is there is no file.
    """
    there, own = target.resolve(), database.resolve()
    files = {own.with_name(own.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")}
    if there in files or any(there.is_relative_to(home.resolve() / folder) for folder in _FOLDERS):
        raise InvalidRequest(f"{target} belongs to the data that is to be written to it.", hint="Choose another place.")
    if target.exists() and not target.is_file():
        raise InvalidRequest(f"{target} is no file, and is not replaced by one.", hint="Choose another name.")
    if target.exists() and not force:
        raise Conflict(f"{target} exists.", hint="Choose another name, or replace it with --force.")


@contextmanager
def file_errors(doing: str, *, read: Path | None = None) -> Iterator[None]:
    """Raise DiskFull or StorageError for the file system's errors within the block.

    ``read`` is the file that is read: SourceNotFound if it is not there, SourceUnreadable if it cannot be opened.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"The disk is full: {doing} was given up.", hint="Free some space and try again.") from error
        if read is not None and str(error.filename) == str(read):
            raise _unread(read, error) from error
        place = f" ({error.filename})" if error.filename else ""
        through_a_file = isinstance(error, NotADirectoryError)
        raise StorageError(
            f"{doing[0].upper()}{doing[1:]} failed: {error.strerror or error}{place}.",
            hint=_THROUGH_A_FILE if through_a_file else "Check that the place exists and may be read and written.",
        ) from error


def _unread(path: Path, error: OSError) -> SourceError:
    if isinstance(error, FileNotFoundError):
        hint = "Check the path; relative paths start at the working directory."
        return SourceNotFound(f"{path} does not exist.", hint=hint)
    hint = _THROUGH_A_FILE if isinstance(error, NotADirectoryError) else "Check its permissions."
    return SourceUnreadable(f"{path} cannot be read: {error.strerror}.", hint=hint)


def sync(path: Path) -> None:
    """Have the disk hold a file, or a directory's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
