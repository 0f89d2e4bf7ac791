"""Content words of a text, in a form that lets a sentence be compared with the passage it came from."""

from __future__ import annotations

import re
from functools import lru_cache

import Stemmer

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
# Commas and narrow spaces group digits; a plain space does not, or neighbouring table cells would become one figure.
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:[,\u00a0\u2009\u202f]\d{3})+(?![\d])")
# Scripts written without spaces: neighbouring characters in pairs stand for words.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")

_STOPWORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being between both but by can
    could did do does doing down during each either else ever few for from further had has have having he her here hers
    him his how however i if in into is it its itself just like may me might more most much must my no nor not of off on
    once one only or other our out over own per same shall she should so some such than that the their them then there
    these they this those through to too under until up upon us very via was we were what when where whether which while
    who whom whose why will with within would you your passage passages according answer say says said""".split()
)

_stemmer = Stemmer.Stemmer("english", 0)  # _stem remembers words


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    return str(_stemmer.stemWord(word.replace("’", "'").removesuffix("'s")))


def is_number(word: str) -> bool:
    """Whether a content word is a figure."""
    return word[0].isdigit()


def content_words(text: str) -> list[str]:
    """Stems and figures in order, function words left out; ``1,287`` and ``1287`` are the same figure."""
    words: list[str] = []
    for match in _TOKEN.finditer(_GROUPED.sub(_without_groups, text)):
        token = match.group().casefold()
        if token[0].isdigit():
            words.append(_figure(token))
        elif _UNSPACED.search(token):
            words.extend(token[i : i + 2] for i in range(max(1, len(token) - 1)))
        elif token not in _STOPWORDS:
            words.append(_stem(token))
    return words


def _without_groups(match: re.Match[str]) -> str:
    return "".join(filter(str.isdigit, match.group()))


def _figure(token: str) -> str:
    if token.count(".") == 1:
        return token.rstrip("0").rstrip(".")
    return token
