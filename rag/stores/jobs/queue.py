"""The queue of work that programs hand to each other: uploads and folders to take in, one job at a time a worker.

A worker has a job by a *lease*: it says again and again that it goes on (heartbeat), and where it does not, another
takes the job over. Taking in is idempotent (what is unchanged is skipped), so a job that is begun again goes on where
it ended. Nobody takes over what a command does itself, so that is over only when the command's process is: leases run
out while a machine sleeps. Leases, and when a job is tried again, are by the machine's clock; setting it back makes no
wait longer than the longest that there is.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from rag.errors import JobLost
from rag.job_types import JobError, JobRequest, JobState, request_to_json
from rag.stores.checksums import RowDamaged
from rag.stores.jobs.rows import file_of, file_values, job_of, request_of
from rag.stores.jobs.tables import JobFileRow, JobRow
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from rag.job_types import Job, JobFile, Upload
    from rag.stores.sqlite.database import Database

    Gone = Callable[[str], bool]

_ASKED_AT_ONCE: Final = 500
# How long a worker may be silent. It says that it goes on three times as often.
LEASE: Final = timedelta(seconds=60)
_ATTEMPTS: Final = 5
_FIRST_DELAY: Final = timedelta(seconds=5)
_LONGEST_DELAY: Final = timedelta(minutes=10)
KEPT: Final = timedelta(days=30)  # for so long is told what came of a job
ENDED: Final = tuple(state for state in JobState if state.ended)
_DAMAGED: Final = JobError(
    code="database_damaged",
    message="What the job was to do is not as it was written: the database is damaged.",
    hint="Upload its files again, or give its command again; `indexer verify` tells all that is damaged.",
)
_FORGET: Final = delete(JobFileRow).where(JobFileRow.job_id == bindparam("of"), JobFileRow.uri == bindparam("named"))

_log = get_logger("stores")


class JobQueue:
    """Jobs in SQL. Safe to share between threads and processes."""

    def __init__(self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._now = now

    def put(self, request: JobRequest, *, owner: str | None = None) -> Job:
        """Queue a request; with an ``owner`` it is running already, and nobody else is given it."""
        now = self._now()
        values = {
            "collection": request.collection,
            "request": request_to_json(request),
            "state": JobState.QUEUED if owner is None else JobState.RUNNING,
            "attempts": 0 if owner is None else 1,
            "cancel_requested": False,
            "owner": owner,
            "lease_until": None if owner is None else now + LEASE,
            "started_at": None if owner is None else now,
            "created_at": now,
        }
        with self._database.write() as connection:
            job_id = connection.scalars(insert(JobRow).values(**values).returning(JobRow.id)).one()
            return job_of(connection, job_id)

    def claim(self, owner: str, *, gone: Gone = lambda _: False, busy: Iterable[str] = ()) -> Job | None:
        """The oldest job that waits, or was let go of, is this worker's from now on; None if there is none.

        Of a collection one job is done at a time, and none while it is ``busy``. What an address was said to hold later
        is taken in later, however often the earlier has to be tried again. ``gone`` tells of an owner that it has
        ended, so that its jobs need not wait for the end of their lease. One that is not as it was written has failed,
        and keeps no other from being done.
        """
        try:
            return self._claim(owner, gone, busy)
        except RowDamaged:
            self.end_damaged()
            return self._claim(owner, gone, busy)

    def _claim(self, owner: str, gone: Gone, busy: Iterable[str]) -> Job | None:
        now = self._now()
        with self._database.write() as connection:
            _take_back(connection, now, gone)
            job_id = _next_due(connection, now, busy)
            if job_id is None:
                return None
            mine = {"state": JobState.RUNNING, "owner": owner, "lease_until": now + LEASE}
            begun = {"started_at": func.coalesce(JobRow.started_at, now), "attempts": JobRow.attempts + 1}
            before = {"not_before": None, "error": None, "files_known": None, "chunks": 0}  # of the attempt before
            connection.execute(update(JobRow).where(JobRow.id == job_id).values(**mine, **begun, **before))
            return job_of(connection, job_id)

    def renew(self, job_id: int, owner: str) -> bool:
        """Go on with a job; returns whether somebody wants it cancelled.

        Raises:
            JobLost: it was taken over meanwhile; what this worker does of it is for nothing.
        """
        with self._database.write() as connection:
            row = self._require_mine(connection, job_id, owner)
            lease = update(JobRow).where(JobRow.id == job_id).values(lease_until=self._now() + LEASE)
            connection.execute(lease)
            return bool(row.cancel_requested)

    def record(
        self,
        job_id: int,
        owner: str,
        files: Sequence[JobFile],
        *,
        unchanged: int = 0,
        files_known: int | None = None,
        chunks: int = 0,
    ) -> bool:
        """Note what came of files, in place of what was noted of them in an earlier attempt, and how many so far were
        unchanged and are not noted; returns whether somebody wants the job cancelled. Raises JobLost.

        ``files_known`` and ``chunks`` are of this attempt so far, as ``Job`` has them.
        """
        with self._database.write() as connection:
            row = self._require_mine(connection, job_id, owner)
            last = {file.uri: {"job_id": job_id, **file_values(file)} for file in files}
            if last:
                connection.execute(_FORGET, [{"of": job_id, "named": uri} for uri in last])
                connection.execute(insert(JobFileRow), list(last.values()))
            reached = {"unchanged": unchanged, "files_known": files_known, "chunks": chunks}
            connection.execute(update(JobRow).where(JobRow.id == job_id).values(**reached))
            return bool(row.cancel_requested)

    def finish(self, job_id: int, owner: str, state: JobState, *, error: JobError | None = None) -> Job:
        """End a job. Raises JobLost."""
        with self._database.write() as connection:
            self._require_mine(connection, job_id, owner)
            _end(connection, job_id, state, error, self._now())
            return job_of(connection, job_id)

    def put_back(
        self, job_id: int, owner: str, error: JobError, *, counts: bool = True, after: timedelta | None = None
    ) -> Job:
        """Have a job tried again later, ever later with each attempt; after the last one it has failed. Raises JobLost.

        ``counts=False``: it could not be begun, so this was no attempt. ``after``: it was begun, and ended by what
        will pass; it is tried again so much later, however often.
        """
        with self._database.write() as connection:
            row = self._require_mine(connection, job_id, owner)
            attempts = row.attempts if counts else row.attempts - 1
            if after is not None:
                attempts = min(attempts, 1)  # not none: whoever goes on is to know that something may be done
            if row.cancel_requested:
                _end(connection, job_id, JobState.CANCELLED, None, self._now())
            elif attempts >= _ATTEMPTS:
                _end(connection, job_id, JobState.FAILED, error, self._now())
            else:
                delay = min(_FIRST_DELAY * 2 ** max(attempts - 1, 0), _LONGEST_DELAY) if after is None else after
                later = {"state": JobState.QUEUED, "not_before": self._now() + delay, "attempts": attempts}
                released = {"owner": None, "lease_until": None, "error": asdict(error)}
                connection.execute(update(JobRow).where(JobRow.id == job_id).values(**later, **released))
            return job_of(connection, job_id)

    def take_back(self, *, gone: Gone = lambda _: False) -> None:
        """Let go of jobs whose worker is silent or ``gone``, as ``claim`` does; commands' own only if they are gone."""
        try:
            self._let_go(gone)
        except RowDamaged:
            self.end_damaged()
            self._let_go(gone)

    def _let_go(self, gone: Gone) -> None:
        with self._database.write() as connection:
            _take_back(connection, self._now(), gone)

    def damaged(self) -> list[int]:
        """The jobs of which something is not as it was written."""
        with self._database.read() as connection:
            return list(_damaged(connection))

    def end_damaged(self) -> None:
        """Those of them that wait or run have failed; of those that have ended nothing is told any more."""
        with self._database.write() as connection:
            for job_id in list(_damaged(connection)):
                _log.error("job damaged", job=job_id)
                job = JobRow.id == job_id
                connection.execute(delete(JobFileRow).where(JobFileRow.job_id == job_id))
                if connection.execute(delete(JobRow).where(job, JobRow.state.in_(ENDED))).rowcount:
                    continue
                collection = connection.scalars(select(JobRow.collection).where(job)).one()
                values = {"request": request_to_json(JobRequest(collection=collection)), "created_at": self._now()}
                connection.execute(update(JobRow).where(job).values(**values, started_at=None))
                _end(connection, job_id, JobState.FAILED, _DAMAGED, self._now())

    def cancel(self, job_id: int) -> Job:
        """End a job that waits, or ask its worker to stop after what is being embedded. Raises UnknownJob."""
        with self._database.write() as connection:
            job = job_of(connection, job_id)
            if job.state is JobState.QUEUED:
                _end(connection, job_id, JobState.CANCELLED, None, self._now())
            elif job.state is JobState.RUNNING:
                connection.execute(update(JobRow).where(JobRow.id == job_id).values(cancel_requested=True))
            return job_of(connection, job_id)

    def job(self, job_id: int) -> Job:
        """Raises UnknownJob."""
        with self._database.read() as connection:
            return job_of(connection, job_id)

    def jobs(self, *, collection: str | None = None, limit: int = 100, before: int | None = None) -> list[Job]:
        """Jobs, the newest first, those with an id below ``before``."""
        query = select(JobRow.id).order_by(JobRow.id.desc()).limit(limit)
        if collection is not None:
            query = query.where(JobRow.collection == collection)
        if before is not None:
            query = query.where(JobRow.id < before)
        with self._database.read() as connection:
            return [job_of(connection, job_id) for job_id in connection.scalars(query).all()]

    def files(self, job_id: int, *, limit: int = 1000, after: int = 0) -> list[tuple[int, JobFile]]:
        """What came of a job's files, in the order they were done, each with its place; those after a place."""
        query = select(JobFileRow).where(JobFileRow.job_id == job_id, JobFileRow.id > after)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(JobFileRow.id).limit(limit)).all()
        return [(row.id, file_of(row)) for row in rows]

    def outcomes_of(self, job_id: int, uris: Sequence[str]) -> dict[str, str]:
        """What is noted of these files of a job, by address."""
        found: dict[str, str] = {}
        with self._database.read() as connection:
            for start in range(0, len(uris), _ASKED_AT_ONCE):
                some = uris[start : start + _ASKED_AT_ONCE]
                noted = select(JobFileRow.uri, JobFileRow.outcome).where(JobFileRow.job_id == job_id)
                found.update(
                    (row.uri, row.outcome) for row in connection.execute(noted.where(JobFileRow.uri.in_(some)))
                )
        return found

    def forget(self, older_than: timedelta) -> int:
        """Delete jobs that ended longer ago; returns how many."""
        with self._database.write() as connection:
            old = select(JobRow.id).where(JobRow.state.in_(ENDED), JobRow.finished_at < self._now() - older_than)
            connection.execute(delete(JobFileRow).where(JobFileRow.job_id.in_(old)))
            return connection.execute(delete(JobRow).where(JobRow.id.in_(old))).rowcount

    def uploads(self) -> list[tuple[int, Upload]]:
        """The uploads that jobs which have not ended still need, each with the id of its job."""
        query = select(JobRow.id, JobRow.collection, JobRow.request).where(JobRow.state.not_in(ENDED))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(JobRow.id)).all()
        requests = [(row.id, request_of(row)) for row in rows]
        return [(job_id, upload) for job_id, request in requests for upload in request.uploads]

    def blobs(self) -> set[str]:
        """Where those uploads are."""
        return {upload.blob for _, upload in self.uploads()}

    def _require_mine(self, connection: Connection, job_id: int, owner: str) -> Any:  # noqa: ANN401  # a row of SQLAlchemy's
        query = select(JobRow.owner, JobRow.state, JobRow.attempts, JobRow.cancel_requested)
        row = connection.execute(query.where(JobRow.id == job_id)).one_or_none()
        if row is None or (row.owner, row.state) != (owner, JobState.RUNNING):
            raise JobLost(
                f"Job {job_id} is not this process's any more.",
                hint="A queued one is gone on with by another worker; a command can be given again.",
            )
        return row


