"""All rows that chunks have: themselves, their embeddings, their terms and what they are compared by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import insert

from rag.retrieval.flaws import flaw_of
from rag.stores.copies import key_rows
from rag.stores.full_text.analysis import terms_row
from rag.stores.tables import ChunkKeyRow, ChunkRow, ChunkTermsRow, EmbeddingRow
from rag.stores.versions.rows import chunk_row, context_of, vector_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from rag.types import ChunkDraft


# Made once: see ``rag.stores.reading.ACTIVE_PASSAGES``.
# With what they are known by: asked for in an order, the rows would be inserted by a statement each.
_NEW_CHUNKS: Final = insert(ChunkRow).returning(ChunkRow.version_id, ChunkRow.ordinal, ChunkRow.id)
_NEW_EMBEDDINGS: Final = insert(EmbeddingRow)
_NEW_TERMS: Final = insert(ChunkTermsRow)
_NEW_KEYS: Final = insert(ChunkKeyRow)


class NewChunk(NamedTuple):
    """``vector`` as it is stored; ``digest`` is the sha256 of what was embedded, if that is known for certain."""

    draft: ChunkDraft
    vector: bytes
    digest: bytes | None


class ChunksOf(NamedTuple):
    """Chunks of a version of this title, whose words are stemmed in this language."""

    chunks: Sequence[NewChunk]
    version_id: int
    title: str
    language: str | None


def insert_chunks(connection: Connection, parts: Sequence[ChunksOf], *, collection_id: int, set_id: int) -> None:
    """Write chunks of versions of a collection with their embeddings in a set."""
    all_of = [
        (part, chunk, context_of(part.title, chunk.draft.heading_path)) for part in parts for chunk in part.chunks
    ]
    if not all_of:
        return
    rows = [
        chunk_row(part.version_id, chunk.draft, context)
        | {"embedded_sha256": chunk.digest, "flaw": flaw_of(chunk.draft.text)}
        for part, chunk, context in all_of
    ]
    made = {(row.version_id, row.ordinal): row.id for row in connection.execute(_NEW_CHUNKS, rows)}
    ids = [made[part.version_id, chunk.draft.ordinal] for part, chunk, _ in all_of]
    vectors = [vector_row(set_id, chunk_id, chunk.vector) for chunk_id, (_, chunk, _) in zip(ids, all_of, strict=True)]
    connection.execute(_NEW_EMBEDDINGS, vectors)
    analysed = [
        terms_row(collection_id, chunk_id, chunk.draft.text, context, part.language)
        for chunk_id, (part, chunk, context) in zip(ids, all_of, strict=True)
    ]
    connection.execute(_NEW_TERMS, analysed)
    keys = [
        row for chunk_id, (_, chunk, _) in zip(ids, all_of, strict=True) for row in key_rows(chunk_id, chunk.draft.text)
    ]
    if keys:  # a chunk without words has none
        connection.execute(_NEW_KEYS, keys)
