"""Charts, diagrams and pictures of office documents as text: tables, lists, and what was said of a picture."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, BlockKind, bounded, one_line
from indexer.parsers.office.package import relations
from indexer.parsers.tables import table_blocks
from indexer.parsers.xml_parts import attribute, child, name_of, read_xml, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lxml.etree import _Element

    from indexer.parsers.office.package import Relation
    from indexer.parsers.zip_limits import LimitedZip

# What programs write where nobody described a picture.
_MACHINE_WORDS = re.compile(
    r"\b(?:description automatically|automatically|ai-?) ?generated\b|^picture \d+$|^image\d*$", re.IGNORECASE
)
_FILE_NAME = re.compile(r"^\S+\.(?:png|jpe?g|gif|bmp|tiff?|svg|emf|wmf|webp)$|^(?:https?|file|[a-z]):", re.IGNORECASE)
_MIN_WORDS: Final = 2


def alternative_text(properties: _Element) -> str:
    """What a person wrote of the picture with these non-visual properties."""
    return useful_description(properties.get("descr") or "")


def useful_description(text: str) -> str:
    """A picture's description; empty for file names and for what programs write by themselves."""
    text = one_line(text)
    if _MACHINE_WORDS.search(text) or _FILE_NAME.match(text) or len(text.split()) < _MIN_WORDS:
        return ""
    return text


class Drawings:
    """What the charts and diagrams of one part hold, by the ids of its relations."""

    def __init__(self, archive: LimitedZip, part: str) -> None:
        self._archive = archive
        self._part = part
        self._relations: Mapping[str, Relation] | None = None

    def blocks(self, relation: str, page: int | None) -> Iterator[Block]:
        if self._relations is None:
            self._relations = relations(self._archive, self._part)
        found = self._relations.get(relation)
        if found is None or found.target not in self._archive:
            return
        if found.kind == "chart":
            yield from _chart(read_xml(self._archive, found.target), page)
        elif found.kind == "diagramData":
            yield from _diagram(read_xml(self._archive, found.target), page)


def _chart(root: _Element, page: int | None) -> Iterator[Block]:
    chart = child(root, "c:chart")
    if chart is None:
        return
    caption = ""
    title = child(chart, "c:title")
    if title is not None and (text := _texts(title)):
        caption = text
        yield from bounded(Block(text=f"{text}\n\n", kind=BlockKind.CAPTION, page=page))
    series = [element for element in chart.iter() if name_of(element.tag) == "c:ser"]
    names = [_series_name(element) for element in series]
    values = [
        _points(child(element, "c:val") if child(element, "c:val") is not None else child(element, "c:yVal"))
        for element in series
    ]
    categories: dict[int, str] = {}
    for element in series:
        labels = child(element, "c:cat") if child(element, "c:cat") is not None else child(element, "c:xVal")
        categories.update({index: text for index, text in _points(labels).items() if index not in categories})
    if any(values):
        indices = sorted({*categories, *(index for points in values for index in points)})
        rows = [[categories.get(i, ""), *(points.get(i, "") for points in values)] for i in indices]
        yield from table_blocks([["", *names], *rows], header_rows=int(any(names)), page=page, caption=caption)


def _series_name(series: _Element) -> str:
    name = child(series, "c:tx")
    return " ".join(_points(name).values()) if name is not None else ""


def _points(data: _Element | None) -> dict[int, str]:
    """Cached values by their place."""
    points = {}
    for element in () if data is None else data.iter():
        if name_of(element.tag) == "c:pt" and (value := child(element, "c:v")) is not None:
            points[whole_number(element.get("idx"))] = _number(value.text or "")
    return points


def _number(text: str) -> str:
    """Spreadsheets store 0.1 as 0.10000000000000001."""
    try:
        return f"{float(text):.12g}" if "." in text and "e" not in text.lower() else text
    except ValueError:
        return text


def _diagram(root: _Element, page: int | None) -> Iterator[Block]:
    points = [element for element in root.iter() if name_of(element.tag) == "dgm:pt"]
    # Transitions and presentation points repeat or arrange what the others say.
    texts = [_texts(point) for point in points if attribute(point, "type") in {"", "node", "asst"}]
    if lines := [f"- {text}" for text in texts if text]:
        yield from bounded(Block(text="\n".join(lines) + "\n\n", kind=BlockKind.LIST, page=page))


def _texts(element: _Element) -> str:
    paragraphs = (
        "".join(t.text or "" for t in p.iter() if name_of(t.tag) == "a:t")
        for p in element.iter()
        if name_of(p.tag) == "a:p"
    )
    return one_line(" ".join(paragraphs))