def _next_due(connection: Connection, now: datetime, busy: Iterable[str]) -> int | None:
    """The oldest job whose time has come, but for those with a file that an older job has not taken in yet."""
    # A time further off than any that is written was written before the clock was set back.
    impossible = JobRow.not_before > now + _LONGEST_DELAY
    due = or_(JobRow.not_before.is_(None), JobRow.not_before <= now, impossible)
    running = connection.scalars(select(JobRow.collection).where(JobRow.state == JobState.RUNNING))
    queued = select(JobRow.id, JobRow.collection, JobRow.request, due.label("due")).where(
        JobRow.state == JobState.QUEUED, JobRow.collection.not_in({*running, *busy})
    )
    earlier: set[tuple[str, str]] = set()
    with connection.execute(queued.order_by(JobRow.id)) as waiting:
        for row in waiting:
            if row.due and earlier.isdisjoint(_addresses(row)):
                return int(row.id)
            earlier |= _addresses(row)
    return None


def _addresses(row: Any) -> set[tuple[str, str]]:  # noqa: ANN401  # a row of SQLAlchemy's
    return {(row.collection, upload.uri) for upload in request_of(row).uploads}


def _damaged(connection: Connection) -> Iterator[int]:
    for job_id in connection.scalars(select(JobRow.id).order_by(JobRow.id)).all():
        try:
            job_of(connection, job_id)
            files = connection.execute(select(JobFileRow).where(JobFileRow.job_id == job_id)).all()
            for row in files:
                file_of(row)
        except RowDamaged:
            yield job_id


