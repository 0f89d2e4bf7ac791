"""Documents cut anew, from what is stored of them, for a set of embeddings that does not serve yet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from indexer.chunking.chunker import chunk_blocks, clip_title
from indexer.chunking.outlines import blocks_of
from indexer.chunking.sizes import limit_of, tokens_in
from indexer.embeddings import Texts, encoded_anew
from rag.embedding.context import contextual_text
from rag.stores.checksums import RowDamaged
from rag.stores.embeddings import embedding_sets
from rag.stores.writing import recutting
from rag.stores.writing.chunk_rows import NewChunk
from rag.stores.writing.recutting import CutVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rag.factory import Library
    from rag.protocols import Embedder
    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.stores.writing.recutting import CutSource
    from rag.types import ChunkDraft

# Chunks embedded and written together, of one document or many: as a re-embedding does without cutting.
_BATCH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Chunks of one cut that follow each other."""

    version: CutVersion
    title: str
    chunks: Sequence[ChunkDraft]
    last: bool


class Written(NamedTuple):
    """A batch: how many cuts it finished, how many chunks it wrote, and how many of these had vectors already."""

    finished: int
    chunks: int
    reused: int


def recut(
    library: Library,
    target: EmbeddingSet,
    embedder: Embedder,
    *,
    progress: Callable[[int, int], None],
    go_on: Callable[[], None],
) -> Iterator[Written]:
    """Cut every document that the set's chunker has to cut, and tell of each batch.

    ``progress`` is told so many of so many documents; ``go_on`` is called before each batch, and may raise.

    Raises:
        Conflict: the set was cancelled.
        ModelError: the embedder gives vectors that cannot be used.
        DatabaseDamaged: a document is not as it was written.
    """
    done, total = recutting.progress(library.database, target)
    progress(done, total)
    for batch in _batches(_pieces(library, target, embedder)):
        go_on()
        written = _write(library, target, embedder, batch)
        done += written.finished
        yield written
        progress(min(done, total), total)


def _pieces(library: Library, target: EmbeddingSet, embedder: Embedder) -> Iterator[_Piece]:
    for source in recutting.sources(library.database, target):
        title = clip_title(source.title, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens)
        version = CutVersion(target, source, title)
        drafts = _drafts(library, target, embedder, source, title)
        chunks = list(islice(drafts, _BATCH))
        while following := list(islice(drafts, _BATCH)):
            yield _Piece(version=version, title=title, chunks=chunks, last=False)
            chunks = following
        yield _Piece(version=version, title=title, chunks=chunks, last=True)


def _drafts(
    library: Library, target: EmbeddingSet, embedder: Embedder, source: CutSource, title: str
) -> Iterator[ChunkDraft]:
    """The chunks; none any more once the document has another version, and what was stored of this one is pruned."""
    tokens = tokens_in(target.chunker or "")
    blocks = blocks_of(recutting.outline_of(library.database, source), recutting.text_of(library.database, source))
    try:
        yield from chunk_blocks(
            blocks,
            count_tokens=embedder.count_tokens,
            max_tokens=embedder.max_tokens,
            title=title,
            target=tokens,
            limit=limit_of(tokens),
        )
    except RowDamaged:
        if recutting.is_active(library.database, source):
            raise


def _batches(pieces: Iterator[_Piece]) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    for piece in pieces:
        batch.append(piece)
        if sum(len(each.chunks) for each in batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _write(library: Library, target: EmbeddingSet, embedder: Embedder, batch: Sequence[_Piece]) -> Written:
    """Embed and write a batch."""
    texts = [contextual_text(each.title, chunk.heading_path, chunk.text) for each in batch for chunk in each.chunks]
    known = Texts(texts, store=library.store, embedder=embedder)
    vectors, digests, _ = known.embed()
    embedded = iter(zip(encoded_anew(vectors, embedder, target.collection), digests, strict=True))
    ended, unfinished = 0, []
    with library.database.write() as connection:
        embedding_sets.require(connection, target)
        for piece in batch:
            piece.version.add(connection, [NewChunk(chunk, *next(embedded)) for chunk in piece.chunks])
            if piece.last and not piece.version.finish(connection):
                unfinished.append(piece.version)
            ended += piece.last
    for version in unfinished:  # long ones
        finished = False
        while not finished:
            with library.database.write() as connection:
                embedding_sets.require(connection, target)
                finished = version.finish(connection)
    return Written(ended, len(texts), known.reused)
