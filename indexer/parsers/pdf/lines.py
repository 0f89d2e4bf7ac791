"""The lines of a PDF page with their place and font, read from PDFium's character list."""

from __future__ import annotations

import ctypes
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pypdfium2 import PdfPage, PdfTextPage

# A gap this many times the font size between two words of a line may part two table cells or two columns.
_CELL_GAP: Final = 0.8
# A gap smaller than this between two runs of characters is no space: a superscript, a change of font.
_SPACE_GAP: Final = 0.14
# Exponents and numbers of notes are smaller than this share of the figures that they stand behind.
_RAISED_SCALE: Final = 0.85
# Baselines this near, in font sizes, are one line: super- and subscripts stand up to this far off.
SAME_LINE: Final = 0.5
# Shares of a page's height, at the top and at the bottom, where headers and footers stand.
TOP_MARGIN: Final = 0.12
BOTTOM_MARGIN: Final = 0.17
# Medium is a weight below bold; "Medi" is how the PostScript fonts abbreviate their bold.
_BOLD = re.compile(rb"bold|black|heavy|demi|medi(?!um)|cmb|sfbx|[-,]bd", re.IGNORECASE)
_MONOSPACE = re.compile(rb"mono|courier|consol|typewriter|cmtt|sftt|menlo|andale|fixed", re.IGNORECASE)
_FORCE_BOLD_FLAG: Final = 1 << 18
_FIXED_PITCH_FLAG: Final = 1
# PDFium puts a mark where a word is cut by a hyphen at a line's end, instead of hyphen and line break. The same code
# point stands for characters whose meaning is unknown.
_PIECES = re.compile(
    r"(?P<end>[\r\n]+)|(?P<word>[^\s\x00-\x1f\x7f\ufffe\ufeff]+)|(?P<mark>[\x02\ufffe])",
)
# Code points that no ToUnicode table stands behind: private use, where symbol fonts are mapped, and "unknown".
_UNMAPPED = re.compile(r"[\x00\ufffd\ufffe\ue000-\uf8ff]")
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
# The lam-alef ligatures stand for two letters, which PDFium turns round with the rest of the line.
_TURNED_LAM_ALEF = re.compile("[\u0627\u0622\u0623\u0625]\u0644")
_MEANT: Final = str.maketrans(
    {
        # Fonts that say nothing of their codes mostly have those of Windows.
        **{code: bytes([ord(code)]).decode("cp1252", "replace") for code in map(chr, range(0x80, 0xA0))},
        "\ufb00": "ff",
        "\ufb01": "fi",
        "\ufb02": "fl",
        "\ufb03": "ffi",
        "\ufb04": "ffl",
        "\ufb05": "st",
        "\ufb06": "st",
    }
)
# Fonts of formulas draw the bar of a root with as many signs as it is long, which are named so.
_ROOT = re.compile("(?:ffi){2,}")
# TeX's older fonts name ffi and ffl as nothing else does, which leaves a gap of so many font sizes within a word.
_LIGATURE_GAP: Final = (0.5, 1.0)
# They have their ff where others have a sign for the return key.
_OLD_FF = re.compile(r"(?<=[A-Za-z])\u21b5|\u21b5(?=[a-z])")
# A word of one private character is a bullet or a box of a symbol font; TeX's text symbols have theirs at 88.
_SYMBOL = re.compile(r"[\uf020-\uf0ff\x88]")
_SCRIPT_BORDER = re.compile(r"(?<=[A-Za-z])(?=[\u0620-\u06d3])|(?<=[\u0620-\u06d3])(?=[A-Za-z])")


@dataclass(slots=True, kw_only=True)
class Line:
    """A run of words on one baseline without wide gaps; a row of a table is several of them, side by side.

    Coordinates are in points, upwards and to the right as the text is read, whatever the page's rotation.
    ``words`` has left, right and text of each word. ``hyphenated`` lines end inside a word whose hyphen is left out.
    ``margin`` is 1 where headers stand, -1 where footers do, else 0; ``turned`` lines run in another direction than
    the page's text. ``drawn`` lines are labels of a drawing; ``apart`` ones were put together of pieces with wide gaps.
    """

    left: float
    right: float
    base: float = 0.0
    size: float = 0.0
    bold: bool = False
    mono: bool = False
    text: str = ""
    words: list[tuple[float, float, str]] = field(default_factory=list)
    hyphenated: bool = False
    margin: int = 0
    turned: bool = False
    drawn: bool = False
    apart: bool = False

    @property
    def width(self) -> float:
        return self.right - self.left


