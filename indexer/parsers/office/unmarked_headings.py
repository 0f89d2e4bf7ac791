"""Headings of documents that mark none: short lines in bold or larger letters that stand alone above their text.

A heading goes with every passage below it, so a wrong one costs more than one that is missed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from indexer.parsers.heading_words import (
    MAX_BOLD_CHARS,
    MAX_LEVEL,
    is_date,
    is_fragment,
    is_numbered,
    reads_as_heading,
    section_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

_SCALE: Final = 1.12
# One may be the document's title, in a style of its own.
_MAX_MARKED: Final = 1
_MAX_LINES: Final = 50_000
# Where more of a document is bold, bold says nothing.
_MAX_BOLD_SHARE: Final = 0.4
# A heading has this much text below it, which names and addresses on letters and forms have not.
_MIN_BELOW: Final = 40
_MIN_CAPITALS: Final = 6
_ENDS: Final = ".,;!。，；！…"
# The number of a part whose name may stand below it.
_LABEL = re.compile(
    r"(?:chapter|article|part|section|annex|appendix|schedule|exhibit|kapitel|artikel|teil|abschnitt|anhang|anlage|"
    r"chapitre|partie|annexe|cap[ií]tulo|art[ií]culo|artigo|parte|secci[oó]n|anexo|capitolo|articolo|sezione|allegato|"
    r"hoofdstuk|deel|bijlage|rozdział|глава|статья|раздел|часть)\s+(?:\d{1,3}|[ivxlc]+|[a-z])[.:]?",
    re.IGNORECASE,
)
# Lines to fill in, and addresses of the web.
_NO_HEADING = re.compile(r"__|\.{3}|…|://|\bwww\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A paragraph, table or list of a document's body, ``place`` in its order.

    ``size`` is that of its letters in any unit. ``items`` is the numbered list that it is an item of, with its depth.
    ``may_be`` is false for what is no heading whatever it looks like, such as captions and code. ``level`` is set for
    marked headings; ``is_title`` for the document's title, which is in a style of its own.
    """

    place: int
    text: str
    size: float = 0.0
    bold: bool = False
    slanted: bool = False
    items: tuple[str, int] | None = None
    may_be: bool = True
    level: int | None = None
    is_title: bool = False


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class _Look:
    """Sorts by rank, the highest first."""

    smallness: float
    thin: bool
    small_letters: bool
    slanted: bool
    named: bool
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    place: int
    look: _Look
    chars: int
    items: tuple[str, int] | None
    may_be: bool
    dated: bool
    numbers: tuple[str, ...]


def unmarked_headings(lines: Iterable[Line]) -> Generator[None, None, dict[int, int]]:
    """Levels of the headings among a document's lines, by place; none if it marks its headings or is very long.

    Yields a sign of life with each line.
    """
    seen: list[_Seen] = []
    sizes: Counter[float] = Counter()
    bold = marked = lowest = 0
    for line in lines:
        yield None
        if line.level is not None:
            marked += not line.is_title
            lowest = max(lowest, line.level)
        if marked > _MAX_MARKED or len(seen) >= _MAX_LINES:
            return {}
        if line.level is None and line.text:
            seen.append(_seen(line))
            sizes[line.size] += len(line.text) if line.size else 0
            bold += len(line.text) if line.bold else 0
    if not sizes:
        return {}
    body = sizes.most_common(1)[0][0]
    by_weight = bold <= _MAX_BOLD_SHARE * sizes.total()
    found = [seen[index] for index in _standing_out(seen, body, by_weight=by_weight)]
    return _levels(_usual(found, first=seen[0].place), lowest)


