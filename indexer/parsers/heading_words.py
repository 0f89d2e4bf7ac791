"""What the words of a heading look like, in whatever format it stands: section numbers, dates, captions."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import Final

MAX_LEVEL: Final = 6
# Longer lines in bold letters are emphasis.
MAX_BOLD_CHARS: Final = 100
LIST_MARK: Final = r"(?:[•‣▪◦●○■□▢◻☐➢✓–*\-]|\(?\d{1,3}[.)]|\(?[a-z][.)])"
LIST_ITEM = re.compile(rf"^{LIST_MARK}\s+\S")
CAPTION = re.compile(
    r"^(?:table|figure|fig|tab|tabelle|abbildung|abb|tableau|tabla|figura|tabella)\.?\s*[A-Z]?\d", re.IGNORECASE
)
_MONTH: Final = (
    r"(?:jan|gen|ene|feb|fév|fev|mar|mär|mrz|maa|apr|avr|abr|may|mai|mei|mag|jun|jui|giu|jul|lug|aug|aoû|ago|sep|set|oct"
    r"|okt|ott|out|nov|dec|dez|déc|dic)[^\W\d_]{0,8}\.?"
)
_DAY: Final = r"\d{1,2}(?:\.|st|nd|rd|th|er|º)?"
_DATE = re.compile(rf"^(?:{_MONTH} {_DAY}|{_DAY} (?:de |of )?{_MONTH}),? (?:de )?\d{{4}}$", re.IGNORECASE)
# With the number of a page at its end, which no year is.
_CONTENTS_ENTRY = re.compile(r"^\d+(?:\.\d+)*\.?\s.*\s(?!(?:19|20)\d\d$)\d+$|(?:\.\s*){4,}\d+$")
_SECTION = re.compile(r"^((?:\d{1,3}|[A-Z])(?:\.\d{1,3})*)[.)]?\s+(?=\S)")
# A letter alone may be an article.
_SURE_SECTION = re.compile(r"^(?:\d{1,3}(?:\.\d{1,3})*[.)]?|[A-Z](?:\.\d{1,3}|[.)])+)\s+\S")
_ONLY_SECTION = re.compile(r"^(?:\d{1,3}|[A-Z])(?:\.\d{1,3})*[.)]?$")
RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
# Signs of formulas before something that they relate.
_FORMULA_SIGN = re.compile(r"[<>=~*{}|^≈≤≥±×∝∑∫√][-+−(\s]*\w")
_WORD = re.compile(r"(?<![^\W_])[^\W\d_](?:[a-zà-öø-ÿ]{2,}|[A-ZÀ-ÖØ-Þ]{2,})(?![^\W_])")
_OPENING: Final = "§(\"'[«‹“‘„¿¡§「『《【〈"
_FIRST_OF_CJK: Final = "\u2e80"


def reads_as_heading(text: str, *, bold: bool) -> bool:
    """Whether a line may be a heading by its words: no caption, date, address or formula, no line of a contents."""
    if "@" in text or CAPTION.match(text) or _CONTENTS_ENTRY.search(text):
        return False
    # Title pages set their date in large letters; the dates of a diary or a list of changes are bold.
    if not bold and is_date(text):
        return False
    # Where text runs to the left, the number of a section may end up behind its hyphen.
    first = text.lstrip("-")[:1] if RIGHT_TO_LEFT.search(text) else text[0]
    return _is_words(without_number(text)) and (first.isalnum() or first in _OPENING)


def is_date(text: str) -> bool:
    """Whether it is nothing but a day."""
    return _DATE.match(text) is not None


def is_fragment(text: str) -> bool:
    """Whether it begins as the middle of a sentence does."""
    return text[0].islower() and not LIST_ITEM.match(text)


def without_number(text: str) -> str:
    """A heading without the number of its section."""
    return _SECTION.sub("", text)


def is_numbered(text: str) -> bool:
    """Whether the number of a section stands in front."""
    return _SURE_SECTION.match(text) is not None


def is_section_number(text: str) -> bool:
    """Whether it is nothing but the number of a section, such as ``3.1`` or ``A``."""
    return _ONLY_SECTION.match(text) is not None


def section_numbers(text: str) -> tuple[str, ...]:
    """The parts of a section's number: ``3.1`` is below ``3``. Empty where none stands in front."""
    found = _SECTION.match(text)
    return tuple(found[1].split(".")) if found else ()


def _is_words(text: str) -> bool:
    """Whether more than half of it are letters, two of them side by side: no formula, no row of figures.

    Formulas have letters side by side, too, and beside their signs hardly a word.
    """
    kinds = [unicodedata.category(character)[0] in "LM" for character in text]
    if sum(kinds) * 2 <= sum(not character.isspace() for character in text):
        return False
    if _FORMULA_SIGN.search(text) and sum(map(len, _WORD.findall(text))) * 2 <= sum(kinds):
        return False
    return any(a and b for a, b in pairwise(kinds)) or any(character >= _FIRST_OF_CJK for character in text)
