"""What goes wrong with a remote server, in this project's errors. Nothing of the HTTP client reaches a caller."""

from __future__ import annotations

import json
import math
import re
import time
from email.utils import mktime_tz, parsedate_tz

import httpx2
import openai

from rag.errors import (
    GenerationFailed,
    InvalidRequest,
    Overloaded,
    QuestionTooLong,
    RagError,
    RemoteUnavailable,
)

# Everything the client raises: its own errors, those of the HTTP library below it (while it reads the body of an
# error), and JSON or text that does not decode.
CLIENT_ERRORS = (openai.OpenAIError, httpx2.HTTPError, json.JSONDecodeError, UnicodeDecodeError)

SILENCE = "it said nothing for as long as RAG_GENERATOR_TIMEOUT_S allows"

_LONGEST_REASON = 200
_TOO_LONG = re.compile(r"context (length|size|window)|maximum context|longer than the model", re.IGNORECASE)
_TOO_LONG_KINDS = frozenset({"context_length_exceeded", "exceed_context_size_error"})
# Validators repeat what they were sent after this word, and that may be somebody's document.
_ECHO = re.compile(r"""['"]input['"]""")
_UNAVAILABLE = frozenset({502, 503, 504})  # said by what stands before a model that is down or still loading


class RemoteErrors:
    """Translates for one server. ``url`` has no credentials in it; ``served`` are the models it names."""

    def __init__(self, url: str) -> None:
        self._server = f"The generator server at {url}"
        self.served: tuple[str, ...] = ()

    def translated(self, error: Exception, *, model: str = "", started: bool = False) -> RagError:
        """The error to raise instead. ``started`` is after the answer began to arrive.

        Raise it ``from None``: a traceback would print what the server said, which may repeat the prompt.
        """
        if isinstance(error, openai.APIStatusError):
            return self._of_status(error.status_code, _said(error), _kind(error), error.response.headers, model)
        if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
            cause = error.__cause__ or error
            silent = isinstance(cause, httpx2.ReadTimeout)
            reason = SILENCE if silent else _clipped(str(cause)) or type(cause).__name__
            if started:
                return GenerationFailed(f"{self._server} broke off in the middle of an answer: {reason}.")
            return self.unavailable(reason)
        if isinstance(error, openai.APIError):  # an error event inside a stream
            kind = _kind(error)
            status = int(error.code) if error.code and error.code.isdecimal() else 500
            return self._of_status(status, _said(error), kind, httpx2.Headers(), model)
        return self.not_understood(type(error).__name__)

    def unavailable(self, reason: str) -> RemoteUnavailable:
        return RemoteUnavailable(
            f"{self._server} is not available: {reason}.",
            hint="Check that it is running, and that RAG_GENERATOR_URL is its address.",
        )

    def not_understood(self, what: str) -> GenerationFailed:
        return GenerationFailed(
            f"{self._server} answered with something other than the OpenAI protocol ({what}).",
            hint="Check that RAG_GENERATOR_URL is the address of its OpenAI API; it usually ends in /v1.",
        )

    def _of_status(self, status: int, said: str, kind: str, headers: httpx2.Headers, model: str) -> RagError:
        because = f": {said}" if said else ""
        error: RagError
        if status in {401, 403}:
            error = RemoteUnavailable(
                f"{self._server} refused access (status {status}){because}.",
                hint="Set RAG_GENERATOR_API_KEY to a key it accepts.",
            )
        elif status == 404:
            error = self._unknown(model)
        elif status == 429:
            error = Overloaded(
                f"{self._server} has too many requests waiting (status 429){because}.",
                hint="Try again later.",
                retry_after_s=_retry_after(headers.get("retry-after")),
            )
        elif status in _UNAVAILABLE:
            error = self.unavailable(said or f"status {status}")
        elif status >= 500:
            error = GenerationFailed(f"{self._server} failed (status {status}){because}.", hint="See its own logs.")
        elif kind in _TOO_LONG_KINDS or _TOO_LONG.search(said):
            error = QuestionTooLong(
                f"The prompt does not fit the context of the generator server{because}.",
                hint="Shorten the question, or give that server a larger context.",
            )
        else:
            error = InvalidRequest(f"{self._server} cannot do what was asked (status {status}){because}.")
        return error

    def _unknown(self, model: str) -> RemoteUnavailable:
        if not model:
            return RemoteUnavailable(
                f"{self._server} does not have an OpenAI API there (status 404).",
                hint="Check RAG_GENERATOR_URL; it usually ends in /v1.",
            )
        names = ", ".join(self.served) or "nothing that it names"
        return RemoteUnavailable(
            f"{self._server} does not serve the model '{model}' (status 404).",
            hint=f"When it was connected it served: {names}. Set RAG_GENERATOR to a model it serves.",
        )


def _said(error: openai.APIError) -> str:
    body = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or ""
    return _clipped(body if isinstance(body, str) else "")


def _kind(error: openai.APIError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    found = {str(body.get(name)) for name in ("code", "type")}
    return next(iter(found & _TOO_LONG_KINDS), "")


def _clipped(text: str) -> str:
    text = " ".join(_ECHO.split(text, maxsplit=1)[0].split()).rstrip(".")
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


def _retry_after(value: str | None) -> int:
    """Seconds from a Retry-After header (RFC 9110, section 10.2.3: seconds or a date), at least 1."""
    if value is None:
        return 1
    try:
        seconds = float(value)
    except ValueError:
        date = parsedate_tz(value)
        seconds = mktime_tz(date) - time.time() if date else 1.0
    return max(1, math.ceil(seconds)) if math.isfinite(seconds) else 1
