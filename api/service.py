"""What the routes share: the library, whether its models are loaded, and the places for queries."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

from api import state_schemas
from api.admission import Admission
from api.presentation import plain
from api.problems import NotReady
from api.state_schemas import ReadyResponse
from rag.errors import RagError
from rag.generators import require_adapter
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import datetime

    from api.metrics import Inspected, Metrics
    from rag.config import Settings
    from rag.erasure import ErasureReport
    from rag.job_types import Job, JobFile, JobRequest
    from rag.model_types import Caller
    from rag.protocols import DocumentStore, Generator
    from rag.types import AnswerEvent, Collection, Filter, SearchResult
    from rag.version_types import DocumentChange, DocumentVersion, Dropped, Place, Searched

_RETRY_WARM_UP_S = 10.0  # a damaged model file of gigabytes is read whole to find that out
_LET_GO_S = 10.0  # what was cancelled lets go within a step of the model
READY_WAIT_S = 60.0  # loading takes seconds on an idle machine; clients with less patience hang up by themselves

_log = get_logger("api")


class Pipeline(Protocol):
    """The use case, as the routes call it."""

    async def search(
        self, query: str, *, collection: str, k: int | None, where: Filter | None, as_of: datetime | None
    ) -> SearchResult: ...
    def stream(
        self,
        question: str,
        *,
        collection: str,
        k: int | None,
        where: Filter | None,
        as_of: datetime | None,
        caller: Caller,
        deterministic: bool,
        adapter: str | None,
    ) -> AsyncGenerator[AnswerEvent, None]: ...


class Check(Protocol):
    """One dependency's state."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...


class History(Protocol):
    """What was, as the routes read it; ``rag.stores.versions.history.History`` says more."""

    def versions(self, collection: Collection, document_id: int) -> list[DocumentVersion]: ...
    def begins(self, collection: Collection) -> datetime: ...
    def changes(
        self,
        collection: Collection,
        *,
        since: datetime | None,
        until: datetime | None,
        after: Place | None,
        limit: int,
    ) -> list[tuple[Place, DocumentChange]]: ...


class JobQueue(Protocol):
    """The queue, as the routes use it; ``rag.stores.jobs.queue.JobQueue`` says more."""

    def put(self, request: JobRequest) -> Job: ...
    def job(self, job_id: int) -> Job: ...
    def jobs(self, *, collection: str | None, limit: int, before: int | None) -> list[Job]: ...
    def files(self, job_id: int, *, limit: int, after: int) -> list[tuple[int, JobFile]]: ...


class Blobs(Protocol):
    """Where uploads wait; ``rag.stores.jobs.blobs.Blobs`` says more."""

    def put(self, file: BinaryIO, *, name: str, max_bytes: int) -> tuple[str, str, int]: ...
    def remove(self, blob: str) -> None: ...


class Library(Protocol):
    """What ``rag.factory.open_library`` returns, as far as this service needs it."""

    @property
    def store(self) -> DocumentStore: ...
    @property
    def history(self) -> History: ...
    @property
    def jobs(self) -> JobQueue: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def pipeline(self) -> Pipeline: ...
    @property
    def generator(self) -> Generator: ...
    @property
    def loaded_generator(self) -> Generator | None: ...
    def cancel_job(self, job_id: int) -> Job: ...
    def erase_deleted(self) -> ErasureReport: ...
    def purge(self, collection: Collection, document_ids: Sequence[int]) -> list[Searched]: ...
    def drop(self, collection: Collection, *, purge: bool = False) -> Dropped: ...
    def rename(self, collection: Collection, name: str) -> Collection: ...
    @property
    def inspected(self) -> Inspected | None: ...
    def maintain(self) -> None: ...
    def warm_up(self) -> None: ...
    def readiness(self) -> Sequence[Check]: ...
    def close(self) -> None: ...


class Service:
    """A library in service. Create it on the event loop; ``stop`` it there."""

    def __init__(
        self, library: Library, settings: Settings, metrics: Metrics, *, ready_wait_s: float = READY_WAIT_S
    ) -> None:
        self.library = library
        self.metrics = metrics
        self.admission = Admission(running=settings.max_running, queued=settings.max_queued)
        self.request_timeout_s = settings.request_timeout_s
        self.max_file_bytes = settings.max_file_bytes
        self.require_adapter = partial(require_adapter, settings)
        metrics.watch(self.admission, lambda: library.loaded_generator)
        metrics.watch_storage(lambda: library.inspected)
        self._ready_wait_s = ready_wait_s
        library.maintain()
        self._warm_up()

    @property
    def loading(self) -> bool:
        return not self._warming.done()

    def _warm_up(self) -> None:
        self._started = time.monotonic()
        self._retry_at = math.inf
        self._warming = asyncio.create_task(asyncio.to_thread(self.library.warm_up), name="warm-up")
        self._warming.add_done_callback(self._warmed_up)

    def _warmed_up(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            _log.info("models loaded")
            return
        self._retry_at = time.monotonic() + _RETRY_WARM_UP_S
        if isinstance(error, RagError):
            _log.error("models not loaded", code=error.code, detail=str(error))
        else:
            _log.error("models not loaded", exc_info=error)

    async def pipeline(self, *, patience_s: float | None = None) -> Pipeline:
        """Wait for the models: as long as the service waits for them, and at most ``patience_s``.

        After a failed warm-up the models are tried again, so that a model pulled meanwhile is picked up without a
        restart, and its error reaches the client.

        Raises:
            NotReady: the models are still loading.
            ModelError: they cannot be loaded.
        """
        await asyncio.wait({self._warming}, timeout=min(self._ready_wait_s, patience_s or self._ready_wait_s))
        if self.loading:
            raise NotReady("The models are still loading.", hint="GET /ready says what is missing.")
        return await asyncio.to_thread(lambda: self.library.pipeline)

    async def readiness(self) -> ReadyResponse:
        """What a query depends on. While models load, only that is said: other checks would wait for them.

        After a failed warm-up, asking starts another from time to time, so that a service that gets no queries because
        it is not ready can become ready.
        """
        if self.loading:
            seconds = time.monotonic() - self._started
            loading = state_schemas.Check(name="models", ok=False, detail=f"still loading, for {seconds:.0f} s so far")
            return ReadyResponse(ready=False, checks=(loading,), generator=None)
        state = await asyncio.to_thread(self._readiness, self._warming.exception())
        if not state.ready and time.monotonic() >= self._retry_at:
            self._warm_up()
        return state

    def _readiness(self, error: BaseException | None) -> ReadyResponse:
        checks = [plain(check, state_schemas.Check) for check in self.library.readiness()]
        ready = all(check.ok for check in checks)
        if error is not None and not ready:
            detail = str(error) if isinstance(error, RagError) else "they could not be loaded; the log says why"
            checks.append(state_schemas.Check(name="models", ok=False, detail=detail))
        loaded = ready or error is None
        info = plain(self.library.generator.info, state_schemas.Generator) if loaded else None
        return ReadyResponse(ready=ready, checks=tuple(checks), generator=info)

    async def stop(self) -> None:
        """Admit nothing more, and wait until nothing uses the library, so that it can be closed.

        The server has let requests finish by now, or has cancelled them. A warm-up under way is waited for, however
        long it takes: a thread inside a model loader cannot be interrupted.
        """
        self.admission.close()
        await asyncio.wait({self._warming})
        try:
            async with asyncio.timeout(_LET_GO_S):
                await self.admission.emptied()
                generator = self.library.loaded_generator
                if generator is not None:
                    await generator.drain()
        except TimeoutError:
            _log.warning("requests did not let go; closing the models under them", queries=self.admission.active)