@dataclass(slots=True, kw_only=True)
class PageLines:
    """What a page says: ``lines`` in the order of its content stream.

    ``characters`` counts those that are seen, ``unmapped`` those of them that nothing tells the meaning of; ``turn`` is
    how many quarters of a turn the text is turned.
    """

    lines: list[Line] = field(default_factory=list)
    characters: int = 0
    unmapped: int = 0
    turn: int = 0


def page_lines(page: PdfPage) -> PageLines:
    """Read a page. Raises PdfiumError where PDFium cannot."""
    text_page = page.get_textpage()
    try:
        reader = _LineReader(text_page)
        # A word of halves of characters alone is empty.
        lines = [found for found in reader.read() if found[0].text]
        text = reader.text
    finally:
        text_page.close()
    left, low, right, high = page.get_bbox()
    turn = _main_turn(lines)
    height = right - left if turn % 2 else high - low
    origin = (low, -right, -high, left)[turn]
    for line, own_turn in lines:
        line.turned = own_turn != turn
        line.margin = 0 if line.turned else margin(line.base - origin, height)
    return PageLines(
        lines=rejoined([line for line, _ in lines]),
        characters=sum(len(line.text) for line, _ in lines),
        unmapped=len(_UNMAPPED.findall(text)) - sum(line.hyphenated for line, _ in lines),
        turn=turn,
    )


def margin(above: float, height: float) -> int:
    """1, -1 or 0 for a line so far above the lower end of a page of this height."""
    return int(above > height * (1 - TOP_MARGIN)) - int(above < height * BOTTOM_MARGIN)


def _main_turn(lines: list[tuple[Line, int]]) -> int:
    weights = [0, 0, 0, 0]
    for line, turn in lines:
        weights[turn] += len(line.text)
    return weights.index(max(weights))


def rejoined(lines: list[Line]) -> list[Line]:
    """Join what was broken into lines at a raised or lowered character, or where the font changes."""
    joined: list[Line] = []
    for line in lines:
        last = joined[-1] if joined else None
        if last is None or last.turned != line.turned or last.hyphenated or not _continues(last, line):
            joined.append(line)
            continue
        space = " " if line.left - last.right > _SPACE_GAP * last.size else ""
        if not space and _is_raised(last, line):
            line.words[0] = (*line.words[0][:2], f"^{line.words[0][2]}")
            line.text = f"^{line.text}"
        last.text += space + line.text
        if space:
            last.words.extend(line.words)
        else:
            left, _, text = last.words.pop()
            _, right, more = line.words[0]
            last.words.extend([(left, right, text + more), *line.words[1:]])
        last.right = max(last.right, line.right)
        last.hyphenated = line.hyphenated
        if len(line.text) > len(last.text) - len(line.text):
            last.base, last.size, last.bold, last.mono = line.base, line.size, line.bold, line.mono
    return joined


def _continues(last: Line, line: Line) -> bool:
    size = max(last.size, line.size)
    gap = line.left - last.right
    return abs(line.base - last.base) <= SAME_LINE * size and -0.3 * size <= gap <= _CELL_GAP * size


def _is_raised(number: Line, line: Line) -> bool:
    """Whether a line is an exponent or the number of a note behind a number, which its figures must not run into."""
    figures = number.text[-1].isdigit() and line.words[0][2].isdigit()
    return figures and line.size < _RAISED_SCALE * number.size and line.base > number.base


