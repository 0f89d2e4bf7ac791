"""Embeddings that are there already, found by the text they were made of, in whatever document and collection.

There is no cache beside the embeddings themselves: what a version leaves behind when its time is over, or at once when
it is purged, cannot be found here any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, select

from rag.stores.checksums import vector_checksum
from rag.stores.index.vectors import LENGTH_TOLERANCE, decode, stored_lengths
from rag.stores.tables import ChunkRow, EmbeddingRow, EmbeddingSetRow, SetState, VersionRow
from rag.stores.visibility import KEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rag.stores.sqlite.database import Database

# Made once: see ``rag.stores.reading.ACTIVE_PASSAGES``. Asked for each text by itself: of many in one statement all
# chunks would be looked at, and a line may stand in every document there is.
_FIRST: Final = (
    select(EmbeddingRow.set_id, EmbeddingRow.chunk_id, EmbeddingRow.vector, EmbeddingRow.checksum)
    .join(ChunkRow, ChunkRow.id == EmbeddingRow.chunk_id)
    .join(VersionRow, VersionRow.id == ChunkRow.version_id)
    .join(EmbeddingSetRow, EmbeddingSetRow.id == EmbeddingRow.set_id)
    .where(ChunkRow.embedded_sha256 == bindparam("digest"), KEPT)
    .where(EmbeddingSetRow.embedder == bindparam("embedder"), EmbeddingSetRow.dimension == bindparam("dimension"))
    .where(EmbeddingSetRow.state != SetState.DROPPED)
    .order_by(ChunkRow.id)
    .limit(1)
)


def known_vectors(
    database: Database, digests: Sequence[bytes], *, embedder: str, dimension: int
) -> dict[bytes, NDArray[np.float32]]:
    """Unit vectors by this embedder of texts with these sha256 digests, as far as a version that is kept has them.

    A damaged one is left out: it must not spread.
    """
    found: dict[bytes, bytes] = {}
    with database.read() as connection:
        for digest in digests:
            row = connection.execute(_FIRST, {"digest": digest, "embedder": embedder, "dimension": dimension}).first()
            if row is not None and vector_checksum(row.set_id, row.chunk_id, row.vector) == row.checksum:
                found[digest] = row.vector
    lengths = stored_lengths(list(found.values()), dimension) if found else ()
    whole = {
        digest: vector
        for (digest, vector), length in zip(found.items(), lengths, strict=True)
        if abs(length - 1) < LENGTH_TOLERANCE
    }
    return dict(zip(whole, decode(list(whole.values()), dimension), strict=True))
