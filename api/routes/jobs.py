"""``/v1/jobs``: what is queued, how far it is, and what came of each file."""

from __future__ import annotations

import asyncio
from typing import Annotated

from litestar import Controller, delete, get
from litestar.di import NamedDependency
from litestar.params import Parameter

from api import presentation
from api.documentation import problems
from api.job_schemas import Job, JobFile, JobFilesResponse, JobsResponse
from api.presentation import plain
from api.service import JobQueue, Service

_MAX_ID = 2**53 - 1

_Collection = Annotated[str | None, Parameter(max_length=200, description="Only jobs of this collection.")]
_Limit = Annotated[int, Parameter(ge=1, le=1000, description="How many a page.")]
_Before = Annotated[int | None, Parameter(ge=1, le=_MAX_ID, description="`next` of the page before.")]
_After = Annotated[int, Parameter(ge=0, le=_MAX_ID, description="`next` of the page before.")]
_JobId = Annotated[int, Parameter(ge=1, le=_MAX_ID, description="The job's id.")]


def _page(queue: JobQueue, collection: str | None, limit: int, before: int | None) -> JobsResponse:
    found = queue.jobs(collection=collection, limit=limit + 1, before=before)
    more = len(found) > limit
    return JobsResponse(
        jobs=tuple(presentation.job(job) for job in found[:limit]), next=found[limit - 1].id if more else None
    )


def _files(queue: JobQueue, job_id: int, limit: int, after: int) -> JobFilesResponse:
    queue.job(job_id)
    found = queue.files(job_id, limit=limit + 1, after=after)
    more = len(found) > limit
    return JobFilesResponse(
        files=tuple(plain(file, JobFile) for _, file in found[:limit]), next=found[limit - 1][0] if more else None
    )


class JobsController(Controller):
    path = "/v1/jobs"
    tags = ("Documents",)

    @get(
        operation_id="listJobs",
        response_description="A page of jobs.",
        summary="List jobs",
        description="Uploads and ingests that wait, run or have ended, the newest first, a page at a time.",
        responses=problems(422),
    )
    async def list_jobs(
        self,
        service: NamedDependency[Service],
        collection: _Collection = None,
        limit: _Limit = 100,
        before: _Before = None,
    ) -> JobsResponse:
        return await asyncio.to_thread(_page, service.library.jobs, collection, limit, before)

    @get(
        "/{job_id:int}",
        operation_id="getJob",
        response_description="The job.",
        summary="Get a job",
        description="How far a job is. Ask until its state is `succeeded`, `failed` or `cancelled`.",
        responses=problems(404, 422),
    )
    async def get_job(self, service: NamedDependency[Service], job_id: _JobId) -> Job:
        return presentation.job(await asyncio.to_thread(service.library.jobs.job, job_id))

    @get(
        "/{job_id:int}/files",
        operation_id="listJobFiles",
        response_description="A page of files.",
        summary="List what came of a job's files",
        description="One entry for each file that is done, those in archives and mails included.",
        responses=problems(404, 422),
    )
    async def list_files(
        self, service: NamedDependency[Service], job_id: _JobId, limit: _Limit = 100, after: _After = 0
    ) -> JobFilesResponse:
        return await asyncio.to_thread(_files, service.library.jobs, job_id, limit, after)

    @delete(
        "/{job_id:int}",
        operation_id="cancelJob",
        status_code=200,
        response_description="The job as it is now.",
        summary="Cancel a job",
        description="A job that waits is cancelled at once; one that runs finishes the files being embedded and stops. "
        "One that has succeeded or failed is a `conflict`: nothing is cancelled.",
        responses=problems(404, 409, 422),
    )
    async def cancel_job(self, service: NamedDependency[Service], job_id: _JobId) -> Job:
        return presentation.job(await asyncio.to_thread(service.library.cancel_job, job_id))
