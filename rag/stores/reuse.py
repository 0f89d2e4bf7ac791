"""Embeddings that are there already, found by the text they were made of, in whatever document and collection.

There is no cache beside the embeddings themselves: what a version leaves behind when its time is over, or at once when
it is purged, cannot be found here any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from rag.stores.checksums import vector_checksum
from rag.stores.tables import ChunkRow, EmbeddingRow, EmbeddingSetRow, SetState, VersionRow
from rag.stores.vectors import LENGTH_TOLERANCE, decode, stored_lengths
from rag.stores.visibility import KEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rag.stores.database import Database

_BATCH: Final = 500  # digests in one statement


def known_vectors(
    database: Database, digests: Sequence[bytes], *, embedder: str, dimension: int
) -> dict[bytes, NDArray[np.float32]]:
    """Unit vectors by this embedder of texts with these sha256 digests, as far as a version that is kept has them.

    A damaged one is left out: it must not spread.
    """
    found: dict[bytes, bytes] = {}
    with database.read() as connection:
        for start in range(0, len(digests), _BATCH):
            # One chunk a text: a line that stands in every document is in as many chunks.
            one = (
                select(func.min(EmbeddingRow.chunk_id).label("chunk_id"))
                .join(ChunkRow, ChunkRow.id == EmbeddingRow.chunk_id)
                .join(VersionRow, VersionRow.id == ChunkRow.version_id)
                .join(EmbeddingSetRow, EmbeddingSetRow.id == EmbeddingRow.set_id)
                .where(ChunkRow.embedded_sha256.in_(digests[start : start + _BATCH]), KEPT)
                .where(EmbeddingSetRow.embedder == embedder, EmbeddingSetRow.dimension == dimension)
                .where(EmbeddingSetRow.state != SetState.DROPPED)
                .group_by(ChunkRow.embedded_sha256)
                .subquery()
            )
            query = (
                select(
                    ChunkRow.embedded_sha256,
                    EmbeddingRow.set_id,
                    EmbeddingRow.chunk_id,
                    EmbeddingRow.vector,
                    EmbeddingRow.checksum,
                )
                .join(one, one.c.chunk_id == ChunkRow.id)
                .join(EmbeddingRow, EmbeddingRow.chunk_id == ChunkRow.id)
                .join(EmbeddingSetRow, EmbeddingSetRow.id == EmbeddingRow.set_id)
                .where(EmbeddingSetRow.embedder == embedder, EmbeddingSetRow.dimension == dimension)
                .where(EmbeddingSetRow.state != SetState.DROPPED)
            )
            found.update(
                (digest, vector)
                for digest, set_id, chunk_id, vector, checksum in connection.execute(query)
                if digest is not None and vector_checksum(set_id, chunk_id, vector) == checksum
            )
    lengths = stored_lengths(list(found.values()), dimension) if found else ()
    whole = {
        digest: vector
        for (digest, vector), length in zip(found.items(), lengths, strict=True)
        if abs(length - 1) < LENGTH_TOLERANCE
    }
    return dict(zip(whole, decode(list(whole.values()), dimension), strict=True))
