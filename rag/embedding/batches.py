"""Batches of similar length under a token budget: padding costs as much as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def token_budget_batches(
    lengths: Sequence[int], budget: int, *, workers: int = 1, least: int = 0
) -> Iterator[list[int]]:
    """Yield lists of positions, longest texts first; ``longest * size`` of a batch stays within ``budget``.

    A text longer than the budget is a batch of its own. Longest first, so that memory peaks at once or never.

    Where ``workers`` take them one after the other, the last are smaller, but not below ``least``, so that none waits
    long for another to end (guided self-scheduling: Polychronopoulos and Kuck, 1987).
    """
    left = sum(lengths)
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batch: list[int] = []
    bound = 0
    for position in order:
        if batch and lengths[batch[0]] * (len(batch) + 1) > bound:
            yield batch
            batch = []
        if not batch:
            bound = min(budget, max(least, left // workers)) if workers > 1 else budget
        batch.append(position)
        left -= lengths[position]
    if batch:
        yield batch
