"""Why a passage is no text. What is encoded, minified or garbled is found by accident, and nobody can read it.

Each rule was set so that it takes none of the passages of twelve labelled collections, code among them, for what it is
not, nor texts in more languages and lists of all kinds (docs/lab-log.md, 2026-11-25 and 2026-12-02).
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import cache, lru_cache
from itertools import pairwise
from string import ascii_lowercase
from typing import Final


class Flaw(StrEnum):
    ENCODED = "encoded"  # base64, uuencode, hexadecimal, keys
    MINIFIED = "minified"  # programs and data written for machines, without white space
    GARBLED = "garbled"  # letters in an order that no language has: damaged text recognition, broken encodings


# Half of a passage being so makes it no text, if there is hardly a word beside it: a key in a program does not.
_SHARE: Final = 0.5
_MOST_WORDS: Final = 10
# Keys that have a word or two each are a list of checksums by their files.
_LISTED: Final = 4
_WORDS_EACH: Final = 2
_LEAST_CHARACTERS: Final = 200
_PATH: Final = 0.06  # of a run, the slashes: base64 has one in 64 characters
_JOINED: Final = 0.1  # and what joins words or is drawn, _, - and =: base64 for URLs has one in 32
_LEAST_RUN: Final = 40
_ENCODED = re.compile(rf"[A-Za-z0-9+/=_-]{{{_LEAST_RUN},}}")
# 45 bytes a line, whose number its first letter tells; spaces at its end may have been taken off.
_UUENCODED = re.compile(r"^M[ -`]{45,60}$", re.MULTILINE)
_LEAST_KINDS: Final = 12  # of signs: names in capitals have few
_DUMPED = re.compile(r"\b(?:[0-9a-f]{2}|[0-9a-f]{4}|[0-9a-f]{8})\b", re.IGNORECASE)
_DUMPED_LETTER = re.compile(r"[a-f]", re.IGNORECASE)
_FIGURE = re.compile(r"[0-9]")
_LEAST_FIGURES: Final = 0.2
_LEAST_LETTERS: Final = 0.3  # of the bytes: else it is a table of numbers
_LEAST_DUMPED: Final = 40
_ANY_WORD = re.compile(r"[^\W\d_]{3,}")

# Programs have white space for people, one character in twenty at least, and signs. Lists of names, settings and rows
# have as little, and lines that end; Chinese, Japanese and Thai have none.
_LONG_LINE: Final = 160
_LEAST_SPACE: Final = 0.05
_LEAST_SIGNS: Final = 0.08
_ADDRESSES: Final = ("://", "www.")
_PATHS: Final = ("/", "./", "../")
_PROGRAM = re.compile(r"[][(){};=:\"<>_]")
# Formulas have as little white space, and none of what programs are made of; sheets call functions in capitals.
_STATEMENT = re.compile(r"[{}]|</|/>|[\"'][,:]|==|\|\||\);[a-z.]")
_STATEMENT_CHARS: Final = 200
_COMMAND = re.compile(r"\\[A-Za-z]{2,}")
_COMMAND_CHARS: Final = 60
_SHEET_FUNCTION = re.compile(r"(?<![\w.$])[A-ZÄÖÜÉ][A-ZÄÖÜÉ0-9.]+\(")
_LEAST_FUNCTIONS: Final = 3

# Words as they stand in texts: what is written in capitals or with figures may be any sequence of letters. Names in
# programs may be, too.
_WORD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]?[a-z]{2,}(?![A-Za-z0-9])")
_BROKEN = re.compile(r"[0135-9|!;~^*@#%`$](?<=[a-z].)(?=[a-z])")  # 2 and 4 are words in names
_BRACKETS = re.compile(r"[][(){}<>\"]")
_MOST_SIGNS: Final = 0.04
# Checksums, keys, addresses and places in pages, whose figures and signs stand between letters and break no word;
# sequences of genes.
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:0x[0-9a-f]+|(?=[a-f]*[0-9])[0-9a-f]{4,})(?![A-Za-z0-9])|(?<![\w.+-])[\w.+-]++@[\w-]+\.[\w.-]+|"
    r"(?<![^\W_])\w[\w+.-]*://\S+|[\w./-]+\.\w+#[\w.-]+|" + _ENCODED.pattern
)
_SEQUENCE = re.compile(r"[acgtun]{6,}")
# Names of targets, packages and settings: abbreviations, three and more.
_NAME = re.compile(r"(?<![^\W_])[A-Za-z0-9]++(?:[-_][A-Za-z0-9]++){2,}")
_IN_NAME = re.compile(r"[-_][A-Za-z0-9]++[-_]")  # sought first: most texts have none, and this is quick
# Hosts are named by abbreviations, and commands of TeX.
_HOST = re.compile(r"(?<![\w.@-])(?:[a-z0-9-]+\.)+[a-z]{2,}(?![\w-])|\\[A-Za-z]+")
_IN_HOST = re.compile(r"[a-z0-9]\.[a-z]|\\[A-Za-z]")
# Programs, formulas and tables close what they open; signs that damage put into words do not.
_PAIRED = re.compile(r"[][(){}]")
_INTERVAL = re.compile(r"[(\[][^][(){}]{1,30},[^][(){}]{1,30}[])]")  # may be open at one end: [0, 1)
_OPENED_BY: Final = {")": "(", "]": "[", "}": "{"}
_TORN = re.compile(r"(?<=[a-z])[][(){}<>\"0135-9|!;~^*@#%`$](?=[a-z])")
_LEAST_PAIRED: Final = 12
_MOST_UNPAIRED: Final = 0.4
_MOST_TORN: Final = 0.1
# Characters that nothing tells the meaning of: of fonts that map theirs to private ones, replaced ones, and those of
# which pdfminer writes the number in the font.
_NUMBERED: Final = "(cid:"
_UNKNOWN = re.compile("[\ue000-\uf8ff\ufffd\U000f0000-\U0010ffff]|" + re.escape(_NUMBERED) + "[0-9]{1,5}[)]")
_MOST_UNKNOWN: Final = 0.2
_LEAST_UNKNOWN: Final = 20
_LETTERS = str.maketrans("łøđıŁØĐ", "lodiLOD")
_LEAST_PAIRS: Final = 200
# The least of 35 more languages, in passages of 800 characters: Welsh 7.88, Xhosa 7.96, Uzbek 8.04. Of English of which
# three letters in ten are random ones six passages of seven are below this, of any other alphabet all.
_LEAST_PLAUSIBLE: Final = 7.8
# Codes of a font's glyphs that were taken for characters: a text as it would be so many codes higher, as TrueType's by
# 29. In four languages as it stands at most 6.7 by the pairs of its letters, and 7.7 and more by those of the text.
_SHIFTS: Final = range(1, 32)
_MOST_SHIFTED: Final = 7.0
_LEAST_MEANT: Final = 7.6
_LEAST_SHIFTED_PAIRS: Final = 100
_MOST_VOWELS: Final = 0.29
_LEAST_SHIFTED_LETTERS: Final = 200
_RUN = re.compile(r"[a-z]{2,}")
_LEAST_WORDS: Final = 20
_MOST_BROKEN: Final = 0.15
# How common a pair of letters is at most in 27 languages of Latin script, 9 about one in 40 and 0 less than one in a
# million; one line a first letter. Made of the word frequencies of wordfreq 3.1.1 (CC BY-SA 4.0).
_PAIRS: Final = (
    "98888899989989887999988598",
    "87658354854756841766844084",
    "95748329878657935787843078",
    "96579554966758963777866078",
    "88889898988989775999876778",
    "84467654764747830867733474",
    "96369577877757860777854094",
    "94679444967767942868976074",
    "87989788898989877999876788",
    "95569555847567850586855045",
    "96678448878766940788865085",
    "96679667987977855588865185",
    "98569585865776872576843175",
    "95899699987769955689865387",
    "88888897988889885998988578",
    "93548658855755972967745264",
    "21121000200110001011921000",
    "97789776977777866778876578",
    "95859657978777876689877079",
    "96559569967667952989877487",
    "97879777878899973988877787",
    "94568454865747850775752086",
    "83668337825627750675612085",
    "71536203622313662005731331",
    "97868667867777860877776366",
    "86679265856668863668866087",
)


def flaw_of(text: str) -> Flaw | None:
    """The reason, if a passage is no text; none for prose, code and tables."""
    pieces = text.split()
    solid = sum(map(len, pieces))
    if _encoded(text, pieces, solid):
        return Flaw.ENCODED
    if _minified(text, pieces, solid):
        return Flaw.MINIFIED
    return Flaw.GARBLED if _garbled(text, pieces, solid) else None


def _encoded(text: str, pieces: list[str], solid: int) -> bool:
    found = _ENCODED.findall(text) if any(len(piece) >= _LEAST_RUN for piece in pieces) else ()
    runs = [run for run in found if not run.isalpha() and not _is_joined(run)]
    encoded = sum(map(len, runs))
    if encoded >= _LEAST_CHARACTERS and encoded > _SHARE * solid:
        words = len(_ANY_WORD.findall(_ENCODED.sub(" ", text)))
        return words < _MOST_WORDS and not words >= _WORDS_EACH * len(runs) >= _WORDS_EACH * _LISTED
    if _uuencoded(text):
        return True
    if len(_FIGURE.findall(text)) < _LEAST_FIGURES * solid:
        return False
    dumped = _DUMPED.findall(text)
    letters = sum(_DUMPED_LETTER.search(each) is not None for each in dumped)
    some = len(dumped) >= _LEAST_DUMPED and letters > _LEAST_LETTERS * len(dumped)
    if not some or sum(map(len, dumped)) <= _SHARE * solid:
        return False
    return len(_ANY_WORD.findall(_DUMPED.sub(" ", text))) < _MOST_WORDS


def _uuencoded(text: str) -> bool:
    lines = "".join(_UUENCODED.findall(text))
    if len(lines) < _LEAST_CHARACTERS or len(lines) <= _SHARE * len(text):
        return False
    return sum(not character.isalnum() for character in set(lines)) >= _LEAST_KINDS


def _is_joined(run: str) -> bool:
    """Whether it is a path, words that are joined to a name, or a line."""
    length = len(run)
    return run.count("/") >= _PATH * length or sum(map(run.count, "_-=")) >= _JOINED * length


def _minified(text: str, pieces: list[str], solid: int) -> bool:
    length = len(text)
    if length - solid >= _LEAST_SPACE * length:
        return False
    long = sum(len(line) for line in text.split("\n") if len(line) > _LONG_LINE)
    if long <= _SHARE * length or len(text.encode("ascii", "ignore")) <= _SHARE * length:
        return False
    rest = [each for each in pieces if not each.startswith(_PATHS) and not any(mark in each for mark in _ADDRESSES)]
    solid = sum(map(len, rest))
    if solid < _LEAST_CHARACTERS or len(rest) >= _LEAST_SPACE * (solid + len(rest)):
        return False
    return len(_PROGRAM.findall("".join(rest))) > _LEAST_SIGNS * solid and not _is_formula(text)


def _is_formula(text: str) -> bool:
    if len(_COMMAND.findall(text)) * _COMMAND_CHARS >= len(text):
        return True
    if "{" not in text and len(_SHEET_FUNCTION.findall(text)) >= _LEAST_FUNCTIONS:
        return True
    return len(_STATEMENT.findall(text)) * _STATEMENT_CHARS < len(text)


def is_shifted(text: str) -> bool:
    """Whether its letters stand for others, each the same number of codes before its own."""
    lower = text.lower()
    letters = sum(map(lower.count, ascii_lowercase))
    if letters < _LEAST_SHIFTED_LETTERS or sum(map(lower.count, "aeiou")) >= _MOST_VOWELS * letters:
        return False  # nearly all texts
    if not 0 < _plausibility(lower) <= _MOST_SHIFTED:
        return False
    return any(_plausibility(text.translate(_shift(by)).lower()) >= _LEAST_MEANT for by in _SHIFTS)


@cache
def _shift(by: int) -> dict[int, int]:
    return {code: code + by for code in range(ord("!"), ord("~") - by + 1)}


def _plausibility(text: str) -> float:
    """How common the pairs of its letters are; 0 where they are few."""
    words = set(_RUN.findall(text))
    pairs = sum(map(len, words)) - len(words)
    return sum(map(_commonness, words)) / pairs if pairs >= _LEAST_SHIFTED_PAIRS else 0.0


def _garbled(text: str, pieces: list[str], solid: int) -> bool:
    if _unknown(text, solid) or _torn(text, pieces) or is_shifted(text):
        return True
    if len(_BRACKETS.findall(text)) > _MOST_SIGNS * solid:
        return False
    least = _MOST_BROKEN * len(pieces)
    if len(pieces) >= _LEAST_WORDS and len(_BROKEN.findall(text)) > least:
        # A name that stands in every line is broken once.
        return sum(_BROKEN.search(_NAME.sub("", _KEY.sub("", each))) is not None for each in set(pieces)) > least
    if len(_PROGRAM.findall(text)) > _MOST_SIGNS * solid:
        return False
    if not text.isascii():
        apart = unicodedata.normalize("NFD", text.translate(_LETTERS))
        text = "".join(character for character in apart if not unicodedata.combining(character))
    # A name that is repeated is no more a word for it.
    unnamed = _NAME.sub(" ", text) if _IN_NAME.search(text) else text
    unnamed = _HOST.sub(" ", unnamed) if _IN_HOST.search(unnamed) else unnamed
    words = {word for word in _WORD.findall(unnamed) if not _SEQUENCE.fullmatch(word)}
    pairs = sum(map(len, words)) - len(words)
    return pairs >= _LEAST_PAIRS and sum(map(_commonness, words)) < _LEAST_PLAUSIBLE * pairs


def _unknown(text: str, solid: int) -> bool:
    if text.isascii() and _NUMBERED not in text:
        return False
    return sum(map(len, _UNKNOWN.findall(text))) > max(_LEAST_UNKNOWN, _MOST_UNKNOWN * solid)


def _torn(text: str, pieces: list[str]) -> bool:
    """Whether brackets that belong to no other stand in words."""
    brackets = _PAIRED.findall(_INTERVAL.sub(" ", text))
    if len(pieces) < _LEAST_WORDS or len(brackets) < _LEAST_PAIRED:
        return False
    opened: list[str] = []
    unpaired = len(brackets)
    for bracket in brackets:
        if bracket not in _OPENED_BY:
            opened.append(bracket)
        elif opened and opened[-1] == _OPENED_BY[bracket]:
            opened.pop()
            unpaired -= 2
    different = set(pieces)
    return unpaired > _MOST_UNPAIRED * len(brackets) and sum(
        _TORN.search(each) is not None for each in different
    ) > _MOST_TORN * len(different)


@lru_cache(maxsize=1 << 16)
def _commonness(word: str) -> int:
    """The sum over its pairs of letters."""
    codes = [ord(letter) - ord("a") for letter in word.lower()]
    return sum(int(_PAIRS[first][second]) for first, second in pairwise(codes))
