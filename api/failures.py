"""Requests that end before or without their route: refused by a middleware, or cut off by the shutdown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.response import ServerSentEventMessage

from api.documentation import EVENT_STREAM
from api.problems import problem_of, problem_response
from rag.errors import RagError, ShuttingDown

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send


class FailureResponse(ASGIMiddleware):
    """Gives these requests problem details, too, inside of ``RequestTrace``, so that it sees their status.

    A request's task is cancelled by nobody but the server, when the time to drain is over.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        started = finished = streaming = False

        async def watch(message: Message) -> None:
            nonlocal started, finished, streaming
            if message["type"] == "http.response.start":
                started = True
                streaming = any(
                    name == b"content-type" and value.startswith(EVENT_STREAM.encode())
                    for name, value in message["headers"]
                )
            elif message["type"] == "http.response.body":
                finished = not message.get("more_body", False)
            await send(message)

        try:
            await next_app(scope, receive, watch)
        except (RagError, asyncio.CancelledError) as error:
            cut_off = ShuttingDown("The service is shutting down.", hint="Ask again when it is back.")
            failure = error if isinstance(error, RagError) else cut_off
            if not started:
                request: Request[Any, Any, Any] = Request(scope, receive, send)
                response = problem_response(request, failure)
                await response.to_asgi_response(app=None, request=request)(scope, receive, send)
            elif streaming and not finished:
                data = msgspec.json.encode(problem_of(failure, scope))
                body = ServerSentEventMessage(event="error", data=data).encode()
                await send({"type": "http.response.body", "body": body, "more_body": False})
            elif not finished:
                raise
