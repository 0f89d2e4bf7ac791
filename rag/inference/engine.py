"""The thread that owns a model's context and serves requests in the order they came."""

from __future__ import annotations

import queue
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.errors import GenerationFailed, RagError
from rag.inference.model import BATCH_TOKENS
from rag.inference.requests import Request, TextRequest
from rag.inference.sampling import Sampler, StopMatcher, probabilities
from rag.inference.sequence import CachedSequence
from rag.inference.tokens import TextDecoder
from rag.telemetry import get_logger
from rag.types import FinishReason, GenerationChunk, Usage

if TYPE_CHECKING:
    from rag.inference.model import Context, Model
    from rag.inference.requests import ScoreRequest
    from rag.inference.tokens import Vocabulary

_log = get_logger("inference")

_CLOSED = "The language model is closed."


@dataclass(slots=True, kw_only=True)
class EngineStats:
    """What the engine has done since it started. Written by its thread only."""

    requests: int = 0
    prompt_tokens_read: int = 0
    tokens_generated: int = 0


class Engine:
    """Runs requests one after the other on a thread of its own.

    A request is cancelled by abandoning its mailbox: the engine looks before each token and each batch of the prompt.
    An error of one request ends that request; an error of the engine itself ends all, and those to come.
    """

    def __init__(self, model: Model, context: Context, vocabulary: Vocabulary) -> None:
        self._model = model
        self._context = context
        self._vocabulary = vocabulary
        self._sequence = CachedSequence(context, batch_tokens=BATCH_TOKENS)
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._running: Request | None = None
        self._gate = threading.Lock()  # a request is in line before the thread ends, or it is refused
        self._closing = False
        self._ended: str | None = None
        self.stats = EngineStats()
        # A daemon: a program that forgets to close must still be able to exit.
        self._thread = threading.Thread(target=self._live, name="llama-engine", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why requests are no longer served; None while they are."""
        return self._ended

    @property
    def steps(self) -> int:
        """How often the model has been run."""
        return self._context.steps

    def submit(self, request: Request) -> None:
        """Put a request in line.

        Raises:
            GenerationFailed: the engine has stopped.
        """
        with self._gate:
            if self._ended is not None:
                raise GenerationFailed(self._ended, hint="Restart the process.")
            self._inbox.put(request)

    def close(self) -> None:
        """End everything as cancelled, stop the thread and free the model. Waits for at most one model step."""
        self._closing = True
        self._inbox.put(None)
        # The garbage collector may run on any thread, and with it the finalizer of a forgotten generator.
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _live(self) -> None:
        try:
            self._serve()
        finally:
            self._end(sys.exception())

    def _serve(self) -> None:
        while (request := self._inbox.get()) is not None:
            self._running = request
            self.stats.requests += 1
            try:
                if isinstance(request, TextRequest):
                    self._generate(request)
                else:
                    self._score(request)
            except RagError as error:
                self._sequence.clear()  # what a failed decode left in the cache is unknown
                request.mailbox.post(error)
            self._running = None

    def _end(self, cause: BaseException | None) -> None:
        """Answer everyone still waiting, whatever ended the thread; an unexpected cause goes on to be reported."""
        why = _CLOSED
        if cause is not None:
            why = f"The language model's thread has died: {type(cause).__name__}: {cause}."
            _log.error("generation thread died", cause=repr(cause))
        with self._gate:
            self._ended = why
        waiting = [self._running]
        while not self._inbox.empty():
            waiting.append(self._inbox.get())
        for request in waiting:
            if isinstance(request, TextRequest) and cause is None:
                request.mailbox.post(_cancelled_chunk(request))
            elif request is not None:
                error = GenerationFailed(why, hint="Restart the process.")
                error.__cause__ = cause
                request.mailbox.post(error)
        self._vocabulary.close(why)
        self._context.free()
        self._model.free()

    def _generate(self, request: TextRequest) -> None:
        """Read the prompt, then choose and read one token after the other until something ends the text."""
        began = time.perf_counter()
        cached = self._read_prompt(request)
        prompt_read = time.perf_counter()
        if cached is None:
            request.mailbox.post(_cancelled_chunk(request))
            return
        text = _GrowingText(request, self._vocabulary)
        finish: FinishReason | None = None
        while finish is None:
            token = text.sampler.choose(self._context.logits())
            finish = text.take(token)
            if finish is None and self._is_cancelled(request):
                finish = "cancelled"
            if finish is None:
                self._sequence.append(token)
        self.stats.tokens_generated += text.tokens
        usage = Usage(
            prompt_tokens=len(request.prompt),
            cached_tokens=cached,
            completion_tokens=text.tokens,
            prefill_ms=(prompt_read - began) * 1000,
            decode_ms=(time.perf_counter() - prompt_read) * 1000,
        )
        request.mailbox.post(GenerationChunk(text=text.stop.flush(), finish_reason=finish, usage=usage))

    def _score(self, request: ScoreRequest) -> None:
        if self._read_prompt(request) is None:
            request.mailbox.post(GenerationFailed("The request was cancelled."))
            return
        weights = probabilities(self._context.logits())
        request.mailbox.post([float(weights[token]) for token in request.candidates])

    def _read_prompt(self, request: Request) -> int | None:
        """Bring the prompt into the cache; how many of its tokens were there already, None if cancelled."""
        if self._is_cancelled(request):
            return None
        cached = before = self._sequence.rewind(request.prompt)
        for length in self._sequence.read(request.prompt):
            self.stats.prompt_tokens_read += length - before
            before = length
            if self._is_cancelled(request):
                return None
        return cached

    def _is_cancelled(self, request: Request) -> bool:
        return request.mailbox.abandoned or self._closing


class _GrowingText:
    """The text of one request, token by token: decoded, cut at stop strings, handed over, and ended."""

    def __init__(self, request: TextRequest, vocabulary: Vocabulary) -> None:
        self._request = request
        self._vocabulary = vocabulary
        self._decoder = TextDecoder(vocabulary)
        self.sampler = Sampler(request.params)
        self.stop = StopMatcher(request.params.stop)
        self.tokens = 0

    def take(self, token: int) -> FinishReason | None:
        """Add a token; why the text ends with it, if it does. The token that ends a turn adds nothing."""
        if self._vocabulary.ends_generation(token):
            return "stop"
        self.tokens += 1
        text = self.stop.push(self._decoder.push(token))
        if text:
            self._request.mailbox.post(GenerationChunk(text=text))
        if self.stop.stopped:
            return "stop"
        return "length" if self.tokens >= self._request.params.max_tokens else None


def _cancelled_chunk(request: TextRequest) -> GenerationChunk:
    return GenerationChunk(text="", finish_reason="cancelled", usage=Usage(prompt_tokens=len(request.prompt)))
