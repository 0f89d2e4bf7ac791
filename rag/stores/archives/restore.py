"""Brings an archive's data up in a data directory: all of it checked first, then put in place.

Everything is unpacked beside its place, in the data directory itself: that may be a mount point, with another file
system around it. The rename of the database decides: before it the old data is in use, after it the new.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from rag.errors import Conflict, DatabaseBusy, DiskFull
from rag.stores.archives.archive import BLOBS, DATABASE, Manifest, file_errors, reading, sync
from rag.stores.archives.backup import check, opened
from rag.stores.sqlite import schema
from rag.stores.sqlite.database import make_writable, migration_lock
from rag.stores.sqlite.errors import storage_error, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rag.stores.archives.archive import ArchiveReader, Report
    from rag.stores.archives.backup import Places

_LOCK_TIMEOUT_S = 5.0
# What SQLite keeps beside a database. It takes such a file for its own whatever database it belonged to.
_COMPANIONS = ("-wal", "-shm", "-journal")
_STOP = "Stop `rag serve` and everything else that uses this data directory, and try again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """``moved_aside`` is where the data that was there before is now."""

    manifest: Manifest
    moved_aside: tuple[Path, ...]


def restore(
    archive: Path, *, places: Places, report: Report, forget_states: Callable[[], None], force: bool = False
) -> Restored:
    """Put an archive's database, indexes and uploads into their places.

    ``forget_states`` removes stored model state: chunk ids mean other passages with the new database. It is called when
    all is checked and before anything is placed, so that however this ends no state meets another database.
    A database that is there is moved aside if ``force``. After any error what was there is there still.

    Raises:
        Conflict: there is a database, and not ``force``.
        BackupDamaged: the archive is not as it was written, in whatever place.
        DatabaseTooNew: a newer program has written it.
        DatabaseDamaged: the database in it is.
        DatabaseBusy: another process uses the data directory.
        DataDirectoryUnwritable: its place cannot be written.
        SourceNotFound, SourceUnreadable: there is no such file, or it cannot be opened.
        DiskFull, StorageError: reading or writing failed.
    """
    database = places.database
    with file_errors(f"restoring from {archive}", read=archive):
        archive.stat()  # a name that is mistyped is told before what stands in its way
    _require_free(database, force=force)
    with file_errors(f"restoring from {archive}", read=archive), reading(archive, report) as opened_archive:
        manifest = opened_archive.manifest
        schema.require_known(manifest.revision, f"in {archive}")
        for directory in (database.parent, places.indexes.parent):
            make_writable(directory)
        staged = _Staged(places)
        with _locked(database):
            _require_free(database, force=force)
            _require_unused(database)
            try:
                staged.fill(opened_archive, report)
                _require_unused(database)  # again: that may have taken minutes
                forget_states()
                return Restored(manifest=manifest, moved_aside=tuple(staged.place()))
            finally:
                staged.clear()


class _Staged:
    """The new data beside the places it is meant for."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._database = _restoring(places.database)
        self._indexes = _restoring(places.indexes)
        self._blobs = _restoring(places.blobs)

    def fill(self, archive: ArchiveReader, report: Report) -> None:
        self.clear()  # left by a restore that was killed
        _require_room(archive.manifest, self._database.parent)
        self._indexes.mkdir(mode=0o700)
        for member in archive.manifest.members:
            kind, _, rest = member.name.partition("/")
            folder = self._blobs if kind == BLOBS else self._indexes
            target = self._database if member.name == DATABASE else folder / rest
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            archive.extract(member, target, report)
        for directory, _, _ in os.walk(self._indexes):
            sync(self._indexes / directory)
        with translated("in the backup"):
            check(self._database, archive.manifest.revision, "in the backup", report)

    def place(self) -> list[Path]:
        """Move the old aside and the new into its place; returns where the old is.

        An old database without its indexes, or with those of another, still answers: they are made anew from it. The
        uploads that it waits for stay until the new one is there: nobody could make them anew.
        """
        database, indexes = self._places.database, self._places.indexes
        mark = f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
        aside = database.with_name(f"{database.name}.{mark}")
        moved: list[Path] = []
        with ExitStack() as undo:
            moves = {indexes: indexes.with_name(f"{indexes.name}.{mark}")}
            for suffix in _COMPANIONS:  # there are none of a sound database that nobody uses
                moves[Path(f"{database}{suffix}")] = Path(f"{aside}{suffix}")
            for path, beside in moves.items():
                if path.exists():
                    moved.append(path.rename(beside))
                    undo.callback(beside.rename, path)
            fresh = not database.exists()
            if not fresh:
                self._indexes.rename(indexes)
                undo.callback(indexes.rename, self._indexes)
            kept = None if fresh else self._keep_blobs(mark, undo)
            new = self._add_blobs(undo)
            if not fresh:
                aside.hardlink_to(database)  # under both names, so that at no moment there is no database
                undo.callback(aside.unlink)
                moved.append(aside)
            sync(database.parent)
            self._database.replace(database)
            if fresh:  # index files alone would be taken for those of a database that was lost
                undo.callback(database.rename, self._database)
                if not indexes.exists():  # or else somebody who has just started has made his own
                    self._indexes.rename(indexes)
            undo.pop_all()
        sync(database.parent)
        sync(indexes.parent)
        if kept is not None:
            self._remove_old_blobs(kept, new)
            moved.append(kept)
        return moved

    def _keep_blobs(self, mark: str, undo: ExitStack) -> Path | None:
        """Give the uploads that are there a second name, in a folder beside; returns it if there are any."""
        blobs = self._places.blobs
        there = _files(blobs)
        if not there:
            return None
        kept = blobs.with_name(f"{blobs.name}.{mark}")
        kept.mkdir(mode=0o700)
        undo.callback(shutil.rmtree, kept)
        for blob in there:
            (kept / blob.name).hardlink_to(blob)
        sync(kept)
        return kept

    def _add_blobs(self, undo: ExitStack) -> set[str]:
        """Put the new uploads beside the old ones: no two have one name but the same upload. Returns their names."""
        blobs, new = self._places.blobs, _files(self._blobs)
        if new:
            blobs.mkdir(mode=0o700, exist_ok=True)
            for blob in new:
                if not (blobs / blob.name).exists():
                    undo.callback((blobs / blob.name).unlink)
                blob.rename(blobs / blob.name)
            sync(blobs)
        return {blob.name for blob in new}

    def _remove_old_blobs(self, kept: Path, new: set[str]) -> None:
        """Cut short, it leaves files that no job needs, which the next worker removes."""
        for blob in kept.iterdir():
            if blob.name not in new:
                (self._places.blobs / blob.name).unlink(missing_ok=True)

    def clear(self) -> None:
        self._database.unlink(missing_ok=True)
        for folder in (self._indexes, self._blobs):
            if folder.exists():
                shutil.rmtree(folder)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_file()) if directory.is_dir() else []


