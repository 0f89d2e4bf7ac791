"""Bringing a path of the tree into a sequence: copy what is at hand, read what is not, wait for what others read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rag.inference.context import Batch, Context
    from rag.inference.kv.node import Node, Path
    from rag.inference.kv.tree import KvTree


class Walker:
    """One sequence on its way along one path. Rows go into a batch with ``add_rows`` and count after ``commit``."""

    def __init__(self, tree: KvTree, context: Context, path: Path, sequence: int) -> None:
        self._tree = tree
        self._context = context
        self.path = path
        self.sequence = sequence
        self.cached = 0
        self.read = 0
        self._pending: list[tuple[Node, int]] = []

    @property
    def done(self) -> bool:
        return self.path.index == len(self.path.nodes)

    @property
    def will_be_done(self) -> bool:
        """Whether the rows added so far reach the end of the path."""
        finished = sum(node.progress + rows == len(node) for node, rows in self._pending)
        return self.path.index + finished == len(self.path.nodes)

    def advance(self) -> None:
        """Copy the cells of what is at hand. Not while rows are pending: positions of a sequence must grow."""
        while not self.done:
            node = self.path.nodes[self.path.index]
            if not self._tree.cells.ready(node) or node.holder is None:
                return
            self._context.copy(node.holder, self.sequence)
            node.hits += 1
            self.cached += len(node)
            self.path.index += 1

    def add_rows(self, batch: Batch, room: int) -> int:
        """Add at most ``room`` tokens that are to be read; how many there were."""
        self.advance()
        added = 0
        for node in self.path.nodes[self.path.index :]:
            if node.owner not in (None, self):
                break
            if self._pending and (node.holder is not None or node.stored):
                break
            if added == room:
                break
            node.owner = self
            rows = min(len(node) - node.progress, room - added)
            batch.add(node.tokens[node.progress : node.progress + rows], node.start + node.progress, self.sequence)
            self._pending.append((node, rows))
            added += rows
            if node.progress + rows < len(node):
                break
        return added

    def commit(self) -> None:
        """The batch has been decoded: what it completed is there for everybody."""
        pending, self._pending = self._pending, []
        for node, rows in pending:
            node.progress += rows
            self.read += rows
            if node.progress == len(node):
                self._tree.finish(node, self.sequence)
                self.path.index += 1

    def stop(self) -> None:
        """Give up what is being read, keeping what has been; the sequence is the caller's to give back."""
        self._pending = []
        for node in list(self.path.nodes):
            if node.owner is self:
                self._tree.abandon(node)
