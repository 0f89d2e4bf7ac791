"""XML inside of documents, read without entities, without network and no deeper than documents nest."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip

_DAMAGED_HINT: Final = "The file may be damaged; get or export it again."
_MAX_DIGITS: Final = 9
_READ_BYTES: Final = 1 << 16
_ENTITY: Final = "<!ENTITY"
_ENTITY_MARKS: Final = tuple(_ENTITY.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))

# The prefixes that the specifications themselves use; "Strict" documents have namespaces of their own.
_PREFIXES: Final = {
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main": "w",
    "http://purl.oclc.org/ooxml/wordprocessingml/main": "w",
    "http://schemas.openxmlformats.org/drawingml/2006/main": "a",
    "http://purl.oclc.org/ooxml/drawingml/main": "a",
    "http://schemas.openxmlformats.org/presentationml/2006/main": "p",
    "http://purl.oclc.org/ooxml/presentationml/main": "p",
    "http://schemas.openxmlformats.org/drawingml/2006/picture": "pic",
    "http://purl.oclc.org/ooxml/drawingml/picture": "pic",
    "http://schemas.openxmlformats.org/drawingml/2006/chart": "c",
    "http://purl.oclc.org/ooxml/drawingml/chart": "c",
    "http://schemas.microsoft.com/office/drawing/2014/chartex": "cx",
    "http://schemas.openxmlformats.org/drawingml/2006/diagram": "dgm",
    "http://purl.oclc.org/ooxml/drawingml/diagram": "dgm",
    "http://schemas.openxmlformats.org/officeDocument/2006/math": "m",
    "http://purl.oclc.org/ooxml/officeDocument/math": "m",
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships": "r",
    "http://purl.oclc.org/ooxml/officeDocument/relationships": "r",
    "http://schemas.openxmlformats.org/markup-compatibility/2006": "mc",
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main": "x",
    "http://purl.oclc.org/ooxml/spreadsheetml/main": "x",
    "urn:oasis:names:tc:opendocument:xmlns:office:1.0": "office",
    "urn:oasis:names:tc:opendocument:xmlns:text:1.0": "text",
    "urn:oasis:names:tc:opendocument:xmlns:table:1.0": "table",
    "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0": "draw",
    "urn:oasis:names:tc:opendocument:xmlns:style:1.0": "style",
    "urn:oasis:names:tc:opendocument:xmlns:presentation:1.0": "presentation",
    "urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0": "fo",
    "http://purl.org/dc/elements/1.1/": "dc",
}


@lru_cache(maxsize=4096)
def name_of(tag: str) -> str:
    """``{namespace}local`` as ``prefix:local``; ``local`` alone in a namespace that no parser knows."""
    namespace, _, local = tag.rpartition("}")
    prefix = _PREFIXES.get(namespace[1:])
    return f"{prefix}:{local}" if prefix else local


def local_name(element: _Element) -> str:
    """Its name without the namespace."""
    return str(element.tag).rpartition("}")[2]


def attribute(element: _Element, name: str, default: str = "") -> str:
    """An attribute by its ``prefix:local`` or plain name, whichever of a prefix's namespaces it is in."""
    for key, value in element.attrib.items():
        if name_of(key) == name:
            return str(value)
    return default


def whole_number(text: str | None, default: int = 0) -> int:
    """A number of up to nine ASCII digits; the default for anything else, which documents made to hurt are full of."""
    return int(text) if text and len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit() else default


def child(element: _Element, *names: str) -> _Element | None:
    """Follow the first child of each name in turn."""
    found: _Element | None = element
    for name in names:
        if found is None:
            return None
        found = next((inner for inner in found if name_of(inner.tag) == name), None)
    return found


def read_xml(archive: LimitedZip, part: str) -> _Element:
    """The root of a part.

    Raises:
        SourceDamaged: as ``xml_root``, or the part is missing.
    """
    return xml_root(archive.read(part), f"Its part {part}")


def xml_root(data: bytes, what: str, encoding: str | None = None) -> _Element:
    """The root of XML that an error calls ``what``; ``encoding`` counts for more than what it says itself.

    Raises:
        SourceDamaged: it is no XML, nests deeper than 256 elements, or declares entities.
    """
    from lxml import etree

    _refuse_entities(data, what)
    try:
        return etree.fromstring(data, etree.XMLParser(encoding=encoding, **_limits()))
    except etree.XMLSyntaxError as error:
        raise _torn(what, error) from error


def top_elements(archive: LimitedZip, part: str, containers: frozenset[str]) -> Iterator[_Element]:
    """The elements right inside of nested ``containers``, the root among them, in memory one at a time.

    Each is emptied when the next is asked for.

    Raises:
        SourceDamaged: as ``read_xml``; elements that came before the damage were sound.
    """
    elements = _TopElements(containers)
    for event, element in _events(archive, part, ("start", "end")):
        if elements.is_done(event, element):
            yield element
            _forget(element)


def elements_named(archive: LimitedZip, part: str, name: str, *, outside: Sequence[str]) -> Iterator[_Element]:
    """The elements of one name, ``{namespace}local``, wherever they are but in others; faster than ``top_elements``.

    Raises:
        SourceDamaged: as ``read_xml``; elements that came before the damage were sound.
    """
    for _event, element in _events(archive, part, ("end",), name):
        if next(element.iterancestors(*outside), None) is None:
            yield element
            _forget(element)


def _events(
    archive: LimitedZip, part: str, kinds: Sequence[str], name: str | None = None
) -> Iterator[tuple[str, _Element]]:
    from lxml import etree

    what = f"Its part {part}"
    with archive.open(part) as stream:
        reader = etree.XMLPullParser(events=kinds, tag=name, **_limits())
        tail = b""
        try:
            while data := stream.read(_READ_BYTES):
                _refuse_entities(tail + data, what)
                tail = data[-2 * len(_ENTITY) :]
                reader.feed(data)
                yield from reader.read_events()
            reader.close()
            yield from reader.read_events()
        except etree.XMLSyntaxError as error:
            raise _torn(what, error) from error


class _TopElements:
    def __init__(self, containers: frozenset[str]) -> None:
        self._containers = containers
        # Open elements from the first that is no container inwards.
        self._depth = 0

    def is_done(self, event: str, element: _Element) -> bool:
        if event == "start":
            if self._depth or name_of(element.tag) not in self._containers:
                self._depth += 1
            return False
        inside = self._depth > 0
        self._depth -= inside
        return inside and not self._depth


def _forget(element: _Element) -> None:
    element.clear()
    # What was handed out would hang on as an empty sibling.
    while (before := element.getprevious()) is not None:
        element.getparent().remove(before)


def _limits() -> dict[str, bool]:
    # Without ``huge_tree`` libxml2 itself stops at 256 levels and at texts of ten million bytes.
    return {
        "resolve_entities": False,
        "no_network": True,
        "load_dtd": False,
        "huge_tree": False,
        "remove_comments": True,
        "remove_pis": True,
    }


def _refuse_entities(data: bytes, what: str) -> None:
    if any(mark in data for mark in _ENTITY_MARKS):
        raise SourceDamaged(
            f"{what} declares XML entities, which no office program writes.", hint="Do not trust this file."
        )


def _torn(what: str, error: Exception) -> SourceDamaged:
    return SourceDamaged(f"{what} cannot be read as XML: {error}.", hint=_DAMAGED_HINT)
