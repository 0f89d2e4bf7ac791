"""Encodings from before Unicode: what is meant by their names, and which of them makes words of a text.

Statistics alone often take a neighbour of the right one. A reading in a Latin encoding must be spelt with the letters
of one language, or of languages that are neighbours; of the Cyrillic ones the right one gives the frequent letters. All
else is left to whoever asks.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# What the Web means by these names (WHATWG Encoding, section 4.2): supersets of what they say.
_MEANT: Final = {
    **dict.fromkeys(("iso-8859-1", "iso_8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", "ascii"), "cp1252"),
    **dict.fromkeys(("iso-8859-9", "latin5"), "cp1254"),
    **dict.fromkeys(("gb2312", "gb_2312-80", "gbk", "x-gbk"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis", "windows-31j"), "cp932"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "ksc5601", "windows-949"), "cp949"),
    **dict.fromkeys(("tis-620", "windows-874"), "cp874"),
    "big5": "big5hkscs",
}
# Of two that read a text alike, the first is the common one.
_LATIN: Final = ("cp1252", "iso8859_15", "cp1250", "iso8859_2", "cp1254", "cp1257", "mac_roman", "cp850")
_CYRILLIC: Final = ("cp1251", "koi8_r", "koi8_u", "cp866", "iso8859_5", "mac_cyrillic")
_WESTERN: Final = (
    "äöüßé",  # German
    "àâæçéèêëîïôœùûüÿ",
    "áéíñóúüªº",
    "ãáâàçéêíóôõúüªº",
    "àèéìíîòóùúªº",
    "áéèëïíóöüç",  # Dutch
    "åäöæøéüà",  # Nordic
    "àçèéíïòóúü",
)
_CENTRAL: Final = (
    "ąćęłńóśźż",
    "áčďéěíňóřšťúůýž",
    "áäčďéíĺľňóôŕšťúýž",
    "áéíóöőúüű",
    "čćđšž",
    "ăâîșțşţ",
)
_TURKISH: Final = "çğıöşüâîûİ"
_BALTIC: Final = ("ąčęėįšųūž", "āčēģīķļņšūž", "äöõüšž")


def _alphabet(*languages: str) -> frozenset[str]:
    letters = "".join(languages)
    return frozenset(letters + letters.upper().replace("SS", ""))


_ALPHABETS: Final = tuple(map(_alphabet, (*_WESTERN, "áðéíóúýþæö", *_CENTRAL, _TURKISH, *_BALTIC)))
# Of texts in several languages: those that are written in one encoding. With Icelandic, Turkish could not be told.
_TOGETHER: Final = (
    _alphabet(*_WESTERN),
    _alphabet("äöüßé", *_CENTRAL),
    _alphabet(_TURKISH, *_WESTERN),
    _alphabet("äöüßéåæø", *_BALTIC),
)
_WITHIN_WORDS: Final = frozenset("’‘·–—…\xad\xa0")
_SIGNS: Final = _WITHIN_WORDS | frozenset("“”„‚«»‹›•°§©®™€£¥½¼¾²³¹±×µ¿¡†‡‰")
_FREQUENT: Final = frozenset("оеаинтсрвлі")
_CYRILLIC_LETTERS: Final = frozenset(map(chr, chain(range(0x410, 0x450), map(ord, "ЁёІіЇїЄєҐґЎў"))))
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_RUN = re.compile(rb"[\x80-\xff]+")
_MIXED = re.compile(r"[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")
# Above this share of bytes beyond ASCII a text is in another script, or in an encoding of several bytes.
_MAX_LATIN_SHARE: Final = 0.35
_MAX_ODD_SHARE: Final = 0.01
# In Russian and Ukrainian two letters of three are frequent ones; other scripts, misread, have half as many.
_MIN_FREQUENT_SHARE: Final = 0.5
_MIN_CYRILLIC: Final = 8
# Letters, figures, usual signs and line ends of EBCDIC, and how many bytes lie between two of its spaces at most.
_EBCDIC = re.compile(
    rb"[\x0d\x15\x25\x40\x4b\x4d\x4e\x50\x5a-\x5e\x60\x61\x6b-\x6f\x7a-\x7f\x81-\x89\x91-\x99\xa2-\xa9\xc1-\xc9\xd1-\xd9"
    rb"\xe2-\xe9\xf0-\xf9]"
)
_MIN_EBCDIC_SHARE: Final = 0.97
_EBCDIC_WORD_BYTES: Final = 30


def meant_by(name: str) -> str:
    """Python's name for the encoding that is meant by a name."""
    return _MEANT.get(name.lower(), name.lower())