class _LineReader:
    def __init__(self, text_page: PdfTextPage) -> None:
        from pypdfium2 import raw

        self._raw = raw
        self._page = text_page
        self._box = raw.FS_RECTF()
        self._x, self._y = ctypes.c_double(), ctypes.c_double()
        self._name = ctypes.create_string_buffer(128)
        self._flags = ctypes.c_int()
        self._turn = 0
        self._last = 0
        self._starts: list[int] = []
        # How many characters of the line stand on a baseline in a size.
        self._weights: dict[tuple[float, float], int] = {}
        self.text = self._text()

    def _text(self) -> str:
        """The page's characters, one for each of PDFium's, so that offsets are its character indices."""
        count = self._page.count_chars()
        if count <= 0:
            return ""
        buffer = (ctypes.c_ushort * (2 * count + 2))()
        written = self._raw.FPDFText_GetText(self._page, 0, count, buffer) - 1
        text = bytes(memoryview(buffer).cast("B")[: 2 * max(0, written)]).decode("utf-16-le", "surrogatepass")
        # Characters without a meaning are left out of it; then there is no way but one by one.
        if written != count or len(text) != count:
            text = "".join(map(chr, (self._raw.FPDFText_GetUnicode(self._page, index) for index in range(count))))
        return text

    def read(self) -> Iterator[tuple[Line, int]]:
        """Lines, each with how many quarters of a turn its text is turned."""
        line: Line | None = None
        marked = False
        for piece in _PIECES.finditer(self.text):
            kind = piece.lastgroup
            if kind == "mark":
                marked = line is not None
                continue
            if line is not None and kind == "end":
                line.hyphenated = marked
                yield self._ended(line)
                line = None
            elif kind == "word":
                start, end = piece.span()
                if line is None:
                    self._turn = self._quarter_turns(start)
                place = self._place(start, end)
                if line is not None and not self._goes_on(line, place, start, marked=marked):
                    line.hyphenated = marked
                    yield self._ended(line)
                    line = None
                if line is None:
                    line = Line(left=place[0], right=place[1])
                    self._starts, self._weights, marked = [], {}, False
                    self._look(line, start)
                self._add(line, place, start, end, glued=marked)
            marked = False
        if line is not None:
            line.hyphenated = marked
            yield self._ended(line)

    def _goes_on(self, line: Line, place: tuple[float, float, float, float], start: int, *, marked: bool) -> bool:
        left, right, base, _ = place
        if marked and abs(base - line.base) > SAME_LINE * line.size:
            return False
        widest = _LIGATURE_GAP[1] if marked else _CELL_GAP
        if max(left - line.right, line.left - right) <= widest * line.size:
            return True
        # The wide gaps of code are spaces, not columns.
        last, following = Line(left=0, right=0), Line(left=0, right=0)
        self._look(last, self._last)
        self._look(following, start)
        return last.mono and following.mono and abs(base - line.base) <= SAME_LINE * line.size

    def _add(self, line: Line, place: tuple[float, float, float, float], start: int, end: int, *, glued: bool) -> None:
        left, right, base, size = place
        word = self._word(start, end)
        if not word:
            return
        if glued and line.words:
            gap = left - line.words[-1][1]
            left, _, before = line.words.pop()
            word = before + _lost_ligature(before, word, gap / size) + word
        line.words.append((left, right, word))
        line.left, line.right = min(line.left, left), max(line.right, right)
        weight = self._weights[base, size] = self._weights.get((base, size), 0) + end - start
        if weight > self._weights.get((line.base, line.size), 0) or len(self._weights) == 1:
            # Marks, initials, raised figures and code within text have sizes of their own.
            line.base, line.size = base, size
        self._starts.append(start)
        self._last = end - 1

    def _place(self, start: int, end: int) -> tuple[float, float, float, float]:
        """Left, right, baseline and size of a word, as if the text were not turned."""
        box = self._box
        self._raw.FPDFText_GetLooseCharBox(self._page, start, ctypes.byref(box))
        left, low, right, high = box.left, box.bottom, box.right, box.top
        x, y = self._origin(start)
        mixed = not self.text[start:end].isascii() and _RIGHT_TO_LEFT.search(self.text, start, end)
        for index in range(start + 1, end) if mixed else (end - 1,):
            self._raw.FPDFText_GetLooseCharBox(self._page, index, ctypes.byref(box))
            left, right = min(left, box.left), max(right, box.right)
            if self._turn % 2:
                low, high = min(low, box.bottom), max(high, box.top)
        if not math.isfinite(left + right + low + high + x + y):
            # A damaged matrix puts text nowhere; it is read all the same.
            return 0.0, 0.0, 0.0, 1.0
        across = right - left if self._turn % 2 else high - low
        size = max(1.0, round(across * 2) / 2)
        if self._turn == 0:
            return left, right, y, size
        if self._turn == 1:  # upwards
            return low, high, -x, size
        if self._turn == 2:
            return -right, -left, -y, size
        return -high, -low, x, size

    def _origin(self, index: int) -> tuple[float, float]:
        self._raw.FPDFText_GetCharOrigin(self._page, index, ctypes.byref(self._x), ctypes.byref(self._y))
        return self._x.value, self._y.value

    def _quarter_turns(self, index: int) -> int:
        # Radians, clockwise; -1 for an error.
        angle = self._raw.FPDFText_GetCharAngle(self._page, index)
        return -round(angle / (math.pi / 2)) % 4 if angle > 0 else 0

    def _word(self, start: int, end: int) -> str:
        word = self.text[start:end]
        if "ffiffi" in word:
            word = self._with_roots(word, start)
        if not word.isascii():
            if any("\ud800" <= character <= "\udfff" for character in word):
                word = word.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
            if _SYMBOL.fullmatch(word):
                return "•"
            word = _OLD_FF.sub("ff", word.translate(_MEANT))
            if _RIGHT_TO_LEFT.search(word):
                word = _SCRIPT_BORDER.sub(" ", self._lam_alef(word, start))
        elif word[-1].isdigit() and word[0].isdigit() and (raised := self._raised(start, end)):
            word = f"{word[:-raised]}^{word[-raised:]}"
        return word

    def _with_roots(self, word: str, start: int) -> str:
        """The bar of a root, which is one glyph over and over, and no letters side by side."""

        def replacement(found: re.Match[str]) -> str:
            first = start + found.start()
            return "√" if self._origin(first) == self._origin(first + 2) else found[0]

        return _ROOT.sub(replacement, word)

    def _raised(self, start: int, end: int) -> int:
        """How many of a number's last figures are an exponent or the number of a note."""
        size = self._raw.FPDFText_GetFontSize
        whole = size(self._page, start)
        small = 0
        while start < end - small - 1 and size(self._page, end - small - 1) < _RAISED_SCALE * whole:
            small += 1
        if not small:
            return 0
        heights = []
        for index in (start, end - 1):
            x, y = self._origin(index)
            heights.append((y, -x, -y, x)[self._turn])
        return small if heights[1] > heights[0] else 0

    def _lam_alef(self, word: str, start: int) -> str:
        """Turn the two letters of a lam-alef back: drawn as one sign, both have the same place."""
        letters = list(word)
        for match in _TURNED_LAM_ALEF.finditer(word):
            places = []
            for index in (match.start(), match.start() + 1):
                self._raw.FPDFText_GetLooseCharBox(self._page, start + index, ctypes.byref(self._box))
                places.append((self._box.left, self._box.right))
            if places[0] == places[1]:
                letters[match.start()], letters[match.start() + 1] = "\u0644", match[0][0]
        return "".join(letters)

    def _look(self, line: Line, index: int) -> None:
        self._flags.value = 0
        self._raw.FPDFText_GetFontInfo(self._page, index, self._name, len(self._name), ctypes.byref(self._flags))
        name, flags = self._name.value, self._flags.value
        line.bold = bool(_BOLD.search(name)) or bool(flags & _FORCE_BOLD_FLAG)
        line.mono = bool(_MONOSPACE.search(name)) or bool(flags & _FIXED_PITCH_FLAG)

    def _ended(self, line: Line) -> tuple[Line, int]:
        line.text = " ".join(word for _, _, word in line.words)
        if self._starts and (line.bold or line.mono):
            # A bold word at the start is an emphasis, not a heading; two of them are, too.
            for index in (self._starts[len(self._starts) // 2], self._last):
                bold, mono = line.bold, line.mono
                self._look(line, index)
                line.bold, line.mono = line.bold and bold, line.mono and mono
        return line, self._turn


def _lost_ligature(before: str, after: str, gap: float) -> str:
    """The ffi or ffl that stood in a gap, in font sizes, within a word: a vowel follows ffl only."""
    least, most = _LIGATURE_GAP
    if not (least <= gap <= most and before[-1].isalpha() and after[0].isalpha() and after[0].islower()):
        return ""
    return "ffl" if after[0] in "aeiouy" else "ffi"
