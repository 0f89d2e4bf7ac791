"""The two legs of a question's search at the same time: full text, and embedding and comparing vectors."""

from __future__ import annotations

import math
import time
from concurrent.futures import wait
from typing import TYPE_CHECKING, Literal

import numpy as np

from rag.errors import ModelError
from rag.ranking import Ranking

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from datetime import datetime

    from numpy.typing import NDArray

    from rag.protocols import Embedder, LexicalIndex, VectorSearch
    from rag.types import Collection, Filter

Leg = Literal["hybrid", "dense", "lexical"]


class Legs:
    """One question to one collection, which is embedded once, however often and deep it is searched for."""

    def __init__(
        self,
        embedder: Embedder | None,
        vectors: VectorSearch,
        lexical: LexicalIndex | None,
        executor: Executor,
        *,
        collection: Collection,
        query: str,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> None:
        """A leg that is not there finds nothing. Where both are, ``executor`` runs one of them."""
        self._embedder = embedder
        self._vectors = vectors
        self._lexical = lexical
        self._executor = executor
        self._collection = collection
        self._query = query
        self._where = where
        self._as_of = as_of
        self._vector: NDArray[np.float32] | None = None
        self.embed_ms = 0.0

    def search(self, depth: int) -> tuple[Ranking, Ranking]:
        """Dense and lexical hits, at most ``depth`` of each; each leg sees the database at a moment of its own.

        Raises ModelError where the embedder makes nothing of the question that can be compared.
        """
        if self._embedder is None or self._lexical is None:
            return self._dense(depth), self._full_text(depth)
        beside = self._executor.submit(self._full_text, depth)
        try:
            dense = self._dense(depth)
        finally:
            wait((beside,))  # no search goes on once its caller has an answer, an error or not
        return dense, beside.result()

    def find_without_filter(self) -> bool:
        """Whether the collection holds anything to compare with, as it was then, whatever the filter lets through."""
        return self._embedder is not None and bool(self._compared(self._embedder, 1, None))

    def _dense(self, depth: int) -> Ranking:
        return Ranking.of(()) if self._embedder is None else self._compared(self._embedder, depth, self._where)

    def _compared(self, embedder: Embedder, depth: int, where: Filter | None) -> Ranking:
        if self._vector is None:
            started = time.perf_counter()
            self._vector = _whole(embedder.embed_query(self._query), embedder)
            self.embed_ms = 1000 * (time.perf_counter() - started)
        return self._vectors.search(self._collection, self._vector, depth, where=where, as_of=self._as_of)

    def _full_text(self, depth: int) -> Ranking:
        if self._lexical is None:
            return Ranking.of(())
        return self._lexical.search(self._collection, self._query, depth, where=self._where, as_of=self._as_of)


def _whole(vector: NDArray[np.float32], embedder: Embedder) -> NDArray[np.float32]:
    """The vector. With one that compares to nothing a search would go by words alone and say nothing of it."""
    if not 0 < float(np.linalg.norm(vector)) < math.inf:
        raise ModelError(
            f"The embedder {embedder.identity} made a vector of this question that is zero or not finite.",
            hint=f"Run: rag models verify {embedder.identity.partition('@')[0]}",
        )
    return vector
