"""Every error as RFC 9457 problem details with a stable code. docs/api.md lists the codes; a test keeps them equal."""

from __future__ import annotations

import re
from errno import EDQUOT, ENOSPC
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException, ValidationException

import rag.errors
from api.documentation import PROBLEM_MEDIA_TYPE
from api.schemas import FieldError, Problem
from api.tracing import trace_id_of
from rag.errors import (
    Conflict,
    DatabaseBusy,
    DatabaseOutdated,
    DatabaseTooNew,
    DataDirectoryUnwritable,
    DeadlineExceeded,
    DiskFull,
    EmptyQuestion,
    GenerationFailed,
    HistoryGone,
    InputError,
    InvalidRequest,
    InvalidSettings,
    ModelError,
    NotFound,
    Overloaded,
    QuestionTooLong,
    RagError,
    RemoteUnavailable,
    ServiceError,
    ShuttingDown,
    SourceError,
    SourceTooLarge,
    SourceUnsupported,
    StorageError,
    UnsupportedSampling,
)
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from litestar import Request
    from litestar.types import Scope

_CLIENT_CLOSED_REQUEST = 499  # nobody reads it; it tells the access log apart from our own failures

_log = get_logger("api")


class MalformedJson(InputError):
    code = "malformed_json"


class RouteNotFound(NotFound):
    code = "route_not_found"


class MethodNotAllowed(InputError):
    code = "method_not_allowed"


class BodyTooLarge(InputError):
    code = "body_too_large"


class UnsupportedMediaType(InputError):
    code = "unsupported_media_type"


class HostNotAllowed(InputError):
    code = "host_not_allowed"


class OriginNotAllowed(InputError):
    code = "origin_not_allowed"


class NotReady(ServiceError):
    """The models are not loaded (yet)."""

    code = "not_ready"


class InternalError(ServiceError):
    """Something unforeseen; the log has it under the trace id."""

    code = "internal_error"


