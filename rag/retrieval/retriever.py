"""Hybrid retrieval: dense and full-text search, fused, then read from the store."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rag.errors import EmbedderChanged
from rag.retrieval.folding import Folding
from rag.retrieval.fusion import fuse
from rag.retrieval.legs import Legs
from rag.types import Passage, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from rag.protocols import Embedder, LexicalIndex, PassageStore, VectorSearch
    from rag.ranking import Ranking
    from rag.retrieval.legs import Leg
    from rag.types import Collection, Filter

# Each leg looks this deep whatever is asked for: normalised scores depend on the depth, and the ranking must not depend
# on k. Over six labelled sets a depth of 500 gave a mean nDCG@10 of .624, 50 gave .613 (docs/lab-log.md).
_DEPTH = 500
# Where hundreds of copies fill both legs there may be other passages below them.
_DEEPER = 4
_PIECE = 64


# Both legs, and what is read at the end, see the database at moments of their own. A writer that replaces the same
# document without a pause may win all the same.
_ATTEMPTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Passages, best first, of the collection that was searched, and what it took. ``best_dense`` is the highest cosine
    of all that was searched, if any.

    ``nothing_to_search``: the collection has no chunks, or (``filtered_out``) none that the filter lets through.
    """

    collection: Collection
    passages: tuple[Passage, ...]
    best_dense: float | None
    nothing_to_search: bool
    filtered_out: bool = False
    embed_ms: float
    search_ms: float


class Retriever:
    """Finds the passages of a collection that fit a query. Blocking: call it in a thread."""

    def __init__(
        self,
        *,
        store: PassageStore,
        embedder_of: Callable[[Collection], Embedder],
        vectors: VectorSearch,
        lexical: LexicalIndex,
    ) -> None:
        """``embedder_of`` gives the embedder that made a collection's vectors, or raises EmbedderChanged."""
        self._store = store
        self._embedder_of = embedder_of
        self._vectors = vectors
        self._lexical = lexical
        self._beside = ThreadPoolExecutor(thread_name_prefix="full-text")

    def both_legs(self, collection: Collection, query: str) -> tuple[Ranking, Ranking]:
        """What hybrid retrieval fuses, dense and lexical hits, as deep as it looks (for tuning)."""
        return self._legs("hybrid", collection, query).search(_DEPTH)

    def retrieve(
        self,
        collection: Collection,
        query: str,
        k: int,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
        leg: Leg = "hybrid",
    ) -> Retrieval:
        """The ``k`` best passages of those the filter lets through; ``leg`` restricts the search (for evaluation).

        No two say the same, and there are fewer than ``k`` only where no more say different things.
        With ``as_of``, of what was active at that moment.

        Raises:
            EmbedderChanged: the embedder that made the collection's vectors cannot be loaded.
            HistoryGone, InvalidRequest: what was active then is not known any more, or not yet.
        """
        try:
            return self._retrieve(collection, query, k, where, as_of, leg)
        except EmbedderChanged:
            # Embedded anew since the collection was read; if that is not the reason, it is raised again.
            return self._retrieve(self._store.collection(collection.name), query, k, where, as_of, leg)

    def _retrieve(
        self, collection: Collection, query: str, k: int, where: Filter | None, as_of: datetime | None, leg: Leg
    ) -> Retrieval:
        started = time.perf_counter()
        legs = self._legs(leg, collection, query, where=where, as_of=as_of)
        for _ in range(_ATTEMPTS):
            dense, lexical = legs.search(_DEPTH)
            folding = Folding(self._store, collection, k, where=where, as_of=as_of)
            scores: dict[int, Scores] = {}
            for some in _ranked(dense, lexical, legs.search, folding.copies, weight=collection.dense_weight, k=k):
                scores |= {chunk_id: score for chunk_id, score in some.items() if chunk_id not in scores}
                folding.take(list(some))
                if folding.complete:
                    break
            passages = list(self._passages(collection, folding, scores, where, as_of))
            # One that is gone was replaced, moved or deleted since: another search finds what is in its place.
            if not folding.lost and len(passages) == len(folding.folds):
                break
        nothing = not dense and not lexical and leg != "lexical"
        return Retrieval(
            collection=collection,
            passages=tuple(passages),
            best_dense=dense[0].score if dense else None,
            nothing_to_search=nothing,
            filtered_out=nothing and where is not None and legs.find_without_filter(),
            embed_ms=legs.embed_ms,
            search_ms=(time.perf_counter() - started) * 1000 - legs.embed_ms,
        )

    def _legs(
        self,
        leg: Leg,
        collection: Collection,
        query: str,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> Legs:
        return Legs(
            None if leg == "lexical" else self._embedder_of(collection),
            self._vectors,
            None if leg == "dense" else self._lexical,
            self._beside,
            collection=collection,
            query=query,
            where=where,
            as_of=as_of,
        )

    def _passages(
        self,
        collection: Collection,
        folding: Folding,
        scores: Mapping[int, Scores],
        where: Filter | None,
        as_of: datetime | None,
    ) -> Iterator[Passage]:
        unread = [fold.shown for fold in folding.folds if fold.shown not in folding.found]
        read = self._store.hydrate(collection, unread, where=where, as_of=as_of)
        found = folding.found | {chunk.id: (chunk, document) for chunk, document in read}
        fused = math.inf
        for fold in folding.folds:
            if fold.shown in found:
                chunk, document = found[fold.shown]
                fused = min(fused, scores[fold.hit].fused)  # what lay deeper was normalised over more hits
                own = replace(scores.get(fold.shown, Scores()), fused=fused)
                yield Passage(chunk=chunk, document=document, scores=own, also_in=fold.also_in)


def _ranked(
    dense: Ranking,
    lexical: Ranking,
    search: Callable[[int], tuple[Ranking, Ranking]],
    copies: Callable[[], Sequence[int]],
    *,
    weight: float | None,
    k: int,
) -> Iterator[dict[int, Scores]]:
    """The ranking piece by piece: the first ``k``, the rest, and what lies deeper, if all of these are asked for.

    What is in one piece may be in further ones, but for ``copies`` of what has been taken from the pieces before, which
    may be most of a collection.
    """
    for few in (k, k + _PIECE):
        best = dict(fuse(dense, lexical, weight=weight, k=few))
        yield best
        if len(best) < min(few, _DEPTH):
            return
    depth = _DEPTH
    while True:
        known = copies()
        ranked = fuse(dense, lexical, weight=weight, without=known)
        for start in range(0, len(ranked), _PIECE):
            yield dict(ranked[start : start + _PIECE])
        if max(len(dense), len(lexical)) < depth:
            return
        depth = max(_DEEPER * depth, _DEPTH + len(known))
        dense, lexical = search(depth)
