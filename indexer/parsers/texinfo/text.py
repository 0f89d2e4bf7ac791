"""What commands of Texinfo within text say: signs, letters with accents, references, values and macros of the page."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import one_line
from indexer.parsers.decoding import storable
from indexer.parsers.raised import is_power
from indexer.parsers.strings import Strings

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN = re.compile(
    r"@verb\{(.)(.{0,2000}?)\1\}|@([A-Za-z]+)(\{?)|@([\'`^\"~=])([A-Za-z])|@([\'`^\"~=,])\{|@(\s|.)|([{}])", re.DOTALL
)
_SIGNS: Final = {
    "dots": "...", "enddots": "...", "bullet": "•", "minus": "−", "copyright": "©", "registeredsymbol": "®",
    "result": "⇒", "equiv": "≡", "error": "error→", "expansion": "↦", "print": "⊣", "point": "∗", "arrow": "→",
    "click": "→", "tie": " ", "TeX": "TeX", "LaTeX": "LaTeX", "pounds": "£", "euro": "€", "geq": "≥", "leq": "≤",
    "textdegree": "°", "exclamdown": "¡", "questiondown": "¿", "ordf": "ª", "ordm": "º", "comma": ",", "atchar": "@",
    "lbracechar": "{", "rbracechar": "}", "backslashchar": "\\", "hashchar": "#", "ampchar": "&", "quotedblleft": "“",
    "quotedblright": "”", "quoteleft": "‘", "quoteright": "’", "quotedblbase": "„", "quotesinglbase": "‚",
    "guillemetleft": "«", "guillemetright": "»", "guillemotleft": "«", "guillemotright": "»", "guilsinglleft": "‹",
    "guilsinglright": "›", "aa": "å", "AA": "Å", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø",
    "l": "ł", "L": "Ł", "ss": "ß", "th": "þ", "TH": "Þ", "dh": "ð", "DH": "Ð",
}  # fmt: skip
_CHARACTERS: Final = {"*": "\n", " ": " ", "\t": " ", "\n": " ", ":": "", "/": "", "-": "", "|": ""}
_ACCENTS: Final = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ",": "\u0327",
    "ringaccent": "\u030a", "v": "\u030c", "u": "\u0306", "H": "\u030b", "dotaccent": "\u0307", "ogonek": "\u0328",
    "udotaccent": "\u0323",
}  # fmt: skip
_CODE: Final = frozenset("code command env file kbd key math option samp t verb".split())
_SILENT: Final = frozenset("anchor cindex findex hyphenation shortcaption errormsg sortas".split())
_REFERENCES: Final = {"xref": "See ", "pxref": "see ", "ref": "", "inforef": "See "}
_FORMATS: Final = frozenset({"info", "plaintext"})
_GROUP: Final = "{"
_MAX_DEPTH: Final = 100
_MAX_MACROS: Final = 10  # within one another
_PARAMETER = re.compile(r"\\(\w+)\\")
_MARKS: Final = str.maketrans({"@": "@@", "{": "@{", "}": "@}"})


class TexinfoText:
    """Knows the values and macros that a page has defined so far."""

    def __init__(self, page: str) -> None:
        self.values = Strings(page)
        self._macros: dict[str, tuple[list[str], str]] = {}
        self._put_in = Strings(page)  # limits what they put in
        self._depth = 0

    def define(self, name: str, parameters: Sequence[str], body: str) -> None:
        self._macros[name] = ([*parameters], body)

    def shown(self, text: str, *, code: bool = False) -> str:
        """Text with its commands as what they say, from the inside out; in ``code`` quotation marks are as written."""
        open_at: list[tuple[str, list[str]]] = [("", [])]
        at = codes = 0  # how many commands for code are open
        for found in _TOKEN.finditer(text):
            parts = open_at[-1][1]
            parts.append(text[at : found.start()] if code or codes else _quoted(text[at : found.start()]))
            at = found.end()
            verbatim, name, brace, accent, letter, before, sign, border = found.groups()[1:]
            if brace or before or border == "{":
                opened = name or before or _GROUP
                if len(open_at) <= _MAX_DEPTH:
                    open_at.append((opened, []))
                    codes += opened in _CODE
            elif border:
                if len(open_at) > 1:
                    closed, inner = open_at.pop()
                    codes -= closed in _CODE
                    open_at[-1][1].append(self._said(closed, "".join(inner), open_at[-1][0]))
            elif name:
                parts.append(self._alone(name))
            elif accent:
                parts.append(_accented(accent, letter))
            else:
                parts.append(verbatim if sign is None else _CHARACTERS.get(sign, sign))
        rest = text[at:] if code or codes else _quoted(text[at:])
        return "".join("".join(parts) for _name, parts in open_at) + rest

    def _alone(self, name: str) -> str:
        return self._put(name, []) if name in self._macros else _SIGNS.get(name, "")

    def _said(self, name: str, inner: str, around: str) -> str:
        if name in self._macros:
            return self._put(name, inner.split(",", max(0, len(self._macros[name][0]) - 1)))
        if name == _GROUP:
            said = f"{{{inner}}}" if around in {"math", _GROUP} else inner
        elif name == "value":
            said = self.values.shown(inner.strip(), "")
        elif name in _ACCENTS:
            said = _accented(name, inner)
        elif name == "sup":
            said = f"^{inner}" if is_power("0", inner) else inner
        elif not inner or name in _SILENT:
            said = _SIGNS.get(name, "")
        else:
            said = _of_arguments(name, inner)
        return said

    def _put(self, name: str, given: Sequence[str]) -> str:
        """The text of a macro with its arguments, as far as macros may go."""
        parameters, body = self._macros[name]
        values = dict(zip(parameters, (each.strip().translate(_MARKS) for each in given), strict=False))
        length = len(body) + sum(len(values.get(parameter, "")) for parameter in _PARAMETER.findall(body))
        if self._depth >= _MAX_MACROS or not self._put_in.has_room(length):
            return ""
        self._depth += 1
        said = self.shown(_PARAMETER.sub(lambda found: values.get(found[1], ""), body))
        self._depth -= 1
        return said


def _quoted(text: str) -> str:
    return text.replace("``", "“").replace("''", "”")


def _of_arguments(name: str, inner: str) -> str:
    """What commands show of their arguments, which stand between commas."""
    parts = [one_line(part) for part in inner.split(",")]
    parts += [""] * (5 - len(parts))
    said = inner
    if name == "inforef":  # names the file where others have a title
        parts[2:4] = ["", parts[2]]
    if name in _REFERENCES:
        where = parts[4] or parts[3]
        named = parts[2] or parts[1] or parts[0]
        said = f"{_REFERENCES[name]}{named}{f' in {where}' if where and named else where}"
    elif name in {"url", "uref", "email"}:
        said = parts[2] or parts[1] or parts[0]
    elif name in {"abbr", "acronym"} and parts[1]:
        said = f"{parts[0]} ({parts[1]})"
    elif name == "image":
        said = parts[3]
    elif name == "footnote":
        said = f" ({one_line(inner)})"
    elif name == "U":
        said = _character(inner)
    elif name == "dotless":
        said = {"i": "ı", "j": "ȷ"}.get(inner, inner)
    elif name.startswith("inline"):
        kind, _comma, rest = inner.partition(",")
        said = rest.strip() if kind.strip() in _FORMATS or name.startswith("inlineif") else ""
    return said


def _character(code: str) -> str:
    number = int(code, 16) if re.fullmatch(r"[0-9A-Fa-f]{1,6}", code) else 0
    return storable(chr(number)) if 0 < number < 0x110000 else ""


def _accented(accent: str, letters: str) -> str:
    return unicodedata.normalize("NFC", f"{letters[:1]}{_ACCENTS[accent]}{letters[1:]}") if letters else ""
