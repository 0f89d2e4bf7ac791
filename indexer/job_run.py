"""A job as the process that works at it sees it: the lease goes on, each file is noted, cancelling is heard."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from indexer.report import Outcome, Watcher
from indexer.worker_place import WorkerPlace
from rag.errors import JobLost, RagError, StorageError
from rag.job_types import JobError, JobFile, JobState
from rag.stores.collections.ingest_lock import IngestLock
from rag.stores.jobs.queue import LEASE
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from indexer.report import IngestReport, SourceFailure, SourceResult
    from rag.factory import Library
    from rag.job_types import Job, JobRequest
    from rag.stores.jobs.queue import JobQueue

STOPPED: Final = JobError(code="worker_stopped", message="The worker was stopped.", hint="Another goes on with it.")
_HEARTBEAT_S: Final = LEASE.total_seconds() / 3
# What is done is written down this often: one commit for a thousand unchanged files, not one for each.
_NOTE_S: Final = 0.5
_TAKEN_IN: Final = frozenset({Outcome.INGESTED.value, Outcome.REPLACED.value})

_log = get_logger("indexer")


def ingest_lock(library: Library, collection: str) -> IngestLock:
    """What is held while documents are taken into a collection; purges and drops that a process has died in are
    finished before.

    Raises:
        DatabaseBusy, DiskFull, DataDirectoryUnwritable: as any write.
    """
    library.finish_purges()
    return IngestLock(library.settings.home, collection)


class JobRun(Watcher):
    """Watches the ingestion of a job that is this process's, and tells ``inner`` what it hears.

    Entered, it renews the lease; left, all is noted. Files that are unchanged are counted, and noted only if
    they are uploads: somebody waits for each of these, and nobody for each of ten thousand files of a folder.
    """

    def __init__(
        self,
        queue: JobQueue,
        job: Job,
        owner: str,
        *,
        stop: Callable[[], bool] = lambda: False,
        inner: Watcher | None = None,
    ) -> None:
        self._queue, self._job, self._owner, self._stop = queue, job, owner, stop
        self._inner = inner or Watcher()
        self._note_unchanged = bool(job.request.uploads)
        self._unchanged = 0
        self._known: int | None = None
        self._members = 0  # unchanged, and not among those that are known of
        self._chunks = 0
        self._files: list[JobFile] = []
        self._tried_before = bool(job.outcomes)
        self._asked_again: list[SourceResult] = []  # unchanged: maybe since this job took them in
        self._noted_at = time.monotonic()
        self._cancelled = False
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="job-heartbeat", daemon=True)

    @property
    def id(self) -> int:
        return self._job.id

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the job to be cancelled, as far as this process has heard."""
        return self._cancelled

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def found(self, sources: int) -> None:
        self._known = sources
        self._inner.found(sources)

    def started(self, uri: str) -> None:
        self._inner.started(uri)

    def embedded(self, chunks: int) -> None:
        self._chunks += chunks
        self._inner.embedded(chunks)
        self._note()  # what is stored while a long file is read need not wait for its end to be told

    def finished(self, result: SourceResult) -> None:
        if result.outcome is Outcome.UNCHANGED and self._tried_before:
            self._asked_again.append(result)
        else:
            self._count(result, note=self._note_unchanged)
        self._inner.finished(result)
        self._note()

    def _count(self, result: SourceResult, *, note: bool) -> None:
        if result.outcome is Outcome.UNCHANGED and not note:
            self._unchanged += 1
        else:
            self._files.append(_noted(result))
        self._unchanged += result.members
        self._members += result.members

    def _count_again(self) -> None:
        """What an earlier attempt took in was taken in by this job, and is told as that."""
        if not self._asked_again:
            return
        before = self._queue.outcomes_of(self._job.id, [result.uri for result in self._asked_again])
        for result in self._asked_again:
            if before.get(result.uri) not in _TAKEN_IN:
                self._count(result, note=self._note_unchanged or result.uri in before)
        self._asked_again = []

    def stop(self) -> bool:
        self._note()
        return self._stop() or self._inner.stop() or self._cancelled or self._lost

    def end(self, report: IngestReport, *, besides: int = 0) -> Job:
        """The job with this report has ended: cancelled, failed if all of its files have, succeeded otherwise.

        So many files ``besides`` are unchanged, or were moved or deleted, and are not in the report.
        """
        if report.skipped:
            return self.cancel()
        if not besides and report.failed and len(report.failed) == len(report.results) - report.count(Outcome.LEFT_OUT):
            return self.fail(told(report.failed[0]))
        return self._finish(JobState.SUCCEEDED)

    def cancel(self) -> Job:
        """The job was stopped, and nobody is to go on with it."""
        return self._finish(JobState.CANCELLED)

    def fail(self, error: JobError) -> Job:
        """The job cannot go on, and is not tried again."""
        return self._finish(JobState.FAILED, error)

    def put_back(self, error: JobError, *, counts: bool = True, after: timedelta | None = None) -> Job:
        """The job is to be tried again; as ``JobQueue.put_back``."""
        self._note(now=True)
        return self._queue.put_back(self._job.id, self._owner, error, counts=counts, after=after)

    def _finish(self, state: JobState, error: JobError | None = None) -> Job:
        self._note(now=True)
        return self._queue.finish(self._job.id, self._owner, state, error=error)

    def _note(self, *, now: bool = False) -> None:
        """Write down what is done if it is time to, and hear whether to go on; what cannot be written is kept.

        Raises:
            JobLost: somebody else goes on with it.
            StorageError: it had to be written ``now``.
        """
        if not now and time.monotonic() - self._noted_at < _NOTE_S:
            return
        try:
            self._count_again()
            self._cancelled = self._queue.record(
                self._job.id,
                self._owner,
                self._files,
                unchanged=self._unchanged,
                files_known=None if self._known is None else self._known + self._members,
                chunks=self._chunks,
            )
            self._files = []
        except StorageError as error:
            if now:
                raise
            _log.warning("files not noted", job=self._job.id, code=error.code, detail=str(error))
        self._noted_at = time.monotonic()

    def _renew(self) -> None:
        """What cannot be asked at the moment is asked again: the lease lasts for three times as long."""
        try:
            self._queue.renew(self._job.id, self._owner)
        except JobLost:
            self._lost = True
        except RagError as error:
            _log.warning("lease not renewed", job=self._job.id, code=error.code, detail=str(error))

    def _beat(self) -> None:
        while not self._ended.wait(_HEARTBEAT_S) and not self._lost:
            self._renew()


