"""Opens the database: its directory, its schema, its transactions.

SQLite runs in WAL mode, so readers never wait for a writer, with ``synchronous=FULL``: what a commit has acknowledged
is on the disk. (``NORMAL`` would lose the last commits when the power fails, and a document is acknowledged once.)
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from zlib import crc32

from filelock import FileLock, Timeout
from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.util import LRUCache

from rag.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DataDirectoryUnwritable,
    DiskFull,
    InvalidSettings,
    StorageError,
)
from rag.stores.sqlite import schema
from rag.stores.sqlite.errors import translated
from rag.stores.sqlite.room import disk_full, is_full
from rag.stores.sqlite.write_ahead import log_of, require_whole_log
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from rag.config import Settings

_BUSY_TIMEOUT_S = 15.0
_MIGRATION_TIMEOUT_S = 600.0
# A search reads for milliseconds; who reads for longer makes a backup, or an export.
_READERS_END_S = 3.0

_READS: Final = "BEGIN"
# SQLite's write lock at once: a transaction that reads first and then writes would fail, not wait, if another process
# wrote in between.
_WRITES: Final = "BEGIN IMMEDIATE"

# Statements with filters in them that are remembered: each shape of a filter makes some of its own, and of one of 200
# comparisons each takes .7 MB.
_FILTERED_STATEMENTS: Final = 64

_log = get_logger("stores")


class Database:
    """An open database. Safe to share between threads."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.path = path
        self._engine = engine
        # Apart from the few hundred others, which SQLAlchemy remembers all.
        self._of_filters: LRUCache[Any, Any] = LRUCache(_FILTERED_STATEMENTS)

    @classmethod
    def open(cls, settings: Settings, *, migrate: bool = True, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> Self:
        """Open the database of these settings; create or migrate it first if ``migrate``, else write nothing.

        Raises:
            DataDirectoryUnwritable: the data directory cannot be made or written.
            DatabaseTooNew: a newer program has migrated it.
            DatabaseOutdated: it is not there or needs a migration, and ``migrate`` is off.
            DatabaseBusy: another process holds its lock for longer than the timeout (in seconds).
            DatabaseDamaged: it is not a readable SQLite file, or its log lacks changes that were acknowledged, or it is
                gone from beside its index files.
            InvalidSettings: the URL is not one of a SQLite file.
        """
        url = _sqlite_url(settings.sqlalchemy_url)
        path = Path(url.database or "")
        if migrate:
            make_writable(settings.home)
            make_writable(path.parent)
        _refuse_lost(path, settings.home)
        require_whole_log(path)
        engine = _create_engine(url, busy_timeout_s)
        try:
            _bring_up_to_date(engine, path, migrate=migrate, retention_days=settings.retention_days)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, path)

    @contextmanager
    def read(self, *, filtered: bool = False) -> Iterator[Connection]:
        """One consistent snapshot of the database; ``filtered`` where its statements are made for somebody's filter."""
        with translated(str(self.path)), _transaction(self._engine, _READS) as connection:
            if filtered:
                connection.execution_options(compiled_cache=self._of_filters)
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, alone in writing; committed when the block ends, rolled back when it raises."""
        with translated(str(self.path)), _transaction(self._engine, _WRITES) as connection:
            yield connection

    @property
    def revision(self) -> str | None:
        with self.read() as connection:
            return schema.revision_of(connection)

    def size_bytes(self) -> int:
        """Bytes on disk, the write-ahead log included."""
        return sum(_size(file) or 0 for file in (self.path, log_of(self.path)))

    def rewrite(self) -> bool:
        """Write the file anew, without what was deleted; False if the disk has no room for that, or a writer goes on.

        What is deleted is overwritten where it stood. But when SQLite moves rows to another page, it leaves bytes of
        some in the unused part of the page they came from, and does not know of them when the rows are deleted.
        Meanwhile nobody else can write; searches go on.
        """
        # Once in a temporary file, once in the log.
        if shutil.disk_usage(self.path.parent).free < 2 * self.size_bytes():
            return False
        try:
            with (
                translated(str(self.path)),
                closing(sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection,
            ):
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("VACUUM")
        except (DatabaseBusy, DiskFull):
            return False
        return True

    def truncate_log(self) -> bool:
        """Bring the write-ahead log into the database and empty it; False if a reader of another moment keeps it."""
        with translated(str(self.path)), closing(sqlite3.connect(self.path, timeout=_READERS_END_S)) as connection:
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy

    def changes_of(self, connection: Connection) -> int:
        """Rows that a connection has ever changed, those of internal tables included."""
        return _driver(connection).total_changes

    def close(self) -> None:
        self._engine.dispose()


def migrate(url: str, *, retention_days: float) -> None:
    """Create or migrate the database at a SQLAlchemy URL, as ``Database.open`` does. Errors: as there."""
    parsed = _sqlite_url(url)
    path = Path(parsed.database or "")
    make_writable(path.parent)
    engine = _create_engine(parsed, _BUSY_TIMEOUT_S)
    try:
        _bring_up_to_date(engine, path, migrate=True, retention_days=retention_days)
    finally:
        engine.dispose()


def sqlite_path(url: str) -> Path:
    """The file that a SQLAlchemy URL names. Raises InvalidSettings if it is not one of a SQLite file."""
    return Path(_sqlite_url(url).database or "")


def migration_lock(path: Path) -> FileLock:
    """Held by the one process that creates, migrates or replaces a database file."""
    return FileLock(path.with_name(f"{path.name}.migration.lock"))


def _sqlite_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidSettings(
            "RAG_DATABASE_URL is not a database URL.", hint="Use sqlite:////absolute/path.db, or unset it."
        ) from error
    if parsed.get_backend_name() != "sqlite":
        raise InvalidSettings(
            f"Databases of the kind {parsed.get_backend_name()!r} are not supported yet.",
            hint="Unset RAG_DATABASE_URL to use SQLite in the data directory.",
        )
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise InvalidSettings(
            "The SQLite database must be a plain file: several connections and processes share it.",
            hint="Use sqlite:////absolute/path.db, or unset RAG_DATABASE_URL.",
        )
    return parsed


def make_writable(directory: Path) -> None:
    """Make a directory of data, if it is not there. Raises DataDirectoryUnwritable, DiskFull."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Asking for permissions is not proof: root, full and read-only disks.
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise _unwritable(directory, error) from error


