"""The JSON that the HTTP API answers with, and the command line's ``--json``: what OpenAPI publishes."""

from __future__ import annotations

from typing import Literal

import msgspec

from rag.model_types import PassageReuse
from rag.types import RefusalCode


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """Base of response bodies."""


class Span(Response, frozen=True, kw_only=True):
    """A half-open range of character offsets (Unicode code points)."""

    start: int
    end: int


class Quality(Response, frozen=True, kw_only=True):
    """Counts of a document's chunks. `duplicates` say to the word what a chunk of another document says; `boilerplate`
    are those of them that stand in ten different files or more. `near_duplicates` are no duplicates, and hold a chunk
    of another document and little more, or are held by one so. `flaws` counts the chunks that are no text, by the
    reason (`encoded`, `minified`, `garbled`); searches leave these out.
    """

    duplicates: int
    near_duplicates: int
    boilerplate: int
    flaws: dict[str, int]


class Document(Response, frozen=True, kw_only=True):
    """A document in its active version. `language` (ISO 639) is null where it cannot be told."""

    id: int
    collection: str
    uri: str
    title: str
    media_type: str
    sha256: str
    size: int
    chunk_count: int
    updated_at: str
    metadata: dict[str, str | int | float | bool]
    language: str | None


class DocumentDetails(Document, frozen=True, kw_only=True):
    """A document in its active version, and how good its text is as things stand in its collection."""

    quality: Quality


class Searched(Response, frozen=True, kw_only=True):
    """A place that was searched for what is deleted; ``note`` says what is to be done about what is ``left``."""

    place: str
    searched: int
    removed: int
    left: int
    note: str


class Deleted(Response, frozen=True, kw_only=True):
    """Where a document that was deleted was looked for; ``complete`` if nothing is left in any of these places."""

    document_id: int
    complete: bool
    searched: tuple[Searched, ...]


class Dropped(Response, frozen=True, kw_only=True):
    """Where a collection that was dropped was looked for; ``complete`` if nothing is left in any of these places.

    ``documents`` it had, and ``chunks`` with those of versions that were kept.
    """

    collection: str
    documents: int
    chunks: int
    complete: bool
    searched: tuple[Searched, ...]


class Scores(Response, frozen=True, kw_only=True):
    """A passage's score per retrieval stage, null where the stage did not return it."""

    dense: float | None
    lexical: float | None
    rerank: float | None
    fused: float


class OtherSource(Response, frozen=True, kw_only=True):
    """Another place that says the same; `span` is the place in that document's text."""

    chunk_id: int
    document_id: int
    uri: str
    title: str
    page: int | None
    heading_path: tuple[str, ...]
    span: Span


class Passage(Response, frozen=True, kw_only=True):
    """A verbatim slice of a document: ``span`` is its place in the document's text.

    `also_in` are other places, at most 20, that say the same and are not listed beside it.
    """

    chunk_id: int
    document_id: int
    uri: str
    title: str
    page: int | None
    heading_path: tuple[str, ...]
    text: str
    span: Span
    scores: Scores
    also_in: tuple[OtherSource, ...]


class Citation(Response, frozen=True, kw_only=True):
    """Ties one sentence of the answer (``answer_span``) to the words that support it.

    ``quote`` is verbatim; ``quote_span`` is its place in the document's text; ``support`` is between 0 and 1; `also_in`
    are other places that say the quote.
    """

    number: int
    document_id: int
    chunk_id: int
    uri: str
    title: str
    page: int | None
    heading_path: tuple[str, ...]
    quote: str
    quote_span: Span
    answer_span: Span
    support: float
    also_in: tuple[OtherSource, ...]


class Sentence(Response, frozen=True, kw_only=True):
    """One sentence of the answer with the numbers of its citations."""

    text: str
    span: Span
    citations: tuple[int, ...]


class Refusal(Response, frozen=True, kw_only=True):
    """Why there is no answer. ``confidence`` fell below ``threshold`` where one decided."""

    code: RefusalCode
    reason: str
    confidence: float | None
    threshold: float | None


class Usage(Response, frozen=True, kw_only=True):
    """Tokens of both requests to the model, the judging of the passages and the answer; zero where it was not asked.

    Of ``prompt_tokens``, ``cached_tokens`` were there before the question and ``prefilled_tokens`` were read for it;
    what the second request reuses of the first one's prompt counts once. Of ``completion_tokens``, ``accepted_tokens``
    were right among the ``drafted_tokens`` that were guessed. ``kv_cells`` is the most cells of the key-value cache
    in use at a time; ``passage_reuse`` says how the passages were placed.
    """

    prompt_tokens: int
    cached_tokens: int
    prefilled_tokens: int
    completion_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    kv_cells: int
    passage_reuse: PassageReuse


