"""Whether new embeddings find what the old ones do: passages are looked for by a few of their own words.

The measure is known-item search: a query made of a stretch from the middle of a passage should bring that passage among
the first ones. It needs no labels, and both sets of embeddings get the same queries, each from its own embedder. Where
the chunks are others, too, a query is made of words that stand together in one passage of each set, and either has to
find its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from rag.plurals import plural
from rag.stores.embeddings import reembedding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from rag.factory import Library
    from rag.protocols import Embedder
    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.stores.embeddings.reembedding import NextIndex
    from rag.types import Collection

_QUERIES: Final = 200
_SEED: Final = 0
_K: Final = 10
_CHARACTERS: Final = 80

# The standard error of a difference of two shares of 200 is at most .05, and less as both are of the same queries: a
# loss of .1 is hardly chance.
_ACCEPTED_LOSS: Final = 0.1

# Where the old embedder is not there to compare with, embeddings that find less than half are taken for broken.
_LEAST_ALONE: Final = 0.5

# Float32 sums in another order; passages this close (duplicates) are interchangeable.
_SAME_SCORE: Final = 1e-5


class SampleQueries:
    """Queries of randomly drawn passages, the same for the same collection. ``k`` is smaller in small collections,
    where ten passages would be most of them.
    """

    def __init__(self, library: Library, collection: Collection, target: EmbeddingSet, ids: NDArray[np.int64]) -> None:
        """``ids`` are all chunks of the new set, of which some are drawn; those that go meanwhile do not count."""
        self._library = library
        self._collection = collection
        self.k = max(1, min(_K, len(ids) // 10))
        drawn = np.random.default_rng(_SEED).choice(ids, size=min(_QUERIES, len(ids)), replace=False)
        shared = reembedding.shared_texts(library.database, target, [int(chunk_id) for chunk_id in np.sort(drawn)])
        self._queries = [(each.chunk_id, _stretch(each.text)) for each in shared]
        self._live = [(each.active_id, _stretch(each.text)) for each in shared]

    def __len__(self) -> int:
        return len(self._queries)

    def found_in(
        self, index: NextIndex, target: EmbeddingSet, embedder: Embedder, *, go_on: Callable[[], None]
    ) -> float | None:
        """The share found in an index that does not serve yet, ``None`` if there was nothing to ask for; ``go_on`` is
        called before each query.
        """

        def last_score(query: NDArray[np.float32]) -> float:
            _, scores = index.generation.base.search(query, self.k, skip=None, among=None)
            return float(scores.min()) if len(scores) else -1.0

        return self._share(self._queries, target, embedder, last_score, go_on)

    def found_live(self, live: EmbeddingSet, embedder: Embedder, *, go_on: Callable[[], None]) -> float | None:
        """The share found by searching the collection as it serves, ``None`` if there was nothing to ask for."""

        def last_score(query: NDArray[np.float32]) -> float:
            hits = self._library.vectors.search(self._collection, query, self.k)
            return hits[-1].score if hits else -1.0

        return self._share(self._live, live, embedder, last_score, go_on)

    def problem(self, found: float | None, before: float | None) -> str | None:
        """Why the new embeddings should not serve, if so; what was not measured is no reason."""
        if found is None:
            return None
        if before is None:
            least, than = _LEAST_ALONE, "at least half is asked for where the old embedder is gone"
        else:
            least, than = before - _ACCEPTED_LOSS, f"{before:.0%} with those that serve"
        if found >= least:
            return None
        return (
            f"{found:.0%} of {plural(len(self), 'sample query')} found their passage among the first {self.k}, {than}"
        )

    def _share(
        self,
        queries: Sequence[tuple[int, str]],
        of: EmbeddingSet,
        embedder: Embedder,
        last_score: Callable[[NDArray[np.float32]], float],
        go_on: Callable[[], None],
    ) -> float | None:
        own = reembedding.vectors_of(self._library.database, of, [chunk_id for chunk_id, _ in queries])
        found: list[bool] = []
        for chunk_id, text in queries:
            if chunk_id in own:
                go_on()
                query = embedder.embed_query(text)
                found.append(float(query @ own[chunk_id]) >= last_score(query) - _SAME_SCORE)
        return sum(found) / len(found) if found else None


def _stretch(text: str) -> str:
    """About 80 characters from the middle, in whole words where there are spaces."""
    start = (len(text) - _CHARACTERS) // 2
    if start <= 0:
        return text
    piece = text[start : start + _CHARACTERS]
    words = piece.split()
    return " ".join(words[1:-1]) if len(words) > 3 else piece
