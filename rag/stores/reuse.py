"""Embeddings that are there already, found by the text they were made of, in whatever document and collection.

There is no cache beside the embeddings themselves: what a version leaves behind when its time is over, or at once when
it is purged, cannot be found here any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from rag.stores.tables import KEPT, ChunkRow, EmbeddingRow, EmbeddingSetRow, SetState, VersionRow
from rag.stores.vectors import decode, sound

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
                .where(ChunkRow.embedded_sha256.in_(digests[start : start + _BATCH]), VersionRow.status.in_(KEPT))
                .where(EmbeddingSetRow.embedder == embedder, EmbeddingSetRow.dimension == dimension)
                .where(EmbeddingSetRow.state != SetState.DROPPED)
                .group_by(ChunkRow.embedded_sha256)
                .subquery()
            )
            query = (
                select(ChunkRow.embedded_sha256, EmbeddingRow.vector)
                .join(one, one.c.chunk_id == ChunkRow.id)
                .join(EmbeddingRow, EmbeddingRow.chunk_id == ChunkRow.id)
                .join(EmbeddingSetRow, EmbeddingSetRow.id == EmbeddingRow.set_id)
                .where(EmbeddingSetRow.embedder == embedder, EmbeddingSetRow.dimension == dimension)
                .where(EmbeddingSetRow.state != SetState.DROPPED)
            )
            for digest, vector in connection.execute(query):
                if digest is not None:  # the column may be null, these are not
                    found[digest] = vector
    whole = [key for key, good in zip(found, sound(list(found.values()), dimension), strict=True) if good]
    return dict(zip(whole, decode([found[key] for key in whole], dimension), strict=True))
