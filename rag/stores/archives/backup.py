"""One consistent archive of a data directory, while others serve from it and write to it.

The database is copied as of one moment: a read transaction that lasts as long as the copying keeps what it sees, and in
WAL mode writers do not wait for it. Index generations are written first, because they may be pruned meanwhile; the
database tells which, and one that is gone is left out: it is made anew from the database. Uploads that wait are held on
to from that moment on (``rag.stores.jobs.waiting_uploads``).
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import msgspec

from rag.errors import BackupDamaged, DatabaseDamaged, IndexDamaged, InvalidSettings, NotFound
from rag.stores.archives.archive import (
    BLOBS,
    DATABASE,
    FORMAT_VERSION,
    CollectionRecord,
    Manifest,
    file_errors,
    require_free,
    sync,
    writing,
)
from rag.stores.jobs.waiting_uploads import held
from rag.stores.scratch import scratch
from rag.stores.sqlite import schema
from rag.stores.sqlite.database import sqlite_path
from rag.stores.sqlite.errors import translated
from rag.stores.sqlite.write_ahead import require_whole_log
from rag.times import now

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rag.config import Settings
    from rag.stores.archives.archive import ArchiveWriter, Member, ModelRecord, Report

_BUSY_TIMEOUT_S = 15.0
_PAGES = 2048  # copied between two reports: 8 MiB

_MANIFEST = "manifest.json"

_COLLECTIONS = """
    SELECT c.name, c.embedder, count(v.id), coalesce(sum(v.chunk_count), 0)
    FROM collections c LEFT JOIN document_versions v ON v.collection_id = c.id AND v.status = 'active'
    GROUP BY c.id ORDER BY c.name
"""
_GENERATIONS = "SELECT directory, sha256 FROM index_generations ORDER BY collection_id, seq DESC"


@dataclass(frozen=True, slots=True)
class _Checksums:
    """What a backup needs of a generation's manifest."""

    files: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The database, the directory of all index generations, and that of the uploads that wait."""

    database: Path
    indexes: Path
    blobs: Path


def places(settings: Settings) -> Places:
    """Where the data of these settings is. Raises InvalidSettings if the database is not SQLite's."""
    kind = settings.sqlalchemy_url.partition(":")[0].partition("+")[0]
    if kind.startswith("postgres"):
        raise InvalidSettings(
            "Backup and restore are for SQLite; RAG_DATABASE_URL names a PostgreSQL database.",
            hint="Use pg_dump and pg_restore; index files are made anew from the database.",
        )
    home = settings.home
    return Places(database=sqlite_path(settings.sqlalchemy_url), indexes=home / "indexes", blobs=home / "blobs")


def back_up(
    target: Path,
    *,
    places: Places,
    program: str,
    settings: dict[str, Any],
    models: Iterable[ModelRecord],
    report: Report,
    compress: bool = False,
    force: bool = False,
) -> Manifest:
    """Write the archive ``target``: complete, or not at all. Takes room for the database twice beside it.

    ``settings`` must hold no secrets. An existing file is replaced only if ``force``.

    Raises:
        NotFound: there is no database.
        Conflict: the target exists.
        InvalidRequest: the data is there.
        DatabaseDamaged: the database is; nobody could restore from this.
        DatabaseTooNew, DatabaseBusy: it cannot be read.
        DiskFull, StorageError: the target cannot be written.
    """
    database, home = places.database, places.indexes.parent
    require_free(target, database=database, home=home, force=force)
    if not database.is_file():
        raise NotFound(f"There is no database {database} to back up.", hint="Check RAG_HOME.")
    with file_errors(f"the backup to {target}"), translated(str(database)), ExitStack() as stack:
        # Beside the target, so that the last step is a rename; after a kill the next backup there removes it.
        folder = stack.enter_context(scratch(target.parent))
        copy, unfinished = folder / DATABASE, folder / "archive"
        require_whole_log(database)
        source = stack.enter_context(closing(opened(database)))
        uploads = stack.enter_context(held(source, places.blobs))  # as of the moment that this is a backup of
        revision = revision_of(source, str(database))
        with writing(unfinished, compress=compress) as archive:
            known = source.execute(_GENERATIONS).fetchall()
            members, left_out = _add_generations(archive, places.indexes, known, report)
            for upload in uploads:
                with upload.open("rb") as file:
                    members.append(archive.add(f"{BLOBS}/{upload.name}", file, report))
            _copy(source, copy, left_out, report)
            source.execute("ROLLBACK")
            check(copy, revision, str(database), report)
            with copy.open("rb") as file:
                members.append(archive.add(DATABASE, file, report))
            manifest = Manifest(
                format_version=FORMAT_VERSION,
                program=program,
                revision=revision,
                created=now(),
                settings=settings,
                models=tuple(models),
                collections=_collections(copy),
                left_out=tuple(left_out),
                members=tuple(members),
            )
            archive.finish(manifest)
        require_free(target, database=database, home=home, force=force)
        unfinished.replace(target)
        sync(target.parent)
    return manifest


