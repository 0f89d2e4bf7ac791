"""Packing units into groups of about the same weight, in order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from indexer.units import Unit

Group = Sequence["Unit"]

# A last group lighter than this share of the target is merged or evened out with the one before it.
_MIN_LAST_SHARE: Final = 3


def pack(units: Sequence[Unit], *, target: int, limit: int) -> list[Group]:
    """Group neighbours up to ``target``; up to ``limit`` where that saves a small last group.

    Headings never end a group: they go with what follows. A single unit heavier than the limit is a group of its own.
    """
    groups: list[list[Unit]] = []
    weight = 0
    for unit in units:
        if groups and (weight + unit.weight <= target or not weight):
            groups[-1].append(unit)
            weight += unit.weight
        else:
            groups.append([unit])
            weight = unit.weight
    _move_trailing_headings(groups, limit)
    return _even_out(groups, target, limit)


def _move_trailing_headings(groups: list[list[Unit]], limit: int) -> None:
    for current, following in pairwise(groups):
        while len(current) > 1 and current[-1].heading and _weight(following) + current[-1].weight <= limit:
            following.insert(0, current.pop())


def _even_out(groups: list[list[Unit]], target: int, limit: int) -> list[Group]:
    if len(groups) < 2 or _weight(groups[-1]) * _MIN_LAST_SHARE >= target:
        return list(groups)
    both = [*groups[-2], *groups[-1]]
    if _weight(both) <= limit:
        return [*groups[:-2], both]
    # Where the two sides differ least; a unit that is nearly everything by itself cannot be helped.
    borders = [border for border in range(1, len(both)) if not both[border - 1].heading]
    even = min(borders, key=lambda border: abs(_weight(both[:border]) - _weight(both[border:])), default=0)
    if not even or max(_weight(both[:even]), _weight(both[even:])) > limit:
        return list(groups)
    return [*groups[:-2], both[:even], both[even:]]


def _weight(group: Sequence[Unit]) -> int:
    return sum(unit.weight for unit in group)