class InvalidFields(InvalidRequest):
    """A request whose JSON or parameters do not fit the schema. ``errors`` says where."""

    def __init__(self, message: str, *, errors: tuple[FieldError, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errors = errors


class ClientDisconnected(Exception):
    """The client closed the connection before its response was complete."""


# The nearest class in an error's line of ancestors decides.
_STATUS: dict[type[RagError], int] = {
    RagError: 500,
    InputError: 400,
    EmptyQuestion: 422,
    QuestionTooLong: 422,
    InvalidRequest: 422,
    UnsupportedSampling: 422,
    InvalidSettings: 500,
    MethodNotAllowed: 405,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    HostNotAllowed: 421,
    OriginNotAllowed: 403,
    NotFound: 404,
    HistoryGone: 410,
    Conflict: 409,
    SourceError: 422,
    SourceTooLarge: 413,
    SourceUnsupported: 415,
    ModelError: 503,
    StorageError: 500,
    DataDirectoryUnwritable: 507,
    DiskFull: 507,
    DatabaseTooNew: 503,
    DatabaseOutdated: 503,
    DatabaseBusy: 503,
    ServiceError: 500,
    GenerationFailed: 500,
    Overloaded: 429,
    DeadlineExceeded: 504,
    RemoteUnavailable: 502,
    NotReady: 503,
    ShuttingDown: 503,
}
# Only forms are read by Litestar: JSON is by ``api.requests``.
_MISSING = re.compile(r"missing required field `(\w+)`")
_MISSING_PARAMETER = re.compile(r"Missing required \w+ parameter '(?P<name>\w+)'")
_FORM_HINT = "Send a form: curl -F file=@report.pdf"
_FORM_ERRORS = {  # what Litestar says of forms, for which it has no class of error
    "Request Entity Too Large": ("The form has more than 1,000 parts.", "Upload the files in several requests."),
    "Invalid multipart/form-data": ("The form cannot be read: it was cut off, or its parts are no such.", _FORM_HINT),
}
# What Litestar itself raises, in our words.
_HTTP_ERRORS: dict[int, tuple[type[RagError], str, str]] = {
    404: (RouteNotFound, "There is nothing at this path.", "GET /schema lists every route."),
    405: (MethodNotAllowed, "This path does not know this method.", "The Allow header lists the methods it knows."),
    413: (BodyTooLarge, "The request body is larger than this service accepts.", "Send at most 1 MiB."),
}
# What errors of requests (4xx) name for people at a command line, and what clients have instead. Those of the service
# (5xx) are for who runs it, who has the commands.
_COMMANDS = (
    (r"`indexer status` lists", "GET /v1/collections lists"),
    (r"`indexer ingest PATH --collection NAME` creates", "POST /v1/documents with a new `collection` creates"),
    (r"`indexer list` shows", "GET /v1/documents lists"),
    (r"`indexer changes` those", "GET /v1/changes those"),
    (r"`indexer jobs` and GET /v1/jobs list", "GET /v1/jobs lists"),
    (r"`indexer jobs \d+ --cancel`, ", ""),
    (r"`indexer retain -c .+` says .+", "GET /v1/changes says since when it is known, as `history_begins`."),
    (r"--since, the later one as --until", "`since`, the later one as `until`"),
    (r"; what it does is shown by: indexer reembed .+", "."),
)
RETRY_READY_AFTER_S = 5
_RETRY_AFTER_S: dict[type[Exception], int] = {
    NotReady: RETRY_READY_AFTER_S,
    ShuttingDown: RETRY_READY_AFTER_S,
    DatabaseBusy: 1,
}


def _tree(root: type[RagError]) -> list[type[RagError]]:
    return [root, *(found for child in root.__subclasses__() for found in _tree(child))]


def status_of(error: type[RagError]) -> int:
    return next(_STATUS[ancestor] for ancestor in error.__mro__ if ancestor in _STATUS)


def problem_codes() -> dict[str, int]:
    """Every code a client can meet, with its status, in alphabetical order."""
    known = (rag.errors.__name__, __name__)
    return dict(sorted((error.code, status_of(error)) for error in _tree(RagError) if error.__module__ in known))


def to_rag_error(error: BaseException) -> RagError:
    """Put a name to an error that is not one of ours, without repeating what it says about our insides."""
    if isinstance(error, RagError):
        return error
    if isinstance(error, ValidationException):
        return _unfitting(_field_errors(error))
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status in _HTTP_ERRORS:
        kind, message, hint = _HTTP_ERRORS[status]
        return kind(message, hint=hint)
    if isinstance(error, HTTPException) and status < 500:
        message, hint = _FORM_ERRORS.get(error.detail, (error.detail, ""))
        return InvalidRequest(message, hint=hint)
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):  # of a form that is too long for memory, say
        return DiskFull(
            "A disk that the service writes to is full.",
            hint=f"Free some space, also in {gettempdir()}, and try again; nothing that was kept is lost.",
        )
    return InternalError(
        "Something went wrong inside the service.", hint="The service's log has the cause under this trace_id."
    )


def _unfitting(found: tuple[FieldError, ...]) -> RagError:
    if missing := [name for each in found for name in _MISSING.findall(each.detail)]:
        where = tuple(FieldError(pointer=f"/{name}", detail="it is missing") for name in missing)
        return InvalidFields(f"The form has no {', '.join(missing)}.", errors=where, hint=_FORM_HINT)
    if any(each.pointer == "data" for each in found):  # Litestar's name for a body that is not there
        return MalformedJson("The request has no body.", hint="Send a JSON object.")
    told = "; ".join(f"{each.pointer}: {each.detail}" for each in found)
    hint = "GET /schema has the schema of every request."
    return InvalidFields(f"The request does not fit the schema: {told}.", errors=found, hint=hint)


def _field_errors(error: ValidationException) -> tuple[FieldError, ...]:
    found = error.extra if isinstance(error.extra, list) else []
    if missing := _MISSING_PARAMETER.search(error.detail):
        return (FieldError(pointer=missing["name"], detail="it is missing"),)
    return tuple(
        FieldError(pointer=str(each.get("key", "")), detail=str(each.get("message", "")))
        for each in found
        if isinstance(each, dict)
    )


def problem_of(error: BaseException, scope: Scope) -> Problem:
    """Describe an error for the client of this request, and log it if it is ours to fix."""
    named = to_rag_error(error)
    trace_id = trace_id_of(scope)
    status = status_of(type(named))
    if isinstance(named, InternalError):
        _log.error("unexpected error", trace_id=trace_id, path=scope["path"], exc_info=error)
    elif status >= 500 and not isinstance(named, NotReady | ShuttingDown):
        _log.error("request failed", trace_id=trace_id, path=scope["path"], code=named.code, detail=str(named))
    return Problem(
        type=f"urn:plumbline:problem:{named.code}",
        title=title_of(named.code),
        status=status,
        detail=named.message,
        code=named.code,
        trace_id=trace_id,
        hint=for_clients(named.hint),
        errors=named.errors if isinstance(named, InvalidFields) else (),
        queue_position=named.queue_position if isinstance(named, Overloaded) else None,
    )


def for_clients(hint: str) -> str:
    """A hint with the requests that clients make instead of commands."""
    for command, request in _COMMANDS:
        hint = re.sub(command, request, hint, flags=re.DOTALL)
    return hint


def title_of(code: str) -> str:
    return code.replace("_", " ").capitalize().replace("json", "JSON")


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for every error."""
    if isinstance(error, ClientDisconnected):
        return Response(content=b"", status_code=_CLIENT_CLOSED_REQUEST)
    problem = problem_of(error, request.scope)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    retry_after = error.retry_after_s if isinstance(error, Overloaded) else _RETRY_AFTER_S.get(type(error))
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    return Response(
        content=msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=headers,
    )
