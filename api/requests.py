"""Request bodies: JSON only, decoded strictly, and errors that say where.

Litestar converts bodies leniently (``"6"`` would pass for a number); this request decodes straight into the type that
the route declares.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request
from litestar.enums import RequestEncodingType
from litestar.exceptions import InternalServerException

from api.bodies import MAX_QUESTION_CHARACTERS
from api.problems import ClientDisconnected, InvalidFields, MalformedJson, UnsupportedMediaType
from api.schemas import FieldError
from rag.errors import EmptyQuestion, QuestionTooLong
from rag.retrieval.filters import FilterProblem, parse

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

    from api.bodies import QueryRequest, SearchRequest
    from rag.types import Filter

_NOT_IN_THE_QUERY = frozenset({"service", "request", "data"})  # names of the routes' other arguments
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_LOCATED = re.compile(r"^(?P<detail>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)


def require_known_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of the routes below ``/v1``: a parameter that is misspelt would not delete for good, or list another set.

    Raises:
        InvalidFields: the query string has a parameter that this route does not know.
    """
    if not connection.url.path.startswith("/v1/") or connection.scope.get("method") == "OPTIONS":
        return
    known = handler.parsed_fn_signature.parameters.keys() - _NOT_IN_THE_QUERY - connection.path_params.keys()
    if unknown := sorted(connection.query_params.keys() - known):
        raise InvalidFields(
            f"The query string has parameters that are not known: {', '.join(unknown)}.",
            errors=tuple(FieldError(pointer=name, detail="it is not known") for name in unknown),
            hint=f"Those that are: {', '.join(sorted(known))}." if known else "There are none here.",
        )


def require_json(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard of routes with a body.

    Raises:
        UnsupportedMediaType: the body is not announced as JSON, or as compressed. Besides clarity this keeps web pages
            out, see ``api.security``.
    """
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != RequestEncodingType.JSON:
        raise UnsupportedMediaType(
            f"The body's media type is {media_type or 'missing'}; this route reads application/json.",
            hint="Send the header Content-Type: application/json.",
        )
    encoding = connection.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMediaType(f"The body is encoded as {encoding}.", hint="Send it as it is, uncompressed.")


def require_form(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard of routes that read a form. Raises UnsupportedMediaType: the body is not announced as one."""
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != RequestEncodingType.MULTI_PART:
        raise UnsupportedMediaType(
            f"The body's media type is {media_type or 'missing'}; this route reads multipart/form-data.",
            hint="Send a form: curl -F file=@report.pdf",
        )


async def require_known_fields(request: Request[Any, Any, Any], form: type[DataclassInstance]) -> None:
    """Check that the request's form has no fields but those of ``form``. Raises InvalidFields."""
    known = [field.name for field in fields(form)]
    if unknown := [name for name in await request.form() if name not in known]:
        raise InvalidFields(
            f"The form has fields that are not known: {', '.join(unknown)}.",
            errors=tuple(FieldError(pointer=f"/{name}", detail="it is not known") for name in unknown),
            hint=f"Those that are: {', '.join(known)}.",
        )


def require_words(text: str) -> None:
    """Check a question or a query.

    Raises:
        EmptyQuestion: there is nothing but white space.
        QuestionTooLong: it is beyond what any model would be given.
    """
    if not text.strip():
        raise EmptyQuestion("The question is empty.", hint="Ask something.")
    if len(text) > MAX_QUESTION_CHARACTERS:
        raise QuestionTooLong(
            f"The question has {len(text)} characters; at most {MAX_QUESTION_CHARACTERS} are read.",
            hint="Shorten it; documents are added with POST /v1/documents.",
        )


def filter_of(body: QueryRequest | SearchRequest) -> Filter | None:
    """The body's filter. Raises InvalidFields if it cannot be used."""
    try:
        return None if body.filters is None else parse(body.filters)
    except FilterProblem as error:
        where = FieldError(pointer=_pointer(error.where), detail=error.what)
        raise InvalidFields(error.message, errors=(where,), hint=error.hint) from error


def _pointer(path: str) -> str:
    return "/" + "/".join(re.findall(r"[^.\[\]]+", path)) if path else ""


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON is decoded by the schema of its route."""

    async def body(self) -> bytes:
        """Read the whole body.

        Raises:
            ClientDisconnected: the client hung up before it had sent all of it.
        """
        try:
            return await super().body()
        except InternalServerException as error:
            raise ClientDisconnected from error

    async def json(self) -> Any:  # noqa: ANN401 - Litestar's own signature
        """Decode the body.

        Raises:
            MalformedJson: it is not JSON.
            InvalidFields: it is JSON that does not fit the schema, or nested without end.
        """
        field = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=field.annotation if field else Any)
        except msgspec.ValidationError as error:
            found = _LOCATED.match(str(error))
            detail, path = (found["detail"], found["path"] or "") if found else (str(error), "")
            pointer, hint = _pointer(path), "GET /schema has the schema of every request."
            told = f"{detail} at {pointer}" if path else detail
            if field is not None and (unknown := _UNKNOWN.fullmatch(detail)):
                pointer += "/" + unknown["name"].replace("~", "~0").replace("/", "~1")
                known = (each.encode_name for each in msgspec.structs.fields(field.annotation))
                hint = f"Those that are known: {', '.join(known)}."
            where = FieldError(pointer=pointer, detail=detail)
            raise InvalidFields(f"The request does not fit the schema: {told}.", errors=(where,), hint=hint) from error
        except RecursionError as error:
            where = FieldError(pointer="", detail="it is nested too deep")
            raise InvalidFields("The body is nested too deep to be read.", errors=(where,)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedJson(f"The body is not JSON: {error}.", hint="Send a JSON object, as UTF-8.") from error