def one_byte_encoding(sample: bytes) -> str | None:
    """The encoding that makes words of a text that is not UTF-8, or None if there is none or it cannot be told."""
    if _is_ebcdic(sample):
        return "cp037"
    runs = _RUN.findall(sample)
    foreign = sum(map(len, runs))
    letters = foreign + sum(map(len, re.findall(rb"[A-Za-z]+", sample)))
    if not foreign:
        return None
    if foreign > _MAX_LATIN_SHARE * letters:
        return _best_cyrillic(sample) if foreign >= _MIN_CYRILLIC else None
    # Characters of several bytes come in runs of several bytes.
    if sum(len(run) == 1 for run in runs) * 2 < len(runs):
        return None
    return _best_latin(sample, _ALPHABETS) or _best_latin(sample, _TOGETHER)


def is_doubtful(sample: bytes, encoding: str) -> bool:
    """Whether a text in Latin letters that is read so is not spelt as one language is; others are not judged."""
    text = _decoded(sample, encoding)
    foreign, letters = (0, 0) if text is None else (len(_NOT_ASCII.findall(text)), sum(map(str.isalpha, text)))
    if text is None or not foreign or foreign > _MAX_LATIN_SHARE * letters:
        return False
    return _odd_share(text, _ALPHABETS) > _MAX_ODD_SHARE


def _is_ebcdic(sample: bytes) -> bool:
    """Text of a mainframe: its space is @ in ASCII, whose own space it hardly has."""
    spaces = sample.count(b"\x40")
    if spaces * _EBCDIC_WORD_BYTES < len(sample) or sample.count(b" ") * 50 > spaces:
        return False
    return len(_EBCDIC.findall(sample)) >= _MIN_EBCDIC_SHARE * len(sample)


def _best_latin(sample: bytes, alphabets: Sequence[frozenset[str]]) -> str | None:
    readings = ((name, _decoded(sample, name)) for name in _LATIN)
    odd = {name: _odd_share(text, alphabets) for name, text in readings if text is not None}
    best = min(odd, key=lambda name: odd[name], default=None)
    return best if best is not None and odd[best] <= _MAX_ODD_SHARE else None


def _odd_share(text: str, alphabets: Sequence[frozenset[str]]) -> float:
    """Of the characters beyond ASCII, those that the alphabet which fits best does not have, or not there."""
    foreign = [character for character in text if character > "\x7f"]
    rest = [character for character in foreign if character not in _SIGNS]
    unspelt = min(sum(character not in alphabet for character in rest) for alphabet in alphabets)
    return (unspelt + _misplaced(text)) / len(foreign)


def _misplaced(text: str) -> int:
    """Capitals after small letters, and signs between letters."""
    count = 0
    for before, character, after in zip(text, text[1:], text[2:] + " ", strict=False):
        if character > "\x7f":
            count += character.isupper() and before.islower()
            count += character in _SIGNS and character not in _WITHIN_WORDS and before.isalpha() and after.isalpha()
    return count


def _best_cyrillic(sample: bytes) -> str | None:
    scores = {name: _frequent_share(text) for name in _CYRILLIC if (text := _decoded(sample, name)) is not None}
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best] >= _MIN_FREQUENT_SHARE else None


def _frequent_share(text: str) -> float:
    foreign = [character for character in text if character > "\x7f"]
    odd = sum(character not in _CYRILLIC_LETTERS and character not in _SIGNS for character in foreign)
    frequent = sum(character in _FREQUENT for character in foreign)
    return (frequent - odd - _misplaced(text) - len(_MIXED.findall(text))) / len(foreign)


def _decoded(sample: bytes, name: str) -> str | None:
    try:
        return sample.decode(name)
    except UnicodeDecodeError:
        return None
