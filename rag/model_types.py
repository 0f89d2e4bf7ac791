"""What goes into a language model and what comes out: prompts, sampling, callers, text, figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Literal


class SegmentKind(StrEnum):
    """The parts of a prompt. Their borders matter: caches of model state begin and end there."""

    PREFIX = "prefix"  # instructions; the same for every request
    PASSAGE = "passage"  # one supplied passage; its text must not depend on the request
    HISTORY_USER = "history_user"
    HISTORY_ASSISTANT = "history_assistant"
    QUESTION = "question"  # the request's own words, with the instruction that follows the passages


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One part of a prompt. Its text is data: it is tokenized without control tokens.

    ``chunk_id`` says which stored chunk a passage is. What a model keeps of it is erased when that chunk is gone.
    """

    kind: SegmentKind
    text: str
    chunk_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Segments in the order the model reads them: prefix, history, passages, question."""

    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """Chunks that are no more: those in ``ids``; or, where ``kept`` is given, all up to ``last`` that are not in it."""

    ids: frozenset[int] = frozenset()
    kept: frozenset[int] | None = None
    last: int = 0

    def touches(self, chunks: frozenset[int]) -> bool:
        """Whether one of these chunks is gone."""
        if self.kept is None:
            return not self.ids.isdisjoint(chunks)
        return any(chunk <= self.last and chunk not in self.kept for chunk in chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen. ``temperature=0`` is greedy; ``stop`` strings are not emitted.

    ``top_k=0``, ``top_p=1`` and ``min_p=0`` are off. Penalties act on the tokens generated so far: ``repeat_penalty``
    divides (1 is off), ``frequency_penalty`` and ``presence_penalty`` subtract (0 is off). ``logit_bias`` holds
    ``(token id, added to its logit)``. ``logprobs`` asks for the log-probability of every token and that many
    alternatives. ``json_schema`` (a JSON schema as text) makes the text a JSON value that fits it. ``labels`` are the
    citation labels of the passages: what the text puts into square brackets is then one of them. ``adapter`` names a
    LoRA adapter of the settings. ``deterministic`` asks for a replay that is equal to the last bit, whatever else is
    running. ``speculate=False`` keeps drafts out. A combination that a generator cannot honour is refused.
    """

    max_tokens: int = 320
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    json_schema: str | None = None
    labels: tuple[str, ...] = ()
    adapter: str | None = None
    deterministic: bool = False
    speculate: bool = True


class Priority(IntEnum):
    """Lower runs first; a waiting request of a lower value is always admitted before one of a higher."""

    INTERACTIVE = 0  # somebody waits for it
    BATCH = 1  # evaluations, jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf a request runs. Requests of different ``key`` get equal shares of the model.

    ``timeout_s`` counts from the request's arrival at the generator; None waits as long as it takes. Of a request that
    is one of several of a query, ``arrived`` (``time.monotonic()``) is when the query did, None being now: requests are
    served in that order. ``continues`` tells that the query's first request has been served already: what is begun is
    brought to its end before anything of the same priority is begun.
    """

    key: str = ""
    priority: Priority = Priority.INTERACTIVE
    timeout_s: float | None = None
    arrived: float | None = None
    continues: bool = False


ANYONE = Caller()

FinishReason = Literal["stop", "length", "cancelled"]
PassageReuse = Literal["exact", "stitched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A generated token with its natural-log probability under the model (before any sampling parameter).

    ``alternatives`` are the most probable ``(text, logprob)``, best first.
    """

    token: int
    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and time of one request.

    ``cached_tokens`` of the prompt were not read again but reused from model state; of ``completion_tokens``,
    ``accepted_tokens`` were right among the ``drafted_tokens`` that were guessed. ``kv_cells`` is the most cells of
    the key-value cache that the request used, shared ones included. Times in milliseconds: ``queue_ms`` before any
    work began, ``prefill_ms`` until the prompt was read, ``first_token_ms`` from arrival to the first token,
    ``decode_ms`` from there to the end. ``passage_reuse`` says how the passages were placed.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    kv_cells: int = 0
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    first_token_ms: float = 0.0
    decode_ms: float = 0.0
    passage_reuse: PassageReuse = "exact"

    def followed_by(self, later: Usage) -> Usage:
        """What this request and a later one of the same query took together.

        ``cached_tokens`` are then those that the query had not to read at all. What the later request reused of this
        one's prompt was cached or read by this one, and counts once, as what it was here: so the tokens that are not
        cached are just those that the model read for either. Tokens generated and times are added up, cells are the
        more of the two; ``first_token_ms`` and ``passage_reuse`` are of the later request.
        """
        again = min(later.cached_tokens, self.prompt_tokens)
        return replace(
            later,
            prompt_tokens=self.prompt_tokens + later.prompt_tokens - again,
            cached_tokens=self.cached_tokens + later.cached_tokens - again,
            completion_tokens=self.completion_tokens + later.completion_tokens,
            drafted_tokens=self.drafted_tokens + later.drafted_tokens,
            accepted_tokens=self.accepted_tokens + later.accepted_tokens,
            kv_cells=max(self.kv_cells, later.kv_cells),
            queue_ms=self.queue_ms + later.queue_ms,
            prefill_ms=self.prefill_ms + later.prefill_ms,
            decode_ms=self.decode_ms + later.decode_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenProbabilities:
    """Probabilities (0..1) of some next tokens, one a candidate in the order asked, and what they took.

    Nothing is generated for them: ``usage`` has no completion tokens and no time after the prompt was read.
    """

    values: tuple[float, ...]
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationChunk:
    """A piece of generated text. The last chunk of a stream has ``finish_reason`` and ``usage`` set.

    ``logprobs`` are those of the tokens sampled since the chunk before, where they were asked for.
    """

    text: str
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorInfo:
    """What is really loaded, for readiness reports. ``gpu_layers`` is the number offloaded, 0 on a CPU.

    ``context_tokens`` is the longest request, prompt and answer together. ``reuse`` says in a sentence which model
    state can be reused, ``passage_reuse`` what is done with passages.
    """

    model: str
    sha256: str
    context_tokens: int
    threads: int
    gpu_layers: int
    backend: str
    reuse: str = ""
    passage_reuse: PassageReuse = "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorStats:
    """What a generator has done since it was loaded, and what it is doing. Zero where it cannot know.

    Tokens of prompts are either ``cached`` or ``prefilled``. ``kv_cells`` is the size of the key-value cache in
    tokens, ``kv_cells_used`` what requests and reusable state occupy of it; ``kv_ram_bytes`` and ``kv_disk_bytes`` are
    what is stored beyond it. ``states_erased`` were given up because a passage they depend on was deleted.
    ``python_seconds`` is the part of ``step_seconds`` spent outside the model.
    """

    requests: int = 0
    rejected: int = 0
    failed: int = 0
    cancelled: int = 0
    queued: int = 0
    running: int = 0
    steps: int = 0
    tokens_cached: int = 0
    tokens_prefilled: int = 0
    tokens_decoded: int = 0
    tokens_drafted: int = 0
    tokens_accepted: int = 0
    kv_cells: int = 0
    kv_cells_used: int = 0
    kv_ram_bytes: int = 0
    kv_disk_bytes: int = 0
    states_erased: int = 0
    step_seconds: float = 0.0
    python_seconds: float = 0.0
