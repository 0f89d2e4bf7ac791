"""Structured logs on standard error. No telemetry leaves the machine."""

from __future__ import annotations

import os
import sys
import uuid
from typing import TYPE_CHECKING, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def configure_logging(*, level: int) -> None:
    """Send the process's logs of at least this level (as in ``logging``) to standard error, as lines."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR")),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger bound to the room it speaks for."""
    return cast("FilteringBoundLogger", structlog.get_logger(room=name))


def current_trace_id() -> str:
    """The trace id bound to this request's log lines (``structlog.contextvars``), or a new one: 32 hex digits."""
    return str(structlog.contextvars.get_contextvars().get("trace_id") or uuid.uuid4().hex)
