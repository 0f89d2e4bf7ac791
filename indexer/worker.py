"""Does queued work: one job at a time, as its owner for as long as this process says that it goes on."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final, Self

from filelock import FileLock, Timeout

from indexer.report import Watcher
from indexer.sources import SourcePath, expand
from rag.errors import IngestInProgress, JobLost, RagError
from rag.job_types import JobError, JobFile, JobState
from rag.stores.ingest_lock import IngestLock
from rag.stores.jobs import LEASE
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from indexer.pipeline import IngestPipeline
    from indexer.report import IngestReport, SourceResult
    from rag.factory import Library
    from rag.job_types import Job
    from rag.stores.jobs import JobQueue

_STOPPED: Final = JobError(code="worker_stopped", message="The worker was stopped.", hint="Another goes on with it.")
_HEARTBEAT_S: Final = LEASE.total_seconds() / 3

_log = get_logger("indexer")


class WorkerPlace:
    """A worker's name, and the lock that the system frees when its process ends: others see that it is gone by that."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "locks"
        self.owner = secrets.token_hex(8)
        self._lock = FileLock(self._path(self.owner))

    def __enter__(self) -> Self:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.acquire(timeout=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._path(self.owner).unlink(missing_ok=True)

    def gone(self, owner: str) -> bool:
        """Whether the process that had this name has ended."""
        path = self._path(owner)
        if owner == self.owner or not path.exists():
            return owner != self.owner
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        lock.release()
        path.unlink(missing_ok=True)
        return True

    def _path(self, owner: str) -> Path:
        return self._directory / f"worker-{owner}.lock"


class Worker:
    """Runs jobs over a library. ``stop`` is asked after each file; a job that is stopped goes back into the queue."""

    def __init__(
        self, library: Library, pipeline: IngestPipeline, place: WorkerPlace, *, stop: Callable[[], bool]
    ) -> None:
        self._library = library
        self._queue: JobQueue = library.jobs
        self._pipeline = pipeline
        self._place = place
        self._stop = stop

    def run_next(self) -> Job | None:
        """Do the next job; returns it as it is then, None if none waits."""
        owner = self._place.owner
        job = self._queue.claim(owner, gone=self._place.gone)
        if job is None:
            return None
        _log.info("job begun", job=job.id, collection=job.request.collection, attempt=job.attempts)
        heartbeat = _Heartbeat(self._queue, job.id, owner)
        try:
            with heartbeat:
                job = self._run(job, heartbeat)
        except JobLost as error:
            _log.warning("job lost", job=job.id, detail=str(error))
            return job
        if job.state.ended:
            for upload in job.request.uploads:
                self._library.blobs.remove(upload.blob)
        _log.info("job done with", job=job.id, state=job.state, outcomes=dict(job.outcomes))
        return job

    def _run(self, job: Job, heartbeat: _Heartbeat) -> Job:
        owner, request = self._place.owner, job.request
        watcher = _Recorder(self._queue, job.id, owner, stop=lambda: self._stop() or heartbeat.lost)
        sources = [
            SourcePath(path=self._library.blobs.path(upload.blob), address=upload.uri, name=PurePath(upload.name))
            for upload in request.uploads
        ]
        sources += expand(map(Path, request.paths))
        try:
            with IngestLock(self._library.settings.home, request.collection):
                report = self._pipeline.ingest_sources(
                    sources, collection=request.collection, metadata=request.metadata, watcher=watcher
                )
                self._settle(request.collection, report)
        except IngestInProgress as error:
            return self._queue.put_back(job.id, owner, _told(error), counts=False)
        except JobLost:
            raise
        except RagError as error:
            return self._queue.put_back(job.id, owner, _told(error))
        if report.skipped and self._queue.renew(job.id, owner):
            return self._queue.finish(job.id, owner, JobState.CANCELLED)
        if report.skipped:
            stopped = JobError(
                code="worker_stopped", message="The worker was stopped.", hint="Another goes on with it."
            )
            return self._queue.put_back(job.id, owner, stopped, counts=False)
        if report.failed and len(report.failed) == len(report.results):
            first = report.failed[0]
            why = JobError(code=first.code, message=first.message, hint=first.hint)
            return self._queue.finish(job.id, owner, JobState.FAILED, error=why)
        return self._queue.finish(job.id, owner, JobState.SUCCEEDED)

    def _settle(self, name: str, report: IngestReport) -> None:
        """What follows a run: the index file, and model state of what was replaced."""
        if len(report.failed) == len(report.results):
            return
        collection = self._library.store.collection(name)
        if report.replaced:
            erased = self._library.erase_deleted()
            if erased.problem is not None:
                _log.warning("model state not erased", code=erased.problem.code, detail=str(erased.problem))
        try:
            self._library.vectors.flush(collection, force=self._library.store.status(collection).generation is None)
        except RagError as error:  # a cache: searches go on from memory
            _log.warning("index file not written", code=error.code, detail=str(error))


class _Heartbeat:
    """Renews the lease while it is entered, and notices when the job was taken over all the same."""

    def __init__(self, queue: JobQueue, job_id: int, owner: str) -> None:
        self._queue, self._job_id, self._owner = queue, job_id, owner
        self.lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="job-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        """What cannot be asked at the moment is asked again: the lease lasts for three times as long."""
        try:
            self._queue.renew(self._job_id, self._owner)
        except JobLost:
            self.lost = True
        except RagError as error:
            _log.warning("lease not renewed", job=self._job_id, code=error.code, detail=str(error))

    def _beat(self) -> None:
        while not self._ended.wait(_HEARTBEAT_S) and not self.lost:
            self._renew()


class _Recorder(Watcher):
    """Notes each file of a job when it is done."""

    def __init__(self, queue: JobQueue, job_id: int, owner: str, *, stop: Callable[[], bool]) -> None:
        self._queue, self._job_id, self._owner, self._stop = queue, job_id, owner, stop

    def finished(self, result: SourceResult) -> None:
        failure = result.failure
        error = JobError(code=failure.code, message=failure.message, hint=failure.hint) if failure else None
        file = JobFile(
            uri=result.uri,
            outcome=result.outcome.value,
            document_id=result.document_id,
            chunks=result.chunks,
            quality=result.quality,
            seconds=round(result.seconds, 3),
            notices=result.notices,
            error=error,
        )
        self._queue.record(self._job_id, self._owner, [file])

    def stop(self) -> bool:
        return self._stop() or self._queue.job(self._job_id).cancel_requested


def _told(error: RagError) -> JobError:
    return JobError(code=error.code, message=error.message, hint=error.hint)
