r"""LaTeX source as tokens, in one pass: what is verbatim stays whole, comments are gone, braces know their partners."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(Enum):
    TEXT = auto()
    PARAGRAPH = auto()  # an empty line
    MACRO = auto()  # ``text`` is its name
    OPEN = auto()
    CLOSE = auto()
    BEGIN = auto()  # ``text`` is the environment's name
    END = auto()
    CODE = auto()
    MATH = auto()
    ALIGN = auto()  # ``&`` between the cells of a table
    BRACKET = auto()  # ``[`` or ``]``


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str


_CODE_ENVIRONMENTS: Final = r"verbatim|Verbatim|lstlisting|minted|alltt|verbatimtab"
_MATH_ENVIRONMENTS: Final = r"equation|align|gather|multline|eqnarray|displaymath|math|alignat|flalign|aligned"
_SILENT_ENVIRONMENTS: Final = r"comment|tikzpicture|pgfpicture|picture|CCSXML|filecontents|tikzcd|forest|axis"
_SIZE: Final = r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)[ ]*+(?:pt|em|ex|mm|cm|in|pc|bp|sp|mu)(?![A-Za-z])"
# What has no end within so many characters is no formula and no environment; it also bounds the search.
_REACH: Final = 1 << 16

_REGION = re.compile(
    rf"(?P<code>\\begin\{{(?:{_CODE_ENVIRONMENTS})\*?\}})|\\begin\{{(?:{_SILENT_ENVIRONMENTS})\*?\}}|\\iffalse\b"
    rf"|(?P<formula>\\begin\{{(?:{_MATH_ENVIRONMENTS})\*?\}}|\\\[|\\\(|\$\$)"
)
# Of other regions it is the opening mark itself, or its end.
_CLOSING: Final = {"\\iffalse": r"\\fi\b", "\\[": r"\\\]", "\\(": r"\\\)"}
_CODE_OPTIONS = re.compile(r"\A(?:\[[^\]]*\])?(?:\{[^}\n]*\})?[ \t]*\n")

_TOKEN = re.compile(
    rf"""
      (?P<comment> %[^\n]*(?:\n[ \t]*(?!\n))? )
    | (?P<rule> \\cmidrule[ ]*+(?:\[[^\]\n]{{0,80}}\])?[ ]*+\([^()\n]{{0,80}}\)[ ]*+\{{[^{{}}\n]{{0,80}}\}} )
    | (?P<length> \\(?:setlength|addtolength)[ ]*+\\[A-Za-z@]++[ ]*+\{{[^{{}}\n]{{0,400}}\}}
        | \\(?!(?:small|med|big)skip)[A-Za-z]*(?:skip|sep|kern|indent|width|height)[ ]*+=?[ ]*+
          {_SIZE}(?:[ ]*+(?:plus|minus)[ ]*+{_SIZE})*+
        | \\[a-z]*(?:looseness|penalty|penalties|tolerance|badness|demerits)[ ]*+=?[ ]*+[-+]?\d++ )
    | (?P<captionof> \\captionof\*?[ ]*+\{{[^{{}}\n]*\}} )
    | \\begin[ ]*\{{(?P<begin>[^{{}}\n]*)\}} | \\end[ ]*\{{(?P<end>[^{{}}\n]*)\}}
    | \\(?:verb|lstinline)\*?(?P<bar>[^A-Za-z*\s{{\[])(?P<verb>[^\n]{{0,4000}}?)(?P=bar)
    | \\(?:url|nolinkurl|path)[ ]*\{{(?P<url>[^{{}}\n]*)\}} | (?P<href> \\href[ ]*\{{[^{{}}\n]*\}} )
    | (?P<math> \$(?:\\.|[^$\\\n]|\n(?![ \t]*\n)){{1,4000}}\$ )
    | \\(?P<word>[A-Za-z@]+)\*?[ \t]*(?:\n[ \t]*(?!\n))? | \\(?P<sign>.|\n|\Z)
    | (?P<par> \n[ \t]*\n\s* ) | (?P<open>\{{) | (?P<close>\}}) | (?P<align>&) | (?P<tie>~) | (?P<bracket>[\[\]])
    | (?P<text> [^\\{{}}$&~%\n\[\]]+ | \n | \$ )
    """,
    re.VERBOSE | re.DOTALL,
)

_ACCENTS: Final = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "c": "\u0327", "v": "\u030c", "u": "\u0306", "H": "\u030b", "k": "\u0328", "r": "\u030a", "d": "\u0323",
    "b": "\u0331",
}  # fmt: skip
_ACCENTED = re.compile(
    r"(?:\\([cvuHkrdb])[ \t]*\{|\\(['`^\"~=.])[ \t]*\{?[ \t]*)\\?([A-Za-z])\}?|\\([cvuHkrdb])[ \t]+\\?([A-Za-z])\b"
)
# What follows it is not known where it is written: a macro may end with it.
_SPACE_BEFORE_WORDS: Final = "\x1f"
_NOT_BEFORE_WORDS = re.compile(rf"{_SPACE_BEFORE_WORDS}(?![\w(\[$“‘\\])")
SYMBOLS: Final = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł",
    "i": "i", "j": "j", "dots": "…", "ldots": "…", "textellipsis": "…", "S": "§", "P": "¶", "copyright": "©",
    "pounds": "£", "euro": "€", "texteuro": "€", "textregistered": "®", "texttrademark": "™", "textdegree": "°",
    "textendash": "–", "textemdash": "—", "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^",
    "textquotedblleft": "“", "textquotedblright": "”", "textquoteleft": "‘", "textquoteright": "’",
    "guillemotleft": "«",
    "guillemotright": "»", "textbar": "|", "textless": "<", "textgreater": ">", "textunderscore": "_", "dag": "†",
    "ddag": "‡", "textbullet": "•", "LaTeX": "LaTeX", "TeX": "TeX", "BibTeX": "BibTeX", "checkmark": "✓", "times": "×",
    "quad": " ", "qquad": " ", "space": " ", "newline": " ", "linebreak": " ", "slash": "/",
    "xspace": _SPACE_BEFORE_WORDS,
    "%": "%", "&": "&", "$": "$", "#": "#", "_": "_", "{": "{", "}": "}", " ": " ", ",": " ", ";": " ", ":": " ",
    "!": "", "/": "", "-": "", "@": "", "\n": " ", "*": "",
}  # fmt: skip


def tokens(source: str) -> list[Token]:
    """The tokens of a source. Every character belongs to one, or to a comment or something that is not text."""
    source = _accented(source)
    regions = _Regions(source)
    found: list[Token] = []
    at = 0
    while (match := _TOKEN.match(source, at)) is not None:
        token, at = regions.at(at) or (_token(match), match.end())
        if token is not None:
            found.append(token)
    return found


def spaced(text: str) -> str:
    """Text without the spaces that stand before words only, where none follows."""
    return _NOT_BEFORE_WORDS.sub("", text)


def partners(found: Sequence[Token]) -> dict[int, int]:
    """Where the group that opens at a token closes; braces without a partner are not in it."""
    pairs: dict[int, int] = {}
    open_at: list[int] = []
    for number, token in enumerate(found):
        if token.kind is Kind.OPEN:
            open_at.append(number)
        elif token.kind is Kind.CLOSE and open_at:
            pairs[open_at.pop()] = number
    return pairs


class _Regions:
    """What is taken whole, from its opening mark to its closing one: code, formulas, and what is not shown.

    Each closing mark is looked for once, from left to right, however often it is missing.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._closing: dict[str, tuple[int, int] | None] = {}  # the next one of each, if there is one

    def at(self, start: int) -> tuple[Token | None, int] | None:
        """The token of the region that opens here, None if it is not shown, and where the text goes on."""
        opening = _REGION.match(self._source, start)
        closing = None if opening is None else self._next(opening[0], opening.end())
        if opening is None or closing is None or closing[0] - opening.end() > _REACH:
            return None
        end = closing[1]
        if opening["code"] is not None:
            body = _CODE_OPTIONS.sub("", self._source[opening.end() : closing[0]])
            return Token(Kind.CODE, body.strip("\n")), end
        shown = opening["formula"] is not None
        return Token(Kind.MATH, self._source[start:end]) if shown else None, end

    def _next(self, opening: str, at: int) -> tuple[int, int] | None:
        known = self._closing.get(opening, (-1, -1))
        if known is not None and known[0] < at:
            closing = _CLOSING.get(opening) or re.escape(opening.replace("begin", "end", 1))
            found = re.compile(closing).search(self._source, at)
            known = self._closing[opening] = None if found is None else found.span()
        return known


def _accented(source: str) -> str:
    def accented(match: re.Match[str]) -> str:
        mark, letter = match[1] or match[2] or match[4], match[3] or match[5]
        opened, closed = match[0].count("{"), match[0].count("}")
        # The brace after an accented letter is another one's where none was opened.
        return unicodedata.normalize("NFC", letter + _ACCENTS[mark]) + "}" * (closed - opened) + "{" * (opened - closed)

    return _ACCENTED.sub(accented, source)


def _token(match: re.Match[str]) -> Token | None:  # noqa: PLR0911 - one line a kind
    kind = match.lastgroup or ""
    if kind in _BY_GROUP:
        return Token(_BY_GROUP[kind], match[kind])
    if kind in {"comment", "href", "rule", "length"}:
        return None
    if kind == "captionof":
        return Token(Kind.MACRO, "caption")
    if kind == "sign" and match["sign"] in {"\\", ""}:
        return Token(Kind.MACRO, "\\")
    if kind == "sign":
        return Token(Kind.TEXT, SYMBOLS.get(match["sign"], match["sign"]))
    if match["verb"] is not None:
        return Token(Kind.TEXT, match["verb"])
    return Token(Kind.TEXT, " " if kind == "tie" else match[0])


_BY_GROUP: Final = {
    "begin": Kind.BEGIN, "end": Kind.END, "url": Kind.TEXT, "math": Kind.MATH, "word": Kind.MACRO,
    "par": Kind.PARAGRAPH, "open": Kind.OPEN, "close": Kind.CLOSE, "align": Kind.ALIGN, "bracket": Kind.BRACKET,
}  # fmt: skip
