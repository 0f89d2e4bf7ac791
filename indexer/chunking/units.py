"""Units: the smallest pieces that chunks are made of. Splitting goes from structure to sentences to words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol

from indexer.parsers.blocks import BlockKind, first_row, is_rule
from rag.generation.sentences import sentence_cuts

if TYPE_CHECKING:
    from collections.abc import Sequence


# A token that stands for more characters than this is not a word (an unknown blob counts as one token).
_CHARS_PER_TOKEN: Final = 10

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_ITEM = re.compile(r"^[ \t]*(?:[-*+•‣▪–]|\(?\d{1,3}[.)]|\(?[a-z][.)])[ \t]", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")


class CountTokens(Protocol):
    """Tokens per text, special tokens included; called with lists because tokenizers are fast on them."""

    def __call__(self, texts: Sequence[str], /) -> list[int]: ...


@dataclass(slots=True, kw_only=True)
class Unit:
    """A piece of source text with what it weighs.

    ``table_header`` is set on rows that stand apart from their header; ``headed`` tables begin with theirs.
    ``caption`` is what a block beside the table calls it. ``with_next``: a caption and the end of its table that it
    stands at belong together, as do a lead-in and the beginning of what it announces, and a header and its first row.
    ``name`` is what code defines, where no heading says it.
    """

    start: int
    text: str
    kind: BlockKind
    page: int | None
    heading: bool = False
    weight: int = 0
    table_header: str = ""
    headed: bool = False
    caption: str = ""
    with_next: bool = False
    name: str = ""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Splitter:
    """Weighs units and cuts the heavy ones. A weight is in tokens without the special ones."""

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count_tokens = count_tokens
        self._special = count_tokens([""])[0]

    def weigh(self, units: Sequence[Unit]) -> None:
        weights = self._weights([unit.text for unit in units])
        for unit, weight in zip(units, weights, strict=True):
            unit.weight = weight

    def split(self, units: Sequence[Unit], limit: int) -> list[Unit]:
        """Cut every unit heavier than ``limit``, no further than needed: rows and items, sentences, words."""
        for cut in (_structural_cuts, _sentence_cuts):
            if all(unit.weight <= limit for unit in units):
                return list(units)
            pieces = [(unit, _cut(unit, cut(unit)) if unit.weight > limit else [unit]) for unit in units]
            self.weigh([piece for unit, cuts in pieces for piece in cuts if piece is not unit])
            units = [piece for _, cuts in pieces for piece in cuts]
        return [piece for unit in units for piece in self._words(unit, limit)]

    def _words(self, unit: Unit, limit: int) -> list[Unit]:
        if unit.weight <= limit:
            return [unit]
        from semchunk import chunk

        _, offsets = chunk(unit.text, limit, lambda text: self._weights([text])[0], memoize=False, offsets=True)
        pieces = _cut(unit, [start for start, _end in offsets[1:]])
        self.weigh(pieces)
        return pieces

    def _weights(self, texts: Sequence[str]) -> list[int]:
        counts = self._count_tokens(texts) if texts else []
        return [
            max(count - self._special, len(text) // _CHARS_PER_TOKEN) for count, text in zip(counts, texts, strict=True)
        ]


def _cut(unit: Unit, cuts: Sequence[int]) -> list[Unit]:
    """Pieces of a unit between offsets into its text. White space alone stays with the piece before it."""
    borders = [0, *(cut for cut in cuts if 0 < cut < len(unit.text)), len(unit.text)]
    header, header_end = first_row(unit.text) if unit.headed else ("", 0)
    pieces: list[Unit] = []
    for start, end in pairwise(borders):
        text = unit.text[start:end]
        if pieces and not text.strip():
            pieces[-1].text += text
        elif text:
            apart = unit.headed and start >= header_end
            piece = Unit(
                start=unit.start + start,
                text=text,
                kind=unit.kind,
                page=unit.page,
                table_header=header if apart else unit.table_header,
                headed=unit.headed and not apart,
                caption=unit.caption,
                name=unit.name,
                # A header alone is no table yet.
                with_next=unit.with_next if end == len(unit.text) else unit.headed and (not apart or is_rule(text)),
            )
            pieces.append(piece)
    return pieces


def _structural_cuts(unit: Unit) -> list[int]:
    text = unit.text
    if unit.kind is BlockKind.TABLE:
        return [match.end() for match in _LINE.finditer(text)]
    if unit.kind is BlockKind.LIST:
        return [match.start() for match in _ITEM.finditer(text)]
    if unit.kind is BlockKind.CODE:
        # Functions and stanzas first; single lines only where there is no empty one.
        return [match.end() for match in _PARAGRAPH.finditer(text)] or [m.end() for m in _LINE.finditer(text)]
    return [match.end() for match in _PARAGRAPH.finditer(text)]


def _sentence_cuts(unit: Unit) -> list[int]:
    if unit.kind in {BlockKind.CODE, BlockKind.TABLE}:
        return [match.end() for match in _LINE.finditer(unit.text)]
    return list(sentence_cuts(unit.text))
