"""Diagrams as text: what each page's shapes say, then which of them are connected, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, bounded, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

# Longer ones are notes, and paragraphs of their own.
_LABEL_CHARS: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An arrow or a line between two shapes, by their ids; empty where an end hangs in the air."""

    source: str
    target: str
    label: str


@dataclass(slots=True, kw_only=True)
class Diagram:
    """A page: what its shapes say, by their ids and in drawing order; what says nothing is left out."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)

    def add(self, shape: str, label: str) -> None:
        """An id that is missing or given twice costs no label: the first keeps its connections."""
        if label := one_line(label):
            self.labels[shape if shape and shape not in self.labels else f"\n{len(self.labels)}"] = label

    def connect(self, source: str, target: str, label: str) -> None:
        self.connections.append(Connection(source=source, target=target, label=one_line(label)))

    def blocks(self, number: int) -> Iterator[Block]:
        """A heading, the labels in lines, notes as paragraphs, the connections as a list; nothing where all is empty.

        A label beside an arrow that leads from nowhere to nowhere is a label as others are.
        """
        joined = [each for each in self.connections if each.source in self.labels and each.target in self.labels]
        known = set(joined)
        loose = [each.label for each in self.connections if each.label and each not in known]
        texts = [*self.labels.values(), *loose]
        if not texts:
            return
        heading = (one_line(self.name) or f"Page {number}")[:MAX_HEADING_CHARS]
        # One level below the file's name, which is the title; the first page's name is none.
        yield Block(text=f"{heading}\n\n", kind=BlockKind.HEADING, level=2, heading=heading, page=number)
        short = [text for text in texts if len(text) <= _LABEL_CHARS]
        if short:
            yield from bounded(Block(text="\n".join(short) + "\n\n", kind=BlockKind.LIST, page=number))
        for text in texts:
            if len(text) > _LABEL_CHARS:
                yield from bounded(Block(text=f"{text}\n\n", page=number))
        if joined:
            lines = "".join(f"{self._shown(each)}\n" for each in joined)
            yield from bounded(Block(text=f"{lines}\n", kind=BlockKind.LIST, page=number))

    def _shown(self, connection: Connection) -> str:
        source, target = self.labels[connection.source], self.labels[connection.target]
        label = f": {connection.label}" if connection.label else ""
        return f"{source[:_LABEL_CHARS]} → {target[:_LABEL_CHARS]}{label}"
