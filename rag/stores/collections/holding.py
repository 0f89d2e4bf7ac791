"""A collection for oneself: its locks, which are called by its name, and the name still its own."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import select

from rag.errors import Conflict, UnknownCollection
from rag.stores.tables import CollectionRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.stores.collections.ingest_lock import IngestLock
    from rag.stores.sqlite.database import Database


@contextmanager
def alone(
    database: Database, home: Path, collection_id: int, name: str, *locks: type[IngestLock], doing: str = ""
) -> Iterator[None]:
    """Hold these locks of a collection that was called so when it was looked up; ``doing`` is told whom they keep out.

    Raises:
        UnknownCollection: it is gone.
        Conflict: another process holds one of them, or the collection was renamed, so that they keep nobody out.
        DataDirectoryUnwritable, DiskFull: the files of the locks cannot be written.
    """
    with ExitStack() as held:
        for lock in locks:
            held.enter_context(lock(home, name, doing=doing))
        with database.read() as connection:
            now = connection.scalar(select(CollectionRow.name).where(CollectionRow.id == collection_id))
        if now is None:
            raise UnknownCollection(
                f"There is no collection {name!r} any more.", hint="`indexer status` lists those there are."
            )
        if now != name:
            raise Conflict(f"The collection {name!r} is called {now!r} now.", hint="Try again with that name.")
        yield