def _take_back(connection: Connection, now: datetime, gone: Gone) -> None:
    """Queue again what was running and is nobody's any more; what has been begun too often has failed."""
    running = select(JobRow.id, JobRow.owner, JobRow.lease_until, JobRow.attempts, JobRow.cancel_requested)
    wanted = running.add_columns(JobRow.collection, JobRow.request)
    for row in connection.execute(wanted.where(JobRow.state == JobState.RUNNING)).all():
        foreground = request_of(row).foreground
        if (foreground or row.lease_until > now) and not gone(row.owner):
            if row.lease_until > now + LEASE:  # the clock was set back; whoever lives renews it by the new time
                connection.execute(update(JobRow).where(JobRow.id == row.id).values(lease_until=now + LEASE))
            continue
        if row.cancel_requested:
            _end(connection, row.id, JobState.CANCELLED, None, now)
        elif foreground:
            died = JobError(
                code="worker_died",
                message="The command that ran it ended without a word.",
                hint="Give the same command again: it skips what is done.",
            )
            _end(connection, row.id, JobState.FAILED, died, now)
        elif row.attempts >= _ATTEMPTS:
            died = JobError(
                code="worker_died",
                message=f"The worker that ran it ended without a word {row.attempts} times.",
                hint="The files noted last are the ones it was at; see its log.",
            )
            _end(connection, row.id, JobState.FAILED, died, now)
        else:
            released = {"state": JobState.QUEUED, "owner": None, "lease_until": None}
            connection.execute(update(JobRow).where(JobRow.id == row.id).values(**released))


def _end(connection: Connection, job_id: int, state: JobState, error: JobError | None, at: datetime) -> None:
    values = {"state": state, "owner": None, "lease_until": None, "not_before": None, "finished_at": at}
    told = None if error is None else asdict(error)
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(**values, error=told))
