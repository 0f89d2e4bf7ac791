"""What a collection is to be embedded anew with, and the set of embeddings that is begun for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.chunking.chunker import CHUNKER_VERSION
from indexer.chunking.sizes import sized, tokens_in

if TYPE_CHECKING:
    from rag.factory import Library
    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.types import Collection, Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """With the collection's ``own_embedder``, or the one of the settings; with its chunks, or cut anew: into as large
    ones as they are, or into ``chunk_tokens``.
    """

    own_embedder: bool = False
    rechunk: bool = False
    chunk_tokens: int | None = None


def begin(library: Library, collection: Collection, wanted: Wanted) -> EmbeddingSet | None:
    """The set to work on; ``None`` if the collection is as it is wanted already, with whole embeddings.

    Raises:
        Conflict: it is being embedded anew with something else.
        EmbedderChanged: its own embedder is not there any more.
    """
    from rag.stores.embeddings import cuts, embedding_sets, reembedding

    embedder = library.embedder_of(collection) if wanted.own_embedder else library.embedder
    made = (embedder.identity, embedder.dimension)
    chunker = _chunker(collection.fingerprint, wanted)
    same = made == (collection.fingerprint.embedder, collection.fingerprint.dimension)
    if same and not reembedding.wrong_vectors(library.database, collection):
        if chunker is None:
            return None
        with library.database.read() as connection:
            outdated = connection.scalars(cuts.count_outdated(collection.id, chunker, embedder.identity)).one()
        if not outdated and chunker == collection.fingerprint.chunker:
            return None
    return embedding_sets.begin(library.database, collection, *made, chunker=chunker)


def _chunker(fingerprint: Fingerprint, wanted: Wanted) -> str | None:
    if not wanted.rechunk:
        return None
    return sized(CHUNKER_VERSION, wanted.chunk_tokens or tokens_in(fingerprint.chunker))
