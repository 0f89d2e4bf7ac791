"""One trace id a request: in its log lines, its problem details, its answer and the ``X-Trace-Id`` header."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from structlog.contextvars import bound_contextvars

from rag.telemetry import get_logger

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

_KEY = "plumbline_trace_id"
# Later versions may have more behind it; ids of zeros are none.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})(?P<trace_id>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
# Probed every few seconds: their lines would bury the others.
_QUIET_PATHS = frozenset({"/health", "/ready", "/metrics"})

_log = get_logger("api")


def trace_id_of(scope: Scope) -> str:
    """The request's trace id, 32 hexadecimal digits: its caller's, if it says one (W3C Trace Context), or a new one."""
    state = scope["state"]
    if _KEY not in state:
        header = next((value for name, value in scope["headers"] if name == b"traceparent"), b"").decode("latin-1")
        said = _TRACEPARENT.fullmatch(header)
        state[_KEY] = said["trace_id"] if said else uuid.uuid4().hex
    return str(state[_KEY])


class RequestTrace(ASGIMiddleware):
    """Binds the trace id to everything logged during a request, and logs the request when it ends.

    The path is logged without its query string, and bodies never are: questions are private.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        started = time.perf_counter()
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with bound_contextvars(trace_id=trace_id_of(scope)):
            try:
                await next_app(scope, receive, watch)
            finally:
                log = _log.debug if scope["path"] in _QUIET_PATHS else _log.info
                log(
                    "request",
                    method=scope.get("method"),
                    path=scope["path"],
                    status=status,
                    ms=round((time.perf_counter() - started) * 1000, 1),
                )
