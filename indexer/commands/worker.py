"""``indexer worker``: does what is queued."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Final

import rich_click as click

from indexer.commands.interruption import Interruption
from indexer.commands.jobs import counted_outcomes
from indexer.parsing.confinement import confinement, described
from indexer.parsing.isolation import IsolatedParsers
from indexer.pipeline import IngestPipeline
from indexer.web.expansion import open_fetcher
from indexer.worker import Worker
from indexer.worker_place import WorkerPlace
from rag.commands.errors import printable
from rag.commands.json_output import json_line, json_lines_option
from rag.config import load_settings
from rag.errors import StorageError
from rag.factory import open_library
from rag.priority import LEAST
from rag.telemetry import configure_logging, get_logger

if TYPE_CHECKING:
    from rag.job_types import Job

# How often an idle worker looks for a job, and how long it waits at most while the queue cannot be asked.
_LOOK_S: Final = 0.5
_LONGEST_WAIT_S: Final = 60.0

_log = get_logger("indexer")


@click.command()
@click.option(
    "--once",
    is_flag=True,
    help="End when no job can be begun; those that are to be tried again later, or of a busy collection, stay.",
)
@json_lines_option
@click.pass_context
def worker(ctx: click.Context, once: bool, as_json: bool) -> None:  # noqa: FBT001
    """Take in what was uploaded, one job after the other, at the lowest priority.

    Several workers may run; of a collection one job is done at a time.

    Ctrl-C finishes the files that are being embedded and gives the job back; a second one stops at once, and the
    job is taken over by the next worker. While the database is locked or the disk is full, it waits. With --json, one
    JSON object is printed for each job that was worked at. Unless with --once, the log tells what is begun.
    """
    if not once and not ctx.find_root().params.get("verbose"):
        configure_logging(level=logging.INFO)
    settings = load_settings()
    if sys.platform != "win32":
        os.nice(LEAST)
    parsers = IsolatedParsers.limited_by(settings)
    with (
        open_library(settings, embeds_apart=True) as library,
        WorkerPlace(settings.home) as place,
        open_fetcher(settings) as fetcher,
        parsers,
        Interruption() as interruption,
    ):
        pipeline = IngestPipeline.over(library, parsers, fetcher=fetcher)
        library.forget_jobs()
        library.finish_purges()
        _log.info("worker started", parsers=described(*confinement()))
        doing = Worker(library, pipeline, place, fetcher=fetcher, stop=interruption.requested, wait=interruption.wait)
        wait_s, worked = _LOOK_S, False
        while not interruption.requested():
            try:
                with interruption.working():
                    job = doing.run_next()
            except StorageError as error:
                if once:
                    raise
                _log.warning("queue not reached", code=error.code, detail=str(error), again_in_s=wait_s)
                interruption.wait(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                continue
            wait_s = _LOOK_S
            worked = worked or job is not None
            if job is not None:
                _tell(job, as_json=as_json)
            elif once:
                break
            else:
                interruption.wait(_LOOK_S)
    if once and not worked:
        click.echo("no job can be begun now", err=True)


def _tell(job: Job, *, as_json: bool) -> None:
    outcomes = counted_outcomes(job)
    told = {"type": "job", "job": job.id, "collection": job.request.collection, "state": job.state}
    line = f"job {job.id} ({printable(job.request.collection)}): {job.state}; {outcomes or 'no files'}"
    click.echo(json_line(told | {"outcomes": job.outcomes}) if as_json else line)