def _unwritable(directory: Path, error: OSError) -> StorageError:
    if is_full(directory, error):
        return disk_full(directory)
    no_directory = isinstance(error, FileExistsError | NotADirectoryError)
    why = "it is not a directory" if no_directory else error.strerror or error
    return DataDirectoryUnwritable(
        f"The data directory {directory} cannot be written: {why}.",
        hint="Correct its owner or permissions, or set RAG_HOME to a directory you can write to. What is only to be "
        "read (a mounted copy) is copied there first: searching needs locks and a log beside the database.",
    )


def _refuse_lost(path: Path, home: Path) -> None:
    """A file that is gone or cut to nothing looks like a new database; what was made for one proves that it is not."""
    size = _size(path)
    if size:
        return
    indexes, locks = (folder.is_dir() and any(folder.iterdir()) for folder in (home / "indexes", home / "locks"))
    anew = f"to begin anew, remove {home / 'indexes'} and ingest the documents again."
    # Index files, and the locks of those who have ingested; they are there only after the database.
    if size is not None and (indexes or locks):
        raise DatabaseDamaged(
            f"The database {path} is empty, but there are files that were made for documents it held.",
            hint=f"Restore a backup. Or remove the file and, {anew}",
        )
    # A lock may be older than the first database: whoever waits to make it has one.
    if size is None and indexes:
        raise DatabaseDamaged(
            f"The database {path} is not there, but there are index files of documents it held in {home / 'indexes'}.",
            hint=f"Check RAG_DATABASE_URL and whether its disk is mounted, or restore a backup. Or, {anew}",
        )


def _size(path: Path) -> int | None:
    """Bytes of a file; None if it is not there. One look: somebody may remove it between two."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _create_engine(url: URL, busy_timeout_s: float) -> Engine:
    # Every thread that asks gets a connection: a bound here would make searches time out for no gain.
    engine = create_engine(url, pool_size=8, max_overflow=-1, connect_args={"timeout": busy_timeout_s})

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver would begin transactions late, and not before DDL
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA secure_delete = ON")  # what is deleted leaves no bytes in the file
        cursor.close()
        register_functions(connection)

    return engine


@contextmanager
def _transaction(engine: Engine, begin: str) -> Iterator[Connection]:
    # Not by an event: with one, SQLAlchemy looks for listeners whatever it does, and there are many statements.
    with engine.connect() as connection, connection.begin():
        _driver(connection).execute(begin)
        yield connection


def _driver(connection: Connection) -> sqlite3.Connection:
    return connection.connection.driver_connection  # type: ignore[return-value]  # SQLAlchemy knows no more than that there is one


def register_functions(connection: DBAPIConnection) -> None:
    """Give a connection of the driver the functions that statements of ours call."""
    connection.create_function("crc32", 1, crc32, deterministic=True)


def _bring_up_to_date(engine: Engine, path: Path, *, migrate: bool, retention_days: float) -> None:
    revision = _revision(engine, path)
    schema.require_known(revision, str(path))
    if not migrate:
        schema.require_current(revision, str(path))
    if revision == schema.REVISIONS[-1]:
        return
    try:
        with migration_lock(path).acquire(timeout=_MIGRATION_TIMEOUT_S), translated(str(path)):
            _migrate(engine, path, retention_days)
    except Timeout as error:
        raise DatabaseBusy(
            f"Another process has been migrating the database {path} for {_MIGRATION_TIMEOUT_S:.0f} seconds.",
            hint="Wait for it, or end it if it hangs, and try again.",
        ) from error
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def _revision(engine: Engine, path: Path) -> str | None:
    if not path.exists():  # connecting would create it
        return None
    with translated(str(path)), _transaction(engine, _READS) as connection:
        return schema.revision_of(connection)


def _migrate(engine: Engine, path: Path, retention_days: float) -> None:
    revision = _revision(engine, path)  # again: the process that held the lock before may have done it
    schema.require_known(revision, str(path))
    if revision == schema.REVISIONS[-1]:
        return
    if revision is None:
        path.touch(mode=0o600)  # SQLite gives its log and what else it makes beside it the same
        raw = engine.raw_connection()
        raw.cursor().execute("PRAGMA journal_mode = WAL")  # kept in the file; not possible inside a transaction
        raw.close()
    else:
        backup = schema.back_up(path, revision)
        _log.info("database backed up before migration", revision=revision, backup=str(backup))
    with _transaction(engine, _WRITES) as connection:
        schema.upgrade(connection, retention_days=retention_days)
    if revision is not None:
        _log.info("database migrated", database=str(path), revision=schema.REVISIONS[-1])