def _seen(line: Line) -> _Seen:
    text = line.text
    capitals = text.isupper() and sum(map(str.isalpha, text)) >= _MIN_CAPITALS
    numbers = section_numbers(text) if line.items is None and is_numbered(text) else ()
    # A number alone may be that of a house.
    sure = len(numbers) > 1 or text.split()[0].endswith((".", ")"))
    depth = line.items[1] + 1 if line.items is not None else len(numbers) * sure
    return _Seen(
        place=line.place,
        look=_Look(
            smallness=-line.size,
            thin=not line.bold,
            small_letters=not capitals,
            slanted=line.slanted,
            named=_LABEL.fullmatch(text) is None,
            depth=depth,
        ),
        chars=len(text) if any(map(str.isalnum, text)) else 0,  # lines to fill in are no text
        items=line.items,
        may_be=line.may_be and _may_be_heading(text),
        dated=is_date(text),
        numbers=numbers,
    )


def _may_be_heading(text: str) -> bool:
    if len(text) > MAX_BOLD_CHARS or "\n" in text or text[-1] in _ENDS or _NO_HEADING.search(text):
        return False
    return reads_as_heading(text, bold=True) and not is_fragment(text)


def _standing_out(seen: Sequence[_Seen], body: float, *, by_weight: bool) -> list[int]:
    """Lines that look like more than the body, and than the line below each, and have text below them, in order."""
    plain_lists = {line.items for line in seen if line.look.thin}
    candidates = []
    for index, line in enumerate(seen):
        size = -line.look.smallness
        heavy = by_weight and not line.look.thin and size >= body
        stands_out = not line.dated if size > body * _SCALE else heavy
        if line.may_be and stands_out and (line.items is None or line.items not in plain_lists):
            candidates.append(index)
    # Names, addresses and lists of bold lines look alike line after line.
    alike = {
        index
        for above, below in pairwise(candidates)
        if below == above + 1 and seen[above].look == seen[below].look
        for index in (above, below)
    }
    candidates = [index for index in candidates if index not in alike]
    found: list[int] = []
    short: list[int] = []
    text_below = 0
    after = len(seen)
    for index in reversed(candidates):
        if after > index + 1:
            text_below = sum(line.chars for line in seen[index + 1 : after] if line.look.thin or not by_weight)
        outranks = index + 1 < len(seen) and seen[index].look < seen[index + 1].look
        if outranks and text_below:
            (found if text_below >= _MIN_BELOW else short).append(index)
        after = index
    # Where others that look so are headings, what little is below it must not be below the one before.
    looks = Counter(seen[index].look for index in found)
    return sorted(found + [index for index in short if looks[seen[index].look] > 1])


def _usual(found: Sequence[_Seen], *, first: int) -> list[_Seen]:
    """Without what is met once, unless it is numbered or begins the document; that is emphasis."""
    weights = Counter((line.look.smallness, line.look.thin) for line in found)
    return [
        line
        for line in found
        if line.look.depth or line.place == first or weights[line.look.smallness, line.look.thin] > 1
    ]


def _levels(found: Sequence[_Seen], above: int) -> dict[int, int]:
    """Levels by looks, those below a numbered section by its number. ``above`` is the lowest that is marked."""
    # Capitals that are met once are a name's.
    capitals = Counter(line.look.smallness for line in found if not line.look.small_letters)
    first = found[0].place if found else None

    def rank(line: _Seen) -> _Look:
        small = line.look.small_letters or (capitals[line.look.smallness] == 1 and line.place != first)
        return replace(line.look, small_letters=small, depth=max(line.look.depth, 1))

    looks = sorted({rank(line) for line in found})
    levels: dict[int, int] = {}
    numbered: dict[tuple[str, ...], int] = {}
    for line in found:
        level = above + 1 + looks.index(rank(line))
        parents = (line.numbers[:n] for n in range(len(line.numbers) - 1, 0, -1))
        if parent := next((numbered[numbers] for numbers in parents if numbers in numbered), 0):
            level = max(level, parent + 1)
        levels[line.place] = level = min(level, MAX_LEVEL)
        if line.numbers:
            numbered[line.numbers] = level
    return levels
