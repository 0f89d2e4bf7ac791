"""What is embedded of stored passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.stores.embeddings.cuts import versions_of
from rag.stores.embeddings.embedding_sets import has_vector
from rag.stores.reading import require_chunk, require_version, select_passages
from rag.stores.tables import ChunkRow
from rag.stores.visibility import visible
from rag.types import EmbeddingInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.stores.sqlite.database import Database
    from rag.types import Collection

_BATCH = 500


def embedding_inputs(
    database: Database, collection: Collection, lacking: EmbeddingSet | None
) -> Iterator[EmbeddingInput]:
    """As ``rag.stores.documents.SqlDocumentStore`` has it."""
    last = 0
    versions = visible() if lacking is None else versions_of(lacking) & ~has_vector(lacking)
    while True:
        further = select_passages(collection.id, versions).where(ChunkRow.id > last)
        with database.read() as connection:
            rows = connection.execute(further.order_by(ChunkRow.id).limit(_BATCH)).all()
        if not rows:
            return
        for row in rows:
            require_chunk(row)
            require_version(row)
            yield EmbeddingInput(
                chunk_id=row.chunk_id, title=row.title, heading_path=tuple(row.heading_path), text=row.text
            )
        last = rows[-1].chunk_id
