"""Texts and queries as the terms that full-text search compares.

Words are runs of letters, marks and digits (Unicode, so that the vowel signs of Indic scripts stay in their words),
case-folded, stemmed (Snowball), freed of diacritics and of letters like ``ø`` and ``œ``. Scripts written without
spaces, and Korean, whose particles cling to their words, become overlapping pairs of characters. No term holds an
ASCII character that is not a letter or digit, which is what lets SQLite's ``ascii`` tokenizer take them apart again.
"""

from __future__ import annotations

import re as stdlib_re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import regex
import Stemmer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# ISO 639-1 codes of the languages that Snowball stems, and the script each is written in.
STEMMED: Final = {
    "ar": ("arabic", "Arabic"),
    "ca": ("catalan", "Latin"),
    "da": ("danish", "Latin"),
    "de": ("german", "Latin"),
    "el": ("greek", "Greek"),
    "en": ("english", "Latin"),
    "eo": ("esperanto", "Latin"),
    "es": ("spanish", "Latin"),
    "et": ("estonian", "Latin"),
    "eu": ("basque", "Latin"),
    "fi": ("finnish", "Latin"),
    "fr": ("french", "Latin"),
    "ga": ("irish", "Latin"),
    "hi": ("hindi", "Devanagari"),
    "hu": ("hungarian", "Latin"),
    "hy": ("armenian", "Armenian"),
    "id": ("indonesian", "Latin"),
    "it": ("italian", "Latin"),
    "lt": ("lithuanian", "Latin"),
    "ne": ("nepali", "Devanagari"),
    "nl": ("dutch", "Latin"),
    "no": ("norwegian", "Latin"),
    "pt": ("portuguese", "Latin"),
    "ro": ("romanian", "Latin"),
    "ru": ("russian", "Cyrillic"),
    "sr": ("serbian", "Cyrillic"),
    "sv": ("swedish", "Latin"),
    "ta": ("tamil", "Tamil"),
    "tr": ("turkish", "Latin"),
}

# For words of a script that is not the text's own, and for texts whose language is not known.
_BY_SCRIPT: Final = {
    "Latin": "english",
    "Cyrillic": "russian",
    "Arabic": "arabic",
    "Greek": "greek",
    "Devanagari": "hindi",
    "Tamil": "tamil",
    "Armenian": "armenian",
}

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}\u200c\u200d]+")
_UNSPACED = regex.compile(
    r"(?:[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc]\p{M}*)+"
)
_CHARACTER = regex.compile(r"\P{M}\p{M}*|\p{M}+")
_SCRIPT = regex.compile("|".join(rf"(?P<{script}>\p{{{script}}})" for script in _BY_SCRIPT))
# Marks that writers leave out; those of other scripts are vowels.
_OPTIONAL_MARKS = regex.compile(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}]\p{M}*)\p{M}+")
# Letters of Latin script that no mark makes of others, and what is written where a keyboard lacks them.
_LETTERS: Final = str.maketrans(
    {"ł": "l", "đ": "d", "ø": "o", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"}
)
# Turkish has two letters of what is one elsewhere, and its stemmer tells them apart.
_TURKISH: Final = str.maketrans({"I": "ı", "İ": "i"})
_JOINERS = regex.compile(r"[\u200c\u200d]")
_ASCII_WORD = stdlib_re.compile(r"[a-z0-9]+")

_LONGEST = 64  # characters of a term; what is longer is no word


def terms(text: str, language: str | None) -> list[str]:
    """All terms of a text in order; ``language`` is an ISO 639-1 code, if it is known."""
    return list(_terms(text, language))


def word_terms(word: str, languages: Iterable[str | None]) -> list[list[str]]:
    """What a word of a query may be in texts of these languages: different lists of consecutive terms."""
    return _different(list(_terms(word, language, whole=False)) for language in languages)


def phrase_terms(phrase: str, languages: Iterable[str | None]) -> list[list[str]]:
    """What a phrase may be in texts of these languages: its terms as they follow each other in a text that goes on."""
    readings = [terms(phrase, language) for language in languages]
    for reading in readings:
        if len(reading) > 1 and is_character(reading[-1]) and reading[-2].endswith(reading[-1]):
            reading.pop()  # in the text the last pair may be followed by others
    return _different(readings)


def is_character(term: str) -> bool:
    """Whether a term is a single character of a script written without spaces: it begins pairs and stands alone."""
    return not term.isascii() and len(_CHARACTER.findall(term)) == 1 and _UNSPACED.fullmatch(term) is not None


def _different(readings: Iterable[list[str]]) -> list[list[str]]:
    return [list(reading) for reading in dict.fromkeys(map(tuple, readings)) if reading]


def _terms(text: str, language: str | None, *, whole: bool = True) -> Iterator[str]:
    if language == "tr":
        text = unicodedata.normalize("NFC", text).translate(_TURKISH)  # an İ may be an I and its dot
    lower = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    if lower.isascii():
        for word in _ASCII_WORD.findall(lower):
            yield _stem(word[:_LONGEST], language)
        return
    for match in _WORD.finditer(lower):
        word = match.group()
        position = 0
        for run in _UNSPACED.finditer(word):
            if run.start() > position:
                yield from _spaced(word[position : run.start()], language)
            yield from _pairs(run.group(), whole=whole)
            position = run.end()
        if position < len(word):
            yield from _spaced(word[position:], language)


def _spaced(word: str, language: str | None) -> Iterator[str]:
    stem = _stem(_JOINERS.sub("", word)[:_LONGEST], language)
    if stem:
        yield stem


def _pairs(run: str, *, whole: bool) -> Iterator[str]:
    """Overlapping pairs of characters; of a text the last one alone too, so that each begins a term."""
    characters = _CHARACTER.findall(run)
    for first, second in pairwise(characters):
        yield first + second
    if whole or len(characters) == 1:
        yield characters[-1]


@lru_cache(maxsize=1 << 16)
def _stem(word: str, language: str | None) -> str:
    script = _SCRIPT.search(word)
    if script is not None and script.lastgroup is not None:
        algorithm, own_script = STEMMED.get(language or "", ("", ""))
        if own_script != script.lastgroup:
            algorithm = _BY_SCRIPT[script.lastgroup]
        if algorithm == "english":  # its rules know no diacritics; those of other languages need them
            word = _without_marks(word)
        word = _stemmer(algorithm).stemWord(word) or word
    return _plain(word)


def folded(word: str) -> str:
    """A word as terms have it, but whole."""
    return _plain(unicodedata.normalize("NFKC", word).casefold())


def _plain(word: str) -> str:
    return _without_marks(word).translate(_LETTERS)


def _without_marks(word: str) -> str:
    if word.isascii():
        return word
    return unicodedata.normalize("NFC", _OPTIONAL_MARKS.sub("", unicodedata.normalize("NFD", word)))


@lru_cache(maxsize=len(STEMMED))
def _stemmer(algorithm: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(algorithm, 0)  # _stem remembers words
