"""The in-process language model as callers see it: ``rag.protocols.Generator`` over a GGUF file."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeVar

from rag.errors import QuestionTooLong
from rag.inference.assembly import assemble
from rag.inference.options import EngineOptions
from rag.inference.requests import Mailbox, ProbabilityRequest, PromptParts, ScoreRequest, TextRequest
from rag.inference.sampling.sampler import check
from rag.model_types import ANYONE, SegmentKind
from rag.telemetry import get_logger
from rag.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from rag.inference.assembly import Assembly
    from rag.inference.requests import Request
    from rag.inference.segments import EncodedPrompt
    from rag.model_types import (
        Caller,
        GenerationChunk,
        GeneratorInfo,
        GeneratorStats,
        Gone,
        Prompt,
        SamplingParams,
        TokenProbabilities,
    )

_T = TypeVar("_T")
_log = get_logger("inference")

# Hardly a token is this long: a prompt of more bytes for each token of the context does not fit, and finding that out
# must not take the seconds that tokenizing megabytes takes.
_BYTES_PER_TOKEN = 64

_LOGGED = ("model", "context_tokens", "threads", "gpu_layers", "backend", "reuse", "passage_reuse")


class LlamaGenerator:
    """A loaded model. Make it with ``load``, end it with ``close`` (at exit, if nobody does before).

    Requests run together (``rag.inference.engine``) and reuse each other's model state where their prompts allow it.
    """

    def __init__(self, assembly: Assembly) -> None:
        self.engine = assembly.engine
        self._vocabulary = assembly.vocabulary
        self._encoder = assembly.encoder
        self._adapters = assembly.adapters
        self._template_stop = assembly.template_stop
        self._info = assembly.info
        self._finalizer = weakref.finalize(self, self.engine.close)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        model_name: str,
        sha256: str,
        context_tokens: int,
        threads: int = 0,
        gpu_layers: int | Literal["auto", "all"] = "auto",
        options: EngineOptions | None = None,
    ) -> LlamaGenerator:
        """Load a GGUF file. Takes seconds: call it in a thread.

        ``threads=0`` takes every core this process may use; ``gpu_layers`` is the number to offload, ``"all"``, or
        ``"auto"`` for all where this build of llama.cpp finds a GPU. ``info`` tells what was really done.

        Raises:
            ModelMissing: there is no such file.
            ModelUnloadable: llama.cpp rejects it; the message has its reason.
            AcceleratorUnavailable: layers were to be offloaded, and none can be.
        """
        assembly = assemble(
            path,
            model_name=model_name,
            sha256=sha256,
            context_tokens=context_tokens,
            threads=threads or available_threads(),
            gpu_layers=gpu_layers,
            options=options or EngineOptions(),
        )
        generator = cls(assembly)
        _log.info("language model loaded", **{name: getattr(generator.info, name) for name in _LOGGED})
        return generator

    @property
    def info(self) -> GeneratorInfo:
        return self._info

    @property
    def failure(self) -> str | None:
        """Why the model no longer answers (its thread died, or it was closed); None while it does."""
        return self.engine.failure

    def stats(self) -> GeneratorStats:
        return self.engine.stats()

    def count_tokens(self, text: str) -> int:
        return len(self._vocabulary.encode_text(text))

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        return len(self._encoder.encode(prompt).tokens)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """The prompt's tokens with the borders of its segments. Raises InvalidRequest as ``stream`` does."""
        return self._encoder.encode(prompt)

    async def stream(
        self, prompt: Prompt, params: SamplingParams, *, caller: Caller = ANYONE
    ) -> AsyncGenerator[GenerationChunk, None]:
        """Yield text as it is generated; the last chunk has the finish reason and the usage.

        ``max_tokens`` is lowered to what the context leaves after the prompt; the finish reason is then ``length``.

        Raises:
            QuestionTooLong: the prompt and one token do not fit the context.
            InvalidRequest, UnsupportedSampling, UnknownAdapter: it cannot be done as asked.
            Overloaded, DeadlineExceeded: as ``rag.protocols.Generator.stream``.
            GenerationFailed: the model stopped working.
        """
        check(params, self._vocabulary)
        self._require_adapter(params.adapter)
        parts = self._fitting(prompt, room=1)
        params = replace(
            params,
            max_tokens=min(params.max_tokens, self._info.context_tokens - len(parts)),
            stop=(*params.stop, *self._template_stop),
        )
        mailbox: Mailbox[GenerationChunk] = Mailbox()
        request = TextRequest(
            prompt=parts,
            params=params,
            mailbox=mailbox,
            caller=caller,
            adapter=params.adapter,
            deterministic=params.deterministic,
        )
        self.engine.submit(request)
        try:
            while True:
                chunk = await mailbox.take(request)
                yield chunk
                if chunk.finish_reason is not None:
                    return
        finally:
            mailbox.abandoned = True

    async def next_token_probabilities(
        self,
        prompt: Prompt,
        candidates: Sequence[str],
        *,
        caller: Caller = ANYONE,
        adapter: str | None = None,
        deterministic: bool = False,
    ) -> TokenProbabilities:
        """Probability (softmax over the whole vocabulary, float64) that the text goes on with the first token of each
        candidate, tokenized exactly as given: ``"Yes"`` and ``" Yes"`` are different candidates. With it comes what
        reading the prompt took.

        Raises:
            ValueError: a candidate has no tokens.
            QuestionTooLong, InvalidRequest, Overloaded, DeadlineExceeded, GenerationFailed: as for ``stream``.
        """
        firsts = [self._vocabulary.encode_text(candidate)[:1].tolist() for candidate in candidates]
        if not all(firsts):
            raise ValueError(f"candidates without tokens: {list(candidates)}")
        self._require_adapter(adapter)
        mailbox: Mailbox[TokenProbabilities] = Mailbox()
        request = ProbabilityRequest(
            prompt=self._fitting(prompt, room=1),
            candidates=tuple(first[0] for first in firsts),
            mailbox=mailbox,
            caller=caller,
            adapter=adapter,
            deterministic=deterministic,
        )
        return await self._ask(request, mailbox)

    async def score(self, prompts: Sequence[Prompt], text: str, *, caller: Caller = ANYONE) -> list[list[float]]:
        """Natural-log probability of each token of ``text`` after each prompt. As many prompts as the engine runs at
        once are read together; those that begin alike share what they have in common.

        Raises:
            ValueError: ``text`` has no tokens.
            QuestionTooLong, InvalidRequest, Overloaded, DeadlineExceeded, GenerationFailed: as for ``stream``.
        """
        tokens = self._vocabulary.encode_text(text)
        if not len(tokens):
            raise ValueError("a text without tokens has no score")
        requests: list[ScoreRequest] = []
        places = asyncio.Semaphore(self.engine.max_running)
        for prompt in prompts:
            parts, mailbox = self._fitting(prompt, room=len(tokens)), Mailbox[list[float]]()
            requests.append(ScoreRequest(prompt=parts, text=tokens, mailbox=mailbox, caller=caller))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(request, request.mailbox, places)) for request in requests]
        except ExceptionGroup as errors:  # one of them ends the others
            first = errors.exceptions[0]
            raise first from first.__cause__
        return [task.result() for task in tasks]

    def erase(self, gone: Gone) -> None:
        """Forget, in memory and on disk, whatever depends on chunks that are gone. Waits for at most one model step and
        one file; works also when the model has been closed.
        """
        self.engine.erase(gone)
        self._encoder.forget()

    async def drain(self) -> None:
        """Take no new request and wait for those under way."""
        await asyncio.to_thread(self.engine.drain)

    def close(self) -> None:
        """Stop the model's thread and free its memory; open streams end as cancelled. Waits for one model step, and
        until the reusable state is on disk.
        """
        self._finalizer()

    async def _ask(self, request: Request, mailbox: Mailbox[_T], places: asyncio.Semaphore | None = None) -> _T:
        async with places or nullcontext():
            self.engine.submit(request)
            try:
                return await mailbox.take(request)
            finally:
                mailbox.abandoned = True

    def _require_adapter(self, name: str | None) -> None:
        if name is not None:
            self._adapters.get(name)

    def _fitting(self, prompt: Prompt, *, room: int) -> PromptParts:
        context = self._info.context_tokens
        size = sum(len(segment.text.encode("utf-8", errors="replace")) for segment in prompt.segments)
        if size > context * _BYTES_PER_TOKEN:
            raise QuestionTooLong(
                f"The prompt has {size} bytes of text, far more than fit a context of {context} tokens.",
                hint="Shorten the question, or set RAG_CONTEXT_TOKENS higher.",
            )
        encoded = self._encoder.encode(prompt)
        if len(encoded.tokens) + room > context:
            raise QuestionTooLong(
                f"The prompt has {len(encoded.tokens)} tokens; a context of {context} leaves room for "
                f"{context - room} and {room} of an answer.",
                hint="Shorten the question, or set RAG_CONTEXT_TOKENS higher.",
            )
        return _parts(prompt, encoded)


def _parts(prompt: Prompt, encoded: EncodedPrompt) -> PromptParts:
    """Cut a prompt at its passages, if they stand together with nothing between them."""
    found = [
        (segment.chunk_id, span)
        for segment, span in zip(prompt.segments, encoded.spans, strict=True)
        if segment.kind is SegmentKind.PASSAGE and span[0] < span[1]
    ]
    chunks, spans = tuple(chunk for chunk, _ in found), [span for _, span in found]
    apart = any(before[1] != after[0] for before, after in pairwise(spans))
    if not spans or apart:
        return PromptParts(
            prefix=encoded.tokens, prefix_chunks=frozenset(chunk for chunk in chunks if chunk is not None)
        )
    return PromptParts(
        prefix=encoded.tokens[: spans[0][0]],
        passages=tuple(encoded.tokens[start:end] for start, end in spans),
        rest=encoded.tokens[spans[-1][1] :],
        chunks=chunks,
    )
