"""What stands between a browser and a service without passwords: host names, headers, and strict media types.

A page on the web can make a browser send requests to a loopback address. Four things keep it from doing harm: no CORS
headers (it cannot read answers), bodies only as ``application/json`` (which a page cannot send across origins without
asking first), uploads, which a page's form could send, only from the service's own origin, and, against DNS rebinding,
only the host names this service is known by.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

from api.problems import HostNotAllowed, OriginNotAllowed
from api.tracing import trace_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",  # answers quote private documents
}


def is_loopback(host: str) -> bool:
    """Whether an address to bind can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_name(header: str) -> str:
    """The name in a ``Host`` header: lower case, without the port; IPv6 keeps its brackets."""
    header = header.strip().lower()
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0].rstrip(".")


def require_own_origin(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard of routes that take forms.

    Raises:
        OriginNotAllowed: a browser sends this for a page from elsewhere. Programs send no ``Origin``.
    """
    origin = connection.headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != connection.headers.get("host", "").lower():
        raise OriginNotAllowed(
            "A page from elsewhere tried to hand over a file.", hint="Upload it from a program, or from this service."
        )


class HostCheck(ASGIMiddleware):
    """Refuses requests for host names that are not this service's. An empty set of names allows all."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, *, bound_host: str, allowed_hosts: Iterable[str] = ()) -> None:
        named = {host_name(name) for name in allowed_hosts}
        self._names = named | _LOOPBACK_NAMES if named or is_loopback(bound_host) else frozenset[str]()

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        header = next((value for key, value in scope["headers"] if key == b"host"), b"").decode("latin-1")
        if self._names and host_name(header) not in self._names:
            raise HostNotAllowed(
                "This service does not answer under the host name of this request.",
                hint="Use localhost, or add the name to RAG_ALLOWED_HOSTS.",
            )
        await next_app(scope, receive, send)


def _allowed(said: str, scope: Scope) -> list[str]:
    """The methods of a path. To OPTIONS Litestar says those of one of its handlers alone."""
    methods = set(said.split(", "))
    if scope.get("method") == "OPTIONS":
        methods.update(scope["app"].route_handler_method_map[scope["path_template"]])
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


async def add_headers(message: Message, scope: Scope) -> None:
    """Litestar's ``before_send`` hook: it also sees the responses that no route made."""
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if "allow" in headers:
            headers["allow"] = ", ".join(_allowed(headers["allow"], scope))
        headers["x-trace-id"] = trace_id_of(scope)
