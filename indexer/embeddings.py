"""Vectors of texts on their way into the store: those that are stored already are taken, each other text is embedded
once.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rag.protocols import DocumentStore, Embedder

_log = get_logger("embedding")


class Embedded(NamedTuple):
    """``vectors`` of shape ``(len(digests), dimension)``, and the sha256 of each embedded text in UTF-8."""

    vectors: NDArray[np.float32]
    digests: list[bytes]


def embed(texts: Sequence[str], *, store: DocumentStore, embedder: Embedder) -> Embedded:
    """Vectors of texts, in their order, with what they are found by the next time."""
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    by_digest = dict(zip(digests, texts, strict=True))
    known = store.known_vectors(list(by_digest), embedder=embedder.identity, dimension=embedder.dimension)
    new = [digest for digest in by_digest if digest not in known]
    if new:
        known.update(zip(new, embedder.embed_passages([by_digest[digest] for digest in new]), strict=True))
    _log.debug("passages embedded", embedded=len(new), reused=len(texts) - len(new))
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    for row, digest in zip(vectors, digests, strict=True):
        row[:] = known[digest]
    return Embedded(vectors, digests)
