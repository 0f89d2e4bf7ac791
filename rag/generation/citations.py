"""Attribution: which supplied passage supports a sentence, and with which words.

Words and figures only: a passage supports a sentence as far as it contains the sentence's content words, weighted by
how rare they are among the supplied passages. Words the question already used say little about the source and weigh
little; a figure that no cited passage contains makes a sentence unsupported, whatever else matches.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.generation.sentences import split_sentences, without_list_mark
from rag.generation.words import content_words, is_number
from rag.types import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.types import Passage

# A sentence is supported when its passages carry this share of its weight: measured, see docs/evaluation.md.
SUPPORT_THRESHOLD = 0.6
_MAX_PASSAGES_PER_SENTENCE = 3
# A further passage is cited only if it adds this much of the sentence's weight.
_MIN_GAIN = 0.15
_QUESTION_WORD_WEIGHT = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """A passage (by position among those supplied) that supports a sentence, with the words that do.

    ``quote_span`` is relative to ``chunk.text``; ``support`` (0..1) is the share of the sentence this passage carries.
    """

    position: int
    quote: str
    quote_span: Span
    support: float


class Attributor:
    """Attributes the sentences of one answer to the passages supplied for one question."""

    def __init__(self, question: str, passages: Sequence[Passage]) -> None:
        self._texts = [p.chunk.text for p in passages]
        headings = [" ".join((p.document.title, *p.chunk.heading_path)) for p in passages]
        self._words = [
            frozenset(content_words(text)) | frozenset(content_words(heading))
            for text, heading in zip(self._texts, headings, strict=True)
        ]
        self._question = frozenset(content_words(question))
        self._frequency = Counter(word for words in self._words for word in words)

    def attribute(self, sentence: str) -> list[Attribution]:
        """Passages that together support the sentence, strongest first; empty if they do not."""
        weights = self._weights(sentence)
        total = sum(weights.values())
        if not total:
            return []
        chosen: list[int] = []
        covered: set[str] = set()
        while len(chosen) < _MAX_PASSAGES_PER_SENTENCE:
            gains = [
                sum(weight for word, weight in weights.items() if word in words and word not in covered)
                for words in self._words
            ]
            best = max(range(len(gains)), key=lambda i: (gains[i], -i), default=None)
            if best is None or gains[best] <= 0 or (chosen and gains[best] < _MIN_GAIN * total):
                break
            chosen.append(best)
            covered |= weights.keys() & self._words[best]
        figures = {word for word in weights if is_number(word)}
        support = sum(weights[word] for word in covered) / total
        if support < SUPPORT_THRESHOLD or not figures <= covered:
            return []
        return [self._attribution(position, weights, total) for position in chosen]

    def _weights(self, sentence: str) -> dict[str, float]:
        words = dict.fromkeys(content_words(without_list_mark(sentence)))
        if all(word in self._question for word in words):
            return {word: self._rarity(word) for word in words}
        return {word: self._rarity(word) * (_QUESTION_WORD_WEIGHT if word in self._question else 1.0) for word in words}

    def _rarity(self, word: str) -> float:
        return math.log(1 + (len(self._words) + 1) / (self._frequency[word] + 0.5))

    def _attribution(self, position: int, weights: dict[str, float], total: float) -> Attribution:
        text = self._texts[position]
        start, end = _best_quote(text, weights)
        carried = sum(weight for word, weight in weights.items() if word in self._words[position])
        return Attribution(
            position=position,
            quote=text[start:end],
            quote_span=Span(start=start, end=end),
            support=round(carried / total, 4),
        )


def _best_quote(text: str, weights: dict[str, float]) -> tuple[int, int]:
    """Offsets of the one or two neighbouring sentences of ``text`` that carry most of ``weights``."""
    pieces = split_sentences(text)
    starts = [sum(map(len, pieces[:i])) for i in range(len(pieces))]
    words = [frozenset(content_words(piece)) for piece in pieces]

    def carried(found: frozenset[str]) -> float:
        return sum(weight for word, weight in weights.items() if word in found)

    best = max(range(len(pieces)), key=lambda i: (carried(words[i]), -i))
    first = last = best
    alone = carried(words[best])
    pairs = [(best - 1, best), (best, best + 1)]
    gains = [(carried(words[a] | words[b]) - alone, a, b) for a, b in pairs if a >= 0 and b < len(pieces)]
    gain, a, b = max(gains, default=(0.0, best, best))
    if gain > _MIN_GAIN * sum(weights.values()):
        first, last = a, b
    start, end = starts[first], starts[last] + len(pieces[last])
    stripped = text[start:end]
    return start + len(stripped) - len(stripped.lstrip()), end - (len(stripped) - len(stripped.rstrip()))
