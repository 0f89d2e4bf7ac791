"""Does queued work: one job at a time, as its owner for as long as this process says that it goes on."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from indexer.job_run import STOPPED, JobRun, ingest_lock, told
from indexer.report import IngestReport
from indexer.sources import SourcePath
from indexer.steps import Stopped
from indexer.web.expansion import all_sources
from rag.errors import (
    DatabaseBusy,
    DiskFull,
    IngestInProgress,
    JobLost,
    ModelMissing,
    RagError,
    StorageError,
    UnknownModel,
)
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from indexer.pipeline import IngestPipeline
    from indexer.web.fetch import Fetcher
    from indexer.web.sitemaps import WebAddress
    from indexer.worker_place import WorkerPlace
    from rag.errors import ErasureIncomplete
    from rag.factory import Library
    from rag.job_types import Job, JobRequest
    from rag.stores.jobs.queue import JobQueue

# What became of a job is said again for about as long as its lease lasts: after that anybody may begin it again.
_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
# What was handed over is not given up because the disk is full, the database locked or the model missing, for as long
# as that may last.
_UNTIL_THEN: Final = timedelta(minutes=1)
_BUSY_S: Final = 5.0

_log = get_logger("indexer")


class Worker:
    """Runs jobs over a library. ``stop`` is asked as a ``Watcher`` is; a job that is stopped goes back into the queue.

    ``wait`` does nothing for so many seconds, or until it is to stop.
    """

    def __init__(
        self,
        library: Library,
        pipeline: IngestPipeline,
        place: WorkerPlace,
        *,
        fetcher: Fetcher,
        stop: Callable[[], bool],
        wait: Callable[[float], None],
    ) -> None:
        self._library = library
        self._queue: JobQueue = library.jobs
        self._pipeline = pipeline
        self._place = place
        self._fetcher = fetcher
        self._stop = stop
        self._wait = wait
        self._busy_until: dict[str, float] = {}  # collections that a program which is no job takes documents into

    def run_next(self) -> Job | None:
        """Do the next job; returns it as it is then, None if none waits.

        Raises:
            StorageError: the queue cannot be asked, or what became of the job cannot be told to it.
        """
        owner = self._place.owner
        job = self._queue.claim(owner, gone=self._place.gone, busy=self._busy())
        if job is None:
            return None
        _log.info("job begun", job=job.id, collection=job.request.collection, attempt=job.attempts)
        run = JobRun(self._queue, job, owner, stop=self._stop)
        try:
            with run:
                job = self._run(job, run)
        except JobLost as error:
            _log.warning("job lost", job=job.id, detail=str(error))
            return job
        if job.state.ended:
            self._remove_uploads(job)
        _log.debug("job done with", job=job.id, state=job.state, outcomes=dict(job.outcomes))
        return job

    def _busy(self) -> list[str]:
        """Collections that somebody has just been found taking documents into: not every job has to be refused."""
        now = time.monotonic()
        return [collection for collection, until in self._busy_until.items() if until > now]

    def _remove_uploads(self, job: Job) -> None:
        try:
            for upload in job.request.uploads:
                self._library.blobs.remove(upload.blob)
        except OSError as error:  # nobody needs them; `indexer verify` finds them
            _log.warning("uploads not removed", job=job.id, detail=str(error))

    def _run(self, job: Job, run: JobRun) -> Job:
        say = self._work_at(job, run)
        for pause in _PAUSES_S:
            try:
                return say()
            except StorageError as error:
                _log.warning("end of job not written", job=job.id, code=error.code, detail=str(error))
                if self._stop():
                    raise
                self._wait(pause)
        return say()

    def _work_at(self, job: Job, run: JobRun) -> Callable[[], Job]:
        """Returns what says to the queue what became of the job."""
        request = job.request
        try:
            sources = self._sources(request, run)
            with ingest_lock(self._library, request.collection):
                report = IngestReport(skipped=1)  # nobody knows how many; that some are puts the job back
                if sources is not None:
                    report = self._pipeline.ingest_sources(
                        sources, collection=request.collection, metadata=request.metadata, watcher=run
                    )
                # What an earlier attempt replaced is unchanged in this one.
                unerased = self._settle(request.collection, report, erase=bool(report.replaced) or job.attempts > 1)
        except IngestInProgress as error:
            self._busy_until[request.collection] = time.monotonic() + _BUSY_S
            return partial(run.put_back, told(error), counts=False)
        except JobLost:
            raise
        except (DatabaseBusy, DiskFull, ModelMissing, UnknownModel) as error:
            return partial(run.put_back, told(error), after=_UNTIL_THEN)
        except RagError as error:
            return partial(run.put_back, told(error))
        return self._end(run, report, unerased)

    def _end(self, run: JobRun, report: IngestReport, unerased: ErasureIncomplete | None) -> Callable[[], Job]:
        if unerased is not None:  # first: an attempt that is not counted would not look again
            return partial(run.put_back, told(unerased))
        for failure in report.failed:
            if failure.code == DiskFull.code:
                return partial(run.put_back, told(failure), after=_UNTIL_THEN)
        if report.skipped and not run.cancelled:
            return partial(run.put_back, STOPPED, counts=False)
        return partial(run.end, report)

    def _sources(self, request: JobRequest, run: JobRun) -> list[SourcePath | WebAddress] | None:
        """All that a job is about; None if it was to stop before they were found."""
        sources: list[SourcePath | WebAddress] = [
            SourcePath(
                path=self._library.blobs.path(upload.blob),
                address=upload.uri,
                name=PurePath(upload.name),
                sha256=upload.sha256,
            )
            for upload in request.uploads
        ]
        max_urls = self._library.settings.max_sitemap_urls
        named = all_sources(request.paths, request.sitemaps, self._fetcher, max_urls=max_urls, stop=run.stop)
        try:
            return [*sources, *named]
        except Stopped:
            return None

    def _settle(self, name: str, report: IngestReport, *, erase: bool) -> ErasureIncomplete | None:
        """What follows a run: model state of what was replaced, if to ``erase``, and the index file.

        Returns what is left to be erased.
        """
        problem = self._library.erase_deleted().problem if erase else None
        if problem is not None:
            _log.warning("model state not erased", code=problem.code, detail=str(problem))
        if all(result.document_id is None for result in report.results):
            return problem  # there may be no collection
        collection = self._library.store.collection(name)
        try:
            self._library.vectors.flush(collection)
        except RagError as error:  # a cache: searches go on from memory
            _log.warning("index file not written", code=error.code, detail=str(error))
        return problem
