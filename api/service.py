"""What the routes share: the library, whether its models are loaded, and the places for queries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from api.admission import Admission
from api.problems import NotReady
from rag.errors import RagError
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rag.protocols import DocumentStore
    from rag.types import Answer, AnswerEvent, GeneratorInfo, SearchResult

READY_WAIT_S = 20.0  # below the usual 30 s patience of HTTP clients

_log = get_logger("api")


class Pipeline(Protocol):
    """The use case, as the routes call it."""

    async def search(self, query: str, *, collection: str, k: int | None) -> SearchResult: ...
    def stream(self, question: str, *, collection: str, k: int | None) -> AsyncIterator[AnswerEvent]: ...
    async def answer(self, question: str, *, collection: str, k: int | None) -> Answer: ...


class Check(Protocol):
    """One dependency's state."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...


class Library(Protocol):
    """What ``rag.factory.open_library`` returns, as far as this service needs it."""

    @property
    def store(self) -> DocumentStore: ...
    @property
    def pipeline(self) -> Pipeline: ...
    @property
    def generator_info(self) -> GeneratorInfo | None: ...
    def warm_up(self) -> None: ...
    def readiness(self) -> Sequence[Check]: ...
    def close(self) -> None: ...


class Service:
    """A library in service. Create it on the event loop; ``stop`` it there."""

    def __init__(self, library: Library, *, max_queries: int, ready_wait_s: float = READY_WAIT_S) -> None:
        self.library = library
        self.admission = Admission(max_queries)
        self._ready_wait_s = ready_wait_s
        self._warming = asyncio.create_task(asyncio.to_thread(library.warm_up), name="warm-up")
        self._warming.add_done_callback(_log_outcome)

    @property
    def loading(self) -> bool:
        return not self._warming.done()

    async def pipeline(self) -> Pipeline:
        """Wait, up to a bound, for the models.

        After a failed warm-up the models are tried again, so that a model pulled meanwhile is picked up without a
        restart, and its error reaches the client.

        Raises:
            NotReady: the models are still loading.
            ModelError: they cannot be loaded.
        """
        await asyncio.wait({self._warming}, timeout=self._ready_wait_s)
        if self.loading:
            raise NotReady("The models are still loading.", hint="GET /ready says what is missing.")
        return await asyncio.to_thread(lambda: self.library.pipeline)

    async def checks(self) -> tuple[Sequence[Check], GeneratorInfo | None]:
        return await asyncio.to_thread(lambda: (self.library.readiness(), self.library.generator_info))

    async def stop(self) -> None:
        """Wait for a warm-up under way: a thread inside a model loader cannot be interrupted."""
        await asyncio.wait({self._warming})


def _log_outcome(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, RagError):
        _log.error("models not loaded", code=error.code, detail=str(error))
    elif error is not None:
        _log.error("models not loaded", exc_info=error)
    else:
        _log.info("models loaded")
