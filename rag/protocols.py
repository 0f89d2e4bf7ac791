"""The seams between the use case and its adapters. Each protocol has a contract suite in ``tests/contracts``.

Embedding and index calls are synchronous (callers run them in threads); generation is an async iterator.
Arrays are C-contiguous ``float32``; rows of embeddings have unit length, so an inner product is the cosine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rag.model_types import ANYONE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    import numpy as np
    from numpy.typing import NDArray

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
    from rag.quality_types import Likeness, Quality
    from rag.ranking import Ranking
    from rag.source_types import SourceRecord, StoredSource, WebFetch
    from rag.types import Chunk, ChunkDraft, Collection, Document, Filter, Fingerprint, GenerationInfo
    from rag.version_types import Stretch


@runtime_checkable
class Embedder(Protocol):
    """A bi-encoder. ``identity`` changes whenever its vectors do (weights, prefixes, normalisation)."""

    @property
    def identity(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special tokens included; longer text would be cut."""

    def load(self) -> None:
        """Load what embedding needs now, not at the first text. Raises ModelUnloadable."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens per text, special tokens included."""

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of shape ``(len(texts), dimension)``."""

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """One embedding of shape ``(dimension,)``."""


@runtime_checkable
class Generator(Protocol):
    """A causal language model that continues prompts. Safe to call from one event loop at a time."""

    @property
    def info(self) -> GeneratorInfo: ...
    @property
    def failure(self) -> str | None:
        """Why it cannot generate any more; None while it can."""

    def stats(self) -> GeneratorStats: ...
    def count_tokens(self, text: str) -> int:
        """Tokens of a bare text, no template around it."""

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        """Exact length of the prompt as the model would read it, chat template included."""

    def stream(
        self, prompt: Prompt, params: SamplingParams, *, caller: Caller = ANYONE
    ) -> AsyncGenerator[GenerationChunk, None]:
        """Yield pieces of text as they are generated. Closing the iterator cancels before the next token.

        Raises:
            QuestionTooLong: the prompt and one token do not fit the context.
            UnsupportedSampling, UnknownAdapter: this generator cannot do what ``params`` ask.
            Overloaded: too many requests are waiting.
            ShuttingDown: the generator is being drained.
            DeadlineExceeded: the caller's timeout passed before the text was complete.
            GenerationFailed: the model stopped working.
        """

    async def next_token_probabilities(
        self,
        prompt: Prompt,
        candidates: Sequence[str],
        *,
        caller: Caller = ANYONE,
        adapter: str | None = None,
        deterministic: bool = False,
    ) -> TokenProbabilities:
        """Probability of each candidate's first token as the next token after the prompt, with what it took to tell.

        ``adapter`` and ``deterministic`` as in ``SamplingParams``. Raises as ``stream``.
        """

    async def score(self, prompts: Sequence[Prompt], text: str, *, caller: Caller = ANYONE) -> list[list[float]]:
        """Log-probability (natural) of each token of ``text`` after each prompt: one list a prompt.

        Prompts that begin alike share that work. Raises as ``stream``, and ValueError if ``text`` has no tokens.
        """

    def erase(self, gone: Gone) -> None:
        """Forget whatever is kept of chunks that are gone, for good: also what requests under way bring of them."""

    async def drain(self) -> None:
        """Take no new request and wait for those under way."""

    def close(self) -> None:
        """Stop the model's thread and free its memory. Open streams end as cancelled."""


