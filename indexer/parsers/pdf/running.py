"""Running headers, footers and page numbers: what stands in the margins of many pages, or can be nothing else.

Two pages are too few to tell a header from a line that both happen to have, so what is the same on both is kept once;
of a page alone only its number is known.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import one_line
from indexer.parsers.pdf.lines import SAME_LINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indexer.parsers.pdf.lines import Line

# Lines at the top and the bottom of a page that may be running headers and footers.
_MARGIN_ROWS: Final = 3
# Left and right pages have headers of their own.
_SHARE: Final = 0.35
_MIN_PAGES: Final = 3
# On two pages, it stands on the same height, in points.
_SAME_HEIGHT: Final = 2.0
_MIN_LETTERS: Final = 3
# A lone number is this far from the text, in font sizes; a header that its page's number begins or ends, this far.
_NUMBER_GAP: Final = 2.5
_HEADER_GAP: Final = 1.8
# Longer ones count no pages, and Python reads none of more than 4,300 digits.
_MAX_NUMBER_DIGITS: Final = 18
_SHOWN: Final = 4
_SHOWN_CHARS: Final = 60
_NUMBER = r"(?:\d+|[ivxlc]+)"
_PAGE_NUMBER = re.compile(
    rf"^(?:page|seite|p\.)\s*{_NUMBER}(?:\s*(?:of|/|von)\s*\d+)?$|^\d+\s*(?:of|/|von)\s*\d+$"
    rf"|^[-–—]\s*{_NUMBER}\s*[-–—]$",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")
_LONE_NUMBER = re.compile(r"\d{1,3}")
# What arXiv prints upwards along the edge of first pages.
_STAMP = re.compile(r"arXiv:\S+\s(?:\[\S+\]\s)?\d{1,2}\s\w+\s\d{4}", re.IGNORECASE)


@dataclass(slots=True)
class Running:
    """Shapes of the lines that repeat, with their figures as ``#``, at the top of pages and at the bottom.

    ``inside`` are those that the text has as well: rows of a table, names of speakers. ``same`` are the texts that both
    of two pages have, and ``left_out`` the shapes that were met.
    """

    top: frozenset[str]
    bottom: frozenset[str]
    inside: frozenset[str] = frozenset()
    same: frozenset[str] = frozenset()
    met: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, pages: Sequence[Sequence[Line]]) -> Running:
        """What repeats on these pages of a document, if they are enough to tell."""
        pages = [lines for lines in pages if lines]
        if len(pages) == 2:
            return cls._of_two(*pages)
        enough = max(_MIN_PAGES, _SHARE * len(pages))
        edges: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        inside: Counter[str] = Counter()
        for lines in pages:
            at_edge: set[int] = set()
            for side, seen in edges.items():
                outer = [line for row in _rows(lines, top=side) for line in row]
                at_edge.update(map(id, outer))
                seen.update({_shape(line) for line in outer})
            inside.update({_shape(line) for line in lines if id(line) not in at_edge})
        top, bottom = (
            frozenset(shape for shape, times in edges[side].items() if times >= enough) for side in (True, False)
        )
        often = (shape for shape in top | bottom if 2 * inside[shape] >= max(edges[True][shape], edges[False][shape]))
        return cls(top=top, bottom=bottom, inside=frozenset(often))

    @classmethod
    def _of_two(cls, first: Sequence[Line], second: Sequence[Line]) -> Running:
        counted: dict[bool, set[str]] = {True: set(), False: set()}
        same: set[str] = set()
        for top, shapes in counted.items():
            below = [line for row in _rows(second, top=top) for line in row]
            for line in (line for row in _rows(first, top=top) for line in row):
                for other in below:
                    if abs(line.base - other.base) > _SAME_HEIGHT or _shape(line) != _shape(other):
                        continue
                    if _text(line) != _text(other):
                        if _counts_on(line.text, other.text):
                            shapes.add(_shape(line))
                    elif sum(map(str.isalpha, line.text)) >= _MIN_LETTERS:
                        same.add(_text(line))
        return cls(top=frozenset(counted[True]), bottom=frozenset(counted[False]), same=frozenset(same))

    @property
    def shown(self) -> str:
        """For people, without lone page numbers; empty if nothing else repeats."""
        texts = sorted(shape for shape in self.left_out if any(map(str.isalpha, shape)))
        return "; ".join(f"“{text[:_SHOWN_CHARS]}”" for text in texts[:_SHOWN]) + ("; …" if len(texts) > _SHOWN else "")

    def without(self, lines: Sequence[Line], page: int) -> list[Line]:
        """The lines of a page without furniture: from its edges inwards, as far as there is any.

        A page that would be left empty keeps what is no page number.
        """
        furniture = {id(line) for line in lines if line.turned and _STAMP.fullmatch(one_line(line.text))}
        furniture.update(map(id, _beside_its_number(lines, page)))
        again = self.met & self.same
        for top, shapes in ((True, self.top), (False, self.bottom)):
            for row in _rows(lines, top=top):
                self.met.update(map(_text, row))
                found = [
                    line
                    for line in row
                    if id(line) in furniture
                    or (_is_page_number(line, page) and not _is_of_section(line, row))
                    or (_shape(line) in shapes and not self._is_of_text(line, row, shapes))
                    or _text(line) in again
                    or (len(row) == 1 and _is_lone_number(line, lines))
                ]
                if not found:
                    break
                if page > 1 and _is_beside_number(row, found, lines):
                    found = row
                furniture.update(map(id, found))
        if all(id(line) in furniture for line in lines):
            return [line for line in lines if not _is_page_number(line, page)]
        self.left_out.update(_shape(line) for line in lines if id(line) in furniture)
        return [line for line in lines if id(line) not in furniture]

    def _is_of_text(self, line: Line, row: Sequence[Line], shapes: frozenset[str]) -> bool:
        """Whether what repeats at the edge is the text's own. A number is not that alone, nor beside a header."""
        shape = _shape(line)
        if shape not in self.inside:
            return False
        words = [_shape(other) for other in row if any(map(str.isalpha, other.text))]
        beside_header = any(other in shapes and other not in self.inside for other in words)
        return any(map(str.isalpha, shape)) or (len(row) > 1 and not beside_header)


