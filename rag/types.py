"""Domain values: what flows between the rooms of the library. Immutable, free of I/O and of heavy imports.

Vocabulary: a *document* is one source a user gave; a *version* is its content at one time; a *chunk* is a verbatim
slice of a version's text; a *passage* is a chunk together with its document and scores, as retrieval returns it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Literal

DEFAULT_COLLECTION = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open range of character offsets (Unicode code points), ``text[start:end]``."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"not a span: {self.start}..{self.end}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a collection's chunks and embeddings were made with; see docs/architecture.md.

    ``embedder`` identifies model weights, prefixes and normalisation; vectors of two different embedders cannot be
    compared. ``parser`` and ``chunker`` only decide whether an unchanged file must be read again.
    """

    parser: str
    chunker: str
    embedder: str
    dimension: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A named set of documents that is searched as one. ``seq`` grows with every committed change."""

    id: int
    name: str
    fingerprint: Fingerprint
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A source in its active version.

    ``uri`` is where the source came from (a file's absolute POSIX path for files); ``size`` is in bytes;
    ``sha256`` is of the source's bytes; ``updated_at`` is an RFC 3339 time in UTC.
    """

    id: int
    collection: str
    uri: str
    title: str
    media_type: str
    sha256: str
    size: int
    chunk_count: int
    updated_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A verbatim slice of a document version: ``text == source_text[span.start:span.end]``.

    ``page`` counts from 1 and is set for paged formats; ``heading_path`` runs from the outermost heading inwards;
    ``token_count`` is by the embedder's tokenizer. ``id`` is the SQL key and the vector index's id.
    """

    id: int
    document_id: int
    ordinal: int
    text: str
    span: Span
    page: int | None
    heading_path: tuple[str, ...]
    token_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkDraft:
    """A chunk before it is stored: everything but the keys."""

    ordinal: int
    text: str
    span: Span
    page: int | None
    heading_path: tuple[str, ...]
    token_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """A source as it was read: ``size`` in bytes, ``mtime_ns`` by the file system, ``sha256`` of the bytes."""

    uri: str
    title: str
    media_type: str
    sha256: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSource:
    """What the store knows of a source's active version, to decide whether it must be read again."""

    document_id: int
    sha256: str
    size: int
    mtime_ns: int
    parser: str
    chunker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingInput:
    """An active chunk with what its embedding is made of, for embedding a collection anew."""

    chunk_id: int
    title: str
    heading_path: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationInfo:
    """A vector index file: everything up to ``seq`` is in it; ``size`` is in bytes."""

    seq: int
    count: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatus:
    """What a collection holds. ``database_bytes`` is the whole database; ``generation`` is the current index file."""

    collection: Collection
    documents: int
    chunks: int
    generation: GenerationInfo | None
    database_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One row of a ranking: higher ``score`` is better; its scale belongs to the ranking it came from."""

    chunk_id: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """A passage's score per retrieval stage; ``None`` where the stage did not return it.

    ``dense`` is cosine similarity (-1..1), ``lexical`` is BM25 (higher is better), ``fused`` orders the result.
    """

    dense: float | None = None
    lexical: float | None = None
    rerank: float | None = None
    fused: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A retrieved chunk with the document it belongs to."""

    chunk: Chunk
    document: Document
    scores: Scores


