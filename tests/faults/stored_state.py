"""What a data directory holds as the next start sees it, after making sure that every search agrees with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.errors import DatabaseOutdated
from rag.factory import open_library

if TYPE_CHECKING:
    from pathlib import Path

    from rag.factory import Library
    from rag.types import Collection, Document

# Of each collection and uri: the hash of the source, and the texts of the chunks.
State = dict[tuple[str, str], tuple[str, tuple[str, ...]]]

_MANY = 10_000
_DIMENSION = 16


def state_of(home: Path) -> State:
    """Everything that can be found, by every way there is to find it."""
    try:
        library = open_library(Settings(home=home, _env_file=None), migrate=False)
    except DatabaseOutdated:  # none was made yet, or it was not migrated yet
        return {}
    with library:
        return {key: held for each in library.store.collections() for key, held in _collection(library, each)}


def _collection(library: Library, collection: Collection) -> list[tuple[tuple[str, str], tuple[str, tuple[str, ...]]]]:
    store = library.store
    documents = {document.id: document for document in store.documents(collection, limit=_MANY)}
    embedder = HashingEmbedder(name=collection.fingerprint.embedder.partition("@")[0], dimension=_DIMENSION)
    hits = library.vectors.search(collection, embedder.embed_query("water"), _MANY)
    passages = store.hydrate(collection, [hit.chunk_id for hit in hits])
    assert len(passages) == len(hits)
    found: dict[int, dict[int, str]] = {document_id: {} for document_id in documents}
    scores = {hit.chunk_id: hit.score for hit in hits}
    for chunk, document in passages:
        found[document.id][chunk.ordinal] = chunk.text
        assert chunk.text == store.source_text(document.id, chunk.span)
        _assert_ranked(embedder, scores[chunk.id], chunk.text, document, chunk.heading_path)
        worded = library.lexical.search(collection, f'"{chunk.text.split()[0]}"', _MANY)
        assert chunk.id in {hit.chunk_id for hit in worded}
    for document in documents.values():
        assert sorted(found[document.id]) == list(range(document.chunk_count))
    return [
        ((collection.name, document.uri), (document.sha256, tuple(text for _, text in sorted(found[key].items()))))
        for key, document in documents.items()
    ]


def _assert_ranked(
    embedder: HashingEmbedder, score: float, text: str, document: Document, heading_path: tuple[str, ...]
) -> None:
    """The score is that of the chunk's own embedding, as the pipeline made it."""
    from rag.embedding.context import contextual_text

    vector = embedder.embed_passages([contextual_text(document.title, heading_path, text)])[0]
    assert abs(float(vector @ embedder.embed_query("water")) - score) < 0.005
