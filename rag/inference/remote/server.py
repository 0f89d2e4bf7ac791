"""One OpenAI-compatible server: its address, its HTTP clients, and what it says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import openai
from openai import AsyncOpenAI, OpenAI, RequestOptions

from rag.errors import InvalidSettings, RemoteUnavailable
from rag.inference.remote.errors import CLIENT_ERRORS, SILENCE, RemoteErrors

if TYPE_CHECKING:
    from collections.abc import Callable

_CONNECT_S = 10.0
_NO_KEY = "none"  # without one, the client would take the key of OPENAI_API_KEY to this server; it is not sent
_NOT_OFFERED = frozenset({400, 404, 405, 415, 422, 500, 501})  # how servers answer a route or a body they do not know


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model as the server lists it. ``parent`` is set for an adapter; ``context_tokens`` is None if it is not told.

    ``trained_tokens`` is the longest context the model was made for, which the server may have lowered;
    ``vocabulary_size`` counts its tokens.
    """

    name: str
    aliases: tuple[str, ...] = ()
    parent: str | None = None
    context_tokens: int | None = None
    trained_tokens: int | None = None
    vocabulary_size: int | None = None


class RemoteServer:
    """A server's two clients: one for requests on an event loop, one for short questions from threads.

    ``url`` is the address without credentials, ``root`` where routes outside the OpenAI API begin.
    """

    def __init__(self, base_url: str, *, api_key: str | None, timeout_s: float, max_retries: int) -> None:
        base = _checked(base_url)
        self.url = str(base.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")
        self.root = self.url.removesuffix("/v1")
        # Apart from the address, which the HTTP library writes to its log.
        login = httpx2.BasicAuth(base.username, base.password) if base.userinfo else None
        self.errors = RemoteErrors(self.url)
        timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S), pool=None)
        self.chat = AsyncOpenAI(
            base_url=self.url,
            api_key=api_key or _NO_KEY,
            timeout=timeout,
            max_retries=max_retries,
            # A connection for each request: nothing is tied to an event loop that may have ended, and closing a
            # response closes its connection, which is how a server learns that nobody listens.
            http_client=_AsyncClient(
                timeout=timeout,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
                follow_redirects=True,
                event_hooks={"request": [_send_no_placeholder]},
                auth=login,
            ),
        )
        self._brief = OpenAI(
            base_url=self.url,
            api_key=api_key or _NO_KEY,
            timeout=timeout,
            max_retries=max_retries,
            http_client=_Client(
                timeout=timeout, follow_redirects=True, event_hooks={"request": [_drop_placeholder]}, auth=login
            ),
        )
        for client in (self.chat, self._brief):
            client.organization = client.project = None  # accounts of another service, read from the environment

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST to a route outside the OpenAI API; the JSON object of the answer. Blocks. Raises RagError."""
        return self._object(lambda: self._brief.post(self.root + path, cast_to=object, body=body))

    def probe(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """As ``ask`` (GET without a body), but an empty object where the server has no such route."""
        url, once = self.root + path, RequestOptions(max_retries=0)
        try:
            if body is None:
                answer = self._brief.get(url, cast_to=object, options=once)
            else:
                answer = self._brief.post(url, cast_to=object, body=body, options=once)
        except openai.APIStatusError as error:
            if error.status_code in _NOT_OFFERED:
                return {}
            raise self.errors.translated(error) from None
        except CLIENT_ERRORS as error:
            raise self.errors.translated(error) from None
        return answer if isinstance(answer, dict) else {}

    def served_models(self) -> list[ServedModel]:
        """What the server lists, in its order. Blocks.

        Raises:
            RemoteUnavailable: it cannot be reached, refuses access, or has no OpenAI API there.
        """
        answer = self._object(lambda: self._brief.get("/models", cast_to=object))
        listed = answer.get("data")
        models = [_served(entry) for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        if not models:
            raise RemoteUnavailable(
                f"The generator server at {self.url} serves no model.", hint="Load one there, then try again."
            )
        self.errors.served = tuple(model.name for model in models)
        return models

    def close(self) -> None:
        """Close the client for threads. The other holds no connection between requests."""
        self._brief.close()

    def _object(self, request: Callable[[], object]) -> dict[str, Any]:
        try:
            answer = request()
        except CLIENT_ERRORS as error:
            raise self.errors.translated(error) from None
        if not isinstance(answer, dict):
            raise self.errors.not_understood("no JSON object")
        return answer


def _drop_placeholder(request: httpx2.Request) -> None:
    if request.headers.get("Authorization") == f"Bearer {_NO_KEY}":
        del request.headers["Authorization"]


async def _send_no_placeholder(request: httpx2.Request) -> None:
    _drop_placeholder(request)


class _AsyncClient(httpx2.AsyncClient):
    """Does not let the client above send a request again after silence: the server may still be at work on it."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:  # noqa: ANN401 - as above it
        try:
            return await super().send(request, **options)
        except httpx2.ReadTimeout:
            return _final(request)


class _Client(httpx2.Client):
    """As the other, for a question from a thread, which nothing else can interrupt."""

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:  # noqa: ANN401 - as above it
        try:
            return super().send(request, **options)
        except httpx2.ReadTimeout:
            return _final(request)


def _final(request: httpx2.Request) -> httpx2.Response:
    said = {"error": {"message": SILENCE}}
    return httpx2.Response(504, headers={"x-should-retry": "false"}, json=said, request=request)


def _checked(base_url: str) -> httpx2.URL:
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL:
        url = httpx2.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        # What was given is not repeated: it may hold a password.
        raise InvalidSettings(
            "RAG_GENERATOR_URL is not the address of a server.", hint="Set it like http://localhost:8080/v1"
        )
    return url


def _served(entry: dict[str, Any]) -> ServedModel:
    """Made of a list entry: vLLM tells ``max_model_len`` and ``parent``, llama-server ``aliases`` and ``meta``."""
    meta = entry.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    aliases = entry.get("aliases")
    return ServedModel(
        name=str(entry.get("id", "")),
        aliases=tuple(str(alias) for alias in aliases) if isinstance(aliases, list) else (),
        parent=str(entry["parent"]) if entry.get("parent") else None,
        context_tokens=positive(entry.get("max_model_len")) or positive(meta.get("n_ctx")),
        trained_tokens=positive(meta.get("n_ctx_train")),
        vocabulary_size=positive(meta.get("n_vocab")),
    )


def positive(value: object) -> int | None:
    """A count that a server told; None for anything else."""
    return value if isinstance(value, int) and value > 0 else None
