"""Drawings on boards, of Excalidraw and as canvases (jsoncanvas.org): what stands on them, and what is connected."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from indexer.parsers.decoding import TextReader, storable
from indexer.parsers.drawings.diagrams import Diagram
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from indexer.parsers.blocks import Parsed

_ENDS: Final = ("startBinding", "endBinding")


def parse_excalidraw(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield what stands on the board, and what arrows join. Raises SourceDamaged: it is no such drawing."""
    with TextReader(file, encoding) as reader:
        elements = [each for each in _listed(reader.read(), "elements") if not each.get("isDeleted")]
        diagram = Diagram(name="Board")
        labels: dict[str, str] = {}  # of shapes and arrows that hold a text
        arrows = {_text(each, "id") for each in elements if any(isinstance(each.get(end), dict) for end in _ENDS)}
        for element in elements:
            text = _text(element, "originalText") or _text(element, "text") or _text(element, "name")
            holder = _text(element, "containerId")
            if holder in arrows:
                labels[holder] = text
            else:
                diagram.add(holder or _text(element, "id"), text)
        for element in elements:
            key = _text(element, "id")
            if key in arrows:
                source, target = (_text(element.get(end) or {}, "elementId") for end in _ENDS)
                diagram.connect(source, target, labels.get(key, ""))
        yield from diagram.blocks(1)
        yield from reader.notices()


def parse_canvas(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield what its cards say, and what is connected. Raises SourceDamaged: it is no canvas."""
    with TextReader(file, encoding) as reader:
        text = reader.read()
        diagram = Diagram(name="Canvas")
        for node in _listed(text, "nodes"):
            said = (_text(node, name) for name in ("text", "label", "file", "url"))
            diagram.add(_text(node, "id"), next(filter(None, said), ""))
        for edge in _listed(text, "edges"):
            diagram.connect(_text(edge, "fromNode"), _text(edge, "toNode"), _text(edge, "label"))
        yield from diagram.blocks(1)
        yield from reader.notices()


def _listed(text: str, name: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise SourceDamaged(f"This is not readable as JSON: {error}.", hint="Save it again.") from error
    found = document.get(name, []) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise SourceDamaged(f"It holds no list of {name}, as drawings of its kind do.", hint="Save it again.")
    return [each for each in found if isinstance(each, dict)]


def _text(element: object, name: str) -> str:
    value = element.get(name) if isinstance(element, dict) else None
    return storable(value) if isinstance(value, str) else ""
