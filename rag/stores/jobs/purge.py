"""What jobs say of documents that are purged: their requests, what came of their files, and uploads that lie about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, exists, func, or_, select, update

from rag.errors import Conflict
from rag.job_types import request_to_json
from rag.stores.jobs.queue import ENDED
from rag.stores.jobs.rows import request_of
from rag.stores.jobs.tables import JobFileRow, JobRow
from rag.stores.tables import DocumentRow
from rag.types import MEMBER_MARK
from rag.version_types import Searched

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from rag.job_types import JobRequest
    from rag.stores.jobs.blobs import Blobs
    from rag.stores.sqlite.database import Database
    from rag.types import Collection

_PURGED: Final = {"code": "purged", "message": "What this was about was purged.", "hint": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was forgotten in a transaction: where the documents were from, how many jobs and files of jobs told of them,
    and the sha256 of the uploads that they came with.
    """

    uris: tuple[str, ...]
    mentions: int
    uploads: frozenset[str]


def require_no_upload(connection: Connection, collection: str, uris: Sequence[str]) -> None:
    """Raise Conflict if a job that has not ended brings one of the documents, or what it is in, once more."""
    query = select(JobRow.id, JobRow.collection, JobRow.request)
    for row in connection.execute(query.where(JobRow.collection == collection, JobRow.state.not_in(ENDED))):
        for upload in request_of(row).uploads:
            if any(_is_in(uri, upload.uri) or _is_in(upload.uri, uri) for uri in uris):
                raise Conflict(
                    f"Job {row.id} is about to take in {upload.uri} again.",
                    hint=f"Cancel it (`indexer jobs {row.id} --cancel`, DELETE /v1/jobs/{row.id}) or wait until it has "
                    "ended, and purge then.",
                )


def require_no_job(connection: Connection, collection: str) -> None:
    """Raise Conflict if a job that has not ended takes documents into the collection. Not what a command does itself:
    whoever holds the collection's ingest lock knows that there is none, or that it is dead.
    """
    query = select(JobRow.id, JobRow.collection, JobRow.request).order_by(JobRow.id)
    for row in connection.execute(query.where(JobRow.collection == collection, JobRow.state.not_in(ENDED))):
        if not request_of(row).foreground:
            raise Conflict(
                f"Job {row.id} is about to take documents into the collection {collection!r}.",
                hint=f"Cancel it (`indexer jobs {row.id} --cancel`, DELETE /v1/jobs/{row.id}) or wait until it has "
                "ended, and try again then.",
            )


def forget_all(connection: Connection, collection: str) -> Forgotten:
    """Delete all jobs of a collection, of which none goes on."""
    jobs = select(JobRow.id).where(JobRow.collection == collection)
    query = select(JobRow.id, JobRow.collection, JobRow.request).where(JobRow.collection == collection)
    requests = [request_of(row) for row in connection.execute(query)]
    connection.execute(delete(JobFileRow).where(JobFileRow.job_id.in_(jobs)))
    connection.execute(delete(JobRow).where(JobRow.collection == collection))
    uploads = frozenset(upload.sha256 for request in requests for upload in request.uploads)
    return Forgotten(uris=(), mentions=len(requests), uploads=uploads)


def former_addresses(connection: Connection, collection: Collection, document_ids: Sequence[int]) -> list[str]:
    """Where jobs found documents that have moved since; not where another document is now."""
    another = exists().where(DocumentRow.collection_id == collection.id, DocumentRow.uri == JobFileRow.uri)
    query = select(JobFileRow.uri).join(JobRow, JobRow.id == JobFileRow.job_id).distinct()
    told = query.where(JobRow.collection == collection.name, JobFileRow.document_id.in_(document_ids), ~another)
    return list(connection.scalars(told))


def forget(connection: Connection, collection: str, uris: Sequence[str]) -> Forgotten:
    """Take the documents, with what is in them, out of what ended jobs were asked to do, and out of what came of it."""
    mentions, uploads = 0, set[str]()
    for uri in uris:
        mentions += connection.execute(delete(JobFileRow).where(_files_of(collection, uri))).rowcount
    for job_id, request, error in _ended(connection, collection):
        kept = _without(request, uris)
        if kept == request:
            continue
        mentions += 1
        uploads |= {upload.sha256 for upload in set(request.uploads) - set(kept.uploads)}
        told = _PURGED if error is not None else None
        values = {"request": request_to_json(kept), "error": told}
        connection.execute(update(JobRow).where(JobRow.id == job_id).values(**values))
    return Forgotten(uris=tuple(uris), mentions=mentions, uploads=frozenset(uploads))


def search_jobs(database: Database, collection: str, forgotten: Forgotten) -> Searched:
    """Whether any job says anything of them still."""
    uris = forgotten.uris
    with database.read() as connection:
        left = sum(_without(request, uris) != request for _, request, _ in _ended(connection, collection))
        for uri in uris:
            count = select(func.count()).select_from(JobFileRow).where(_files_of(collection, uri))
            left += connection.execute(count).scalar_one()
    note = "A job took them in meanwhile; purge them again." if left else ""
    return Searched(place="jobs", searched=forgotten.mentions + left, removed=forgotten.mentions, left=left, note=note)


def search_uploads(blobs: Blobs, needed: set[str], sha256s: frozenset[str]) -> Searched:
    """Whether an upload that no job needs holds what was purged; those that are not needed for long are removed."""
    searched, removed, left = blobs.purge(needed, sha256s)
    note = "The same bytes were handed over just now; run the purge again if they should be gone." if left else ""
    return Searched(place="uploads that no job needs", searched=searched, removed=removed, left=left, note=note)


def _ended(connection: Connection, collection: str) -> Iterator[tuple[int, JobRequest, object]]:
    query = select(JobRow.id, JobRow.collection, JobRow.request, JobRow.error)
    for row in connection.execute(query.where(JobRow.collection == collection, JobRow.state.in_(ENDED))).all():
        yield row.id, request_of(row), row.error


def _without(request: JobRequest, uris: Sequence[str]) -> JobRequest:
    """The request without these documents; what was said of all is said of none when none is left."""
    wanted = set(uris)
    uploads = tuple(upload for upload in request.uploads if upload.uri not in wanted)
    paths = tuple(path for path in request.paths if path not in wanted and _resolved(path) not in wanted)
    empty = not (uploads or paths or request.sitemaps)
    return replace(request, uploads=uploads, paths=paths, metadata=None if empty else request.metadata)


def _resolved(path: str) -> str:
    """As a file's URI has it; a URL stays one, for it is no file's."""
    if "://" in path or not PurePath(path).name:
        return path
    return (Path(path).parent.resolve() / PurePath(path).name).as_posix()


def _files_of(collection: str, uri: str) -> ColumnElement[bool]:
    prefix = uri + MEMBER_MARK
    jobs = select(JobRow.id).where(JobRow.collection == collection)
    of = or_(JobFileRow.uri == uri, func.substr(JobFileRow.uri, 1, len(prefix)) == prefix)
    return JobFileRow.job_id.in_(jobs) & of


def _is_in(uri: str, container: str) -> bool:
    return uri == container or uri.startswith(container + MEMBER_MARK)
