"""Answers while they are made: server-sent events, and an end to the work when the client hangs up."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from anyio import CancelScope
from litestar.response import ServerSentEvent, ServerSentEventMessage
from litestar.response.base import ASGIResponse

from api import presentation
from api.problems import ClientDisconnected, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine

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

    def __init__(self, events: AsyncIterator[AnswerEvent], slot: Slot) -> None:
        self._slot = slot
        self._queue: asyncio.Queue[AnswerEvent | None] = asyncio.Queue()  # bounded by the longest answer
        self._task = asyncio.create_task(self._pump(events), name="answer")
        self._task.add_done_callback(lambda _: self._queue.put_nowait(None))

    async def _pump(self, events: AsyncIterator[AnswerEvent]) -> None:
        async for event in events:
            self._queue.put_nowait(event)

    async def next(self) -> AnswerEvent | None:
        """The next event, or ``None`` at the end. Raises what the pipeline raised."""
        event = await self._queue.get()
        if event is None and not self._task.cancelled():
            self._task.result()
        return event

    async def close(self) -> None:
        """Cancel what is left of the work, wait until it has let go, and free the place."""
        self._task.cancel()
        await asyncio.wait({self._task})
        self._slot.release()
