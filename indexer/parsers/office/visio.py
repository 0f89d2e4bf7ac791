"""Visio drawings (vsdx): the texts of the shapes of each page, and what their connectors join.

Source: [MS-VSDX]. Text that a shape only has from its master, and background pages without text, say nothing of the
drawing and are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Parsed, Title
from indexer.parsers.drawings.diagrams import Diagram
from indexer.parsers.office.package import main_part, package_title, related, relations
from indexer.parsers.xml_parts import attribute, local_name, read_xml
from indexer.parsers.zip_limits import LimitedZip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from lxml.etree import _Element

_BEGIN: Final = "BeginX"
_END: Final = "EndX"


def parse_vsdx(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - XML says its encoding itself
    """Yield each page's name as a heading, what its shapes say, and its connections.

    Raises:
        SourceDamaged, SourceEncrypted, SourceTooLarge: as the container or its XML shows.
    """
    with LimitedZip(file) as archive:
        document = main_part(archive)
        if title := package_title(archive):
            yield Title(text=title)
        listed = related(relations(archive, document), "pages")
        if listed not in archive:
            return
        parts = relations(archive, listed)
        for number, page in enumerate(_named(read_xml(archive, listed), "Page"), start=1):
            relation = next((attribute(inner, "r:id") for inner in _named(page, "Rel")), "")
            if relation in parts and parts[relation].target in archive:
                name = page.get("Name") or page.get("NameU") or ""
                yield from _diagram(read_xml(archive, parts[relation].target), name).blocks(number)
            yield None


def _diagram(page: _Element, name: str) -> Diagram:
    diagram = Diagram(name=name)
    ends: dict[str, dict[str, str]] = {}
    for connect in _named(page, "Connect"):
        connector = ends.setdefault(connect.get("FromSheet") or "", {})
        connector[connect.get("FromCell") or ""] = connect.get("ToSheet") or ""
    for shape in _named(page, "Shape"):
        key = shape.get("ID") or ""
        text = "".join(part for inner in shape if local_name(inner) == "Text" for part in inner.itertext())
        if key in ends:
            diagram.connect(ends[key].get(_BEGIN, ""), ends[key].get(_END, ""), text)
        else:
            diagram.add(key, text)
    return diagram


def _named(element: _Element, name: str) -> Iterator[_Element]:
    return (inner for inner in element.iter() if isinstance(inner.tag, str) and local_name(inner) == name)
