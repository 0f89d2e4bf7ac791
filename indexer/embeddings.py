"""Vectors of texts on their way into the store: those that are stored already are taken, each other text is embedded
once.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rag.errors import ModelError
from rag.stores.index.vectors import encode
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from rag.protocols import DocumentStore, Embedder

_log = get_logger("embedding")


class Embedded(NamedTuple):
    """``vectors`` of shape ``(len(digests), dimension)``, and the sha256 of each embedded text in UTF-8.

    ``seconds`` were spent on them, those of waiting for others not counted.
    """

    vectors: NDArray[np.float32]
    digests: list[bytes]
    seconds: float


class Texts:
    """Texts that are to be embedded. What is stored is looked up when this is made; ``embed`` may run in any thread,
    and counts in ``reused`` those whose vectors were there.
    """

    def __init__(self, texts: Sequence[str], *, store: DocumentStore, embedder: Embedder) -> None:
        self.embedder = embedder
        self.reused = 0
        self._digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        self._texts = dict(zip(self._digests, texts, strict=True))
        self._stored = store.known_vectors(list(self._texts), embedder=embedder.identity, dimension=embedder.dimension)

    def embed(self, also_known: Mapping[bytes, NDArray[np.float32]] | None = None) -> Embedded:
        """Their vectors, in their order. ``also_known`` are some by their digest, that may not be stored yet."""
        started = time.monotonic()
        known = {**(also_known or {}), **self._stored}
        new = [digest for digest in self._texts if digest not in known]
        if new:
            known.update(zip(new, self.embedder.embed_passages([self._texts[digest] for digest in new]), strict=True))
        self.reused = len(self._digests) - len(new)
        _log.debug("passages embedded", embedded=len(new), reused=self.reused)
        vectors = np.empty((len(self._digests), self.embedder.dimension), dtype=np.float32)
        for row, digest in zip(vectors, self._digests, strict=True):
            row[:] = known[digest]
        return Embedded(vectors, self._digests, time.monotonic() - started)


def encoded(vectors: NDArray[np.float32], embedder: Embedder, collection: str, *, hint: str) -> list[bytes]:
    """As they are stored. Raises ModelError: they cannot be used."""
    try:
        return encode(vectors)
    except ValueError as error:
        message = f"The embedder {embedder.identity} cannot be used for {collection!r}: {error}."
        raise ModelError(message, hint=hint) from error


def encoded_anew(vectors: NDArray[np.float32], embedder: Embedder, collection: str) -> list[bytes]:
    """As ``encoded``, to serve instead of those that the collection has."""
    cancel = f"indexer reembed --collection {collection} --cancel"
    hint = f"Those that were serving go on serving. Name another one, after: {cancel}"
    return encoded(vectors, embedder, collection, hint=hint)
