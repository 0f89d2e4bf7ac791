"""Sentences of a text that is still being written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sentencex import segment

if TYPE_CHECKING:
    from collections.abc import Iterator

# sentencex 1.0 panics on some white space of more than one byte; its place is kept by a plain space.
_WIDE_SPACE: Final = {code: " " for code in range(0x0B, 0x10000) if chr(code).isspace() and chr(code) not in " \r"} | {
    0x200B: " ",
    0xFEFF: " ",
}


_MARK = r"\s*(?:\d{1,3}[.)]|[-*•])"
_LIST_MARK: Final = re.compile(_MARK + r"[ \t]*")
_LEADING_MARK: Final = re.compile(rf"^{_MARK}\s+")


def sentence_cuts(text: str) -> Iterator[int]:
    """Offsets at which a sentence ends, the white space after it included."""
    position = 0
    for sentence in segment("en", text.translate(_WIDE_SPACE)):
        position += len(sentence)
        yield position


def split_sentences(text: str) -> list[str]:
    """Cut a text into sentences; joined, they are the text. A line break always ends a sentence."""
    pieces: list[str] = []
    for line in text.splitlines(keepends=True):
        start = 0
        for cut in sentence_cuts(line):
            piece, start = line[start:cut], cut
            # White space belongs to the sentence before it, the mark of a list item to the one after it.
            if pieces and (not piece.strip() or is_list_mark(pieces[-1])):
                pieces[-1] += piece
            else:
                pieces.append(piece)
    return pieces


def is_list_mark(text: str) -> bool:
    """Whether a piece is only what begins a list item: ``1.``, ``2)``, ``-``."""
    return _LIST_MARK.fullmatch(text) is not None


def without_list_mark(text: str) -> str:
    """A sentence without the mark of its list item, whose number says nothing."""
    return _LEADING_MARK.sub("", text, count=1)


def is_finished(text: str) -> bool:
    """Whether a text ends like a sentence and not in the middle of one."""
    return text.rstrip().rstrip("\"'”’)]*").endswith((".", "!", "?", "…", "。", "！", "？", "।"))


class SentenceBuffer:
    """Collects streamed text and gives back sentences once the next one has begun."""

    def __init__(self) -> None:
        self._pending = ""

    def add(self, text: str) -> list[str]:
        """Append text; returns the sentences it finished."""
        self._pending += text
        pieces = split_sentences(self._pending)
        if len(pieces) < 2:
            return []
        self._pending = pieces[-1]
        return pieces[:-1]

    def rest(self) -> str:
        """What is left when the text has ended."""
        rest, self._pending = self._pending, ""
        return rest
