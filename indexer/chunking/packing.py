"""Packing units into groups of about the same weight, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from indexer.chunking.units import Unit

Group = Sequence["Unit"]

# A last group lighter than this share of the target is merged or evened out with the one before it.
_MIN_LAST_SHARE: Final = 3


def pack(units: Sequence[Unit], *, target: int, limit: int) -> list[Group]:
    """Group neighbours up to ``target``; up to ``limit`` where that saves a small last group.

    Headings at the start go with the text that follows if the limit allows it, and so do units with the ones that they
    belong to. A single unit heavier than the limit is a group of its own.
    """
    groups: list[list[Unit]] = []
    weight = 0
    for bound in _bound(units, limit):
        room = limit if groups and all(other.heading for other in groups[-1]) else target
        added = _weight(bound)
        if groups and (weight + added <= room or not weight):
            groups[-1].extend(bound)
            weight += added
        else:
            groups.append(bound)
            weight = added
    return _even_out(groups, target, limit)


def halves(group: Group) -> tuple[Group, Group] | None:
    """Two groups of about as many units, each with some text of its own; None where there is only one such unit."""
    headings = leading_headings(group)
    middle = headings + (len(group) - headings) // 2
    if not headings < middle < len(group):
        return None
    if group[middle - 1].with_next:
        free = (border for border in range(headings + 1, len(group)) if not group[border - 1].with_next)
        middle = min(free, key=lambda border: abs(border - middle), default=middle)
    return group[:middle], group[middle:]


def leading_headings(group: Group) -> int:
    """Number of headings that a group begins with."""
    return next((index for index, unit in enumerate(group) if not unit.heading), len(group))


def _bound(units: Sequence[Unit], limit: int) -> list[list[Unit]]:
    """Units that belong together, as far as the limit allows it beside headings right before them."""
    bound: list[list[Unit]] = []
    headings, room = 0, limit
    for unit in units:
        if bound and bound[-1][-1].with_next and _weight(bound[-1]) + unit.weight <= room:
            bound[-1].append(unit)
        else:
            bound.append([unit])
            room = limit - headings
            headings = headings + unit.weight if unit.heading else 0
    return bound


def _even_out(groups: list[list[Unit]], target: int, limit: int) -> list[Group]:
    if len(groups) < 2 or _weight(groups[-1]) * _MIN_LAST_SHARE >= target:
        return list(groups)
    both = [*groups[-2], *groups[-1]]
    if _weight(both) <= limit:
        return [*groups[:-2], both]
    # Where the two sides differ least; a unit that is nearly everything by itself cannot be helped.
    borders = (border for border in range(leading_headings(both) + 1, len(both)) if not both[border - 1].with_next)
    even = min(borders, key=lambda border: abs(_weight(both[:border]) - _weight(both[border:])), default=0)
    if not even or max(_weight(both[:even]), _weight(both[even:])) > limit:
        return list(groups)
    return [*groups[:-2], both[:even], both[even:]]


def _weight(group: Sequence[Unit]) -> int:
    return sum(unit.weight for unit in group)
