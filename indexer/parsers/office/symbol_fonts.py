"""Signs of fonts that keep theirs in a private area of Unicode, from F020 on: Symbol, Wingdings and Wingdings 2.

Sources: Adobe's and Microsoft's tables of these fonts. Of Wingdings there is what forms and lists are made of.
"""

from __future__ import annotations

from typing import Final

_PRIVATE: Final = 0xF000
_SYMBOL: Final = {
    **dict(enumerate("ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", ord("A"))),
    **dict(enumerate("αβχδεφγηιϕκλμνοπθρστυϖωξψζ", ord("a"))),
    **dict(enumerate(" !∀#∃%&∍()∗+,−./0123456789:;<=>?≅", ord(" "))),
    **dict(enumerate("[∴]⊥_", ord("["))),
    **dict(enumerate("{|}∼", ord("{"))),
    **dict(enumerate("€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…", 0xA0)),
    **dict(enumerate("ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑", 0xC0)),
    0xF1: "〉",
    0xF2: "∫",
}
_WINGDINGS: Final = {
    0x6C: "●", 0x6E: "■", 0x6F: "☐", 0x78: "☒", 0xA7: "▪", 0xA8: "☐", 0xB7: "•", 0xDF: "←", 0xE0: "→", 0xE8: "→",
    0xF0: "⇨", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☒",
}  # fmt: skip
_WINGDINGS_2: Final = {0x4F: "✗", 0x50: "✓", 0x51: "☒", 0x52: "☒", 0x53: "☒", 0x54: "☒", 0xA3: "☐"}
_FONTS: Final = {"symbol": _SYMBOL, "wingdings": _WINGDINGS, "wingdings 2": _WINGDINGS_2}
_IN_TEXT: Final = {font: {_PRIVATE + code: sign for code, sign in signs.items()} for font, signs in _FONTS.items()}


def sign_of(font: str, code: str) -> str:
    """What a font shows for a code in hexadecimal, with or without F000; empty where that is not known."""
    number = int(code, 16) & 0xFF if code.isalnum() and not set(code.upper()) - set("0123456789ABCDEF") else 0
    return _FONTS.get(font.lower(), _WINGDINGS).get(number, "")


def shown_in(font: str, text: str) -> str:
    """A text as a font shows it, as far as its characters are of the private area."""
    return text if text.isascii() else text.translate(_IN_TEXT.get(font.lower(), {}))
