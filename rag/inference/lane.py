"""The deterministic lane: one request at a time, in a context of its own, equal to the last bit on every replay.

A batch shared with other requests rounds differently from one of its own (docs/lab-log.md says by how much), so what
must be replayed bit for bit runs apart. Its context is made when the first such request comes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rag.inference.context import Context
from rag.inference.requests import ProbabilityRequest, ScoreRequest, TextRequest
from rag.inference.sampling.sampler import probabilities
from rag.inference.sequence import CachedSequence
from rag.inference.text_output import TextOutput
from rag.model_types import GenerationChunk, TokenProbabilities, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rag.inference.erased import Erased
    from rag.inference.model import Model
    from rag.inference.requests import Outbox, Request
    from rag.inference.tokens import Vocabulary
    from rag.model_types import FinishReason, Gone

_BATCH_TOKENS = 128


class DeterministicLane:
    """Works on ``current``, a batch for each ``step``."""

    def __init__(
        self,
        model: Model,
        vocabulary: Vocabulary,
        *,
        context_tokens: int,
        threads: int,
        outbox: Outbox,
        erased: Erased,
        activate: Callable[[Context, str | None], None],
    ) -> None:
        self._model = model
        self._context_tokens = context_tokens
        self._threads = threads
        self._vocabulary = vocabulary
        self._outbox = outbox
        self._activate = activate
        self._context: Context | None = None
        self._sequence: CachedSequence | None = None
        self._adapter: str | None = None
        self._work: Iterator[None] | None = None
        self._finish: FinishReason | None = None
        self.current: Request | None = None
        self._erased = erased
        self._chunks = frozenset[int]()  # what the state it holds depends on
        self.tokens_read = 0
        self.tokens_decoded = 0

    def begin(self, request: Request) -> None:
        self.current = request
        self._work = self._run(request)

    def step(self) -> bool:
        """Run the model once for the current request; False once it is done."""
        if self._work is None:
            return False
        if next(self._work, _DONE) is _DONE:
            self.current = self._work = None
            if self._erased.touches(self._chunks):  # while it ran
                self._clear()
            return False
        return True

    def abort(self) -> None:
        """Forget the current request and what its failed decode left in the cache."""
        self.current = self._work = None
        self._clear()

    def erase(self, gone: Gone) -> int:
        """Forget the state of the last request if it depends on chunks that are gone; how many states that were.

        A request at work needs it, and is the last that does.
        """
        if self.current is not None or not gone.touches(self._chunks):
            return 0
        self._clear()
        return 1

    def free(self) -> None:
        if self._context is not None:
            self._context.free()

    def _clear(self) -> None:
        if self._sequence is not None:
            self._sequence.clear()
        self._chunks = frozenset[int]()

    def _ready(self, adapter: str | None) -> CachedSequence:
        if self._context is None or self._sequence is None:
            self._context = Context(
                self._model,
                cells=self._context_tokens,
                threads=self._threads,
                batch_tokens=_BATCH_TOKENS,
                exact=True,
            )
            self._sequence = CachedSequence(self._context)
        if adapter != self._adapter:
            self._activate(self._context, adapter)
            self._sequence.clear()
            self._adapter = adapter
        return self._sequence

    def _run(self, request: Request) -> Iterator[None]:
        admitted = time.monotonic()
        sequence = self._ready(request.adapter)
        tokens = request.prompt.tokens
        self._chunks = request.prompt.all_chunks
        cached = sequence.rewind(tokens)
        for _ in sequence.read(tokens):
            yield
        self.tokens_read += len(tokens) - cached
        read = time.monotonic()
        usage = Usage(
            prompt_tokens=len(tokens),
            cached_tokens=cached,
            kv_cells=len(sequence),
            queue_ms=(admitted - request.arrived) * 1000,
            prefill_ms=(read - admitted) * 1000,
        )
        if isinstance(request, TextRequest):
            yield from self._generate(request, sequence, usage)
        elif isinstance(request, ProbabilityRequest):
            weights = probabilities(sequence.logits())
            values = tuple(float(weights[token]) for token in request.candidates)
            self._outbox.post(request.mailbox, TokenProbabilities(values=values, usage=usage))
        else:
            assert isinstance(request, ScoreRequest)  # noqa: S101 - there is no other kind
            scores = []
            for token in request.text.tolist():
                scores.append(float(np.log(max(probabilities(sequence.logits())[token], np.finfo(float).tiny))))
                if len(scores) < len(request.text):
                    sequence.append(token)
                    yield
            self._outbox.post(request.mailbox, scores)

    def _generate(self, request: TextRequest, sequence: CachedSequence, prompt_usage: Usage) -> Iterator[None]:
        output = TextOutput(request.params, self._vocabulary)
        try:
            token = output.take(sequence.logits())
            first = time.monotonic()
            while output.finish is None:
                chunk = output.chunk()
                if chunk is not None:
                    self._outbox.post(request.mailbox, chunk)
                sequence.append(token)
                yield
                token = output.take(sequence.logits())
            last = output.chunk() or GenerationChunk(text="")
            usage = replace(
                prompt_usage,
                completion_tokens=len(output.tokens),
                kv_cells=len(sequence),
                first_token_ms=(first - request.arrived) * 1000,
                decode_ms=(time.monotonic() - first) * 1000,
            )
            self.tokens_decoded += len(output.tokens)
            self._outbox.post(
                request.mailbox,
                GenerationChunk(
                    text=last.text + output.rest(), finish_reason=output.finish, usage=usage, logprobs=last.logprobs
                ),
            )
        finally:
            output.free()


_DONE = object()
