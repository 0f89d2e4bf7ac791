"""A language model behind an OpenAI-compatible server: ``rag.protocols.Generator`` over HTTP."""

from __future__ import annotations

import asyncio
import functools
import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rag.errors import (
    GenerationFailed,
    InvalidSettings,
    QuestionTooLong,
    RagError,
    UnsupportedSampling,
)
from rag.inference.erased import Erased
from rag.inference.remote.errors import CLIENT_ERRORS
from rag.inference.remote.reply import LISTED_TOKENS, Reply, first_token_probabilities
from rag.inference.remote.requests import chat_messages, chat_request, require_supported
from rag.inference.remote.run import Runs, Stopped
from rag.inference.remote.server import RemoteServer, positive
from rag.inference.remote.tokens import find_counter
from rag.model_types import ANYONE, GeneratorInfo, SamplingParams, TokenProbabilities, Usage
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from openai import AsyncStream
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    from rag.inference.remote.run import Run
    from rag.inference.remote.server import ServedModel
    from rag.inference.remote.tokens import TokenCounter
    from rag.model_types import Caller, GenerationChunk, GeneratorStats, Gone, Prompt

_log = get_logger("inference")

_CLOSED = "The connection to the generator server is closed."
_BYTES_PER_TOKEN = 64  # hardly a token is this long: a prompt of more bytes is refused without sending it anywhere
_CACHED_COUNTS = 256  # the same passages are counted while packing, then again with every prompt
_CACHED_CHARACTERS = 16_384  # a text's most: what is cached stays within a few megabytes


