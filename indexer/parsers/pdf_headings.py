"""Which lines of a PDF are headings, and of which level: by outline, section numbers, size and weight.

A heading goes with every passage below it, so a wrong one costs more than one that is missed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from indexer.parsers.pdf_tables import LIST_MARK, RIGHT_TO_LEFT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from indexer.parsers.pdf_lines import Line

MAX_LEVEL: Final = 6
_SCALE: Final = 1.12
# From here on a line is no fragment of a sentence or a drawing, whatever it begins with.
_LARGE_SCALE: Final = 1.4
# Fixed-width fonts are taller than others of their size.
_MONO_SCALE: Final = 1.5
_MAX_BOLD_CHARS: Final = 100
# Lines of one heading are at most this many font sizes apart; their words' fonts may differ a little.
_SAME_HEADING: Final = 1.7
_SAME_SIZE: Final = 0.5
_MAX_NUMBERS: Final = 20_000
LIST_ITEM = re.compile(rf"^{LIST_MARK}\s+\S")
CAPTION = re.compile(
    r"^(?:table|figure|fig|tab|tabelle|abbildung|abb|tableau|tabla|figura|tabella)\.?\s*[A-Z]?\d", re.IGNORECASE
)
_MONTH: Final = (
    r"(?:jan|gen|ene|feb|fév|fev|mar|mär|mrz|maa|apr|avr|abr|may|mai|mei|mag|jun|jui|giu|jul|lug|aug|aoû|ago|sep|set|oct"
    r"|okt|ott|out|nov|dec|dez|déc|dic)[^\W\d_]{0,8}\.?"
)
_DAY: Final = r"\d{1,2}(?:\.|st|nd|rd|th|er|º)?"
_DATE = re.compile(rf"^(?:{_MONTH} {_DAY}|{_DAY} (?:de |of )?{_MONTH}),? (?:de )?\d{{4}}$", re.IGNORECASE)
# With the number of a page at its end, which no year is.
_CONTENTS_ENTRY = re.compile(r"^\d+(?:\.\d+)*\.?\s.*\s(?!(?:19|20)\d\d$)\d+$|(?:\.\s*){4,}\d+$")
_SECTION = re.compile(r"^((?:\d{1,3}|[A-Z])(?:\.\d{1,3})*)[.)]?\s+(?=\S)")
# A letter alone may be an article.
_SURE_SECTION = re.compile(r"^(?:\d{1,3}(?:\.\d{1,3})*[.)]?|[A-Z](?:\.\d{1,3}|[.)])+)\s+\S")
_ONLY_SECTION = re.compile(r"^(?:\d{1,3}|[A-Z])(?:\.\d{1,3})*[.)]?$")
_OPENING: Final = "(\"'[«‹“‘„¿¡§「『《【〈"
_FIRST_OF_CJK: Final = "\u2e80"


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
            above.base - below.base
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
        pitch = median(steps) if steps else body * 1.2
        return cls(body_size=body, pitch=pitch, heading_sizes=tuple(sorted(usual, reverse=True)))

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
        return lowest if heavy and line.text[-1] not in ".,;" and len(line.text) <= _MAX_BOLD_CHARS else None


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
        self._remember(_numbers(line.text), level)
        return level

    def of(self, line: Line, level: int) -> int:
        """The level of a heading that would be of ``level`` by its font alone."""
        numbers = _numbers(line.text)
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


def without_number(text: str) -> str:
    """A heading without the number of its section."""
    return _SECTION.sub("", text)


def is_numbered(text: str) -> bool:
    """Whether the number of a section stands in front."""
    return _SURE_SECTION.match(text) is not None


def is_section_number(text: str) -> bool:
    """Whether it is nothing but the number of a section, such as ``3.1`` or ``A``."""
    return _ONLY_SECTION.match(text) is not None


def _numbers(text: str) -> tuple[str, ...]:
    found = _SECTION.match(text)
    return tuple(found[1].split(".")) if found else ()


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
    text = line.text
    if line.turned or line.drawn or line.apart or "@" in text or CAPTION.match(text) or _CONTENTS_ENTRY.search(text):
        return False
    # Title pages set their date in large letters; the dates of a diary or a list of changes are bold.
    if not line.bold and _DATE.match(text):
        return False
    rest = without_number(text)
    # Where text runs to the left, the number of a section may end up behind its hyphen.
    first = text.lstrip("-")[:1] if RIGHT_TO_LEFT.search(text) else text[0]
    if not _is_words(rest) or not (first.isalnum() or first in _OPENING):
        return False
    fragment = text[0].islower() and not LIST_ITEM.match(text)
    return not fragment or line.size >= _LARGE_SCALE * body


def _is_words(text: str) -> bool:
    """Whether more than half of it are letters, two of them side by side: no formula, no row of figures."""
    kinds = [unicodedata.category(character)[0] in "LM" for character in text]
    if sum(kinds) * 2 <= sum(not character.isspace() for character in text):
        return False
    return any(a and b for a, b in pairwise(kinds)) or any(character >= _FIRST_OF_CJK for character in text)
