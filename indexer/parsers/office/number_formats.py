"""Number formats of cells, of Excel (ECMA-376, part 1, 18.8.30) above all: what they show beside their numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.tables import is_number
from indexer.parsers.xml_parts import whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lxml.etree import _Element

# The built-in formats that show a sign; a built-in currency is that of whoever opens the file.
_BUILT_IN: Final = {9: "0%", 10: "0.00%"}
_TOKEN: Final = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|\[\$(?P<currency>[^\]-]*)(?:-[^\]]*)?\]|(?P<condition>\[[<>=][^\]]*\])'
    r"|(?P<bracket>\[[^\]]*\])|[_*]."
    r"|(?P<number>[#0?](?:[#0?,]*[#0?])?(?:\.[#0?]*)?)|(?P<sign>[$€£¥₹₽₺₩₪₫₴+\-() %])|(?P<other>.)"
)
_COLOUR: Final = re.compile(r"\[(?:black|blue|cyan|green|magenta|red|white|yellow|color ?\d+)\]", re.IGNORECASE)
_BESIDE_DATES: Final = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|[_*].')
_DATE: Final = re.compile(r"[ymdhs]")
_ELAPSED: Final = re.compile(r"\[(?:h+|m+|s+)\]")
# Postal codes and numbers of articles keep their zeros in front.
_PADDED: Final = re.compile(r"00+")
_GENERAL: Final = frozenset({"general", "standard"})
# As Excel allows; each zero of a longer one would stand in every cell.
_MAX_CODE_CHARS: Final = 255
# Of a percentage no less is shown, however roughly the sheet does.
_MIN_DECIMALS: Final = 2


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """What stands before and after a number, how many digits follow its point, and how many there are at least."""

    before: str
    after: str
    decimals: int
    percent: bool
    digits: int = 0

    def shown(self, value: float) -> str:
        """The number with its percent sign or currency, or with zeros in front."""
        size = abs(value)
        if self.percent and not math.isfinite(size * 100):
            return f"{value:.15g}"
        if self.percent:
            number = f"{round(size * 100, max(self.decimals, _MIN_DECIMALS)):.15g}"
        elif self.decimals >= _MIN_DECIMALS:
            number = f"{size:.{self.decimals}f}"
        else:
            number = f"{size:.15g}".zfill(self.digits)
        return f"{'-' if value < 0 else ''}{self.before}{number}{self.after}"


def number_formats(styles: _Element) -> list[NumberFormat | None]:
    """The format of every style of a cell, by the style's number; None where it shows the bare number."""
    spaces = {"x": styles.nsmap.get(styles.prefix) or ""}
    codes = {}
    for element in styles.iterfind("x:numFmts/x:numFmt", spaces):
        codes[whole_number(element.get("numFmtId"), -1)] = element.get("formatCode") or ""
    used = [whole_number(element.get("numFmtId"), -1) for element in styles.iterfind("x:cellXfs/x:xf", spaces)]
    return formats_by_style(codes, used)


def formats_by_style(codes: Mapping[int, str], used: Iterable[int]) -> list[NumberFormat | None]:
    """The format of every style by the numbers of those that styles use; ``codes`` are those that the file writes."""
    parsed = {number: parse_format(code) for number, code in (_BUILT_IN | dict(codes)).items()}
    return [parsed.get(number) for number in used]


def parse_format(code: str) -> NumberFormat | None:
    """Read a format as it is for positive numbers.

    None if it shows no sign and no zeros in front, or is of dates, scaled or conditional.
    """
    if len(code) > _MAX_CODE_CHARS:
        return None
    around = ["", ""]
    number: str | None = None
    percent = False
    for token in _TOKEN.finditer(code):
        kind = token.lastgroup
        text = token[kind] if kind is not None else ""
        if kind == "other" and text == ";":
            break
        if kind == "number":
            if number is not None:
                return None
            number = text
        elif kind in {"other", "condition"} or (kind == "bracket" and not _COLOUR.fullmatch(text)):
            return None
        elif kind != "bracket":
            percent = percent or (kind == "sign" and text == "%")
            around[number is not None] += text
    if number is None:
        return None
    if around == ["", ""] and _PADDED.fullmatch(number):
        return NumberFormat(before="", after="", decimals=0, percent=False, digits=len(number))
    return around_number(around[0], around[1], len(number.partition(".")[2]), percent=percent)


def is_date_format(code: str) -> bool:
    """Whether a format shows a number as a date or a time of day."""
    first = code.partition(";")[0].lower()
    return first not in _GENERAL and not _ELAPSED.search(first) and bool(_DATE.search(_BESIDE_DATES.sub("", first)))


def around_number(before: str, after: str, decimals: int, *, percent: bool) -> NumberFormat | None:
    """The format of numbers that stand between such texts; None if these are no percent sign and no currency."""
    before, after = before.lstrip(" +"), after.rstrip()
    # What would not be known for a number beside others, such as a unit of measure, would make rows look like headers.
    if not (before + after).strip("+-() ") or not is_number(f"{before}1{after}"):
        return None
    return NumberFormat(before=before, after=after, decimals=decimals, percent=percent)
