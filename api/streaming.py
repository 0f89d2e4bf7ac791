"""Answers while they are made: server-sent events, and an end to the work when the client hangs up."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from litestar.response import ServerSentEvent, ServerSentEventMessage
from litestar.response.base import ASGIResponse

from api import presentation
from api.documentation import EVENT_STREAM
from api.problems import ClientDisconnected, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from litestar import Request
    from litestar.types import Receive, Scope, Send

    from api.admission import Slot
    from rag.types import AnswerEvent

T = TypeVar("T")

_HEARTBEAT_S = 15.0  # proxies drop connections that are silent for half a minute to a minute


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def until_disconnected(request: Request[Any, Any, Any], work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``, but cancel it as soon as the client hangs up. The request's body must have been read.

    Raises:
        ClientDisconnected: it did.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request.receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnected
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.wait({working, gone})


class Feed:
    """The events of one answer, made by a task of their own.

    A task apart, because the response runs in a cancel scope that strikes again at every await: the pipeline would be
    interrupted in its cleanup. Here it sees one ordinary cancellation and is awaited until it is through.
    """

    def __init__(self, events: AsyncGenerator[AnswerEvent, None], slot: Slot) -> None:
        self._slot = slot
        self._queue: asyncio.Queue[AnswerEvent | None] = asyncio.Queue()  # bounded by the longest answer
        self._task = asyncio.create_task(self._pump(events), name="answer")
        self._task.add_done_callback(lambda _: self._queue.put_nowait(None))

    async def _pump(self, events: AsyncGenerator[AnswerEvent, None]) -> None:
        async with aclosing(events):
            async for event in events:
                self._queue.put_nowait(event)

    async def next(self) -> AnswerEvent | None:
        """The next event, or ``None`` at the end; ``failure`` then says whether it is a good one."""
        return await self._queue.get()

    @property
    def failure(self) -> BaseException | None:
        finished = self._task.done() and not self._task.cancelled()
        return self._task.exception() if finished else None

    async def close(self) -> None:
        """Cancel what is left of the work, wait until it has let go, and free the place."""
        self._task.cancel()
        try:
            await asyncio.wait({self._task})
        finally:
            self._slot.release()


class _FeedResponse(ASGIResponse):
    """A streaming response that closes its feed however it ends.

    Litestar stops iterating when the client hangs up but leaves the iterator to the garbage collector.
    """

    def __init__(self, response: ASGIResponse, feed: Feed) -> None:
        super().__init__(status_code=response.status_code)
        self._response = response
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._response(scope, receive, send)
        finally:
            await self._feed.close()


class EventStream(ServerSentEvent):
    """An answer's events as ``text/event-stream``; errors after the first byte become an ``error`` event."""

    def __init__(self, feed: Feed, first: AnswerEvent | None, *, scope: Scope) -> None:
        super().__init__(content=_messages(feed, first, scope))
        self._feed = feed

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> ASGIResponse:  # noqa: ANN401 - passed on as they are
        kwargs["media_type"] = EVENT_STREAM  # Litestar would send the route's first media type, which is JSON
        return _FeedResponse(super().to_asgi_response(*args, **kwargs), self._feed)


async def open_stream(
    request: Request[Any, Any, Any], events: AsyncGenerator[AnswerEvent, None], slot: Slot
) -> EventStream:
    """Start the work and wait for its first event, so that early errors still get a status of their own.

    The slot is freed when the stream ends, however it ends.
    """
    async with AsyncExitStack() as opening:
        feed = Feed(events, slot)
        opening.push_async_callback(feed.close)
        first = await until_disconnected(request, feed.next())
        if first is None and feed.failure is not None:
            raise feed.failure
        opening.pop_all()
    return EventStream(feed, first, scope=request.scope)


async def _messages(
    feed: Feed, event: AnswerEvent | None, scope: Scope
) -> AsyncGenerator[ServerSentEventMessage, None]:
    while event is not None:
        yield ServerSentEventMessage(event=event.type, data=msgspec.json.encode(presentation.event(event)))
        waiting = True
        while waiting:
            try:
                async with asyncio.timeout(_HEARTBEAT_S):
                    event = await feed.next()
                waiting = False
            except TimeoutError:
                yield ServerSentEventMessage(comment="still working", data=None)
    if feed.failure is not None:
        problem = problem_of(feed.failure, scope)
        yield ServerSentEventMessage(event="error", data=msgspec.json.encode(problem))
