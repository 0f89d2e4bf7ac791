"""``indexer jobs``: what is queued, how far it is, and what came of each file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from indexer.worker_place import WorkerPlace
from rag.commands.errors import EXIT_FAILED, on_one_line, printable
from rag.commands.json_output import json_option, print_json
from rag.config import load_settings
from rag.errors import InvalidRequest
from rag.factory import open_library
from rag.job_types import JobState
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.job_types import Job, JobError, JobFile
    from rag.stores.jobs.queue import JobQueue

_PAGE = 500


@click.command()
@click.argument("job_id", type=click.IntRange(min=1), required=False, metavar="[JOB]")
@click.option(
    "--cancel", is_flag=True, help="End this job: at once if it waits, after the files being embedded if it runs."
)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many to list.")
@json_option
@click.pass_context
def jobs(ctx: click.Context, job_id: int | None, cancel: bool, limit: int, as_json: bool) -> None:  # noqa: FBT001
    """List uploads and ingests that wait, run or have ended, the newest first; with a JOB, show what came of its files.

    With --json, one JSON object is printed. Exits with 1 if the JOB that was asked for has failed, or is to be
    cancelled and had ended before.
    """
    settings = load_settings()
    with open_library(settings) as library:
        queue = library.jobs
        queue.take_back(gone=WorkerPlace(settings.home).gone)  # those of programs that were killed have failed
        if job_id is None:
            if cancel:
                raise InvalidRequest("There is no job to cancel.", hint="Name it: indexer jobs 12 --cancel")
            _list(queue.jobs(limit=limit), as_json=as_json)
            return
        job = library.cancel_job(job_id) if cancel else queue.job(job_id)
        if as_json:
            print_json(as_object(job) | {"files": msgspec.to_builtins(list(_files(queue, job_id)))})
        else:
            _show(job, _files(queue, job_id))
    ctx.exit(EXIT_FAILED if job.state is JobState.FAILED else 0)


def _list(found: list[Job], *, as_json: bool) -> None:
    if as_json:
        print_json({"jobs": list(map(as_object, found))})
    elif not found:
        click.echo("There are no jobs.")
    else:
        for job in found:
            click.echo(_line(job))


def as_object(job: Job) -> dict[str, Any]:
    """As the service has it."""
    shown: dict[str, Any] = msgspec.to_builtins(job)
    request = shown.pop("request")
    asked = {"collection": request["collection"], "uris": list(job.request.uris), "metadata": request["metadata"]}
    return shown | asked


def _show(job: Job, files: Iterator[JobFile]) -> None:
    click.echo(_line(job))
    told = job.error is None
    for file in files:
        click.echo(f"  {file.outcome.replace('_', ' ')}: {on_one_line(file.uri)}{_contents(file)}")
        for notice in file.notices:
            click.echo(f"    {on_one_line(notice)}")
        if file.error is not None:
            _show_error(file.error, "    ")
            told = told or file.error == job.error  # a job whose files have all failed has the error of the first
    if job.error is not None and not told:
        _show_error(job.error, "  ")


def _show_error(error: JobError, margin: str) -> None:
    click.echo(f"{margin}{error.code}: {on_one_line(error.message)}")
    if error.hint:
        click.echo(f"{margin}  {on_one_line(error.hint)}")


def _contents(file: JobFile) -> str:
    if not file.chunks:
        return ""
    told = file.quality.told() if file.quality is not None else ""
    return f", {plural(file.chunks, 'chunk')}{f' ({told})' if told else ''}"


def _line(job: Job) -> str:
    request = job.request
    sources = [upload.name for upload in request.uploads] + [*request.paths, *request.sitemaps]
    shown = ", ".join(on_one_line(source) for source in sources[:3]) + (" ..." if len(sources) > 3 else "")
    counts = ", ".join(filter(None, (_reached(job), counted_outcomes(job))))
    again = f", tried again after {job.not_before}" if job.not_before else ""
    return (
        f"{job.id}  {job.created_at}  {job.state}{' (stopping)' if _stopping(job) else ''}{again}"
        f"  {printable(request.collection)}: {shown}{f'  ({counts})' if counts else ''}"
    )


def _reached(job: Job) -> str:
    """How far a job is that runs; empty for others."""
    if job.state is not JobState.RUNNING or job.files_known is None:
        return ""
    return f"{sum(job.outcomes.values()):,} of {plural(job.files_known, 'file')}, {plural(job.chunks, 'chunk')} so far"


def counted_outcomes(job: Job) -> str:
    """In words; empty if none of its files is done."""
    return ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in sorted(job.outcomes.items()))


def _stopping(job: Job) -> bool:
    return job.cancel_requested and job.state is JobState.RUNNING


def _files(queue: JobQueue, job_id: int) -> Iterator[JobFile]:
    after = 0
    while page := queue.files(job_id, limit=_PAGE, after=after):
        yield from (file for _, file in page)
        after = page[-1][0]
