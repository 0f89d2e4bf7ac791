"""Footnotes of texts in markup: each comes behind what refers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.parsers.blocks import Block, BlockKind

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Mapping


def notes_beside_mentions(
    blocks: Iterable[Block], definition: re.Pattern[str], mention: re.Pattern[str]
) -> Iterator[Block]:
    """``beside_mentions`` for formats of which each note is a block of its own, told by how it begins.

    A heading that had nothing but notes below it is left out.
    """
    others: list[Block] = []
    notes: dict[str, str] = {}
    emptied = False  # whether notes were all that the last heading had below it
    for block in blocks:
        found = definition.match(block.text) if block.kind is BlockKind.PARAGRAPH else None
        if found is not None and found[1] not in notes:
            notes[found[1]] = block.text.rstrip() + "\n\n"
            emptied = emptied or bool(others and others[-1].kind is BlockKind.HEADING)
            continue
        if emptied and block.kind is BlockKind.HEADING:
            others.pop()
        emptied = False
        others.append(block)
    if emptied:
        others.pop()
    yield from beside_mentions(others, notes, mention)


def beside_mentions(blocks: Iterable[Block], notes: Mapping[str, str], mention: re.Pattern[str]) -> Iterator[Block]:
    """Yield the blocks with each note behind the one that first refers to it, or behind the caption below that.

    Notes that nothing refers to come last.
    """
    left = dict(notes)
    waiting: list[Block] = []
    for block in blocks:
        if block.kind is not BlockKind.CAPTION:
            yield from waiting
            waiting = []
        yield block
        if left and block.kind is not BlockKind.CODE:
            waiting += _taken(block.text, left, mention)
    yield from waiting
    yield from (Block(text=text) for text in left.values())


def _taken(text: str, left: dict[str, str], mention: re.Pattern[str]) -> Iterator[Block]:
    """Notes that a text refers to, and those that these refer to."""
    names = mention.findall(text)
    while names:
        note = left.pop(names.pop(0), None)
        if note is not None:
            yield Block(text=note)
            names = mention.findall(note) + names
