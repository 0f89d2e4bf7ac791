r"""What manual pages write as escapes of troff: characters (groff_char(7)), strings, and what says how text looks."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from indexer.parsers.decoding import storable

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from indexer.parsers.strings import Strings

_NAMED: Final = (
    "bu• em— en– aq' dq\" lq“ rq” oq‘ cq’ Fo« Fc» fo‹ fc› Bq„ bq‚ co© rg® tm™ mu× di÷ +-± ->→ <-← <>↔ uA↑ dA↓ rA⇒ lA⇐ "
    ">=≥ <=≤ !=≠ ==≡ ~~≈ =~≅ if∞ mi− pl+ eq= **∗ sr√ ha^ ti~ rs\\ ga` aa´ sl/ ul_ ba| bv| br│ at@ sh# Do$ ct¢ Eu€ "
    "Po£ Ye¥ sc§ ps¶ de° dg† dd‡ fm′ sd″ mc\u00b5 12½ 14¼ 34¾ S1¹ S2² S3³ r!¡ r?¿ ssß aeæ AEÆ oeœ OEŒ /oø /OØ /lł /LŁ "
    "-DÐ Sdð TPÞ Tpþ .iı lB[ rB] lC{ rC} la⟨ ra⟩ hy- OK✓ pc· sq□ ci○ lz◊ OmΩ Ofª Omº ts\u03c2"
)
_GREEK: Final = zip("abgdezyhiklmncoprstufxqwABGDEZYHIKLMNCOPRSTUFXQW",
                    "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ", strict=True)  # fmt: skip
_CHARACTERS: Final = {
    "-": "-", "e": "\\", "E": "\\", "\\": "\\", " ": " ", "~": " ", "0": " ", "t": "\t", "'": "'", "`": "`", ".": ".",
    **{f"({name[:2]}": name[2:] for name in _NAMED.split()},
    **{f"(*{latin}": greek for latin, greek in _GREEK},
}  # fmt: skip
_ACCENTS: Final = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", ":": "\u0308", "~": "\u0303", ",": "\u0327", "v": "\u030c",
    "o": "\u030a",
}  # fmt: skip
_STRINGS: Final = {  # that the macros themselves define
    "lq": "“", "rq": "”", "Aq": "'", "R": "®", "Tm": "™", "Lq": "“", "Rq": "”", "q": '"', "lp": "(", "rp": ")",
    "Lt": "<", "Gt": ">", "Le": "≤", "Ge": "≥", "<=": "≤", ">=": "≥", "Ne": "≠", "Pm": "±", "If": "∞", "Pi": "π",
    "Na": "NaN", "Ba": "|", "Am": "&", "aa": "´", "ga": "`", "ua": "^",
}  # fmt: skip
_CODE: Final = r"[0-9A-F]{4,6}"
_ESCAPE = re.compile(
    r"\\(?:[fFkmMY](?:\(..|\[[^\]\n]{0,20}\]|.)|s(?:[-+]?\d{1,2}|[-+]?\(..|[-+]?\[[^\]\n]{0,9}\]|'[^'\n]{0,9}')"
    r"|(?P<space>h'\+?0*[1-9][^'\n]{0,40}')|[hvwlLDSHxX]'[^'\n]{0,40}'|n[-+]?(?:\(..|\[[^\]\n]{0,40}\]|.)"
    rf"|\[u(?P<codes>{_CODE}(?:_{_CODE}){{0,4}})\]|(?:\[char|N')(?P<number>\d{{1,6}})[\]']"
    r"|\*(?:\((?P<two>..)|\[(?P<string>[^\]\n]{0,40})\]|(?P<one>.))"
    r"|\((?P<pair>..)|\[(?P<name>[^\]\n]{0,40})\]|(?P<sign>.)|$)"
)
_SIGN = re.compile(rf"{_ESCAPE.pattern}|.")
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|((?:\\.?|[^\s\\])+)')


def plain_text(text: str, strings: Strings) -> str:
    """A line as it is shown; ``strings``: those that the page has defined."""

    def shown(escape: re.Match[str]) -> str:
        if escape["codes"] or escape["number"]:
            codes = [int(code, 16) for code in (escape["codes"] or "").split("_") if code] or [int(escape["number"])]
            return unicodedata.normalize("NFC", storable("".join(chr(code) for code in codes if code < 0x110000)))
        string = escape["two"] or escape["string"] or escape["one"]
        if string:
            return strings.shown(string, _STRINGS.get(string, ""))
        return " " if escape["space"] else _character(escape["sign"] or f"({escape['pair'] or escape['name'] or ''}")

    return _ESCAPE.sub(shown, text)


def plain_words(words: Iterable[str], strings: Strings) -> list[str]:
    return [plain_text(each, strings) for each in words]


def split_arguments(text: str, called: Container[str] = ()) -> list[str]:
    r"""What stands behind a request, as it is written: words, and what is between quotation marks.

    Of these, names of macros that would be ``called`` begin with ``\&``, as words that are none do.
    """
    found = _ARGUMENT.finditer(text)
    words = ((each[2], each[2] is None, each[1]) for each in found)
    return [_quoted(quoted, called) if is_quoted else word for word, is_quoted, quoted in words]


def _quoted(text: str, called: Container[str]) -> str:
    return f"\\&{text}" if text in called else text.replace('""', '"')


def exchanged(text: str, strings: Strings) -> Iterator[tuple[int, str]]:
    """Pairs of ``.tr``: what stands for a character from then on."""
    signs = [plain_text(found[0], strings) for found in _SIGN.finditer(text)]
    pairs = zip(signs[::2], [*signs[1::2], " "], strict=False)
    return ((ord(sign), other) for sign, other in pairs if len(sign) == len(other) == 1)


def _character(name: str) -> str:
    accent, letter = name[1:2], name[2:]
    if name in _CHARACTERS or len(letter) != 1 or accent not in _ACCENTS:
        return _CHARACTERS.get(name, "")
    return unicodedata.normalize("NFC", letter + _ACCENTS[accent])
