"""The JSON of queued work, as ``api.schemas`` has the rest."""

from __future__ import annotations

from typing import Literal

from api.schemas import Quality, Response


class JobError(Response, frozen=True, kw_only=True):
    """Why a job, or a file of it, failed; `code` is as in problem details."""

    code: str
    message: str
    hint: str


class JobFile(Response, frozen=True, kw_only=True):
    """What came of a file. `seconds` were spent on it and on what it holds,
    the waiting for others not counted; `notices` say what a person should know of it.

    `quality` is of what was written, as it stood then; null where nothing was.
    """

    uri: str
    outcome: Literal["ingested", "replaced", "unchanged", "failed", "left_out"]
    document_id: int | None
    chunks: int
    seconds: float
    notices: tuple[str, ...]
    quality: Quality | None
    error: JobError | None


class Job(Response, frozen=True, kw_only=True):
    """Work that is queued or was done. Times are RFC 3339 in UTC; `outcomes` counts its files by what came of them.

    While it runs, `files_known` is how many files it is about, with those of archives that are opened already (null
    until that is known), and `chunks` how many are embedded.

    `metadata` is said of all of them; null keeps what was said before. `error` is that of the first file where all have
    failed, whose entries have their own.
    """

    id: int
    collection: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    uris: tuple[str, ...]
    metadata: dict[str, str | int | float | bool] | None
    attempts: int
    cancel_requested: bool
    created_at: str
    started_at: str | None
    finished_at: str | None
    not_before: str | None
    outcomes: dict[str, int]
    files_known: int | None
    chunks: int
    error: JobError | None


class JobsResponse(Response, frozen=True, kw_only=True):
    """A page of jobs, the newest first. `next` is the `before` of the next page, null on the last one."""

    jobs: tuple[Job, ...]
    next: int | None


class JobFilesResponse(Response, frozen=True, kw_only=True):
    """What came of a job's files so far. `next` is the `after` of the next page, null on the last one."""

    files: tuple[JobFile, ...]
    next: int | None