class SegmentKind(StrEnum):
    """The parts of a prompt. Their borders matter: caches of model state begin and end there."""

    PREFIX = "prefix"  # instructions; the same for every request
    PASSAGE = "passage"  # one supplied passage; its text must not depend on the request
    HISTORY_USER = "history_user"
    HISTORY_ASSISTANT = "history_assistant"
    QUESTION = "question"  # the request's own words, with the instruction that follows the passages


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One part of a prompt. Its text is data: it is tokenized without control tokens."""

    kind: SegmentKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Segments in the order the model reads them: prefix, history, passages, question."""

    segments: tuple[Segment, ...]


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
    IDLE = 2  # only when nothing else is to be done


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf a request runs. Requests of different ``key`` get equal shares of the model.

    ``timeout_s`` counts from the request's arrival at the generator; None waits as long as it takes.
    """

    key: str = ""
    priority: Priority = Priority.INTERACTIVE
    timeout_s: float | None = None


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
    what is stored beyond it. ``python_seconds`` is the part of ``step_seconds`` spent outside the model.
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
    step_seconds: float = 0.0
    python_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Ties an answer sentence to the passage that supports it.

    ``number`` is what readers see (``[1]``), counted in order of first use; ``quote`` is verbatim from the passage and
    ``quote_span`` gives its place in the *source text*; ``answer_span`` is the sentence's place in ``Answer.text``;
    ``support`` (0..1) is how much of the sentence's weight the passage carries.
    """

    number: int
    passage: Passage
    quote: str
    quote_span: Span
    answer_span: Span
    support: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence of an answer; ``citations`` are citation numbers, empty where nothing supports it."""

    text: str
    span: Span
    citations: tuple[int, ...]

    @property
    def supported(self) -> bool:
        return bool(self.citations)


class RefusalCode(StrEnum):
    """Why no answer is given. Stable: programs branch on these."""

    EMPTY_COLLECTION = "empty_collection"
    NO_RELEVANT_PASSAGE = "no_relevant_passage"  # retrieval found nothing close enough; the model was not asked
    NOT_IN_PASSAGES = "not_in_passages"  # the model judged that the passages do not contain the answer
    NOTHING_SUPPORTED = "nothing_supported"  # an answer was generated, but no sentence of it is backed by a passage


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A reasoned refusal. ``confidence`` is the value compared with ``threshold`` where one decided."""

    code: RefusalCode
    reason: str
    confidence: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds by stage, 0 where a stage did not run.

    ``answerability_ms`` is the whole of the model's first request, its wait included. ``queue_ms``, ``prefill_ms`` and
    ``decode_ms`` are of the second, which writes the answer, as the generator measured them; ``generate_ms`` is the
    whole of it. ``ttft_ms`` is from the question's arrival to the first generated token.
    """

    embed_ms: float = 0.0
    search_ms: float = 0.0
    pack_ms: float = 0.0
    answerability_ms: float = 0.0
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    ttft_ms: float | None = None
    generate_ms: float = 0.0
    total_ms: float = 0.0
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer whose every sentence is cited, or a refusal. Exactly one of ``text`` and ``refusal`` is meaningful.

    ``confidence`` (0..1) is that the passages hold the answer, where the model was asked;
    ``dropped_sentences`` were generated but supported by no passage and are not part of ``text``;
    ``dropped_passages`` counts retrieved passages that did not fit the token budget.
    """

    status: Literal["answered", "refused"]
    text: str
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    refusal: Refusal | None
    usage: Usage
    timings: Timings
    trace_id: str
    finish_reason: FinishReason | None = None
    dropped_sentences: tuple[str, ...] = ()
    dropped_passages: int = 0
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Passages, best first, with the stage timings of the search."""

    passages: tuple[Passage, ...]
    timings: Timings
    trace_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassagesEvent:
    """First event of a stream: the passages the answer will be drawn from."""

    passages: tuple[Passage, ...]
    trace_id: str
    type: Literal["passages"] = field(default="passages", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaEvent:
    """Verified answer text: whole sentences, sent once a passage supports them."""

    text: str
    type: Literal["delta"] = field(default="delta", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationEvent:
    """A citation of the text sent just before."""

    citation: Citation
    type: Literal["citation"] = field(default="citation", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneEvent:
    """Last event of an answered stream, with the whole answer."""

    answer: Answer
    type: Literal["done"] = field(default="done", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """Last event of a refused stream."""

    answer: Answer
    type: Literal["refused"] = field(default="refused", init=False)


AnswerEvent = PassagesEvent | DeltaEvent | CitationEvent | DoneEvent | RefusedEvent
