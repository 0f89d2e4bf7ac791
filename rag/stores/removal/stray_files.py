"""Files that killed programs left in the data directory: index folders of no collection, half an archive, documents on
their way.

As in ``leftovers``: whoever still writes them holds a lock.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from filelock import Timeout
from sqlalchemy import select

from rag.errors import Conflict, StorageError, UnknownCollection
from rag.stores.checksums import RowDamaged
from rag.stores.collections.holding import alone
from rag.stores.collections.ingest_lock import ReembeddingLock
from rag.stores.embeddings.reembedding import BUILDING
from rag.stores.index.generations import writing
from rag.stores.scratch import SCRATCH, is_held
from rag.stores.sqlite.database import migration_lock
from rag.stores.tables import CollectionRow
from rag.stores.verification.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.stores.sqlite.database import Database

# The folder of documents on their way. Their files have no names, but where a system has to give each one for a moment.
SPOOL: Final = "spool"
_RESTORING: Final = ".restoring"
_PART: Final = ".part"


def find_strays(database: Database, home: Path, indexes: Path) -> Iterator[Finding]:
    """What ``remove_strays`` would remove."""
    for path in _strays(database, home, indexes):
        yield Finding(
            area="files",
            message=f"{path.relative_to(home) if path.is_relative_to(home) else path} is of no use.",
            advice="It does no harm. `indexer verify --repair` frees the space.",
            repairable=True,
            severity="leftover",
        )


def remove_strays(database: Database, home: Path, indexes: Path) -> None:
    """Remove them. Raises StorageError where the file system refuses."""
    for path in _strays(database, home, indexes):
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            raise StorageError(
                f"{path} could not be removed: {error.strerror or error}.", hint="Check its owner and permissions."
            ) from error


def _strays(database: Database, home: Path, indexes: Path) -> list[Path]:
    found = [path for path in home.glob(f"{SCRATCH}*") if not is_held(path)]
    found += sorted((home / SPOOL).glob("tmp*"))
    found += _index_folders(database, home, indexes)
    restoring = [database.path, *(indexes.with_name(name) for name in ("indexes", "blobs"))]
    parts = [path.with_name(f"{path.name}{_RESTORING}") for path in restoring]
    parts += database.path.parent.glob(f"*{_PART}")
    if any(path.exists() for path in parts):
        try:
            with migration_lock(database.path).acquire(timeout=0):
                found += [path for path in parts if path.exists()]
        except Timeout:
            pass  # being written
    return found


def _index_folders(database: Database, home: Path, indexes: Path) -> Iterator[Path]:
    """Those of collections that are not there, and those of re-embeddings that nobody does."""
    if not indexes.is_dir():
        return
    with database.read() as connection:
        ids = set(map(str, connection.scalars(select(CollectionRow.id))))
    for path in sorted(indexes.iterdir()):
        if path.is_dir() and path.name.isdecimal() and path.name not in ids:
            with writing(indexes, int(path.name)), database.read() as connection:
                now = connection.scalar(select(CollectionRow.id).where(CollectionRow.id == int(path.name)))
            if now is None:
                yield path
    for path in sorted((indexes / BUILDING).glob("*")):
        try:
            name = _name_of(database, int(path.name)) if path.name in ids else None
        except RowDamaged:  # nobody knows whose it is
            continue
        if name is None or not _is_reembedding(database, home, int(path.name), name):
            yield path


def _name_of(database: Database, collection_id: int) -> str | None:
    with database.read() as connection:
        return connection.scalar(select(CollectionRow.name).where(CollectionRow.id == collection_id))


def _is_reembedding(database: Database, home: Path, collection_id: int, name: str) -> bool:
    try:
        with alone(database, home, collection_id, name, ReembeddingLock):
            return False
    except (Conflict, UnknownCollection):
        return True
