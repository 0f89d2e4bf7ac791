"""A query as the terms that it looks for: words, ``"phrases"``, and the beginnings of words (``begin*``), of which one
may end a phrase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import regex

from rag.stores.full_text.stopwords import STOP_WORDS
from rag.stores.full_text.terms import folded, is_character, phrase_terms, word_terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# In the quotation marks of keyboards, and in those that word processors and phones make of them.
_QUOTES = ('""', "“”", "„“", "„”", "””", "«»", "»«", "「」")
_PHRASE = "|".join(f"{of[0]}(?P<phrase>[^{of}]*){of[1]}" for of in _QUOTES)
_PART = regex.compile(rf"(?|{_PHRASE})|(?P<word>[^\s{''.join(sorted(set(''.join(_QUOTES))))}]+)")
_BEGINNING = r"[\p{L}\p{M}\p{N}\u200c\u200d]{2,}\*"
_PREFIX = regex.compile(_BEGINNING)
_LAST_OF_PHRASE = regex.compile(rf"(?:.*[^\p{{L}}\p{{M}}\p{{N}}])?(?P<beginning>{_BEGINNING})\s*", regex.DOTALL)
_IDENTIFIER = regex.compile(r"[\p{N}_@/:.]")
_PUNCTUATION = ".,;:!?'()[]{}"
# The letters that a stem may be shorter than the beginning of a word that somebody asks for.
_STEM_ENDINGS = 3
_SHORTEST_STEM = 4
# English stems may not be what the word begins with (running: run; using: use), or be far shorter. So what a beginning
# is when it has gone on to one of these endings is looked for, too.
_ENDINGS = ("ing", "ed", "ly", "ive", "ful", "ment", "ness", "ation", "ational", "ility", "ities")
_SHORTEST_OF_ENDED = 3


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """Consecutive terms of a text, of which the last may go on if it is a ``beginning``."""

    words: tuple[str, ...]
    beginning: bool = False

    @property
    def is_word(self) -> bool:
        """Whether it is one whole term."""
        return len(self.words) == 1 and not self.beginning

    @property
    def expression(self) -> str:
        """As FTS5 reads it. Quoted, so nothing in it is syntax."""
        return f'"{" ".join(self.words)}"{" *" if self.beginning else ""}'

    @property
    def pattern(self) -> str:
        """What a text holds as often as this, if two spaces stand between its terms and one at either end."""
        return f" {'  '.join(self.words)}{'' if self.beginning else ' '}"


def query_terms(query: str, languages: Sequence[str | None] = (None,)) -> list[QueryTerm]:
    """What a query looks for in texts of these languages; none if it has no words.

    The parts of an identifier, as in ``E-4021``, count each and once more together. Stop words are left out unless
    there is nothing else. Several forms of one word show what the query is about, and count each.
    """
    telling: list[QueryTerm] = []
    stop_words: list[QueryTerm] = []
    for part in {match.group().casefold(): match for match in _PART.finditer(query)}.values():
        if part["phrase"] is not None:
            telling += _phrases(part["phrase"], languages)
        elif _PREFIX.fullmatch(word := part["word"].strip(_PUNCTUATION)):
            telling += _beginnings(word.rstrip("*"), languages)
        elif word.casefold() in STOP_WORDS:
            stop_words += _words(part["word"], languages)
        else:
            telling += _words(part["word"], languages)
    return telling or stop_words


def _phrases(text: str, languages: Sequence[str | None]) -> Iterator[QueryTerm]:
    """The last word may be a beginning."""
    readings = [tuple(reading) for reading in phrase_terms(text, languages)]
    ending = _LAST_OF_PHRASE.fullmatch(text)
    last = [] if ending is None else list(_beginnings(ending["beginning"].rstrip("*"), languages))
    if last and all(len(each.words) == 1 for each in last):
        for before in dict.fromkeys(reading[:-1] for reading in readings):
            for each in last:
                yield QueryTerm((*before, *each.words), beginning=each.beginning)
        return
    for words in readings:
        yield QueryTerm(words, beginning=is_character(words[-1]))


def _words(part: str, languages: Sequence[str | None]) -> Iterator[QueryTerm]:
    for reading in word_terms(part, languages):
        for term in reading:
            yield QueryTerm((term,), beginning=is_character(term))
        if len(reading) > 1 and _IDENTIFIER.search(part.strip(_PUNCTUATION)):
            yield QueryTerm(tuple(reading))


def _beginnings(beginning: str, languages: Sequence[str | None]) -> Iterator[QueryTerm]:
    """Terms that begin so, and stems of words that do: these may end before it."""
    whole = folded(beginning)
    first = [tuple(reading) for reading in word_terms(beginning, languages)]
    for words in dict.fromkeys([(whole,), *first]):
        yield QueryTerm(words, beginning=True)
    shorter = [whole[:end] for end in range(max(_SHORTEST_STEM, len(whole) - _STEM_ENDINGS), len(whole))]
    for stem in dict.fromkeys([*shorter, *_stems_of_ended(whole)]):
        yield QueryTerm((stem,))


def _stems_of_ended(whole: str) -> Iterator[str]:
    """Stems, which do not begin so, of the English words that a beginning may become."""
    if not (whole.isascii() and whole.isalnum()):  # ``⑴`` folds to what is two terms
        return
    for ending in _ENDINGS:
        for begun in range(len(ending)):
            if whole.endswith(ending[:begun]):
                for (stem,) in word_terms(whole + ending[begun:], [None]):
                    if len(stem) >= _SHORTEST_OF_ENDED and not stem.startswith(whole):
                        yield stem
