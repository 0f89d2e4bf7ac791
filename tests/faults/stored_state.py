"""What a data directory holds as the next start sees it, after making sure that every search agrees with it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from rag.config import Settings
from rag.embedding.context import contextual_text
from rag.embedding.fake import HashingEmbedder
from rag.errors import DatabaseOutdated
from rag.factory import open_library
from rag.types import Span

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from rag.factory import Library
    from rag.types import Collection

# Of each collection and uri: the hash of the source, and the texts of the chunks. Where the uri is empty: what was
# tuned, if anything was.
State = dict[tuple[str, str], tuple[str, tuple[str, ...]]]

_MANY = 10_000
_MOST = 1_000_000  # characters of a document
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
    embedder = collection.fingerprint.embedder.partition("@")[0]
    hits = library.vectors.search(collection, _question(embedder), _MANY)
    passages = store.hydrate(collection, [hit.chunk_id for hit in hits])
    assert len(passages) == len(hits)
    found: dict[int, dict[int, str]] = {document_id: {} for document_id in documents}
    scores = {hit.chunk_id: hit.score for hit in hits}
    texts = {document_id: store.source_text(document_id, Span(start=0, end=_MOST)) for document_id in documents}
    words = {chunk.text.split()[0] for chunk, _ in passages}
    worded = {word: {hit.chunk_id for hit in library.lexical.search(collection, f'"{word}"', _MANY)} for word in words}
    for chunk, document in passages:
        found[document.id][chunk.ordinal] = chunk.text
        assert chunk.text == texts[document.id][chunk.span.start : chunk.span.end]
        # The score is that of the chunk's own embedding, as the pipeline made it.
        embedded = contextual_text(document.title, chunk.heading_path, chunk.text)
        assert abs(_score(embedder, embedded) - scores[chunk.id]) < 0.005
        assert chunk.id in worded[chunk.text.split()[0]]
    for document in documents.values():
        assert sorted(found[document.id]) == list(range(document.chunk_count))
    state = [
        ((collection.name, document.uri), (document.sha256, tuple(text for _, text in sorted(found[key].items()))))
        for key, document in documents.items()
    ]
    if collection.dense_weight is not None:
        state.append(((collection.name, ""), (str(collection.dense_weight), ())))
    return state


@cache
def _question(embedder: str) -> NDArray[np.float32]:
    return HashingEmbedder(name=embedder, dimension=_DIMENSION).embed_query("water")


@cache  # the same texts after every fault
def _score(embedder: str, text: str) -> float:
    vector = HashingEmbedder(name=embedder, dimension=_DIMENSION).embed_passages([text])[0]
    return float(vector @ _question(embedder))
