"""Small values for tests of the stores."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from rag.config import Settings
from rag.source_types import SourceRecord
from rag.stores.documents import SqlDocumentStore
from rag.stores.embeddings import embedding_sets, reembedding
from rag.stores.index.vectors import decode, encode
from rag.stores.writing.staging import SqlStagedVersion
from rag.types import ChunkDraft, Fingerprint, Span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.stores.sqlite.database import Database
    from rag.types import Collection, Document

DIMENSION = 8


def settings_in(home: Path) -> Settings:
    return Settings(home=home, _env_file=None)


def fingerprint(**changes: object) -> Fingerprint:
    values = {"parser": "parser-1", "chunker": "chunker-1", "embedder": "embedder-1", "dimension": DIMENSION}
    return Fingerprint(**{**values, **changes})


def unit_vectors(count: int, *, seed: int, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """As they come back from the database."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return decode(encode(rows), dimension)


def source(uri: str, text: str = "", title: str = "") -> SourceRecord:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return SourceRecord(
        uri=uri, title=title, media_type="text/plain", sha256=digest, size=len(text.encode()), mtime_ns=1
    )


def drafts(pieces: Sequence[str], heading_path: tuple[str, ...] = ()) -> list[ChunkDraft]:
    """Chunks that follow each other without a gap, so that the source text is the pieces joined."""
    made, start = [], 0
    for ordinal, piece in enumerate(pieces):
        span = Span(start=start, end=start + len(piece))
        made.append(
            ChunkDraft(
                ordinal=ordinal, text=piece, span=span, page=None, heading_path=heading_path, token_count=len(piece)
            )
        )
        start = span.end
    return made


def staged(store: SqlDocumentStore, collection: Collection, uri: str, pieces: Sequence[str]) -> SqlStagedVersion:
    """A version that is whole and not active."""
    version = SqlStagedVersion(store._database, collection, source(uri, "".join(pieces)))
    version.add_text(0, "".join(pieces))
    version.add_chunks(drafts(pieces), unit_vectors(len(pieces), seed=0))
    return version


def ingest(
    store: SqlDocumentStore,
    collection: Collection,
    uri: str,
    pieces: Sequence[str],
    *,
    seed: int = 0,
    title: str = "",
    heading_path: tuple[str, ...] = (),
) -> Document:
    text = "".join(pieces)
    vectors = unit_vectors(len(pieces), seed=seed, dimension=collection.fingerprint.dimension)
    with store.stage(collection, source(uri, text, title)) as version:
        version.add_text(0, text)
        version.add_chunks(drafts(pieces, heading_path), vectors)
        return version.activate()


def chunk_ids(store: SqlDocumentStore, collection: Collection) -> list[int]:
    return [item.chunk_id for item in store.embedding_inputs(collection)]


def swap_in(
    database: Database, indexes: Path, collection: Collection, changed: Fingerprint, vectors: NDArray[np.float32]
) -> None:
    """Give the active chunks, by id, these vectors of another embedder, and have them serve."""
    ids = chunk_ids(SqlDocumentStore(database), collection)
    target = embedding_sets.begin(database, collection, changed.embedder, changed.dimension)
    embedding_sets.add(database, target, ids, encode(vectors), too_long=0)
    index = reembedding.build_index(database, indexes, collection, target)
    seen = reembedding.complete_at(database, collection, target)
    assert index is not None
    assert seen is not None
    outcome = reembedding.swap(database, indexes, collection, target, index, seen=seen)
    assert outcome is reembedding.Swap.DONE