@contextmanager
def own_job(library: Library, request: JobRequest, *, inner: Watcher) -> Iterator[JobRun]:
    """A job that this command asks for and does itself: others see it, and may cancel it.

    An error ends it as failed, an interruption as cancelled. Where nothing can be written, the next who looks for jobs
    finds that this process is gone.
    """
    with WorkerPlace(library.settings.home) as place:
        library.jobs.take_back(gone=place.gone)
        library.forget_jobs()
        run = JobRun(library.jobs, library.jobs.put(request, owner=place.owner), place.owner, inner=inner)
        try:
            with run:
                yield run
        except (RagError, KeyboardInterrupt) as error:
            with suppress(RagError):
                run.fail(told(error)) if isinstance(error, RagError) else run.cancel()
            raise


def told(error: RagError | SourceFailure) -> JobError:
    """An error as a job keeps it."""
    return JobError(code=error.code, message=error.message, hint=error.hint)


def _noted(result: SourceResult) -> JobFile:
    failure = result.failure
    return JobFile(
        uri=result.uri,
        outcome=result.outcome.value,
        document_id=result.document_id,
        chunks=result.chunks,
        quality=result.quality,
        seconds=round(result.seconds, 3),
        notices=result.notices,
        error=told(failure) if failure else None,
    )
