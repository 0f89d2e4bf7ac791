"""What a passage says, apart from how it is written: by this passages are compared (docs/decisions/0028).

White space, case, punctuation, hyphens at line ends, ligatures and page numbers are how a text is written. Figures with
their signs and units, every word, and the order of statements are what it says.
"""

from __future__ import annotations

import re as stdlib_re
import unicodedata
from hashlib import blake2b
from typing import Final

import regex

# A passage that holds another one and at most this share more says the same.
LEAST_SHARE: Final = 0.9

_BETWEEN = "\n"  # statements
# Two of a passage's statements find those that hold it: both lie in what is added to it about once in a hundred times.
_FINDING: Final = 2
# What is shorter stands in many passages that have nothing else in common.
_FINDS_CHARACTERS: Final = 24

_PAGE_NUMBER = stdlib_re.compile(
    r"^[ \t]*(?:(?:page|seite|página|pagina|pág\.|p\.|s\.)[ \t]*\d+(?:[ \t]*(?:/|of|von|de|di|sur)[ \t]*\d+)?"
    r"|[-–—][ \t]*\d+[ \t]*[-–—])[ \t]*$",
    stdlib_re.MULTILINE,
)
_QUOTED = stdlib_re.compile(r"^[ \t]*>[> \t]*", stdlib_re.MULTILINE)
_RULE = stdlib_re.compile(r"[=+<>^%]{3,}")  # a line that is drawn
# What is no letter before it is not joined by it either: then it is no token.
_HYPHEN = stdlib_re.compile(r"[-\u2010\u2011\u00ad](?:[^\S\n]*+\n\s*+)?(?=[^\W\d_])")

# Figures in parentheses are negative in accounts; a decimal point, a sign and what compares change what a figure says.
_FIGURE = r"\(\d[\d.,]*\)|(?<!WORD)(?<![.)\]])\.\d+|WORD+(?:(?<=\d)[.,:/]\d+)*|(?<!WORD)-(?=[\d.])|!="
# What stands between two that are reckoned with or joined, or makes another name or the opposite of one: C#, !done.
_SIGN = r"(?<=WORD |\)[ ])[*/&](?= [(]| WORD)|(?<=[a-z])#(?!WORD)|(?<!WORD)!(?:[(]|WORD)"
_END = r"[.!?](?=[\"'”’»)\]]*\s)|\n[ \t]*\n"
_ASCII_TOKENS = stdlib_re.compile(f"{_FIGURE}|{_SIGN}".replace("WORD", "[a-z0-9]") + rf"|[+<=>$%^]|{_END}").findall
# Boxes and marks that are ticked or not, stars, hands, faces and flags: answers where nothing else is said.
_ANSWER = r"\u2600-\u26ff\u2705\u2713-\u2718\u274c\u274e\U0001f1e6-\U0001faff"
_TOKENS = regex.compile(
    f"{_FIGURE}|{_SIGN}".replace("WORD", r"[\p{L}\p{M}\p{N}]")
    + rf"|(?![|~])[\p{{Sm}}\p{{Sc}}%‰°^{_ANSWER}]|{_END}|[。！？]"
).findall
_ENDS: Final = ".!?\n。！？"


def statements(text: str) -> str:
    """A text's statements in their order, a line each: words, figures and signs separated by spaces."""
    plain = text.isascii()
    folded = text.lower() if plain else unicodedata.normalize("NFKC", text).casefold().replace("−", "-")
    folded = _RULE.sub(" ", _HYPHEN.sub("", _PAGE_NUMBER.sub("", _QUOTED.sub("", folded))))
    said: list[str] = []
    for part in (_ASCII_TOKENS if plain else _TOKENS)(folded):
        if part[0] not in _ENDS or (len(part) > 1 and part[0] != "\n"):
            said.append(part)
        elif said and said[-1] != _BETWEEN:
            said.append(_BETWEEN)
    return " ".join(said).replace(f" {_BETWEEN} ", _BETWEEN).rstrip(f" {_BETWEEN}")


def whole_key(said: str) -> int | None:
    """The same number, positive and of 63 bits, for all passages that say the same; none for those without words."""
    return _digest(said.replace(_BETWEEN, " ")) if said else None


def finding_keys(said: str) -> list[int]:
    """Negative numbers, one at least in common with every passage that is within this one or holds it.

    The lowest digests of its statements: a sketch of the set (Broder, 1997) that is the same for nearly equal sets.
    """
    found = {_digest(each) for each in said.split(_BETWEEN) if len(each) >= _FINDS_CHARACTERS}
    return [-1 - digest for digest in sorted(found)[:_FINDING]]


def same(one: str, other: str) -> bool:
    """Whether two passages' statements say the same, wherever sentences end."""
    return one.replace(_BETWEEN, " ") == other.replace(_BETWEEN, " ")


def holds(longer: str, shorter: str) -> bool:
    """Whether one passage says all that the other says, as it says it, and little more before or after."""
    if same(longer, shorter):
        return True
    if len(shorter) < LEAST_SHARE * len(longer):
        return False
    return f"{_BETWEEN}{shorter}{_BETWEEN}" in f"{_BETWEEN}{longer}{_BETWEEN}"


def alike(one: str, other: str) -> bool:
    """Whether one of two passages holds the other."""
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return holds(longer, shorter)


def says(said: str, quote: str) -> bool:
    """Whether a quote's words stand in a passage one after the other."""
    return f" {statements(quote).replace(_BETWEEN, ' ')} " in f" {said.replace(_BETWEEN, ' ')} "


def _digest(said: str) -> int:
    return int.from_bytes(blake2b(said.encode(), digest_size=8).digest()) >> 1