def _is_page_number(line: Line, page: int) -> bool:
    text = one_line(line.text)
    return text == str(page) or bool(_PAGE_NUMBER.match(text))


def _is_of_section(line: Line, row: Sequence[Line]) -> bool:
    """Whether it is a bold number in front of bold words."""
    return line.bold and any(other.bold and other.left > line.right for other in row)


def _is_lone_number(line: Line, lines: Sequence[Line]) -> bool:
    """Whether a line is a short number that no text stands near."""
    if not _LONE_NUMBER.fullmatch(one_line(line.text)):
        return False
    others = [abs(other.base - line.base) for other in lines if other is not line and not other.turned]
    return bool(others) and min(others) >= _NUMBER_GAP * line.size


def _is_beside_number(row: Sequence[Line], found: Sequence[Line], lines: Sequence[Line]) -> bool:
    """Whether a row is a page's number and words away from the text: what a chapter or a section is called."""
    words = [line for line in row if line not in found]
    if not words or any(line.bold for line in words) or not any(one_line(line.text).isdecimal() for line in found):
        return False
    others = [abs(other.base - row[0].base) for other in lines if other not in row and not other.turned]
    return bool(others) and min(others) >= _HEADER_GAP * max(line.size for line in row)


def _beside_its_number(lines: Sequence[Line], page: int) -> list[Line]:
    """The first lines of a page if they are its number and a few words, in smaller type and away from the text.

    The first page has the title there, or the first section.
    """
    upright = [line for line in lines if not line.turned]
    if page == 1 or not upright:
        return []
    top = max(upright, key=lambda line: line.base)
    row = [line for line in upright if top.base - line.base <= SAME_LINE * top.size]
    rest = [line for line in upright if top.base - line.base > SAME_LINE * top.size]
    words = " ".join(one_line(line.text) for line in sorted(row, key=lambda line: line.left)).split()
    if not rest or len(words) < 2 or str(page) not in (words[0], words[-1]):
        return []
    weights: Counter[float] = Counter()
    for line in rest:
        weights[line.size] += len(line.text)
    smaller = not any(line.bold for line in row) and max(line.size for line in row) < weights.most_common(1)[0][0]
    away = top.base - max(line.base for line in rest) >= _HEADER_GAP * top.size
    return row if smaller and away else []


def _counts_on(first: str, second: str) -> bool:
    """Whether lines of two pages differ only in one number, which is one more on the second."""
    pairs = zip(_DIGITS.findall(first), _DIGITS.findall(second), strict=True)
    differing = [pair for pair in pairs if pair[0] != pair[1]]
    is_short = all(len(number) <= _MAX_NUMBER_DIGITS for pair in differing for number in pair)
    return is_short and [int(b) - int(a) for a, b in differing] == [1]


def _text(line: Line) -> str:
    return one_line(line.text).casefold()


def _shape(line: Line) -> str:
    return _DIGITS.sub("#", _text(line))


def _rows(lines: Sequence[Line], *, top: bool) -> list[list[Line]]:
    """The outermost lines at the top or the bottom of a page by their height, the outermost first."""
    inside = [line for line in lines if line.margin == (1 if top else -1)]
    rows: list[list[Line]] = []
    for line in sorted(inside, key=lambda line: -line.base if top else line.base):
        if rows and abs(rows[-1][0].base - line.base) <= SAME_LINE * line.size:
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows[:_MARGIN_ROWS]
