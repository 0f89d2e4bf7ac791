"""An answer of an OpenAI-compatible server as it arrives: chunks of text, then a reason and the usage."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rag.errors import GenerationFailed, UnsupportedSampling
from rag.model_types import GenerationChunk, TokenLogprob, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    from rag.model_types import FinishReason

LISTED_TOKENS = 20  # the most that the protocol allows

_UNKNOWN_TOKEN = -1
_FINISHES: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
# What reading a well-formed JSON value of another shape raises; the client does not check what it hands on.
_OTHER_SHAPE = (AttributeError, TypeError, IndexError, ValueError)


@dataclass(slots=True, kw_only=True)
class Reply:
    """One answer. ``begun`` is a ``time.perf_counter()``; ``alternatives`` how many log-probabilities were asked for.

    Where the server tells neither usage nor timings, pieces are counted as tokens and times are measured here.
    """

    begun: float
    prompt_tokens: int = 0
    alternatives: int | None = None
    finish: FinishReason | None = None
    _first: float | None = None
    _pieces: int = 0
    _tells_logprobs: bool = False
    _usage: object = None
    _timings: dict[str, object] = field(default_factory=dict)
    _logprobs: list[TokenLogprob] = field(default_factory=list)

    def read(self, event: ChatCompletionChunk) -> GenerationChunk | None:
        """The text an event brings, if any.

        Raises:
            GenerationFailed: it is not what the protocol says, or the server ended the answer for a reason of its own.
            UnsupportedSampling: log-probabilities were asked for, and there are none.
        """
        try:
            text = self._take(event)
        except _OTHER_SHAPE as error:
            raise GenerationFailed(f"The generator server sent an event of an unknown shape ({error}).") from None
        if not text:
            return None
        self._first = self._first or time.perf_counter()
        self._pieces += 1
        self._tells_logprobs = self._tells_logprobs or bool(self._logprobs)
        if self.alternatives is not None and not self._tells_logprobs:
            raise no_logprobs()
        logprobs, self._logprobs = tuple(self._logprobs), []
        return GenerationChunk(text=text, logprobs=logprobs)

    def last(self) -> GenerationChunk:
        """What ends the stream, with what it has come to."""
        return GenerationChunk(text="", finish_reason=self.finish, usage=self.usage(), logprobs=tuple(self._logprobs))

    def usage(self) -> Usage:
        """As the server tells it, the rest as measured. Waiting at the server counts as reading the prompt."""
        now = time.perf_counter()
        first = self._first or now
        waited_ms = (first - self.begun) * 1000
        details = getattr(self._usage, "prompt_tokens_details", None)
        cached = getattr(details, "cached_tokens", None) or self._timings.get("cache_n")
        return Usage(
            prompt_tokens=_count(getattr(self._usage, "prompt_tokens", None), self.prompt_tokens),
            cached_tokens=_count(cached, 0),
            completion_tokens=_count(getattr(self._usage, "completion_tokens", None), self._pieces),
            drafted_tokens=_count(self._timings.get("draft_n"), 0),
            accepted_tokens=_count(self._timings.get("draft_n_accepted"), 0),
            prefill_ms=_milliseconds(self._timings.get("prompt_ms"), waited_ms),
            first_token_ms=waited_ms,
            decode_ms=_milliseconds(self._timings.get("predicted_ms"), (now - first) * 1000),
        )

    def _take(self, event: ChatCompletionChunk) -> str:
        extra = event.model_extra or {}
        self._usage = event.usage or self._usage
        timings = extra.get("timings")
        self._timings = timings if isinstance(timings, dict) else self._timings
        text = ""
        for choice in event.choices or ():
            text += choice.delta.content or ""
            if choice.logprobs and self.alternatives is not None:
                self._logprobs += token_logprobs(choice.logprobs.content or (), self.alternatives)
            if choice.finish_reason is not None:
                self.finish = _finish(choice.finish_reason)
        return text


def token_logprobs(entries: Iterable[Any], alternatives: int) -> list[TokenLogprob]:
    """Of the protocol's entries. ``token`` is -1 where the server does not tell the id; llama-server does."""
    return [
        TokenLogprob(
            token=_count((entry.model_extra or {}).get("id"), _UNKNOWN_TOKEN),
            text=entry.token,
            logprob=float(entry.logprob),
            alternatives=tuple((top.token, float(top.logprob)) for top in (entry.top_logprobs or ())[:alternatives]),
        )
        for entry in entries
    ]


def first_token_probabilities(answer: ChatCompletion, candidates: Sequence[str]) -> list[float]:
    """For each candidate the probability of the longest listed token that it begins with; 0 if none is listed.

    Raises:
        UnsupportedSampling: the server sent no log-probabilities.
        GenerationFailed: it sent something else.
    """
    try:
        logprobs = answer.choices[0].logprobs
        entries = token_logprobs((logprobs.content if logprobs else None) or (), LISTED_TOKENS)
    except _OTHER_SHAPE as error:
        raise GenerationFailed(f"The generator server sent an answer of an unknown shape ({error}).") from None
    if not entries:
        raise no_logprobs()
    listed = dict([(entries[0].text, entries[0].logprob), *entries[0].alternatives])
    return [_probability(candidate, listed) for candidate in candidates]


def no_logprobs() -> UnsupportedSampling:
    return UnsupportedSampling(
        "The generator server returns no log-probabilities.", hint="Use llama-server, vLLM or a local model."
    )


def _probability(candidate: str, listed: dict[str, float]) -> float:
    token = max((text for text in listed if text and candidate.startswith(text)), key=len, default=None)
    return min(1.0, math.exp(listed[token])) if token is not None else 0.0


def _finish(reason: str) -> FinishReason:
    if reason not in _FINISHES:
        raise GenerationFailed(f"The generator server ended the answer early ({reason}).", hint="See its own logs.")
    return _FINISHES[reason]


def _count(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def _milliseconds(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) else otherwise