def opened(database: Path, mode: str = "mode=rw") -> sqlite3.Connection:
    """Connect to a database that must be there; transactions are begun by hand."""
    uri = f"{database.absolute().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)


def check(copy: Path, revision: str, what: str, report: Report) -> None:
    """Read a closed database, which nobody writes to, as a whole.

    Raises:
        DatabaseDamaged: its structure is broken.
        BackupDamaged: it has another revision.
    """
    size = copy.stat().st_size
    report("checking the database", 0, size)
    with closing(opened(copy, "immutable=1")) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
        if problems != ["ok"]:
            raise DatabaseDamaged(
                f"The database {what} is damaged: {'; '.join(problems)}.",
                hint="`indexer verify` tells more; use an older backup, or ingest the documents anew.",
            )
        if (found := revision_of(connection, what)) != revision:
            raise BackupDamaged(f"The database in the backup has revision {found}, its manifest says {revision}.")
    report("checking the database", size, size)


def revision_of(connection: sqlite3.Connection, what: str) -> str:
    """The revision, which this program knows.

    Raises:
        NotFound: there are no tables of Plumbline.
        DatabaseTooNew: a newer program has made it.
    """
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if tables[0] else None
    if row is None:
        raise NotFound(f"The database {what} holds nothing of Plumbline.", hint="Check RAG_HOME and RAG_DATABASE_URL.")
    schema.require_known(row[0], what)
    return str(row[0])


def _copy(source: sqlite3.Connection, copy: Path, left_out: list[str], report: Report) -> None:
    page = source.execute("PRAGMA page_size").fetchone()[0]

    def step(_status: int, remaining: int, total: int) -> None:
        report("copying the database", (total - remaining) * page, total * page)

    with translated(str(copy)), closing(sqlite3.connect(copy)) as target:
        target.execute("PRAGMA synchronous = OFF")  # it is read once and deleted
        source.backup(target, pages=_PAGES, progress=step)
        target.executemany("DELETE FROM index_generations WHERE directory = ?", [(each,) for each in left_out])
        target.commit()


def _add_generations(
    archive: ArchiveWriter, indexes: Path, known: list[tuple[str, str]], report: Report
) -> tuple[list[Member], list[str]]:
    """Add the files of all generations; returns them, and the generations that are gone or damaged."""
    members: list[Member] = []
    left_out: list[str] = []
    for directory, sha256 in known:
        try:
            members += _add_generation(archive, indexes, directory, sha256, report)
        except (FileNotFoundError, IndexDamaged):
            left_out.append(directory)
    return members, left_out


def _add_generation(archive: ArchiveWriter, indexes: Path, directory: str, sha256: str, report: Report) -> list[Member]:
    with ExitStack() as stack:  # all opened before the first is read: what is open is there to the end
        paths = sorted(path for path in (indexes / directory).iterdir() if not path.name.startswith("."))
        files = {path.name: stack.enter_context(path.open("rb")) for path in paths}
        expected = _checksums(files.get(_MANIFEST), sha256)
        members = {name: archive.add(f"indexes/{directory}/{name}", file, report) for name, file in files.items()}
    if any(name not in members or members[name].sha256 != known for name, known in expected.items()):
        raise IndexDamaged(f"The index files in {indexes / directory} are not those that were written.")
    return list(members.values())


def _checksums(manifest: IO[bytes] | None, sha256: str) -> dict[str, str]:
    """The sha256 of each file, as a generation's manifest has it; its own is ``sha256``."""
    content = b"" if manifest is None else manifest.read()
    if manifest is None or hashlib.sha256(content).hexdigest() != sha256:
        raise IndexDamaged("The manifest of the index files is not the one that was written.")
    manifest.seek(0)
    return msgspec.json.decode(content, type=_Checksums).files


def _collections(copy: Path) -> tuple[CollectionRecord, ...]:
    with closing(opened(copy, "immutable=1")) as connection:
        rows = connection.execute(_COLLECTIONS).fetchall()
    return tuple(
        CollectionRecord(name=name, embedder=embedder, documents=documents, chunks=chunks)
        for name, embedder, documents, chunks in rows
    )
