"""Embeddings that are there already, found by the text they were made of, in whatever document and collection.

There is no cache beside the embeddings themselves: what a version leaves behind when its time is over, or at once when
it is purged, cannot be found here any more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, exists, func, select

from rag.stores.checksums import vector_checksum
from rag.stores.index.vectors import LENGTH_TOLERANCE, decode, stored_lengths
from rag.stores.tables import ChunkRow, EmbeddingRow, EmbeddingSetRow, SetState, VersionRow
from rag.stores.visibility import UNSEEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rag.stores.sqlite.database import Database

# Made once: see ``rag.stores.reading.ACTIVE_PASSAGES``. Most texts are new. Of the others each is asked for by itself:
# of many in one statement all chunks would be looked at, and a line may stand in every document there is.
_DIGEST_BYTES: Final = 32
_begin = func.json_each(bindparam("begins")).table_valued("value").c.value  # of each digest in all of them
_MADE_BEFORE: Final = select(_begin).where(
    exists().where(ChunkRow.embedded_sha256 == func.substr(bindparam("digests"), _begin, _DIGEST_BYTES))
)
_FIRST: Final = (
    select(EmbeddingRow.set_id, EmbeddingRow.chunk_id, EmbeddingRow.vector, EmbeddingRow.checksum)
    .join(ChunkRow, ChunkRow.id == EmbeddingRow.chunk_id)
    .join(VersionRow, VersionRow.id == ChunkRow.version_id)
    .join(EmbeddingSetRow, EmbeddingSetRow.id == EmbeddingRow.set_id)
    .where(ChunkRow.embedded_sha256 == bindparam("digest"), ~UNSEEN)
    .where(EmbeddingSetRow.embedder == bindparam("embedder"), EmbeddingSetRow.dimension == bindparam("dimension"))
    .where(EmbeddingSetRow.state != SetState.DROPPED)
    .order_by(ChunkRow.id)
    .limit(1)
)


def known_vectors(
    database: Database, digests: Sequence[bytes], *, embedder: str, dimension: int
) -> dict[bytes, NDArray[np.float32]]:
    """Unit vectors by this embedder of texts with these sha256 digests, as far as a version has them that is
    stored and not about to leave.

    A damaged one is left out: it must not spread.
    """
    found: dict[bytes, bytes] = {}
    begins = {1 + _DIGEST_BYTES * number: digest for number, digest in enumerate(digests)}
    asked = {"digests": b"".join(digests), "begins": json.dumps(list(begins))}
    with database.read() as connection:
        before = connection.scalars(_MADE_BEFORE, asked).all()
        for digest in map(begins.__getitem__, before):
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
