"""Running headers, footers and page numbers: what stands in the margins of many pages."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import one_line
from indexer.parsers.pdf_lines import SAME_LINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indexer.parsers.pdf_lines import Line

# Lines at the top and the bottom of a page that may be running headers and footers.
_MARGIN_ROWS: Final = 3
# Left and right pages have headers of their own.
_SHARE: Final = 0.35
_MIN_PAGES: Final = 3
_SHOWN: Final = 4
_SHOWN_CHARS: Final = 60
_NUMBER = r"(?:\d+|[ivxlc]+)"
_PAGE_NUMBER = re.compile(
    rf"^(?:page|seite|p\.)\s*{_NUMBER}(?:\s*(?:of|/|von)\s*\d+)?$|^\d+\s*(?:of|/|von)\s*\d+$"
    rf"|^[-–—]\s*{_NUMBER}\s*[-–—]$",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")


@dataclass(slots=True)
class Running:
    """Shapes of the lines that repeat, with their figures as ``#``, at the top of pages and at the bottom.

    ``left_out`` are those that were met.
    """

    top: frozenset[str]
    bottom: frozenset[str]
    left_out: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, pages: Sequence[Sequence[Line]]) -> Running:
        """What repeats on these pages of a document, if they are enough to tell."""
        pages = [lines for lines in pages if lines]
        enough = max(_MIN_PAGES, _SHARE * len(pages))
        found = []
        for top in (True, False):
            seen = Counter(
                shape for lines in pages for shape in {_shape(line) for row in _rows(lines, top=top) for line in row}
            )
            found.append(frozenset(shape for shape, times in seen.items() if times >= enough))
        return cls(top=found[0], bottom=found[1])

    @property
    def shown(self) -> str:
        """For people, without lone page numbers; empty if nothing else repeats."""
        texts = sorted(shape for shape in self.left_out if any(map(str.isalpha, shape)))
        return "; ".join(f"“{text[:_SHOWN_CHARS]}”" for text in texts[:_SHOWN]) + ("; …" if len(texts) > _SHOWN else "")

    def without(self, lines: Sequence[Line], page: int) -> list[Line]:
        """The lines of a page without furniture: from its edges inwards, as far as there is any.

        A page that would be left empty keeps what is no page number.
        """
        furniture: set[int] = set()
        for top, shapes in ((True, self.top), (False, self.bottom)):
            for row in _rows(lines, top=top):
                found = [line for line in row if _is_page_number(line, page) or _shape(line) in shapes]
                if not found:
                    break
                furniture.update(map(id, found))
        if all(id(line) in furniture for line in lines):
            return [line for line in lines if not _is_page_number(line, page)]
        self.left_out.update(_shape(line) for line in lines if id(line) in furniture)
        return [line for line in lines if id(line) not in furniture]


def _is_page_number(line: Line, page: int) -> bool:
    text = one_line(line.text)
    return text == str(page) or bool(_PAGE_NUMBER.match(text))


def _shape(line: Line) -> str:
    return _DIGITS.sub("#", one_line(line.text).casefold())


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
