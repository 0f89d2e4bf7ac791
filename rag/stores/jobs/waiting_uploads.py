"""The uploads that jobs still need, as backups hold on to them and ``indexer verify`` looks for them."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from rag.errors import DatabaseDamaged
from rag.job_types import JobState, request_from_json
from rag.stores.scratch import scratch
from rag.stores.verification.findings import Finding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from rag.stores.jobs.blobs import Blobs
    from rag.stores.jobs.queue import JobQueue

_ENDED: Final = ", ".join(f"'{state.value}'" for state in JobState if state.ended)
_REQUESTS: Final = f"SELECT collection, request FROM jobs WHERE state NOT IN ({_ENDED})"  # noqa: S608  # constants
_NAME: Final = re.compile(r"[0-9a-f]{32}")
# A worker may end a job, and remove its uploads, between the look at the queue and the one at the files.
_ATTEMPTS: Final = 5


@contextmanager
def held(connection: sqlite3.Connection, directory: Path) -> Iterator[list[Path]]:
    """Begin a read transaction, and hold on to the uploads that jobs need as of it; they are named like their blobs.

    They are there to the end of the block whatever workers do meanwhile, as second names of the files. One that is
    missing is left out, as its job will tell.
    """
    with ExitStack() as stack:
        for attempt in range(1, _ATTEMPTS + 1):
            connection.execute("BEGIN")
            needed = _needed(connection)  # the first read: what is seen from now on is of this moment
            if not needed:
                yield []
                return
            folder = stack.enter_context(scratch(directory.parent))
            links = [link for name in sorted(needed) if (link := _link(directory / name, folder)) is not None]
            if len(links) == len(needed) or attempt == _ATTEMPTS:
                yield links
                return
            connection.execute("ROLLBACK")


def verify_uploads(queue: JobQueue, blobs: Blobs) -> Iterator[Finding]:
    """Jobs that are not as they were written, and uploads that were acknowledged and cannot be taken in any more."""
    damaged = queue.damaged()
    for job_id in damaged:
        yield Finding(
            area="jobs",
            message=f"What is stored of job {job_id} is not as it was written.",
            advice="Run `indexer verify --repair`: it fails if it has not ended. Upload its files again then.",
            repairable=True,
        )
    if damaged:  # what they need is not known
        return
    for job_id, upload in queue.uploads():
        problem = _problem(blobs.path(upload.blob), upload.sha256)
        if problem and (job_id, upload) in queue.uploads():  # still: a worker may have done with it in between
            yield Finding(
                area="uploads",
                message=f"The upload {upload.name} of job {job_id} {problem}.",
                advice=f"Cancel the job (`indexer jobs {job_id} --cancel`) and upload its files again, or restore a "
                "backup.",
            )


def _needed(connection: sqlite3.Connection) -> set[str]:
    # An older program's database has no jobs; the question itself makes this the moment that is read.
    if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'jobs'").fetchone()[0]:
        return set()
    try:
        requests = [request_from_json(row[0], json.loads(row[1])) for row in connection.execute(_REQUESTS)]
    except (ValueError, KeyError, TypeError) as error:
        raise DatabaseDamaged(
            f"The database is damaged: what a job is to do cannot be read ({error}).",
            hint="`indexer verify` tells more; use an older backup.",
        ) from error
    return {upload.blob for request in requests for upload in request.uploads if _NAME.fullmatch(upload.blob)}


def _link(path: Path, folder: Path) -> Path | None:
    link = folder / path.name
    try:
        link.hardlink_to(path)
    except FileNotFoundError:
        return None
    return link


def _problem(path: Path, sha256: str) -> str:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return f"is not in {path.parent}"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if found == sha256 else f"has changed since it was acknowledged ({path})"
