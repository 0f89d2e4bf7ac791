"""Diagrams of draw.io (diagrams.net): the labels of each page, and what its arrows join.

Pages are kept as XML, or as XML that is packed (RFC 1951), percent-encoded and in base64.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from html import unescape
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from indexer.parsers.decoding import TextReader
from indexer.parsers.drawings.diagrams import Diagram
from indexer.parsers.xml_parts import local_name, xml_root
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from lxml.etree import _Element

    from indexer.parsers.blocks import Parsed

_MAX_PAGE_BYTES: Final = 1 << 26
_BREAK = re.compile(r"<(?:br|/?(?:div|p|li|ul|ol|tr|td|th|table|hr|h[1-6]))\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)
_HTML = re.compile(r"(?:^|;)html=1(?:;|$)")


def parse_drawio(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield each page's name as a heading, its labels, and its connections.

    Raises:
        SourceDamaged: it is no XML, or a page cannot be unpacked.
    """
    with TextReader(file, encoding) as reader:
        root = xml_root(reader.read().lstrip("\ufeff \t\r\n").encode("utf-8"), "This diagram", "utf-8")
        pages = [element for element in root if local_name(element) == "diagram"] or [root]
        for number, page in enumerate(pages, start=1):
            yield from _diagram(_cells(page), page.get("name") or "").blocks(number)
            yield None
        yield from reader.notices()


def _cells(page: _Element) -> _Element:
    """The page as XML."""
    packed = (page.text or "").strip()
    if len(page) or not packed:
        return page
    try:
        unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        text = unpacker.decompress(base64.b64decode(packed, validate=True), _MAX_PAGE_BYTES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise SourceDamaged(
            f"A page of this diagram cannot be unpacked: {error}.", hint="Open it in draw.io and save it again."
        ) from error
    return xml_root(unquote(text.decode("utf-8", errors="replace")).encode("utf-8"), "A page of this diagram", "utf-8")


def _diagram(page: _Element, name: str) -> Diagram:
    diagram = Diagram(name=name)
    on_arrows: dict[str, list[str]] = {}
    arrows: list[tuple[str, _Element, str]] = []
    edges = {_key(cell) for cell in page.iter("mxCell") if cell.get("edge") == "1"}
    for cell in page.iter("mxCell"):
        key, label = _key(cell), _label(cell)
        if key in edges:
            arrows.append((key, cell, label))
        elif cell.get("parent") in edges:
            on_arrows.setdefault(cell.get("parent") or "", []).append(label)
        else:
            diagram.add(key, label)
    for key, cell, label in arrows:
        texts = " ".join([label, *on_arrows.get(key, [])])
        diagram.connect(cell.get("source") or "", cell.get("target") or "", texts)
    return diagram


def _owner(cell: _Element) -> _Element:
    """What says the id and the label: the cell, or the object around it that has further fields."""
    above = cell.getparent()
    return above if above is not None and local_name(above) in {"object", "UserObject"} else cell


def _key(cell: _Element) -> str:
    return _owner(cell).get("id") or ""


def _label(cell: _Element) -> str:
    owner = _owner(cell)
    label = owner.get("label" if owner is not cell else "value") or ""
    if not _HTML.search(cell.get("style") or ""):
        return label
    return unescape(_TAG.sub("", _BREAK.sub(" ", label)))
