"""Another name for a collection. All that is in it is known by its id; locks and jobs alone by its name."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from rag.errors import InvalidRequest
from rag.job_types import request_to_json
from rag.stores.collection_rows import change_collection, collection_row, require_free_name
from rag.stores.collections.holding import alone
from rag.stores.collections.ingest_lock import IngestLock, ReembeddingLock
from rag.stores.jobs.purge import require_no_job
from rag.stores.jobs.rows import request_of
from rag.stores.jobs.tables import JobRow
from rag.stores.reading import to_collection
from rag.unicode import is_storable

if TYPE_CHECKING:
    from pathlib import Path

    from rag.stores.sqlite.database import Database
    from rag.types import Collection


def rename(database: Database, home: Path, collection: Collection, name: str) -> Collection:
    """Call a collection ``name``, for every process from its next query on, and have its jobs say so, too.

    Raises:
        InvalidRequest: the name is not text.
        UnknownCollection: the collection is gone.
        Conflict: there is a collection of that name, another process ingests into either or embeds it anew, or a job
            that has not ended takes documents into either.
        DatabaseBusy, DiskFull, DataDirectoryUnwritable: as any write.
    """
    if not is_storable(name) or not name:
        raise InvalidRequest(f"{name!r} cannot be the name of a collection.", hint="Write a name, as UTF-8.")
    locks = (IngestLock, ReembeddingLock)
    with ExitStack() as held:
        held.enter_context(alone(database, home, collection.id, collection.name, *locks, doing="renaming"))
        if name != collection.name:
            for lock in locks:  # somebody may be about to make one of that name
                held.enter_context(lock(home, name, doing="making"))
        connection = held.enter_context(database.write())
        require_free_name(connection, name, of=None if name == collection.name else collection.id)
        for each in (collection.name, name):
            require_no_job(connection, each)
        change_collection(connection, collection_row(connection, collection.id), name=name)
        jobs = select(JobRow.id, JobRow.collection, JobRow.request).where(JobRow.collection == collection.name)
        for row in connection.execute(jobs).all():
            request = request_to_json(replace(request_of(row), collection=name))
            connection.execute(update(JobRow).where(JobRow.id == row.id).values(collection=name, request=request))
        return to_collection(collection_row(connection, collection.id))
