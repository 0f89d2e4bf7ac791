"""A set of embeddings, as whoever works on it holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rag.stores.tables import SetState


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSet:
    """A row of ``embedding_sets``; ``collection`` is the name, for messages.

    Where there is a ``chunker``, the set comes with other cuts of the documents (``rag.stores.embeddings.cuts``).
    """

    id: int
    collection_id: int
    collection: str
    state: SetState
    embedder: str
    dimension: int
    too_long: int
    chunker: str | None = None
