"""What Word's styles and numbering say of a paragraph: heading level, letters, code, contents, list marker."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from indexer.parsers.xml_parts import attribute, child, name_of, read_xml, whole_number

if TYPE_CHECKING:
    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip

_HEADING_NAME = re.compile(r"^heading (\d)$")
_CODE_NAME = re.compile(r"^(?:source )?code(?: block)?$|^html preformatted$|^(?:pre|preformatted text|macro text)$")
_CAPTION_NAME = re.compile(r"^(?:\w+ )?captions?$")
_CONTENTS_NAME = re.compile(r"^toc \d$|^table of figures$")
_MONOSPACED = re.compile(r"mono|courier|consolas|menlo|lucida console|fixedsys|source code", re.IGNORECASE)
_QUOTE_NAME = re.compile(r"^(?:subtitle|(?:intense |block )?quote|block text|quotations?)$")
_TITLE_NAME: Final = "title"
_BODY_LEVEL: Final = 9
# Of letters whose size nobody says, in half points.
_USUAL_SIZE: Final = 20
_OFF: Final = frozenset({"0", "false", "off"})
_MAX_BASES: Final = 20
_MAX_DEPTH: Final = 8
_LEVEL_MARK = re.compile(r"%([1-9])")
_ROMAN: Final = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Style:
    """Properties of a paragraph or of letters in it.

    ``level`` is 1 to 9 for headings; ``numbering`` is a list's id and depth, from 0; ``size`` is in half points, 0
    where a style leaves it to others.
    """

    name: str = ""
    level: int | None = None
    numbering: tuple[str, int] | None = None
    monospaced: bool = False
    bold: bool = False
    slanted: bool = False
    size: int = 0
    is_caption: bool = False

    @property
    def is_code(self) -> bool:
        return bool(_CODE_NAME.match(self.name)) or self.monospaced

    @property
    def is_title(self) -> bool:
        return self.name == _TITLE_NAME

    @property
    def is_quote(self) -> bool:
        """Whether its letters differ from the body's without being a heading's."""
        return bool(_QUOTE_NAME.match(self.name))

    @property
    def is_contents(self) -> bool:
        return bool(_CONTENTS_NAME.match(self.name))


class Styles:
    """The styles of a document by their ids, each with what it inherits."""

    def __init__(self, archive: LimitedZip, part: str) -> None:
        self._elements: dict[str, _Element] = {}
        self._styles: dict[str, Style] = {}
        self._default = ""
        self._size = _USUAL_SIZE
        if part in archive:
            root = read_xml(archive, part)
            if (letters := child(root, "w:docDefaults", "w:rPrDefault", "w:rPr")) is not None:
                self._size = whole_number(_value(letters, "w:sz")) or _USUAL_SIZE
            for element in root:
                if attribute(element, "w:styleId"):
                    self._elements[attribute(element, "w:styleId")] = element
                    if attribute(element, "w:type") == "paragraph" and attribute(element, "w:default") in {"1", "true"}:
                        self._default = attribute(element, "w:styleId")

    def of(self, style_id: str) -> Style:
        style_id = style_id or self._default
        if style_id not in self._styles:
            self._styles[style_id] = self._resolve(style_id)
        return self._styles[style_id]

    def of_paragraph(self, paragraph: _Element) -> Style:
        """The style of a ``w:p`` with what it says itself."""
        properties = child(paragraph, "w:pPr")
        if properties is None:
            return self.of("")
        style = replace(self.of(_value(properties, "w:pStyle")))
        apply_properties(style, properties)
        return style

    def of_run(self, properties: _Element | None, paragraph: Style) -> Style:
        """How the letters of a run with this ``w:rPr`` are set in a paragraph."""
        style = replace(paragraph, size=paragraph.size or self._size)
        if properties is not None:
            for element in self._chain(_value(properties, "w:rStyle")):
                _apply_letters(style, child(element, "w:rPr"))
            _apply_letters(style, properties)
        return style

    def _chain(self, style_id: str) -> list[_Element]:
        """A style after all that it is based on."""
        chain: list[_Element] = []
        while (element := self._elements.get(style_id)) is not None and len(chain) < _MAX_BASES:
            chain.append(element)
            style_id = _value(element, "w:basedOn")
        return chain[::-1]

    def _resolve(self, style_id: str) -> Style:
        style = Style()
        for element in self._chain(style_id):
            style.name = _value(element, "w:name").lower()
            if (match := _HEADING_NAME.match(style.name)) is not None:
                style.level = int(match[1])
            elif style.is_title:
                style.level = 1
            # Styles of a template's own are often made from Word's.
            style.is_caption = style.is_caption or bool(_CAPTION_NAME.match(style.name))
            if (properties := child(element, "w:pPr")) is not None:
                apply_properties(style, properties)
            _apply_letters(style, child(element, "w:rPr"))
        return style


def apply_properties(style: Style, properties: _Element) -> None:
    """Let a ``w:pPr`` change what a style says."""
    if (level := whole_number(_value(properties, "w:outlineLvl"), -1)) >= 0:
        style.level = level + 1 if level < _BODY_LEVEL else None
    if (numbering := child(properties, "w:numPr")) is not None:
        number = _value(numbering, "w:numId")
        before = style.numbering or ("", 0)
        depth = min(whole_number(_value(numbering, "w:ilvl"), before[1]), _MAX_DEPTH)
        style.numbering = (number or before[0], depth)
        if number == "0":
            style.numbering = None


def is_monospaced(properties: _Element | None) -> bool:
    """Whether a ``w:rPr`` says so itself."""
    fonts = None if properties is None else child(properties, "w:rFonts")
    return fonts is not None and _is_monospaced(fonts)


def _apply_letters(style: Style, properties: _Element | None) -> None:
    """Let a ``w:rPr`` change what a style says."""
    for element in () if properties is None else properties:
        name, value = name_of(element.tag), attribute(element, "w:val")
        if name == "w:rFonts":
            style.monospaced = _is_monospaced(element)
        elif name == "w:b":
            style.bold = value not in _OFF
        elif name == "w:i":
            style.slanted = value not in _OFF
        elif name == "w:sz":
            style.size = whole_number(value) or style.size


def _is_monospaced(fonts: _Element) -> bool:
    return bool(_MONOSPACED.search(attribute(fonts, "w:ascii") or attribute(fonts, "w:hAnsi")))


@dataclass(slots=True, kw_only=True)
class _Level:
    format: str = "bullet"
    text: str = ""
    start: int = 1


@dataclass(slots=True)
class _List:
    levels: dict[int, _Level] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)


class Numbering:
    """Counts list items and numbered headings as Word does."""

    def __init__(self, archive: LimitedZip, part: str, styles: Styles) -> None:
        self._lists: dict[str, _List] = {}
        self._starts: dict[tuple[str, int], int] = {}
        if part not in archive:
            return
        root = read_xml(archive, part)
        abstract = {attribute(e, "w:abstractNumId"): e for e in root if e.tag.endswith("}abstractNum")}
        shared: dict[str, _List] = {}
        for element in root:
            if not element.tag.endswith("}num"):
                continue
            number, base = attribute(element, "w:numId"), _value(element, "w:abstractNumId")
            definition = abstract.get(base)
            if definition is not None and (link := _value(definition, "w:numStyleLink")):
                linked = styles.of(link).numbering
                target = next((e for e in root if linked and attribute(e, "w:numId") == linked[0]), None)
                base = _value(target, "w:abstractNumId") if target is not None else base
                definition = abstract.get(base)
            if definition is not None:
                # Lists with one definition go on counting where the other stopped, unless they say where to start.
                self._lists[number] = shared.setdefault(base, _List(_levels(definition)))
                self._override(number, element)

    def _override(self, number: str, element: _Element) -> None:
        for override in element:
            start = whole_number(_value(override, "w:startOverride"), -1)
            if start >= 0:
                self._starts[number, whole_number(attribute(override, "w:ilvl"))] = start

    def is_ordered(self, numbering: tuple[str, int]) -> bool:
        """Whether items at this place of a list are numbered."""
        found = self._lists.get(numbering[0])
        level = None if found is None else found.levels.get(numbering[1])
        return level is not None and level.format not in {"bullet", "none"}

    def marker(self, numbering: tuple[str, int]) -> str:
        """The next item's number as Word shows it; ``-`` for bullets, empty for an item that shows nothing."""
        number, depth = numbering
        found = self._lists.get(number)
        if found is None:
            return "-"
        level = found.levels.get(depth, _Level())
        restart = self._starts.pop((number, depth), None)
        count = found.counts.get(depth, level.start - 1) + 1 if restart is None else restart
        found.counts[depth] = count
        for deeper in [other for other in found.counts if other > depth]:
            del found.counts[deeper]
        if level.format == "bullet":
            return "-"
        if level.format == "none":
            return ""
        return _LEVEL_MARK.sub(lambda match: self._shown(found, int(match[1]) - 1), level.text).strip()

    def _shown(self, found: _List, depth: int) -> str:
        level = found.levels.get(depth, _Level(format="decimal"))
        return _formatted(found.counts.get(depth, level.start), level.format)


def _levels(definition: _Element) -> dict[int, _Level]:
    levels = {}
    for element in definition:
        if element.tag.endswith("}lvl"):
            levels[whole_number(attribute(element, "w:ilvl"))] = _Level(
                format=_value(element, "w:numFmt") or "decimal",
                text=_value(element, "w:lvlText"),
                start=whole_number(_value(element, "w:start"), 1),
            )
    return levels


def _formatted(count: int, style: str) -> str:
    if style.endswith("Letter") and count > 0:
        text = chr(ord("a") + (count - 1) % 26) * min((count - 1) // 26 + 1, 8)
    elif style.endswith("Roman") and 0 < count < 4000:
        text = ""
        for value, letters in _ROMAN:
            text += letters * (count // value)
            count %= value
    else:
        return f"{count:02}" if style == "decimalZero" else str(count)
    return text.upper() if style.startswith("upper") else text


def _value(element: _Element, name: str) -> str:
    found = child(element, name)
    return "" if found is None else attribute(found, "w:val")
