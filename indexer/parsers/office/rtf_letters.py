"""The letters of Rich Text: striprtf gives its words alone, so marks are put among them that say how they look."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TOKEN = re.compile(
    r"\\(?P<word>[a-z]{1,32})(?P<value>-?\d{1,10})? ?|(?P<brace>[{}])|(?P<text>\\'[0-9a-f]{2}|\\[^a-z]|[^\\{}\r\n]+)",
    re.IGNORECASE,
)
# Characters that no text has.
_MARK: Final = "\ufdd0{}\ufdd1"
_MARKS = re.compile("\ufdd0(\\d{0,9})\ufdd1?|\ufdd1")
_PLAIN_SIZE: Final = 24
_BODY_LEVEL: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """How letters look, ``size`` in half points, and what their paragraph is: its level in the outline, from 1 on.

    They are ``gone`` if they are deleted or hidden.
    """

    bold: bool = False
    slanted: bool = False
    size: int = _PLAIN_SIZE
    level: int | None = None
    in_table: bool = False
    gone: bool = False

    def after(self, word: str, value: str | None) -> Letters:
        """The letters that follow a control word."""
        number = int(value) if value else None
        match word:
            case "b":
                changed = replace(self, bold=number != 0)
            case "i":
                changed = replace(self, slanted=number != 0)
            case "deleted" | "v":
                changed = replace(self, gone=number != 0)
            case "fs":
                changed = replace(self, size=number or _PLAIN_SIZE)
            case "plain":
                changed = Letters(level=self.level, in_table=self.in_table)
            case "pard":
                changed = replace(self, level=None, in_table=False)
            case "intbl":
                changed = replace(self, in_table=True)
            case "outlinelevel" if number is not None and 0 <= number < _BODY_LEVEL:
                changed = replace(self, level=number + 1)
            case _:
                changed = self
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class LetteredLine:
    """A line of the text; the letters that most of it is in, bold and slanted where all of it is."""

    text: str
    letters: Letters


@dataclass(slots=True)
class LetterMarks:
    """Puts marks into a source, and takes them out of its text."""

    _known: dict[Letters, int] = field(default_factory=lambda: {Letters(): 0})

    def marked(self, source: str) -> str:
        """The source with a mark wherever its letters change."""
        if "\\bin" in source:  # whose bytes are counted
            return source
        return "".join(self._pieces(_MARKS.sub("", source)))

    def _pieces(self, source: str) -> Iterator[str]:
        now, pending = Letters(), False
        stack: list[tuple[Letters, bool, int]] = []
        at = 0  # after the last mark
        for token in _TOKEN.finditer(source):
            word, brace, gone = token["word"], token["brace"], now.gone
            if brace == "{":
                stack.append((now, pending, at))
            elif brace and stack:
                # What was marked within may have been left out with all of the group.
                now, waiting, before = stack.pop()
                pending = waiting or at != before
            elif word and word != "u":
                following = now.after(word, token["value"])
                pending, now = pending or following != now, following
            elif pending and not brace:
                yield source[at : token.start()]
                yield _MARK.format(self._known.setdefault(now, len(self._known)))
                at, pending = token.start(), False
            if gone and not now.gone:  # the signs and cells that follow are not
                yield source[at : token.end()]
                yield _MARK.format(self._known.setdefault(now, len(self._known)))
                at, pending = token.end(), False
        yield source[at:]

    def lines(self, text: str) -> Iterator[LetteredLine]:
        """The lines of what was marked, without the marks."""
        known = list(self._known)
        now = known[0]
        for line in text.split("\n"):
            words, *rest = _MARKS.split(line)
            runs = [(words, now)]
            for mark, words in zip(rest[::2], rest[1::2], strict=True):
                now = known[int(mark)] if mark and int(mark) < len(known) else now
                runs.append((words, now))
            yield LetteredLine(text="".join(run for run, letters in runs if not letters.gone), letters=_most(runs, now))


def _most(runs: Iterable[tuple[str, Letters]], last: Letters) -> Letters:
    sizes: Counter[int] = Counter()
    seen = [letters for run, letters in runs if any(map(str.isalnum, run))]
    for run, letters in runs:
        sizes[letters.size] += len(run.strip())
    return Letters(
        bold=bool(seen) and all(letters.bold for letters in seen),
        slanted=bool(seen) and all(letters.slanted for letters in seen),
        size=sizes.most_common(1)[0][0],
        level=seen[-1].level if seen else None,
        in_table=any(letters.in_table for letters in seen) or (not seen and last.in_table),
    )
