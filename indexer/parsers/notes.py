"""Footnotes of texts in markup: each comes behind what refers to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from indexer.parsers.blocks import Block, BlockKind

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator, Mapping


def notes_beside_mentions(
    blocks: Iterable[Block],
    definition: re.Pattern[str],
    mention: re.Pattern[str],
    *,
    anonymous: frozenset[str] = frozenset(),
) -> Iterator[Block]:
    """``beside_mentions`` for formats of which each note is a block of its own, told by how it begins.

    A heading that had nothing but notes below it is left out. Of ``anonymous`` names the first mention means the first
    note, and so on.
    """
    defined, mentioned = _Numbered(anonymous), _Numbered(anonymous)
    others: list[Block] = []
    notes: dict[str, str] = {}
    emptied = False  # whether notes were all that the last heading had below it
    for block in blocks:
        found = definition.match(block.text) if block.kind is BlockKind.PARAGRAPH else None
        name = defined.name(found[1]) if found is not None else None
        if name is not None and name not in notes:
            notes[name] = block.text.rstrip() + "\n\n"
            emptied = emptied or bool(others and others[-1].kind is BlockKind.HEADING)
            continue
        if emptied and block.kind is BlockKind.HEADING:
            others.pop()
        emptied = False
        others.append(block)
    if emptied:
        others.pop()
    yield from _beside(others, notes, lambda text: map(mentioned.name, mention.findall(text)))


def beside_mentions(blocks: Iterable[Block], notes: Mapping[str, str], mention: re.Pattern[str]) -> Iterator[Block]:
    """Yield the blocks with each note behind the one that first refers to it, or behind the caption below that.

    Notes that nothing refers to come last.
    """
    return _beside(blocks, notes, mention.findall)


def _beside(
    blocks: Iterable[Block], notes: Mapping[str, str], mentions: Callable[[str], Iterable[str]]
) -> Iterator[Block]:
    left = dict(notes)
    waiting: list[Block] = []
    for block in blocks:
        if block.kind is not BlockKind.CAPTION:
            yield from waiting
            waiting = []
        yield block
        if left and block.kind is not BlockKind.CODE:
            waiting += _taken(block.text, left, mentions)
    yield from waiting
    yield from (Block(text=text) for text in left.values())


def _taken(text: str, left: dict[str, str], mentions: Callable[[str], Iterable[str]]) -> Iterator[Block]:
    """Notes that a text refers to, and those that these refer to."""
    names = [*mentions(text)][::-1]
    while names:
        note = left.pop(names.pop(), None)
        if note is not None:
            yield Block(text=note)
            names += [*mentions(note)][::-1]


class _Numbered:
    """Tells names that are used again and again apart, by how often they have come."""

    def __init__(self, anonymous: frozenset[str]) -> None:
        self._anonymous = anonymous
        self._counts: Counter[str] = Counter()

    def name(self, name: str) -> str:
        if name not in self._anonymous:
            return name
        self._counts[name] += 1
        return f"{name} {self._counts[name]}"