class RemoteGenerator:
    """A model that another program serves. Make it with ``connect``, end it with ``close``.

    How it differs from a model in process:

    - Segments travel as chat messages. The server applies the chat template, and whether "<|im_end|>" inside a passage
      is text or ends the turn is up to the server (llama-server and vLLM take it for markup).
    - Requests are queued, batched and ordered by the server; ``Caller.key`` and ``Caller.priority`` do not reach it.
    - Penalties reach as far back as the server decides; llama-server and vLLM count the prompt in.
    - ``speculate`` is not sent: whether a server drafts never changes what it answers.
    - Before the first byte the client tries again (connection refused, 408, 409, 429, 5xx), with growing, jittered
      pauses or as Retry-After says; after it, and after silence, never: tokens are not asked for twice.
    """

    def __init__(self, server: RemoteServer, counter: TokenCounter, *, model: ServedModel, context_tokens: int) -> None:
        self._server = server
        self._counter = counter
        self._model = model.name
        self._count_text = functools.lru_cache(maxsize=_CACHED_COUNTS)(counter.text)
        self._count_chat = functools.lru_cache(maxsize=_CACHED_COUNTS)(counter.chat)
        self._known = counter.known
        self._vocabulary_size = model.vocabulary_size
        self._completions = server.chat.chat.completions
        self._runs = Runs()
        self._erased = Erased()
        self._closed = False
        self._info = GeneratorInfo(
            model=model.name,
            sha256="",
            context_tokens=context_tokens,
            threads=0,
            gpu_layers=0,
            backend=f"openai-compatible server at {server.url}",
            reuse=f"decided by the server; {counter.description}",
        )

    @classmethod
    def connect(
        cls,
        base_url: str,
        *,
        model: str | None,
        api_key: str | None,
        context_tokens: int,
        timeout_s: float,
        max_retries: int = 3,
    ) -> RemoteGenerator:
        """Ask a server what it serves. Blocks for a few requests: call it in a thread.

        ``base_url`` usually ends in ``/v1``. ``model`` is taken where the server serves it; otherwise, and with None,
        the only model it serves. The context is the smaller of ``context_tokens`` and what the server tells.
        ``timeout_s`` is the longest silence.

        Raises:
            InvalidSettings: the address is none, or the server serves several models and none is ``model``.
            RemoteUnavailable: it cannot be reached, refuses access, or is no OpenAI-compatible server.
        """
        server = RemoteServer(base_url, api_key=api_key, timeout_s=timeout_s, max_retries=max_retries)
        try:
            served = _chosen(server.served_models(), model, url=server.url)
            counter = find_counter(server, served.name)
            context = min(context_tokens, _context_of(server, served) or context_tokens)
        except RagError:
            server.close()
            raise
        generator = cls(server, counter, model=served, context_tokens=context)
        _log.info(
            "generator server connected",
            url=server.url,
            model=served.name,
            asked_for=model,
            context_tokens=context,
            tokens=counter.description,
        )
        return generator

    @property
    def info(self) -> GeneratorInfo:
        return self._info

    @property
    def failure(self) -> str | None:
        """None until ``close``: a server that is away now may be back for the next request."""
        return _CLOSED if self._closed else None

    def stats(self) -> GeneratorStats:
        """What went through this generator; the server's other clients are not in it."""
        return self._runs.stats

    def count_tokens(self, text: str) -> int:
        """By the server's tokenizer, else an estimate (``info.reuse`` says which). Blocks; raises RemoteUnavailable."""
        self._require_open()
        return self._count_text(text) if len(text) <= _CACHED_CHARACTERS else self._counter.text(text)

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        """By the server's tokenizer and chat template, else an estimate. Blocks; raises RemoteUnavailable."""
        self._require_open()
        messages = chat_messages(prompt)
        small = sum(len(message.content) for message in messages) <= _CACHED_CHARACTERS
        tokens = self._count_chat(messages) if small else self._counter.chat(messages)
        if self._erased.touches(frozenset(s.chunk_id for s in prompt.segments if s.chunk_id is not None)):
            self._forget()
        return tokens

    async def stream(
        self, prompt: Prompt, params: SamplingParams, *, caller: Caller = ANYONE
    ) -> AsyncGenerator[GenerationChunk, None]:
        """Yield text as it arrives; the last chunk has the finish reason and the usage.

        Closing the iterator closes the connection at once. ``max_tokens`` is lowered to what the context leaves.

        Raises:
            QuestionTooLong: the prompt and one token do not fit the context.
            UnsupportedSampling: a server cannot be relied on to do what ``params`` ask.
            InvalidRequest: a value is out of its range, or the server refuses the request; the message has the reason.
            Overloaded: it has too many requests waiting.
            ShuttingDown: this generator is being drained.
            DeadlineExceeded: the caller's timeout passed before the text was complete.
            RemoteUnavailable: it cannot be reached, is silent, or refuses access.
            GenerationFailed: it failed, or broke off in the middle.
        """
        reply = Reply(begun=time.perf_counter(), alternatives=params.logprobs)
        try:
            with self._runs.start(caller) as run:
                model = self._admit(params)
                reply.prompt_tokens = await run.bounded(lambda: asyncio.to_thread(self._fitting_tokens, prompt))
                room = max(1, self._info.context_tokens - reply.prompt_tokens)
                params = replace(params, max_tokens=min(params.max_tokens, room))
                async with aclosing(
                    self._events(run, chat_request(model, prompt, params, known=self._known))
                ) as events:
                    async for event in events:
                        chunk = reply.read(event)
                        if chunk is not None:
                            yield chunk
                if reply.finish is None:
                    raise GenerationFailed(f"The generator server at {self._server.url} ended an answer unfinished.")
                self._runs.completed(reply.usage())
        except Stopped:
            reply.finish = "cancelled"
        yield reply.last()

    async def next_token_probabilities(
        self,
        prompt: Prompt,
        candidates: Sequence[str],
        *,
        caller: Caller = ANYONE,
        adapter: str | None = None,
        deterministic: bool = False,
    ) -> TokenProbabilities:
        """Probability that the answer begins with each candidate's first token.

        Servers list the most probable tokens by their text: a candidate's value is that of the longest listed token it
        begins with, and 0 if none of the 20 is. The token that a server must generate to tell them is not in the usage.
        Raises as ``stream``, UnsupportedSampling where a server has no log-probabilities, and ValueError for an empty
        candidate.
        """
        if not all(candidates):
            raise ValueError(f"candidates without tokens: {list(candidates)}")
        from openai.types.chat import ChatCompletionChunk

        reply = Reply(begun=time.perf_counter())
        params = SamplingParams(max_tokens=1, logprobs=LISTED_TOKENS, adapter=adapter, deterministic=deterministic)
        try:
            with self._runs.start(caller) as run:
                model = self._admit(params)
                reply.prompt_tokens = await run.bounded(lambda: asyncio.to_thread(self._fitting_tokens, prompt))
                request = chat_request(model, prompt, params, known=self._known)
                try:
                    answer: ChatCompletion = await run.bounded(lambda: self._completions.create(**request))
                except CLIENT_ERRORS as error:
                    raise self._server.errors.translated(error, model=model) from None
                values = first_token_probabilities(answer, candidates)
                # A whole answer tells its figures as the last event of a stream does.
                figures: dict[str, Any] = {"usage": answer.usage, "timings": (answer.model_extra or {}).get("timings")}
                reply.read(ChatCompletionChunk.model_construct(choices=[], **figures))
                whole = reply.usage()
                self._runs.completed(whole)
                usage = Usage(
                    prompt_tokens=whole.prompt_tokens, cached_tokens=whole.cached_tokens, prefill_ms=whole.prefill_ms
                )
                return TokenProbabilities(values=tuple(values), usage=usage)
        except Stopped:
            raise GenerationFailed(_CLOSED) from None

    async def score(self, prompts: Sequence[Prompt], text: str, *, caller: Caller = ANYONE) -> list[list[float]]:  # noqa: ARG002
        """Always refused: the chat protocol tells nothing of tokens that the server did not choose itself."""
        raise UnsupportedSampling(
            "A remote server cannot score a given text.", hint="Use a local model where scores are needed."
        )

    def erase(self, gone: Gone) -> None:
        """Forget the counted texts. What the server keeps of them is up to the server."""
        self._erased.add(gone)
        self._forget()

    async def drain(self) -> None:
        """Take no new request and wait for those under way."""
        await self._runs.drain()

    def _forget(self) -> None:
        self._count_text.cache_clear()
        self._count_chat.cache_clear()

    def close(self) -> None:
        """End open streams as cancelled and close the connections. From any thread."""
        self._closed = True
        self._runs.stop()
        self._server.close()

    async def _events(self, run: Run, request: dict[str, Any]) -> AsyncGenerator[ChatCompletionChunk, None]:
        """The events of an answer; the client's errors translated, the response closed in any case."""
        started = False
        try:
            events: AsyncStream[ChatCompletionChunk] = await run.bounded(
                lambda: self._completions.create(**request, stream=True, stream_options={"include_usage": True})
            )
            async with events:
                started = True
                while (event := await run.bounded(lambda: anext(events, None))) is not None:
                    yield event
        except CLIENT_ERRORS as error:
            raise self._server.errors.translated(error, model=request["model"], started=started) from None

    def _admit(self, params: SamplingParams) -> str:
        """The model to ask, if the request can be served at all."""
        self._require_open()
        served, size = self._server.errors.served, self._vocabulary_size
        require_supported(params, models=served, known=self._known, vocabulary_size=size)
        return params.adapter or self._model

    def _fitting_tokens(self, prompt: Prompt) -> int:
        """The prompt's tokens. One that cannot fit is refused; by an estimate alone none is, the server judges it."""
        context = self._info.context_tokens
        hint = "Shorten the question, or set RAG_CONTEXT_TOKENS higher if the server has room."
        size = sum(len(segment.text.encode("utf-8", errors="replace")) for segment in prompt.segments)
        if size > context * _BYTES_PER_TOKEN:
            raise QuestionTooLong(
                f"The prompt has {size} bytes of text, far more than fit a context of {context} tokens.", hint=hint
            )
        tokens = self.count_prompt_tokens(prompt)
        if self._counter.exact and tokens + 1 > context:
            raise QuestionTooLong(
                f"The prompt has {tokens} tokens; a context of {context} leaves room for {context - 1} "
                "and one token of an answer.",
                hint=hint,
            )
        return tokens

    def _require_open(self) -> None:
        if self._closed:
            raise GenerationFailed(_CLOSED, hint="Restart the process.")


def _chosen(served: list[ServedModel], wanted: str | None, *, url: str) -> ServedModel:
    for model in served:
        if wanted is not None and wanted in {model.name, *model.aliases}:
            return model
    whole = [model for model in served if model.parent is None] or served
    if len(whole) == 1:
        return whole[0]
    names = ", ".join(model.name for model in served)
    asked = f"none of them is '{wanted}'" if wanted else "none was asked for"
    raise InvalidSettings(
        f"The generator server at {url} serves several models ({names}), and {asked}.",
        hint="Set RAG_GENERATOR to one of them.",
    )


def _context_of(server: RemoteServer, model: ServedModel) -> int | None:
    """What the server really allows one request, else what the model was made for; None if it tells neither."""
    if model.context_tokens is not None:
        return model.context_tokens
    settings = server.probe("/props").get("default_generation_settings")
    told = positive(settings.get("n_ctx")) if isinstance(settings, dict) else None
    return told or model.trained_tokens
