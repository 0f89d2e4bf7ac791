"""A document's title: its own, its first heading, or its file's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, BlockKind, one_line
from indexer.steps import Pause

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import PurePath

    from indexer.parsers.blocks import Block
    from indexer.parsing.wire import Pieces
    from indexer.steps import Steps

# Characters that are held to see whether a heading of the first level is the only one.
_MAX_HELD: Final = 1 << 18
# Of versions, days, chapters and sections.
_NUMBER = re.compile(r"\d[\w.\-/]*|\b[IVXLC]+\b")
# "Keep a Changelog" calls changes so that have no version yet.
_UNRELEASED: Final = "unreleased"


def opening_of(parsed: Iterable[Pieces]) -> Steps[list[Pieces]]:
    """What comes before and with the first blocks, and as much after them as it takes to know the title."""
    opening: list[Pieces] = []
    blocks: list[Block] = []
    held = 0
    for pieces in parsed:
        yield Pause.READING
        opening.append(pieces)
        blocks += pieces.blocks
        held += sum(len(block.text) for block in pieces.blocks)
        if blocks and (any(each.title for each in opening) or held > _MAX_HELD or len(_first_headings(blocks)) != 1):
            break
    return opening


def title_of(opening: Sequence[Pieces], path: PurePath) -> str:
    """The title, as one line."""
    own = next((pieces.title for pieces in opening if pieces.title), "")
    return one_line(own) or one_line(_first_heading([b for pieces in opening for b in pieces.blocks])) or path.stem


def _first_heading(blocks: Sequence[Block]) -> str:
    """The first heading, if it is of the first level and says what all below it is about.

    It does not if others of its level are numbered as it is (versions, days, chapters), or if text stands above it.
    """
    headings = _first_headings(blocks)
    if not headings:
        return ""
    first = headings[0]
    if len(headings) == 1:
        return first.heading
    above = sum(len(block.text) for block in blocks[: blocks.index(first)])
    one_of_many = _are_alike(first.heading, headings[1].heading) or first.heading.strip("[]").casefold() == _UNRELEASED
    return "" if one_of_many or above > MAX_HEADING_CHARS else first.heading


def _first_headings(blocks: Sequence[Block]) -> list[Block]:
    """The headings of the first level up to the second of them; none if the first heading of all is of another."""
    found: list[Block] = []
    for block in blocks:
        if block.kind is BlockKind.HEADING and block.text:
            if block.level == 1:
                found.append(block)
            if len(found) != 1:
                break
    return found


def _are_alike(one: str, other: str) -> bool:
    """Whether two headings begin with the same words and other numbers."""
    numbers = _NUMBER.search(one), _NUMBER.search(other)
    if numbers[0] is None or numbers[1] is None or numbers[0][0] == numbers[1][0]:
        return False
    return one[: numbers[0].start()].casefold() == other[: numbers[1].start()].casefold()
