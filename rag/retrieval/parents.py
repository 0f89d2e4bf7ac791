"""Passages widened to their neighbours under the same heading, for a model to read what stands around a hit.

A widened passage keeps the hit's chunk id, by which model state is erased: its neighbours are of the same version, and
the chunks of a version leave together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rag.types import Chunk, Passage, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from rag.protocols import PassageStore
    from rag.types import Collection, Filter, Scores
    from rag.version_types import Stretch

# Small neighbours under a heading share a chunk, so few chunks have less; a passage of shorter ones stays shorter.
_FEW_TOKENS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A passage for the model, and the retrieved passages that are within it, best first."""

    passage: Passage
    hits: tuple[Passage, ...]


def parents_of(
    store: PassageStore,
    collection: Collection,
    passages: Sequence[Passage],
    *,
    most_tokens: int,
    where: Filter | None = None,
    as_of: datetime | None = None,
) -> tuple[Parent, ...]:
    """The passages as the store can widen them, to ``most_tokens`` (0: not at all); the filter holds for all that is
    in them.

    Raises:
        HistoryGone: the collection's past is gone since the passages were found.
    """
    if not most_tokens:
        return widen(passages, (), most_tokens=0)
    reach, ids = math.ceil(most_tokens / _FEW_TOKENS), [passage.chunk.id for passage in passages]
    stretches = store.neighbours(collection, ids, reach, where=where, as_of=as_of)
    return widen(passages, stretches, most_tokens=most_tokens)


def widen(passages: Sequence[Passage], stretches: Iterable[Stretch], *, most_tokens: int) -> tuple[Parent, ...]:
    """The passages, best first, each with its neighbours: one slice of the source of at most ``most_tokens``, or the
    passage as it is.

    Neighbours have the same heading path and nothing but white space between them. No chunk is in two passages: a hit
    within a better one is merged into it, and a passage does not grow into a better one.
    """
    places = {chunk.id: (stretch, i) for stretch in stretches for i, chunk in enumerate(stretch.chunks)}
    owners: dict[int, int] = {}
    grown: list[tuple[Passage, list[Passage]]] = []
    for passage in passages:
        owner = owners.get(passage.chunk.id)
        if owner is not None:
            grown[owner][1].append(passage)
            continue
        chunk, within = _grown(passage.chunk, places, owners, most_tokens)
        owners.update(dict.fromkeys(within, len(grown)))
        grown.append((replace(passage, chunk=chunk), [passage]))
    return tuple(
        Parent(passage=replace(passage, scores=_best([hit.scores for hit in hits])), hits=tuple(hits))
        for passage, hits in grown
    )


def _grown(
    hit: Chunk, places: Mapping[int, tuple[Stretch, int]], taken: Mapping[int, int], most_tokens: int
) -> tuple[Chunk, Iterable[int]]:
    """The hit with as many neighbours as fit, and the ids of the chunks in it."""
    if hit.id not in places:  # replaced or deleted since it was found
        return hit, (hit.id,)
    stretch, place = places[hit.id]
    chunks = stretch.chunks
    first = last = place
    tokens = {-1: 0, 1: 0}  # on each side
    sides = [1, -1]
    while sides:
        # The side that has less: a hit stays in the middle.
        side = min(sides, key=lambda side: tokens[side])
        edge = last if side > 0 else first
        follows = _neighbour(stretch, edge, side)
        if (
            follows is None
            or chunks[follows].id in taken
            or hit.token_count + sum(tokens.values()) + chunks[follows].token_count > most_tokens
        ):
            sides.remove(side)
            continue
        tokens[side] += chunks[follows].token_count
        first, last = min(first, follows), max(last, follows)
    if first == last:
        return hit, (hit.id,)
    span = Span(start=chunks[first].span.start, end=chunks[last].span.end)
    chunk = replace(
        hit,
        text=stretch.slice(span),
        span=span,
        page=chunks[first].page,
        token_count=hit.token_count + sum(tokens.values()),
    )
    return chunk, [chunk.id for chunk in chunks[first : last + 1]]


def _neighbour(stretch: Stretch, edge: int, side: int) -> int | None:
    """The place of the chunk beside ``edge``, if it belongs to the same text: no heading stands between them."""
    place = edge + side
    if not 0 <= place < len(stretch.chunks):
        return None
    before, after = sorted((stretch.chunks[edge], stretch.chunks[place]), key=lambda chunk: chunk.ordinal)
    if before.heading_path != after.heading_path or before.span.end > after.span.start:
        return None
    between = stretch.slice(Span(start=before.span.end, end=after.span.start))
    return None if between.strip() else place


def _best(scores: Sequence[Scores]) -> Scores:
    """Of each stage the best. The fused score of the first is: passages come by rank."""
    first = scores[0]
    return replace(
        first,
        dense=_highest(each.dense for each in scores),
        lexical=_highest(each.lexical for each in scores),
        rerank=_highest(each.rerank for each in scores),
    )


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
