"""All rows that chunks have: themselves, their embeddings, their terms and what they are compared by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import insert

from rag.retrieval.flaws import flaw_of
from rag.stores.analysis import terms_row
from rag.stores.copies import key_rows
from rag.stores.rows import chunk_row, context_of, vector_row
from rag.stores.tables import ChunkKeyRow, ChunkRow, ChunkTermsRow, EmbeddingRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from rag.types import ChunkDraft


# Made once: see ``rag.stores.reading.ACTIVE_PASSAGES``.
# With their ordinals: asked for in an order, the rows would be inserted by a statement each.
_NEW_CHUNKS: Final = insert(ChunkRow).returning(ChunkRow.ordinal, ChunkRow.id)
_NEW_EMBEDDINGS: Final = insert(EmbeddingRow)
_NEW_TERMS: Final = insert(ChunkTermsRow)
_NEW_KEYS: Final = insert(ChunkKeyRow)


class NewChunk(NamedTuple):
    """``vector`` as it is stored; ``digest`` is the sha256 of what was embedded, if that is known for certain."""

    draft: ChunkDraft
    vector: bytes
    digest: bytes | None


def insert_chunks(
    connection: Connection,
    chunks: Sequence[NewChunk],
    *,
    version_id: int,
    collection_id: int,
    set_id: int,
    title: str,
    language: str | None,
) -> None:
    """Write chunks of a version with their embeddings in a set."""
    if not chunks:
        return
    contexts = [context_of(title, chunk.draft.heading_path) for chunk in chunks]
    rows = [
        chunk_row(version_id, chunk.draft, context)
        | {"embedded_sha256": chunk.digest, "flaw": flaw_of(chunk.draft.text)}
        for chunk, context in zip(chunks, contexts, strict=True)
    ]
    made = {row.ordinal: row.id for row in connection.execute(_NEW_CHUNKS, rows)}
    ids = [made[chunk.draft.ordinal] for chunk in chunks]
    vectors = [vector_row(set_id, chunk_id, chunk.vector) for chunk_id, chunk in zip(ids, chunks, strict=True)]
    connection.execute(_NEW_EMBEDDINGS, vectors)
    analysed = [
        terms_row(collection_id, chunk_id, chunk.draft.text, context, language)
        for chunk_id, chunk, context in zip(ids, chunks, contexts, strict=True)
    ]
    connection.execute(_NEW_TERMS, analysed)
    keys = [row for chunk_id, chunk in zip(ids, chunks, strict=True) for row in key_rows(chunk_id, chunk.draft.text)]
    if keys:  # a chunk without words has none
        connection.execute(_NEW_KEYS, keys)
