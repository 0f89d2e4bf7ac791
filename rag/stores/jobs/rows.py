"""Jobs as the database has them, made into values."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from rag.errors import UnknownJob
from rag.job_types import Job, JobError, JobFile, JobRequest, JobState, request_from_json
from rag.quality_types import Quality
from rag.stores.checksums import RowDamaged, damaged
from rag.stores.jobs.tables import JobFileRow, JobRow
from rag.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection


def request_of(row: Any) -> JobRequest:  # noqa: ANN401  # a row of SQLAlchemy's
    """What a job is to do, of a row with its id, collection and request. Raises RowDamaged."""
    with _as_written(row.id):
        return request_from_json(row.collection, row.request)


@contextmanager
def _as_written(job_id: int) -> Iterator[None]:
    """Raises RowDamaged for what cannot be made of the values of a row."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(f"What is stored of job {job_id}", "`indexer verify --repair` ends it.", RowDamaged) from error


def job_of(connection: Connection, job_id: int) -> Job:
    """Raises UnknownJob, RowDamaged."""
    row = connection.execute(select(JobRow).where(JobRow.id == job_id)).one_or_none()
    if row is None:
        raise UnknownJob(f"There is no job {job_id}.", hint="`indexer jobs` and GET /v1/jobs list those there are.")
    counts = select(JobFileRow.outcome, func.count()).where(JobFileRow.job_id == job_id)
    outcomes = {row[0]: row[1] for row in connection.execute(counts.group_by(JobFileRow.outcome))}
    if row.unchanged:
        outcomes["unchanged"] = outcomes.get("unchanged", 0) + row.unchanged
    with _as_written(job_id):
        return Job(
            id=row.id,
            request=request_from_json(row.collection, row.request),
            state=JobState(row.state),
            attempts=row.attempts,
            cancel_requested=row.cancel_requested,
            created_at=_shown(row.created_at) or "",
            started_at=_shown(row.started_at),
            finished_at=_shown(row.finished_at),
            not_before=_shown(row.not_before),
            error=None if row.error is None else JobError(**row.error),
            outcomes=outcomes,
            files_known=row.files_known,
            chunks=row.chunks,
        )


def file_values(file: JobFile) -> dict[str, Any]:
    """What came of a file as it is stored."""
    return asdict(file) | {"notices": list(file.notices)}


def file_of(row: Any) -> JobFile:  # noqa: ANN401  # a row of SQLAlchemy's
    """What came of a file. Raises RowDamaged."""
    with _as_written(row.job_id):
        return JobFile(
            uri=row.uri,
            outcome=row.outcome,
            document_id=row.document_id,
            chunks=row.chunks,
            seconds=row.seconds,
            notices=tuple(row.notices),
            error=None if row.error is None else JobError(**row.error),
            quality=None if row.quality is None else Quality(**row.quality),
        )


def _shown(time: datetime | None) -> str | None:
    return None if time is None else rfc3339(time)
