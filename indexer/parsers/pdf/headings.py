"""Which lines of a PDF are headings, and of which level: by outline, section numbers, size and weight.

A heading goes with every passage below it, so a wrong one costs more than one that is missed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from indexer.parsers.heading_words import (
    LIST_ITEM,
    MAX_BOLD_CHARS,
    MAX_LEVEL,
    is_fragment,
    is_numbered,
    is_section_number,
    reads_as_heading,
    section_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from indexer.parsers.pdf.lines import Line

_SCALE: Final = 1.12
# From here on a line is no fragment of a sentence or a drawing, whatever it begins with.
_LARGE_SCALE: Final = 1.4
_LONG_WORD = re.compile(r"[^\W\d_]{3}")
# Fixed-width fonts are taller than others of their size.
_MONO_SCALE: Final = 1.5
# Lines of one heading are at most this many font sizes apart; their words' fonts may differ a little.
_SAME_HEADING: Final = 1.7
_SAME_SIZE: Final = 0.5
_MAX_NUMBERS: Final = 20_000
# Lines so many times as far from each other as others have an empty one between them.
_WIDE: Final = 1.5
_WIDEST: Final = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What is usual in a document: the body's font size, the distance of its lines, the sizes of its headings."""

    body_size: float
    pitch: float
    heading_sizes: tuple[float, ...]

    @classmethod
    def of(cls, pages: Sequence[Sequence[Line]], *, whole: bool = True) -> Style:
        """The style of the lines of these pages; not ``whole`` if they are a sample of the document's.

        A size is one of headings if it has two of them, or numbered ones, or is the title's, the largest on the first
        page. Of a sample one will do.
        """
        weights: Counter[float] = Counter()
        for lines in pages:
            for line in lines:
                if not line.turned:
                    weights[line.size] += len(line.text)
        body = weights.most_common(1)[0][0] if weights else 10.0
        steps = [
            (above.base - below.base, below.text[:1].islower())
            for lines in pages
            for above, below in pairwise(lines)
            if abs(above.size - body) <= 0.5 >= abs(below.size - body) and 2 < above.base - below.base < 2.5 * body
        ]
        seen: Counter[float] = Counter()
        sure: set[float] = set()
        for number, lines in enumerate(pages):
            found = list(_candidates(lines, body))
            seen.update(size for size, _numbered in found)
            sure.update(size for size, numbered in found if numbered)
            if not number and found:
                sure.add(max(size for size, _numbered in found))
        usual = [
            size
            for size in seen
            if not whole or size in sure or sum(seen[other] for other in seen if abs(other - size) <= _SAME_SIZE) > 1
        ]
        return cls(
            body_size=body,
            pitch=_pitch(steps, body) if steps else body * 1.2,
            heading_sizes=tuple(sorted(usual, reverse=True)),
        )

    def heading_level(self, line: Line) -> int | None:
        """Level of the heading this line would be, or None for body text. Sizes met once are of the lowest level."""
        if not _may_be_heading(line, self.body_size):
            return None
        lowest = min(MAX_LEVEL, 1 + len(self.heading_sizes))
        if _is_larger(line, self.body_size):
            known = any(abs(size - line.size) <= _SAME_SIZE for size in self.heading_sizes)
            return min(MAX_LEVEL, 1 + sum(size > line.size for size in self.heading_sizes)) if known else lowest
        if line.mono or (LIST_ITEM.match(line.text) and not line.text[0].isdigit()):
            return None
        heavy = line.bold and line.size >= self.body_size - 0.5
        return lowest if heavy and line.text[-1] not in ".,;" and len(line.text) <= MAX_BOLD_CHARS else None


@dataclass(slots=True)
class Levels:
    """The levels of a document's headings as they are met.

    3.1 is below 3, whatever their fonts are. What an outline leaves out is on the level of headings of its looks that
    are in it, or below the last of them.
    """

    _numbered: dict[tuple[str, ...], int] = field(default_factory=dict)
    _told: dict[tuple[float, bool], int] = field(default_factory=dict)
    _last_told: int = 0

    def told(self, line: Line, level: int) -> int:
        """The level that the outline gives to this line, which is remembered."""
        self._told[line.size, line.bold] = self._last_told = level
        self._remember(section_numbers(line.text), level)
        return level

    def of(self, line: Line, level: int) -> int:
        """The level of a heading that would be of ``level`` by its font alone."""
        numbers = section_numbers(line.text)
        above = next(
            (self._numbered[numbers[:n]] for n in range(len(numbers) - 1, 0, -1) if numbers[:n] in self._numbered), 0
        )
        if above:
            level = max(level, above + 1)
        elif self._last_told:
            level = self._told.get((line.size, line.bold), max(level, self._last_told + 1))
        level = min(MAX_LEVEL, level)
        self._remember(numbers, level)
        return level

    def _remember(self, numbers: tuple[str, ...], level: int) -> None:
        if numbers and len(self._numbered) < _MAX_NUMBERS:
            self._numbered[numbers] = level


def _pitch(steps: Sequence[tuple[float, bool]], body: float) -> float:
    """The usual distance of lines, from all distances with whether the lower line begins small.

    In a letter most lines may have an empty one above them. There the closer ones tell, unless sentences go on over the
    wide ones: then these are the text's, and the close ones those of a listing or a table.
    """
    usual = median(step for step, _small in steps)
    close = sorted(step for step, _small in steps)[len(steps) // 4]
    wide = [small for step, small in steps if step > _WIDE * close]
    empty = close >= body and _WIDE * close < usual <= _WIDEST * close
    return close if empty and 2 * sum(wide) < len(wide) else usual


def _is_larger(line: Line, body: float) -> bool:
    return line.size > body * (_MONO_SCALE if line.mono else _SCALE)


def _candidates(lines: Sequence[Line], body: float) -> Iterator[tuple[float, bool]]:
    """Size of each heading by size, and whether it has a number; headings of several lines once."""
    last: Line | None = None
    for index, line in enumerate(lines):
        if not _is_larger(line, body) or not _may_be_heading(line, body):
            continue
        goes_on = last is not None and abs(last.size - line.size) <= 1.0
        if last is None or not (goes_on and 0 < last.base - line.base <= _SAME_HEADING * line.size):
            beside = index > 0 and lines[index - 1].base == line.base and is_section_number(lines[index - 1].text)
            yield line.size, beside or is_numbered(line.text)
        last = line


def _may_be_heading(line: Line, body: float) -> bool:
    if line.turned or line.drawn or line.apart or not reads_as_heading(line.text, bold=line.bold):
        return False
    if not is_fragment(line.text):
        return True
    return line.size >= _LARGE_SCALE * body and _LONG_WORD.search(line.text) is not None
