"""A generator that says what it is told to, for tests and demonstrations without a model."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from rag.errors import GenerationFailed, QuestionTooLong, RagError
from rag.inference.remote.run import Runs, Stopped
from rag.inference.sampling.stop import StopMatcher
from rag.model_types import ANYONE, FinishReason, GenerationChunk, GeneratorInfo, TokenProbabilities, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from rag.model_types import Caller, GeneratorStats, Gone, Prompt, SamplingParams

_T = TypeVar("_T")
_WORD = re.compile(r"\s*\S+|\s+$")


class ScriptedGenerator:
    """Implements ``rag.protocols.Generator``. A token is a word with the white space before it.

    ``replies`` are streamed one a request, word by word; an error among them is raised. ``probabilities`` are returned
    one list a request, ``scores`` one list of lists (a list a prompt). All run out: one request more fails.
    ``prompts``, ``params``, ``callers`` and ``erased`` record what was asked.
    """

    def __init__(
        self,
        replies: Iterable[str | RagError] = (),
        *,
        probabilities: Iterable[Sequence[float] | RagError] = (),
        scores: Iterable[Sequence[Sequence[float]] | RagError] = (),
        context_tokens: int = 4096,
    ) -> None:
        self.replies: deque[str | RagError] = deque(replies)
        self.probabilities: deque[Sequence[float] | RagError] = deque(probabilities)
        self.scores: deque[Sequence[Sequence[float]] | RagError] = deque(scores)
        self.prompts: list[Prompt] = []
        self.params: list[SamplingParams] = []
        self.callers: list[Caller] = []
        self.erased: list[Gone] = []
        self._runs = Runs()
        self._closed = False
        self._info = GeneratorInfo(
            model="scripted",
            sha256="0" * 64,
            context_tokens=context_tokens,
            threads=1,
            gpu_layers=0,
            backend="scripted",
        )

    @property
    def info(self) -> GeneratorInfo:
        return self._info

    @property
    def failure(self) -> str | None:
        return "The language model is closed." if self._closed else None

    def stats(self) -> GeneratorStats:
        return self._runs.stats

    def count_tokens(self, text: str) -> int:
        return len(_WORD.findall(text))

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        return sum(self.count_tokens(segment.text) for segment in prompt.segments)

    async def stream(
        self, prompt: Prompt, params: SamplingParams, *, caller: Caller = ANYONE
    ) -> AsyncGenerator[GenerationChunk, None]:
        """Stream the next reply. Raises as ``Generator.stream`` does; every parameter but the lengths is ignored."""
        stop = StopMatcher(params.stop)
        finish: FinishReason = "stop"
        said = 0
        try:
            with self._runs.start(caller) as run:
                room = self._ask(caller, prompt)
                self.params.append(params)
                limit = min(params.max_tokens, room)
                for word in _WORD.findall(_next(self.replies, "replies")):
                    # Other tasks run between tokens, as with a model on its own thread.
                    await run.bounded(lambda: asyncio.sleep(0))
                    if said == limit:
                        finish = "length"
                        break
                    said += 1
                    text = stop.push(word)
                    if text:
                        yield GenerationChunk(text=text)
                    if stop.stopped:
                        break
                usage = Usage(prompt_tokens=self.count_prompt_tokens(prompt), completion_tokens=said)
                self._runs.completed(usage)
        except Stopped:
            finish = "cancelled"
            usage = Usage(prompt_tokens=self.count_prompt_tokens(prompt), completion_tokens=said)
        yield GenerationChunk(text=stop.flush(), finish_reason=finish, usage=usage)

    async def next_token_probabilities(
        self,
        prompt: Prompt,
        candidates: Sequence[str],
        *,
        caller: Caller = ANYONE,
        adapter: str | None = None,  # noqa: ARG002 - a script knows neither
        deterministic: bool = False,  # noqa: ARG002
    ) -> TokenProbabilities:
        """The next list of probabilities. Raises as ``Generator.next_token_probabilities`` does."""
        if not all(self.count_tokens(candidate) for candidate in candidates):
            raise ValueError(f"candidates without tokens: {list(candidates)}")
        with self._runs.start(caller):
            self._ask(caller, prompt)
            answer: Sequence[float] = _next(self.probabilities, "probabilities")
            usage = Usage(prompt_tokens=self.count_prompt_tokens(prompt))
            self._runs.completed(usage)
            return TokenProbabilities(values=tuple(answer), usage=usage)

    async def score(self, prompts: Sequence[Prompt], text: str, *, caller: Caller = ANYONE) -> list[list[float]]:
        """The next lists of scores. Raises as ``Generator.score`` does."""
        if not self.count_tokens(text):
            raise ValueError("a text without tokens cannot be scored")
        with self._runs.start(caller):
            for prompt in prompts:
                self._ask(caller, prompt)
            answer: Sequence[Sequence[float]] = _next(self.scores, "scores")
            return [list(logprobs) for logprobs in answer]

    def erase(self, gone: Gone) -> None:
        """Note it in ``erased``; nothing of passages is kept but ``prompts``, for the test to look at."""
        self.erased.append(gone)

    async def drain(self) -> None:
        await self._runs.drain()

    def close(self) -> None:
        self._closed = True
        self._runs.stop()

    def _ask(self, caller: Caller, prompt: Prompt) -> int:
        """Record a request; how many tokens its answer may have."""
        if self._closed:
            raise GenerationFailed("The language model is closed.")
        tokens, context = self.count_prompt_tokens(prompt), self._info.context_tokens
        if tokens + 1 > context:
            raise QuestionTooLong(
                f"The prompt has {tokens} tokens; a context of {context} leaves room for {context - 1}."
            )
        self.prompts.append(prompt)
        self.callers.append(caller)
        return context - tokens


def _next(script: deque[_T | RagError], name: str) -> _T:
    if not script:
        raise GenerationFailed(f"The script has no {name} left.")
    step = script.popleft()
    if isinstance(step, RagError):
        raise step
    return step
