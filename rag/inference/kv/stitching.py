"""Passages side by side: each is read once after the same prefix, and all their cells join one sequence.

The passages' positions overlap, so their states depend on nothing but the prefix and can be put together in any order
without being moved. It is an approximation (passages do not see each other), which is why a quality gate decides
whether a model may use it (``rag.inference.quality_gate``). The idea is that of Prompt Cache (Gim et al., MLSys 2024)
and Block-Attention (Ma et al., 2024), without training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.inference.kv.walker import Walker

if TYPE_CHECKING:
    from rag.inference.context import Batch, Context
    from rag.inference.kv.node import Path
    from rag.inference.kv.tree import KvTree

# Passages of one request that are read at the same time, each in a sequence of its own: together they fill a step.
WALKERS = 4


class Stitcher:
    """Brings a prefix and passages into ``sequence``. The same interface as ``Walker``."""

    def __init__(self, tree: KvTree, context: Context, prefix: Path, passages: list[Path], sequence: int) -> None:
        self._tree = tree
        self._context = context
        self._main = Walker(tree, context, prefix, sequence)
        self._waiting = passages
        self._passages = passages
        self._walkers: list[Walker] = []
        self._joined = False
        self.read = 0
        self.cached = 0

    @property
    def done(self) -> bool:
        return self._joined

    @property
    def will_be_done(self) -> bool:
        return self._joined

    def advance(self) -> None:
        """Put everything together once it is all there."""
        if self._joined or self._walkers:
            return
        # A passage that is there stays there: it is pinned.
        self._waiting = [path for path in self._waiting if not all(self._tree.cells.ready(node) for node in path.nodes)]
        if self._waiting:
            return
        self._main.advance()
        if not self._main.done:
            return
        prefix = len(self._main.path.nodes)
        for node in {node: None for path in self._passages for node in path.nodes[prefix:]}:
            if node.holder is not None:
                self._context.copy(node.holder, self._main.sequence)
                node.hits += 1
        self._joined = True

    def add_rows(self, batch: Batch, room: int) -> int:
        """Add at most ``room`` tokens of passages that are to be read; how many there were."""
        while True:
            self.advance()
            while self._waiting and len(self._walkers) < WALKERS:
                sequence = self._tree.cells.take_sequence()
                if sequence is None:
                    break
                self._walkers.append(Walker(self._tree, self._context, self._waiting.pop(0), sequence))
            added = 0
            for walker in self._walkers:
                added += walker.add_rows(batch, room - added)
            # What others have read meanwhile needs no step: there may be nothing more to wait for.
            if not self._retire() or added:
                return added

    def commit(self) -> None:
        for walker in self._walkers:
            walker.commit()
        self._retire()
        self.advance()

    def stop(self) -> None:
        self._main.stop()
        for walker in self._walkers:
            walker.stop()
            self._tree.cells.give_back(walker.sequence)
        self._walkers = []

    def _retire(self) -> bool:
        done = [walker for walker in self._walkers if walker.done]
        for walker in done:
            self.read += walker.read
            self._walkers.remove(walker)
            self._tree.cells.give_back(walker.sequence)
        return bool(done)