class Timings(Response, frozen=True, kw_only=True):
    """Milliseconds by stage, 0 where a stage did not run.

    ``answerability_ms`` is the whole of the model's first request and ``generate_ms`` of the second, which writes the
    answer. Within these, ``queue_ms`` and ``prefill_ms`` are of both together, ``decode_ms`` is of the second.
    ``ttft_ms`` is from the question's arrival to the first generated token.
    """

    embed_ms: float
    search_ms: float
    pack_ms: float
    answerability_ms: float
    queue_ms: float
    prefill_ms: float
    decode_ms: float
    ttft_ms: float | None
    generate_ms: float
    total_ms: float
    tokens_per_s: float | None


class QueryResponse(Response, frozen=True, kw_only=True):
    """An answer whose every sentence is cited, or a reasoned refusal.

    ``confidence`` (0..1) is that the passages hold the answer, where the model was asked.
    """

    status: Literal["answered", "refused"]
    text: str
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    refusal: Refusal | None
    confidence: float | None
    finish_reason: Literal["stop", "length", "cancelled"] | None
    dropped_sentences: tuple[str, ...]
    dropped_passages: int
    usage: Usage
    timings: Timings
    trace_id: str


class SearchResponse(Response, frozen=True, kw_only=True):
    """Passages, best first."""

    passages: tuple[Passage, ...]
    timings: Timings
    trace_id: str


class PassagesData(Response, frozen=True, kw_only=True):
    """Data of the stream's ``passages`` event."""

    passages: tuple[Passage, ...]
    trace_id: str


class DeltaData(Response, frozen=True, kw_only=True):
    """Data of the stream's ``delta`` events: whole sentences, already verified."""

    text: str


class DocumentsResponse(Response, frozen=True, kw_only=True):
    """One page of documents by id. ``next`` is the ``after`` of the following page, null on the last one."""

    documents: tuple[Document, ...]
    next: int | None


class DocumentVersion(Response, frozen=True, kw_only=True):
    """What a document held from `since` until `until` (RFC 3339, UTC), which is null while it is active."""

    id: int
    document_id: int
    collection: str
    uri: str
    title: str
    media_type: str
    sha256: str
    size: int
    chunk_count: int
    since: str
    until: str | None
    metadata: dict[str, str | int | float | bool]


class VersionsResponse(Response, frozen=True, kw_only=True):
    """The versions of a document that are kept, newest first."""

    versions: tuple[DocumentVersion, ...]


class DocumentChange(Response, frozen=True, kw_only=True):
    """What happened to a document at a time (RFC 3339, UTC)."""

    kind: Literal["added", "replaced", "deleted"]
    at: str
    collection: str
    document_id: int
    uri: str
    title: str
    chunk_count: int
    version_id: int | None
    previous_version_id: int | None


class ChangesResponse(Response, frozen=True, kw_only=True):
    """What changed, oldest first. `next` is the `after` of the next page, null on the last one.

    Nothing before `history_begins` (RFC 3339, UTC) is told.
    """

    changes: tuple[DocumentChange, ...]
    next: str | None
    history_begins: str


class Fingerprint(Response, frozen=True, kw_only=True):
    """What the collection's chunks and embeddings were made with."""

    parser: str
    chunker: str
    embedder: str
    dimension: int


class VectorIndex(Response, frozen=True, kw_only=True):
    """An index file: of so many vectors (`count`) and `size` bytes, with everything up to `seq`; later changes are
    followed in memory.

    `recall_at_10` is the share of the ten nearest neighbours that it finds, measured when it was written; it and `kind`
    are null for a file of before they were noted.
    """

    seq: int
    count: int
    size: int
    kind: str | None
    recall_at_10: float | None


class Collection(Response, frozen=True, kw_only=True):
    """A set of documents searched as one; ``seq`` grows with every change.

    ``dense_weight`` is the share of similarity in meaning, beside full text, that searches rank with where it has been
    tuned; null is the default share. ``index`` is the current index file, null while there is none yet.
    """

    name: str
    seq: int
    fingerprint: Fingerprint
    dense_weight: float | None
    index: VectorIndex | None


class CollectionsResponse(Response, frozen=True, kw_only=True):
    """All collections, by name."""

    collections: tuple[Collection, ...]


class FieldError(Response, frozen=True, kw_only=True):
    """One thing wrong with a request; ``pointer`` is a JSON pointer into the body or a parameter's name."""

    pointer: str
    detail: str


class Problem(Response, frozen=True, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 problem details. Programs branch on ``code``; people read ``detail`` and ``hint``.

    ``queue_position`` (from 1) is the place in line that a request turned away with 429 would have had.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    trace_id: str
    hint: str = ""
    errors: tuple[FieldError, ...] = ()
    queue_position: int | None = None
