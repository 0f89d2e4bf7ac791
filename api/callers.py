"""On whose behalf a query runs, and with how much time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rag.model_types import Caller, Priority

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection

    from api.bodies import QueryRequest


def client_key(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Whose share of the model a request takes: the peer's address, ``""`` where there is none (a Unix socket).

    Everybody behind one proxy shares, as long as clients have no keys of their own.
    """
    return connection.client.host if connection.client else ""


def caller_of(connection: ASGIConnection[Any, Any, Any, Any], body: QueryRequest, *, longest_s: float | None) -> Caller:
    """The caller of a query. ``longest_s`` is the service's own bound: a request can only ask for less."""
    limits = [limit for limit in (body.timeout_s, longest_s) if limit is not None]
    return Caller(
        key=client_key(connection),
        priority=Priority[body.priority.upper()],
        timeout_s=min(limits, default=None),
    )


def after(caller: Caller, elapsed_s: float) -> Caller:
    """The same caller when some of its time has passed."""
    if caller.timeout_s is None:
        return caller
    return replace(caller, timeout_s=max(0.0, caller.timeout_s - elapsed_s))
