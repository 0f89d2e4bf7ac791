"""Sentences of a text that is still being written."""

from __future__ import annotations

from sentencex import get_sentence_boundaries


def split_sentences(text: str) -> list[str]:
    """Cut a text into sentences; joined, they are the text. A line break always ends a sentence."""
    pieces: list[str] = []
    for line in text.splitlines(keepends=True):
        cuts = [str(boundary["text"]) for boundary in get_sentence_boundaries("en", line)]
        # White space between sentences belongs to the one before it.
        for cut in cuts:
            if cut.strip() or not pieces:
                pieces.append(cut)
            else:
                pieces[-1] += cut
    return pieces


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
