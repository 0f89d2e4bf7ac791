"""Text of PowerPoint shapes: paragraphs, what of it is a list, and which shapes are furniture of the slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import one_line
from indexer.parsers.office.formulas import math_text
from indexer.parsers.office.package import related, relations
from indexer.parsers.raised import is_power
from indexer.parsers.xml_parts import child, name_of, read_xml, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip

_FURNITURE: Final = frozenset({"dt", "ftr", "sldNum", "hdr", "sldImg"})
# What a body placeholder is called; no name at all means one for any content.
_BODIES: Final = frozenset({"body", "obj", ""})
_MAX_LEVEL: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """Which place of its layout a shape fills; ``index`` is None for shapes of their own."""

    kind: str = ""
    index: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A paragraph; ``listed`` ones have their marker and indent."""

    text: str
    listed: bool


def placeholder(shape: _Element) -> Placeholder:
    """The placeholder of a ``p:sp``, ``p:pic`` or ``p:graphicFrame``."""
    for element in shape:
        if name_of(element.tag).startswith("p:nv"):
            found = child(element, "p:nvPr", "p:ph")
            if found is not None:
                return Placeholder(kind=found.get("type") or "", index=found.get("idx") or "0")
    return Placeholder()


def is_furniture(shape: _Element) -> bool:
    """Whether it is a date, a footer or a slide number, which repeat on every slide."""
    return placeholder(shape).kind in _FURNITURE


def shape_text(shape: _Element) -> str:
    """All paragraphs of a shape or a cell, one a line, without list markers."""
    return "\n".join(text for paragraph in _paragraphs(shape) if (text := _paragraph_text(paragraph)))


def body_lines(shape: _Element, styles: Sequence[_Element]) -> Iterator[Line]:
    """Paragraphs of a shape. ``styles`` say which levels have bullets, the nearest first."""
    counts: dict[int, int] = {}
    for paragraph in _paragraphs(shape):
        text = _paragraph_text(paragraph)
        if not text:
            continue
        properties = child(paragraph, "a:pPr")
        depth = 0 if properties is None else min(whole_number(properties.get("lvl")), _MAX_LEVEL)
        bullet = _bullet([properties, *(child(style, f"a:lvl{depth + 1}pPr") for style in styles)])
        for deeper in [other for other in counts if other > depth or (other == depth and bullet != "a:buAutoNum")]:
            del counts[deeper]
        indent = "  " * depth
        if bullet == "a:buAutoNum":
            counts[depth] = counts.get(depth, 0) + 1
            yield Line(text=_item(f"{indent}{counts[depth]}. ", text), listed=True)
        elif bullet in {"a:buChar", "a:buBlip"}:
            yield Line(text=_item(f"{indent}- ", text), listed=True)
        else:
            yield Line(text=text, listed=False)


class ListStyles:
    """Styles of lists that a shape takes over from its layout and its master."""

    def __init__(self, archive: LimitedZip) -> None:
        self._archive = archive
        self._parts: dict[str, tuple[_Element, str]] = {}

    def of(self, shape: _Element, layout: str) -> list[_Element]:
        styles = [child(shape, "p:txBody", "a:lstStyle")]
        place = placeholder(shape)
        if place.index is not None and layout in self._archive:
            root, master = self._read(layout, "slideMaster")
            styles.append(_list_style(root, place, by_index=True))
            if master in self._archive:
                root, _theme = self._read(master, "theme")
                styles.append(_list_style(root, place, by_index=False))
                if place.kind in _BODIES:
                    styles.append(child(root, "p:txStyles", "p:bodyStyle"))
        return [style for style in styles if style is not None]

    def _read(self, part: str, kind: str) -> tuple[_Element, str]:
        if part not in self._parts:
            self._parts[part] = read_xml(self._archive, part), related(relations(self._archive, part), kind)
        return self._parts[part]


def _list_style(root: _Element, place: Placeholder, *, by_index: bool) -> _Element | None:
    tree = child(root, "p:cSld", "p:spTree")
    for shape in () if tree is None else tree:
        there = placeholder(shape)
        same = there.index == place.index if by_index else there.kind == (place.kind or "body")
        if there.index is not None and same:
            return child(shape, "p:txBody", "a:lstStyle")
    return None


def _bullet(properties: Sequence[_Element | None]) -> str:
    """The first word on bullets: ``a:buNone``, ``a:buChar``, ``a:buAutoNum`` or ``a:buBlip``."""
    for each in properties:
        for element in () if each is None else each:
            if (name := name_of(element.tag)) in {"a:buNone", "a:buChar", "a:buAutoNum", "a:buBlip"}:
                return name
    return "a:buNone"


def _item(marker: str, text: str) -> str:
    return marker + text.replace("\n", "\n" + " " * len(marker))


def _paragraphs(shape: _Element) -> Iterator[_Element]:
    for body in shape:
        if name_of(body.tag) in {"p:txBody", "a:txBody"}:
            yield from (element for element in body if name_of(element.tag) == "a:p")


def _paragraph_text(paragraph: _Element) -> str:
    text = ""
    for piece, raised in _pieces(paragraph):
        text += f"^{piece}" if raised and is_power(text, piece) else piece
    return "\n".join(line for part in text.split("\n") if (line := one_line(part)))


def _pieces(element: _Element) -> Iterator[tuple[str, bool]]:
    """The texts of a paragraph, and whether they are raised."""
    for inner in element:
        name = name_of(inner.tag)
        if name == "a:t":
            properties = child(element, "a:rPr")
            raised = properties is not None and whole_number(properties.get("baseline")) > 0
            yield inner.text or "", raised
        elif name == "a:br":
            yield "\n", False
        elif name == "m:oMath":
            yield math_text(inner), False
        elif name == "mc:AlternateContent":
            if len(inner):
                yield from _pieces(inner[0])
        elif name != "a:fld" or inner.get("type") != "slidenum":
            yield from _pieces(inner)
