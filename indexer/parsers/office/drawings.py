"""Charts, diagrams and pictures of office documents as text: tables, lists, and what was said of a picture."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, BlockKind, bounded, one_line
from indexer.parsers.office.charts import chart_blocks, texts
from indexer.parsers.office.package import relations
from indexer.parsers.xml_parts import attribute, name_of, read_xml

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
# What holds the id of a relation to a chart or a diagram.
DRAWN: Final = frozenset({"c:chart", "cx:chart", "dgm:relIds"})


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
        if found.kind in {"chart", "chartEx"}:
            yield from chart_blocks(read_xml(self._archive, found.target), page)
        elif found.kind == "diagramData":
            yield from _diagram(read_xml(self._archive, found.target), page)


def _diagram(root: _Element, page: int | None) -> Iterator[Block]:
    points = [element for element in root.iter() if name_of(element.tag) == "dgm:pt"]
    # Transitions and presentation points repeat or arrange what the others say.
    said = [texts(point) for point in points if attribute(point, "type") in {"", "node", "asst"}]
    if lines := [f"- {text}" for text in said if text]:
        yield from bounded(Block(text="\n".join(lines) + "\n\n", kind=BlockKind.LIST, page=page))
