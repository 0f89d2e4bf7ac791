"""Objects in OpenDocument files that are documents of their own: formulas and charts (OpenDocument 1.3, part 3, 11)."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import one_line
from indexer.parsers.xml_parts import attribute, child, name_of, read_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip

_TITLES: Final = frozenset({"title", "subtitle"})


class OdfObjects:
    """The objects of a package, by the frames that show them."""

    def __init__(self, archive: LimitedZip) -> None:
        self._archive = archive
        self._last: tuple[_Element | None, _Element | None] = (None, None)  # a frame, and what it holds

    def formula(self, frame: _Element) -> str:
        """A formula as it was typed; empty for other frames."""
        root = self._root(frame)
        if root is None or name_of(root.tag) != "math":
            return ""
        typed = next((element.text or "" for element in root.iter() if name_of(element.tag) == "annotation"), "")
        return one_line(typed or " ".join(str(text) for text in root.itertext()))

    def chart(self, frame: _Element) -> tuple[str, _Element | None]:
        """The titles of a chart and of its axes, and the table of what it shows; nothing for other frames."""
        root = self._root(frame)
        chart = None if root is None else child(root, "office:body", "office:chart", "chart")
        if chart is None:
            return "", None
        titles = [one_line("".join(element.itertext())) for element in chart.iter() if name_of(element.tag) in _TITLES]
        return "\n".join(filter(None, titles)), child(chart, "table:table")

    def _root(self, frame: _Element) -> _Element | None:
        if self._last[0] is not frame:
            self._last = frame, self._read(frame)
        return self._last[1]

    def _read(self, frame: _Element) -> _Element | None:
        held = child(frame, "draw:object")
        if held is None or len(held):
            return held[0] if held is not None else None
        part = posixpath.join(posixpath.normpath(attribute(held, "href")), "content.xml")
        return read_xml(self._archive, part) if part in self._archive else None
