"""What OpenDocument's styles say of paragraphs, their letters and lists."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from indexer.parsers.xml_parts import attribute, child, name_of, read_xml, whole_number

if TYPE_CHECKING:
    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip

_MAX_PARENTS: Final = 20
_CODE: Final = frozenset({"Preformatted_20_Text", "Source_20_Code", "Code"})
_TITLE: Final = "Title"
_QUOTES: Final = frozenset({"Subtitle", "Quotations"})
# Of the programs, in one file with the document, and of the document itself.
STYLES: Final = frozenset({"office:styles", "office:automatic-styles"})
# In points, of letters whose size nobody says.
_USUAL_SIZE: Final = 12.0
_POINTS = re.compile(r"^(\d{1,4}(?:\.\d{1,6})?)pt$")
_PERCENT = re.compile(r"^(\d{1,4})%$")
# The last four are those of the categories that LibreOffice offers.
_CAPTIONS: Final = frozenset({"Caption", "Illustration", "Figure", "Table", "Drawing"})
_CONTENTS: Final = ("Contents_20_", "Illustration_20_Index_20_", "Table_20_Index_20_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """How letters are set; ``size`` is in points."""

    size: float = _USUAL_SIZE
    bold: bool = False
    slanted: bool = False

    def changed(self, size: str, weight: str, slant: str) -> Letters:
        """With what a style's attributes say; empty ones say nothing."""
        letters = self
        if points := _POINTS.match(size):
            letters = replace(letters, size=float(points[1]))
        elif percent := _PERCENT.match(size):
            letters = replace(letters, size=letters.size * int(percent[1]) / 100)
        if weight:
            letters = replace(letters, bold=weight == "bold" or (weight.isdigit() and weight >= "600"))
        return replace(letters, slanted=slant in {"italic", "oblique"}) if slant else letters


class OdfStyles:
    """Styles by name: those of ``styles.xml``, then those that a document adds for its own paragraphs."""

    def __init__(self, archive: LimitedZip) -> None:
        self._parents: dict[str, str] = {}
        self._letters: dict[str, tuple[str, str, str]] = {}
        self._usual = Letters()
        self._ordered: dict[tuple[str, int], bool] = {}
        if "styles.xml" in archive:
            root = read_xml(archive, "styles.xml")
            for styles in root:
                if name_of(styles.tag) in STYLES:
                    self.add(styles)

    def add(self, styles: _Element) -> None:
        """Take in an ``office:automatic-styles``."""
        for style in styles:
            name, own = name_of(style.tag), attribute(style, "style:name")
            if name == "style:style":
                self._parents[own] = attribute(style, "style:parent-style-name")
                self._letters[own] = _font(style)
            elif name == "style:default-style" and attribute(style, "style:family") == "paragraph":
                self._usual = self._usual.changed(*_font(style))
            elif name == "text:list-style":
                for level in style:
                    depth = whole_number(attribute(level, "text:level"))
                    numbered = name_of(level.tag) == "text:list-level-style-number"
                    self._ordered[own, depth] = numbered and bool(attribute(level, "style:num-format"))

    def is_code(self, style: str) -> bool:
        return not _CODE.isdisjoint(self._family(style))

    def is_title(self, style: str) -> bool:
        return _TITLE in self._family(style)

    def is_quote(self, style: str) -> bool:
        """Whether its letters differ from the body's without being a heading's."""
        return not _QUOTES.isdisjoint(self._family(style))

    def letters(self, style: str, around: Letters | None = None) -> Letters:
        """How a style sets letters; ``around`` is how the text around them is set."""
        letters = around or self._usual
        for name in reversed(self._family(style)):
            letters = letters.changed(*self._letters.get(name, ("", "", "")))
        return letters

    def is_caption(self, style: str) -> bool:
        return not _CAPTIONS.isdisjoint(self._family(style))

    def is_contents(self, style: str) -> bool:
        """Whether a paragraph is a line of a table of contents."""
        return any(name.startswith(_CONTENTS) for name in self._family(style))

    def is_ordered(self, list_style: str, depth: int) -> bool:
        """Whether items at this depth, from 1, are numbered."""
        return self._ordered.get((list_style, depth), False)

    def _family(self, style: str) -> list[str]:
        names: list[str] = []
        while style and len(names) < _MAX_PARENTS:
            names.append(style)
            style = self._parents.get(style, "")
        return names


def _font(style: _Element) -> tuple[str, str, str]:
    found = child(style, "style:text-properties")
    if found is None:
        return "", "", ""
    return attribute(found, "fo:font-size"), attribute(found, "fo:font-weight"), attribute(found, "fo:font-style")
