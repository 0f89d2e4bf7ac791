"""Mind maps of FreeMind and Freeplane: the branches of the middle are sections, what hangs on them are nested lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Parsed, bounded, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.xml_parts import local_name, xml_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from lxml.etree import _Element

_NODE: Final = "node"
_INDENT: Final = "  "


def parse_mind_map(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the middle and its branches as headings, their nodes in lines. Raises SourceDamaged: it is no XML."""
    with TextReader(file, encoding) as reader:
        root = xml_root(reader.read().lstrip("\ufeff \t\r\n").encode("utf-8"), "This mind map", "utf-8")
        for middle in root.iterchildren(_NODE):
            yield from _headed(middle, 1)
            for branch in middle.iterchildren(_NODE):
                yield from _headed(branch, 2)
                lines = list(_lines(branch, 0))
                if lines:
                    yield from bounded(Block(text="".join(lines) + "\n", kind=BlockKind.LIST))
        yield from reader.notices()


def _headed(node: _Element, level: int) -> Iterator[Block]:
    said, *notes = [*_said(node), ""]
    if 0 < len(said) <= MAX_HEADING_CHARS:
        yield Block(text=f"{said}\n\n", kind=BlockKind.HEADING, level=level, heading=said)
    elif said:
        yield from bounded(Block(text=f"{said}\n\n"))
    for note in filter(None, notes):
        yield from bounded(Block(text=f"{note}\n\n"))


def _lines(node: _Element, depth: int) -> Iterator[str]:
    """The nodes below one, each behind what it hangs on; XML that is read nests no deeper than 256 elements."""
    for below in node.iterchildren(_NODE):
        said, *notes = [*_said(below), ""]
        yield f"{_INDENT * depth}- {': '.join(filter(None, [said, *notes]))}\n"
        yield from _lines(below, depth + 1)


def _said(node: _Element) -> Iterator[str]:
    """What a node says, then its notes: an attribute, or a page that is rich in looks."""
    yield one_line(node.get("TEXT") or "")
    for inner in node:
        if isinstance(inner.tag, str) and local_name(inner) == "richcontent":
            yield one_line(" ".join(inner.itertext()))
