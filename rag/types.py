"""Domain values: what flows between the rooms of the library. Immutable, free of I/O and of heavy imports.

Vocabulary: a *document* is one source a user gave; a *version* is its content at one time; a *chunk* is a verbatim
slice of a version's text; a *passage* is a chunk together with its document and scores, as retrieval returns it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rag.model_types import FinishReason, Usage

DEFAULT_COLLECTION = "default"
LONGEST_COLLECTION_NAME: Final = 200

MetadataValue = str | int | float | bool

# Between the URI of a container (an archive, a mail) and the name of a document in it.
MEMBER_MARK: Final = "!/"

# Other sources that a passage names. A notice may stand in thousands of documents: nobody reads so long a list.
MOST_SOURCES: Final = 20


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
    """A named set of documents that is searched as one. ``seq`` grows with every committed change.

    ``dense_weight`` (above 0, below 1) is the dense leg's share in its hybrid ranking; ``None`` is the default share.
    """

    id: int
    name: str
    fingerprint: Fingerprint
    seq: int
    dense_weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A source in its active version.

    ``uri`` is where the source came from (a file's absolute POSIX path for files; for a document in an archive or a
    mail, the container's URI, ``!/`` and its name in there, see docs/decisions/0023); ``size`` is in bytes;
    ``sha256`` is of the source's bytes; ``updated_at`` is an RFC 3339 time in UTC; ``metadata`` is what the user
    said of it; ``language`` is an ISO 639 code where it is known.
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
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    language: str | None = None


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
class EmbeddingInput:
    """An active chunk with what its embedding is made of, for embedding a collection anew."""

    chunk_id: int
    title: str
    heading_path: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationInfo:
    """A vector index file: everything up to ``seq`` is in it; ``size`` is in bytes.

    ``recall_at_10`` is the share of the ten nearest neighbours that it finds, measured when it was written. It and
    ``kind`` are ``None`` for a file of before they were noted.
    """

    seq: int
    count: int
    size: int
    kind: str | None
    recall_at_10: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatus:
    """What a collection holds. ``database_bytes`` is the whole database; ``generation`` is the current index file.

    ``past_versions`` were replaced or deleted and are kept for ``retention_days``; ``history_begins`` is since when all
    are known.
    """

    collection: Collection
    documents: int
    chunks: int
    past_versions: int
    retention_days: float
    history_begins: str
    generation: GenerationInfo | None
    database_bytes: int


Scalar = str | int | float | bool | datetime | None
FilterValue = Scalar | tuple[Scalar, ...]
ComparisonOperator = Literal["==", "!=", ">", ">=", "<", "<=", "in", "not in"]
JunctionOperator = Literal["AND", "OR", "NOT"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A condition on a field, one of ``rag.retrieval.filters.FIELDS`` or ``meta.`` and a key of the metadata.

    ``in`` and ``not in`` take tuples.
    """

    field: str
    operator: ComparisonOperator
    value: FilterValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Junction:
    """Conditions taken together; ``NOT`` holds where they do not all hold."""

    operator: JunctionOperator
    conditions: tuple[Filter, ...]


Filter = Comparison | Junction


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
class OtherSource:
    """A chunk that says what a passage says, with the document it belongs to."""

    chunk: Chunk
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A retrieved chunk with the document it belongs to.

    ``also_in`` are the places that say the same, of those that were searched; they are not retrieved beside it.
    """

    chunk: Chunk
    document: Document
    scores: Scores
    also_in: tuple[OtherSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Ties an answer sentence to the passage that supports it.

    ``number`` is what readers see (``[1]``), counted in order of first use; ``quote`` is verbatim from the passage and
    ``quote_span`` gives its place in the *source text*; ``answer_span`` is the sentence's place in ``Answer.text``;
    ``support`` (0..1) is how much of the sentence's weight the passage carries; ``also_in`` are those of the passage's
    other sources that say the quote.
    """

    number: int
    passage: Passage
    quote: str
    quote_span: Span
    answer_span: Span
    support: float
    also_in: tuple[OtherSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence of an answer; ``citations`` are citation numbers, empty where nothing supports it."""

    text: str
    span: Span
    citations: tuple[int, ...]


class RefusalCode(StrEnum):
    """Why no answer is given. Stable: programs branch on these."""

    EMPTY_COLLECTION = "empty_collection"
    NOTHING_MATCHES_FILTER = "nothing_matches_filter"  # there are documents, but none that the filter lets through
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

    ``answerability_ms`` is the whole of the model's first request, its wait included; ``generate_ms`` is the whole of
    the second, which writes the answer. Within these, as the generator measured them: ``queue_ms`` and ``prefill_ms``
    of both requests together, ``decode_ms`` of the second. ``ttft_ms`` is from the question's arrival to the first
    generated token.
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
    """Passages, best first, with the stage timings of the search. ``refusal`` is why there are none."""

    passages: tuple[Passage, ...]
    timings: Timings
    trace_id: str = ""
    refusal: Refusal | None = None


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
