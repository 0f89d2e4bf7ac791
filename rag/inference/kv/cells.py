"""The account of the key-value cache: its cells and sequences, who holds or was promised them, and what has to go.

What no request needs is demoted, least recently used first: its state goes to the snapshot store (RAM, then disk), its
cells become free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.inference.kv.snapshots import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from rag.inference.context import Context
    from rag.inference.kv.node import Node
    from rag.inference.kv.snapshots import SnapshotStore


class Cells:
    """``claimed`` cells and ``sequences_claimed`` are held, or promised to a request. Used by one thread.

    ``demoted`` is told of every node whose cells were given up.
    """

    def __init__(self, context: Context, snapshots: SnapshotStore, *, demoted: Callable[[Node], None]) -> None:
        self._context = context
        self.snapshots = snapshots
        self._demoted = demoted
        self.reset()

    def reset(self) -> None:
        """Everything is free."""
        self._free = list(range(self._context.sequences))[::-1]
        self.held: set[Node] = set()
        self.claimed = 0
        self.sequences_claimed = 0

    @property
    def has_free_sequence(self) -> bool:
        """Whether a sequence can be had without demoting."""
        return bool(self._free)

    def reserve(self, cells: int, sequences: int) -> bool:
        """Count cells and sequences of a request's own, demoting for them; False if they cannot be had now."""
        if not self.make_room(cells, sequences):
            return False
        self.claimed += cells
        self.sequences_claimed += sequences
        return True

    def release(self, cells: int, sequences: int) -> None:
        self.claimed -= cells
        self.sequences_claimed -= sequences

    def make_room(self, cells: int, sequences: int) -> bool:
        """Demote until so many cells and sequences are unclaimed; False, and nothing is demoted, if that cannot be had
        now.
        """
        idle = [len(node) for node in self.held if node.pins == 0]
        free_cells = self._context.cells - self.claimed
        free_sequences = self._context.sequences - self.sequences_claimed
        if free_cells + sum(idle) < cells or free_sequences + len(idle) < sequences:
            return False
        while (
            self._context.cells - self.claimed < cells or self._context.sequences - self.sequences_claimed < sequences
        ):
            if not self.demote_one():
                return False
        return True

    def take_sequence(self) -> int | None:
        """An empty sequence; None if all are in use and none can be freed."""
        if not self._free and not self.demote_one():
            return None
        return self._free.pop()

    def give_back(self, sequence: int) -> None:
        self._context.drop(sequence)
        self._free.append(sequence)

    def ready(self, node: Node) -> bool:
        """Whether the node's cells are there; brings them back from the snapshot store if they are in it."""
        if node.holder is not None:
            return True
        if not node.stored or node.owner is not None:
            return False
        state = self.snapshots.get(node.key)
        if state is None:
            node.stored = False
            return False
        holder = self.take_sequence()
        if holder is None:
            return False
        if self._context.restore(holder, state) and self._context.last_position(holder) == node.end - 1:
            self.hold(node, holder)
            return True
        self.give_back(holder)
        self.snapshots.discard(node.key)
        node.stored = False
        return False

    def hold(self, node: Node, holder: int) -> None:
        node.holder = holder
        self.held.add(node)
        self.claim(node)

    def claim(self, node: Node) -> None:
        if not node.claimed:
            node.claimed = True
            self.claimed += len(node)
            self.sequences_claimed += 1

    def unclaim(self, node: Node) -> None:
        if node.claimed:
            node.claimed = False
            self.claimed -= len(node)
            self.sequences_claimed -= 1

    def demote_one(self) -> bool:
        """Free the cells of the node that is missed least; its state stays in the snapshot store if it is worth it."""
        idle = [node for node in self.held if node.pins == 0]
        if not idle:
            return False
        node = min(idle, key=lambda node: (node.hits > 0 or not node.transient, node.used))
        if not node.transient or node.hits:
            self._store(node)
        self._give_up(node)
        return True

    def set_aside(self) -> None:
        """Move what no request needs out of the cells, if RAM may hold state; it comes back when it is asked for.

        For a request that is alone: ggml's flash attention divides the cells of a single row among its threads, not
        the row's tokens, so beside many idle cells some threads have nothing to do (docs/lab-log.md has figures).
        """
        if not self.snapshots.ram_bytes:
            return
        for node in sorted((node for node in self.held if node.pins == 0), key=lambda node: node.used):
            self._store(node)
            if node.stored:
                self._give_up(node)

    def bring_back(self, nodes: list[Node]) -> bool:
        """Have the cells of all these nodes at hand; False if that cannot be had now."""
        if sum(len(node) for node in nodes if node.holder is None) > self._context.cells // 2:
            return False
        for node in nodes:
            node.pins += 1  # room is made for them, not of them
        there = all(node.holder is not None or (self.make_room(len(node), 1) and self.ready(node)) for node in nodes)
        for node in nodes:
            node.pins -= 1
        return there

    def forget(self, node: Node) -> None:
        """Free what a node holds or was promised; nothing of it is stored."""
        if node.holder is not None:
            self._give_up(node)
        else:
            self.unclaim(node)

    def _give_up(self, node: Node) -> None:
        assert node.holder is not None  # noqa: S101 - it is held
        self.held.remove(node)
        self.give_back(node.holder)
        node.holder = None
        self.unclaim(node)
        self._demoted(node)

    def _store(self, node: Node) -> None:
        if node.holder is None or node.stored or node.doomed:
            return
        assert node.parent is not None  # noqa: S101 - roots hold nothing
        snapshot = Snapshot(
            key=node.key, parent=node.parent.key, start=node.start, tokens=node.tokens, chunks=node.chunks
        )
        node.stored = self.snapshots.put(snapshot, self._context.save(node.holder))

    def store_all(self) -> None:
        """Give the snapshot store everything worth keeping, oldest first."""
        for node in sorted(self.held, key=lambda node: node.used):
            if not node.transient or node.hits:
                self._store(node)