@runtime_checkable
class VectorIndex(Protocol):
    """Nearest neighbours by inner product over one collection. A cache: SQL holds the vectors."""

    def upsert(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None: ...
    def delete(self, ids: NDArray[np.int64]) -> None:
        """Ids that are not there are ignored."""

    def search(self, vector: NDArray[np.float32], k: int, *, among: NDArray[np.int64] | None = None) -> Ranking:
        """At most ``k`` hits, best first; fewer only if the index holds fewer.

        ``among`` are ascending ids: only these count, and those that are not in the index are ignored.
        """

    def count(self) -> int: ...
    def flush(self) -> None:
        """Persist what changed since the last flush."""


@runtime_checkable
class VectorSearch(Protocol):
    """Dense search that is never stale: it brings its index up to ``collection.seq`` before it answers."""

    def search(
        self,
        collection: Collection,
        vector: NDArray[np.float32],
        k: int,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> Ranking:
        """The best ``k`` of the chunks that the filter lets through; fewer only if there are fewer of them.

        With ``as_of``, an aware time, of the chunks that were active at that moment.
        """


@runtime_checkable
class LexicalIndex(Protocol):
    """Full-text search over the active chunks of a collection, scored by BM25, best first."""

    def search(
        self,
        collection: Collection,
        query: str,
        k: int,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> Ranking:
        """The best ``k`` of the chunks that hold a word of the query and that the filter lets through.

        With ``as_of``, an aware time, of the chunks that were active at that moment.
        """


@runtime_checkable
class PassageStore(Protocol):
    """The read side of the store, as queries need it."""

    def collection(self, name: str) -> Collection:
        """Raises UnknownCollection."""

    def hydrate(
        self,
        collection: Collection,
        chunk_ids: Sequence[int],
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> list[tuple[Chunk, Document]]:
        """Chunks of active versions, or of those active ``as_of`` a moment, in the order asked; others are left out.

        So are those that the filter does not let through.

        Raises:
            HistoryGone, InvalidRequest: what was active then is not known any more, or not yet.
        """

    def likenesses(
        self,
        collection: Collection,
        chunk_ids: Sequence[int],
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
        passages: bool = False,
    ) -> dict[int, Likeness]:
        """What is known of chunks without reading them, by id; those that are not there are left out.

        With ``passages`` those of the present that nothing is like, and that have no flaw, may be read at once; those
        that the filter does not let through may be left out then.
        """

    def saying(self, wholes: Iterable[int]) -> Sequence[int]:
        """The ids of all chunks, of any collection and time, that say to the word what has one of these keys
        (``Likeness.whole``).
        """

    def copies(
        self, collection: Collection, chunk_id: int, *, where: Filter | None = None, as_of: datetime | None = None
    ) -> list[tuple[Chunk, Document]]:
        """A chunk and those that say the same, of those active now or then that the filter lets through.

        The first says all that the others say: the chunk itself, or one that holds it and a little more. Empty if the
        chunk itself is none of them.
        """

    def neighbours(
        self,
        collection: Collection,
        chunk_ids: Sequence[int],
        reach: int,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> list[Stretch]:
        """The chunks up to ``reach`` places before and after these in their versions, in stretches without a gap; those
        that ``hydrate`` would leave out, or the filter, are left out. No chunk is in two stretches.

        Raises:
            HistoryGone, InvalidRequest: what was active then is not known any more, or not yet.
        """


class StagedVersion(Protocol):
    """A document version being written. Nothing of it is seen by any reader until ``activate`` returns."""

    def add_text(self, start: int, text: str, *, outline: bytes = b"") -> None:
        """Append source text beginning at character offset ``start``; pieces arrive in order.

        ``outline`` is what a chunker needs of it besides; only the chunker's side can read it.
        """

    def add_chunks(
        self, chunks: Sequence[ChunkDraft], vectors: NDArray[np.float32], *, digests: Sequence[bytes] | None = None
    ) -> None:
        """``digests`` are the sha256 of what was embedded, for ``DocumentStore.known_vectors`` to find it by."""

    def count_failed(self, members: int) -> None:
        """So many documents in it could not be taken in."""

    def activate(self) -> Document:
        """Make this version the document's active one and retire the version before it, in one transaction."""


@runtime_checkable
class DocumentStore(PassageStore, Protocol):
    """The write side of the store, as ingestion needs it."""

    def ensure_collection(self, name: str, fingerprint: Fingerprint) -> Collection:
        """Create or open a collection.

        Raises:
            EmbedderChanged: it holds embeddings of another embedder.
            Conflict: another collection has a name that looks the same.
        """

    def remove_unused(self, collection: Collection) -> None:
        """Delete a collection that no document was ever in; others stay."""

    def discard_abandoned(self, collection: Collection) -> int:
        """Remove what dead processes left staged; only for the holder of the collection's ingest lock."""

    def set_dense_weight(self, collection: Collection, weight: float | None) -> Collection:
        """Set the dense leg's share (above 0, below 1) in the collection's hybrid ranking; ``None`` is the default.

        Raises:
            EmbedderChanged: the collection was embedded anew since it was read.
        """

    def collections(self) -> list[Collection]: ...
    def collection_of(self, document_id: int) -> Collection | None:
        """The collection of a document, which may be deleted and kept; ``None`` if there is none with this id."""

    def index(self, collection: Collection) -> GenerationInfo | None:
        """The current index file; ``None`` if there is none."""

    def is_empty(self, collection: Collection) -> bool:
        """Whether nothing was ever embedded in it that is still stored."""

    def stored_source(self, collection: Collection, uri: str) -> StoredSource | None: ...
    def note_fetch(self, collection: Collection, document_id: int, fetch: WebFetch) -> None:
        """Keep with a document's active version when it was last fetched; ``stored_source`` gives it back."""

    def stage(
        self, collection: Collection, source: SourceRecord, *, made_with: Fingerprint | None = None
    ) -> AbstractContextManager[StagedVersion]:
        """Stage a new version; leaving the context without ``activate`` discards it.

        ``made_with`` is noted with it, where its parser and chunker were others than the collection's, or the embedder
        whose tokens its chunks are measured in (empty: not known).
        """

    def activate(self, versions: Sequence[StagedVersion]) -> list[Document]:
        """As ``StagedVersion.activate``, of versions of one collection, of a document each: in one transaction."""

    def known_vectors(
        self, digests: Sequence[bytes], *, embedder: str, dimension: int
    ) -> dict[bytes, NDArray[np.float32]]:
        """Stored unit vectors of texts by the sha256 of what was embedded, those of this embedder; others are left
        out.
        """

    def documents(self, collection: Collection, *, limit: int = 100, after: int = 0) -> list[Document]:
        """Active documents by id, those with an id above ``after``."""

    def document(self, collection: Collection, document_id: int, *, damaged_too: bool = False) -> Document:
        """An active document. Raises UnknownDocument, and DatabaseDamaged unless ``damaged_too``."""

    def members(self, collection: Collection, uri: str) -> list[Document]:
        """Active documents in the container with this URI, those in containers within it, too."""

    def delete(self, collection: Collection, document_ids: Iterable[int]) -> int:
        """Retire documents and their members; returns how many were active."""

    def qualities(
        self, collection: Collection, document_ids: Sequence[int], *, as_they_came: bool = False
    ) -> list[Quality]:
        """How much of active documents says the same as others, or with ``as_they_came`` as others that were there
        before them, and how much is no text.
        """

    def expire(self, collection: Collection, *, older_than: timedelta | None = None) -> int:
        """Delete the versions that ended longer ago than they are to be kept, or than ``older_than``; how many."""
