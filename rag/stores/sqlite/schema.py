"""Which revision a database has, which this program needs, and the way from one to the other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from rag.errors import DatabaseDamaged, DatabaseOutdated, DatabaseTooNew

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

# Written down so that opening a current database need not load Alembic; a test compares it with the scripts.
REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0012",
    "0013",
    "0014",
    "0016",
    "0017",
    "0018",
    "0019",
    "0020",
    "0021",
    "0022",
    "0023",
    "0024",
    "0025",
    "0026",
)

# As a package, not as a path: it works from an installed wheel, and a path may hold characters Alembic interpolates.
SCRIPTS = "rag.stores:migrations"

_UPGRADE = "Run `rag migrate` to bring it to this revision; it is backed up before."
_CREATE = "`indexer ingest` or `rag migrate` makes one. If there should be one, check RAG_HOME."


def revision_of(connection: Connection) -> str | None:
    """The database's revision; ``None`` for an empty database. Raises DatabaseDamaged if it has tables of others."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise DatabaseDamaged(
                "The database has other tables than Plumbline's, or the list of its tables is damaged.",
                hint="Check RAG_HOME and RAG_DATABASE_URL; restore a backup if it should be Plumbline's.",
            )
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def require_known(revision: str | None, where: str) -> None:
    """Raise DatabaseTooNew unless this program knows the revision."""
    if revision is not None and revision not in REVISIONS:
        raise DatabaseTooNew(
            f"The database {where} has revision {revision}; this program knows revisions up to {REVISIONS[-1]}.",
            hint="Upgrade Plumbline, or restore the backup made before the database was migrated.",
        )


def require_current(revision: str | None, where: str) -> None:
    """Raise DatabaseOutdated unless the revision is the newest."""
    if revision != REVISIONS[-1]:
        if revision is None:
            raise DatabaseOutdated(f"There is no database {where} yet.", hint=_CREATE)
        raise DatabaseOutdated(
            f"The database {where} has revision {revision}; this program needs {REVISIONS[-1]}.", hint=_UPGRADE
        )


def upgrade(connection: Connection, *, retention_days: float) -> None:
    """Run the missing migrations in the transaction of this connection. The caller holds the migration lock.

    ``retention_days`` is for collections of before they had their own.
    """
    # Alembic takes a fifth of a second to import, and almost every start finds the database current.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["retention_days"] = retention_days
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])


def back_up(database: Path, revision: str) -> Path:
    """Copy the SQLite file, writes of other processes included, to a sibling named for its revision."""
    target = database.with_name(f"{database.stem}.before-migration-from-{revision}{database.suffix}")
    unfinished = target.with_name(f"{target.name}.part")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(unfinished)) as copy:
        source.backup(copy)
    return unfinished.replace(target)