def _restoring(path: Path) -> Path:
    return path.with_name(f"{path.name}.restoring")


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    """Alone in creating, migrating or replacing the database."""
    try:
        with migration_lock(database).acquire(timeout=_LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise DatabaseBusy(
            f"Another process is migrating or restoring the database {database}.", hint="Wait for it, and try again."
        ) from error


def _require_free(database: Path, *, force: bool) -> None:
    if database.exists() and not force:
        raise Conflict(
            f"There is a database in {database.parent} already.",
            hint="Set RAG_HOME to another directory, or move it aside with --force.",
        )


def _require_unused(database: Path) -> None:
    """Raise DatabaseBusy if any process has the database open. Afterwards all of a sound one is in its one file."""
    if not database.exists():
        return
    try:
        with closing(opened(database)) as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # in WAL mode: no other connection there is
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        told = storage_error(error, str(database))
        if isinstance(told, DatabaseBusy):
            raise DatabaseBusy(f"Another process is using the database {database}.", hint=_STOP) from error
        # Whatever else is wrong with it may be why somebody restores a backup.


def _require_room(manifest: Manifest, directory: Path) -> None:
    needed, free = sum(member.size for member in manifest.members), shutil.disk_usage(directory).free
    if free < needed:
        raise DiskFull(
            f"The backup unpacks to {needed} bytes; {directory} has {free} free.",
            hint="Free some space and try again; nothing was changed.",
        )
