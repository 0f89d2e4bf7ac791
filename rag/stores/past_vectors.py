"""Dense search among versions that are not active any more: their vectors are in no index, so SQL's are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select, true

from rag.ranking import Ranking
from rag.stores.embeddings.embedding_sets import require_live_set, require_whole
from rag.stores.filtering import condition
from rag.stores.index.vectors import decode
from rag.stores.tables import ChunkRow, DocumentRow, EmbeddingRow, VersionRow, VersionStatus
from rag.stores.visibility import visible

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from rag.types import Filter

_BATCH = 4096


def search_retired(
    connection: Connection,
    collection_id: int,
    vector: NDArray[np.float32],
    k: int,
    *,
    where: Filter | None,
    as_of: datetime,
) -> Ranking:
    """The best ``k`` chunks, best first, of versions that were active at a moment and have ended since.

    ``vector`` has the shape ``(dimension,)``. Reads every such vector: 100,000 of them take about half a second.

    Raises:
        DatabaseDamaged: one is not as it was written.
    """
    set_id = require_live_set(connection, collection_id)
    rows = connection.execute(
        select(EmbeddingRow.chunk_id, EmbeddingRow.vector, EmbeddingRow.checksum)
        .join(ChunkRow, ChunkRow.id == EmbeddingRow.chunk_id)
        .join(VersionRow, VersionRow.id == ChunkRow.version_id)
        .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
        .where(VersionRow.collection_id == collection_id, VersionRow.status == VersionStatus.RETIRED, visible(as_of))
        .where(EmbeddingRow.set_id == set_id, true() if where is None else condition(where))
        .execution_options(yield_per=_BATCH)
    )
    best = Ranking.of(())
    for batch in rows.partitions():
        require_whole(set_id, batch)
        scores = decode([row.vector for row in batch], len(vector)) @ vector
        best = merged(best, Ranking(np.array([row.chunk_id for row in batch], np.int64), scores), k)
    return best


def merged(one: Ranking, other: Ranking, k: int) -> Ranking:
    """The best ``k`` of two rankings of the same scale, equal ones by id."""
    ids, scores = np.concatenate([one.ids, other.ids]), np.concatenate([one.scores, other.scores])
    return Ranking.ordered(ids, scores, k)
