"""Reusable model state: a radix tree over token ids, whose nodes hold cells of the key-value cache.

A node is a run of tokens after everything on its way from the root; its *holder* is a sequence of the context that
contains the node's cells and no others. A request composes its own sequence by copying holders along its path, which
shares the cells and moves no data. Passages that are read side by side after the same prefix (*stitched*) are children
of the prefix, just as the first passage of an exact prompt is.

A node knows the passages it was made of. Where two passages begin alike, what they share is that of the first: it goes
with that one, and all that stands on it.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from rag.inference.erased import Erased
from rag.inference.kv.cells import Cells
from rag.inference.kv.node import Node, Path, longest_chain
from rag.inference.kv.snapshots import root_key, snapshot_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from rag.inference.context import Context
    from rag.inference.kv.snapshots import SnapshotStore
    from rag.model_types import Gone

_NONE = np.empty(0, dtype=np.int32)
# How many passages' use is counted.
_COUNTED_PASSAGES = 8192
# A shared beginning of fewer tokens is not worth a node of its own: every node takes a sequence of the context.
_LEAST_SHARED = 16


class KvTree:
    """All reusable state of one context, and the account of its cells and sequences. Used by one thread."""

    def __init__(
        self,
        context: Context,
        store: SnapshotStore,
        *,
        identity: str,
        adapters: Mapping[str, str] | None = None,
        shares: bool = True,
        cuts: bool = True,
    ) -> None:
        """Start with what the snapshot store found on disk.

        ``identity`` tells models and forms of state apart, ``adapters`` are fingerprints by name. ``cuts=False``: a
        node's state can only be continued at its end (some layers see a window of tokens); ``shares=False``: not even
        there (recurrent layers), so nothing is ever found again.
        """
        self._context = context
        self.cells = Cells(context, store, demoted=self._prune)
        self._shares = shares
        self._cuts = cuts
        self._clock = itertools.count(1)
        names: dict[str | None, str] = {None: ""}
        names.update(adapters or {})
        self._roots = {
            name: Node(None, _NONE, key=root_key(f"{identity} adapter={fingerprint}"))
            for name, fingerprint in names.items()
        }
        self._by_key: dict[bytes, Node] = {}
        self._paths: list[Path] = []
        self._asked: OrderedDict[bytes, int] = OrderedDict()
        self.erased = Erased()
        self._take_over_stored()

    def root(self, adapter: str | None) -> Node:
        """Where prompts begin; state made with an adapter is of no use without it."""
        return self._roots[adapter]

    def descend(
        self,
        parent: Node,
        tokens: NDArray[np.int32],
        borders: Iterable[int] = (),
        *,
        transient_from: int | None = None,
        chunks: Iterable[tuple[int, int]] = (),
    ) -> list[Node]:
        """The nodes that make up ``tokens`` after ``parent``; what is not there yet is added, cut at ``borders``.

        Nodes that begin at or after ``transient_from`` (an index into ``tokens``) are marked transient. ``chunks`` are
        indices into ``tokens`` where passages begin, each with the passage's chunk id.
        """
        path: list[Node] = []
        at = 0
        borders = set(borders)
        while self._shares and at < len(tokens):
            child = self._child_along(parent, tokens[at:])
            if child is None:
                break
            at += len(child)
            if path and at - len(child) not in borders and self._joined(parent, child):
                continue
            child.pins += 1  # a later split may demote, but not what was found
            path.append(child)
            parent = child
        for node in path:
            node.pins -= 1
        for cut in sorted(borders | {len(tokens)}):
            if cut > len(tokens):
                break
            if at < cut:
                parent = self._add(
                    parent,
                    tokens[at:cut],
                    chunks=parent.chunks | {chunk for start, chunk in chunks if start < cut},
                    transient=transient_from is not None and at >= transient_from,
                )
                path.append(parent)
                at = cut
        return path

    def order(self, parent: Node, passages: Sequence[NDArray[np.int32]]) -> list[int]:
        """Indices of ``passages``: first the most tokens whose state is at hand one after the other, then the rest.

        The rest goes by how often it was asked for: what is wanted often comes early, so that its state can be reused
        whatever follows it.
        """
        asked = [self._count(passage) for passage in passages]
        by_use = sorted(range(len(passages)), key=lambda i: -asked[i])
        chain = longest_chain(parent, passages, by_use, {parent})
        return chain + [i for i in by_use if i not in chain]

    def pin(self, path: Path) -> None:
        """Keep the path's nodes, and count the cells and sequences they take."""
        self._paths.append(path)
        for node in reversed(path.nodes):  # what others stand on is the last to go
            node.pins += 1
            node.used = next(self._clock)
            self.cells.claim(node)

    def unpin(self, path: Path) -> None:
        """A request is done with a path; what was promised to be read for it and was not is no longer counted."""
        self._paths.remove(path)
        for node in reversed(path.nodes):
            node.pins -= 1
            if node.pins == 0 and node.doomed:
                self.cells.forget(node)
            elif node.pins == 0 and node.holder is None:
                self.cells.unclaim(node)
                self._prune(node)

    def finish(self, node: Node, sequence: int) -> None:
        """The node's tokens have been read as part of ``sequence``: keep their cells for others."""
        node.owner, node.progress = None, 0
        holder = self.cells.take_sequence() if self._shares else None
        if holder is not None:
            self._context.copy(sequence, holder, node.start, node.end)
            self.cells.hold(node, holder)

    def abandon(self, node: Node) -> None:
        """The node's owner stops: what it has read so far becomes a node of its own, while its sequence still is."""
        owner, progress = node.owner, node.progress
        worth_keeping = self._shares and not node.doomed and progress >= _LEAST_SHARED
        if owner is not None and worth_keeping and self._cut(node, progress):
            node = owner.path.nodes[owner.path.index]  # the part before it is complete, and kept
        node.owner, node.progress = None, 0

    def adopt(self, parent: Node, tokens: NDArray[np.int32], sequence: int) -> None:
        """Keep the end of a finished sequence for a conversation's next turn, if there is room without any effort."""
        shared = max((child.shared(tokens) for child in parent.beginning_like(tokens)), default=0)
        kept = self._shares and not (parent.doomed or self.erased.touches(parent.chunks))
        if kept and self.cells.has_free_sequence and len(tokens) >= _LEAST_SHARED > shared:
            node = self._add(parent, tokens, chunks=parent.chunks, transient=True)
            node.used = next(self._clock)
            self.cells.claim(node)
            self.finish(node, sequence)

    def forget_evicted(self) -> None:
        """Take note of what the snapshot store no longer has."""
        for key in self.cells.snapshots.take_evicted():
            node = self._by_key.get(key)
            if node is not None:
                node.stored = False
                self._prune(node)

    def erase(self, gone: Gone) -> int:
        """Forget, in cells and snapshots, all state that depends on chunks that are gone; how many nodes' it was.

        Nodes that requests at work need are out of the tree now and go with the requests, unstored; what requests yet
        to come read of such passages is treated alike (`Erased`).
        """
        self.erased.add(gone)
        nodes = [node for root in self._roots.values() for node in root.subtree() if gone.touches(node.chunks)]
        states = sum(node.at_hand for node in nodes)
        left = {node.parent for node in nodes}.difference(nodes)
        for node in reversed(nodes):  # what stands on others first
            self._take_out(node)
            node.parent, node.doomed = None, True
            if node.stored:
                self.cells.snapshots.discard(node.key)
                node.stored = False
            if node.pins == 0:
                self.cells.forget(node)
        for parent in left:
            assert parent is not None  # noqa: S101 - roots are of no passage
            self._prune(parent)
        self.cells.snapshots.erase(gone)
        return states

    def reset(self) -> None:
        """Forget every cell: what the cache holds after a failed decode is unknown. Snapshots stay."""
        self._context.clear()
        self.cells.reset()
        self._paths.clear()
        nodes = [node for root in self._roots.values() for node in root.subtree() if node is not root]
        for node in nodes:
            node.holder = node.owner = None
            node.progress = node.pins = 0
            node.claimed = False
        for leaf in [node for node in nodes if not node.children]:
            self._prune(leaf)

    def _prune(self, node: Node) -> None:
        """Take out a node that stands for nothing any more, and what it leaves bare above it."""
        while node.parent is not None and not (node.children or node.pins or node.stored or node.owner):
            if node.holder is not None:
                return
            self._take_out(node)
            node = node.parent

    def _take_out(self, node: Node) -> None:
        assert node.parent is not None  # noqa: S101 - a root stays
        siblings = node.parent.children[int(node.tokens[0])]
        siblings.remove(node)
        if not siblings:
            del node.parent.children[int(node.tokens[0])]
        self._drop_key(node)

    def _add(self, parent: Node, tokens: NDArray[np.int32], *, chunks: frozenset[int], transient: bool = False) -> Node:
        tokens = tokens.copy()
        node = Node(parent, tokens, key=snapshot_key(parent.key, tokens), chunks=chunks, transient=transient)
        if parent.doomed or self.erased.touches(chunks):
            node.parent, node.doomed = None, True
            return node
        parent.children.setdefault(int(tokens[0]), []).append(node)
        self._by_key[node.key] = node
        return node

    def _drop_key(self, node: Node) -> None:
        if self._by_key.get(node.key) is node:  # without sharing, there may be others
            del self._by_key[node.key]

    def _child_along(self, parent: Node, tokens: NDArray[np.int32]) -> Node | None:
        """The child to follow: of those that share a beginning with ``tokens``, the longest that ends there or can be
        cut there.
        """
        children = [(child.shared(tokens), child) for child in parent.beginning_like(tokens)]
        for shared, child in sorted(children, key=lambda found: (-found[0], len(found[1]))):
            if shared == len(child) or (shared >= _LEAST_SHARED and self._split(child, shared)):
                return child
        return None

    def _split(self, node: Node, at: int) -> bool:
        """Cut a node in two so that a path can leave it in the middle; False if that cannot be done."""
        if self._cuts and node.owner is None and node.kept_apart:
            apart = [each for each in node.subtree() if each.stored and each.holder is None]
            if not self.cells.bring_back(apart):
                for each in reversed(apart):  # some may have been lost
                    self._prune(each)
                return False
        read = node.holder is not None or node.progress > at
        return (self._cuts or not read) and self._cut(node, at)

    def _cut(self, node: Node, at: int) -> bool:
        """``node`` keeps its first ``at`` tokens, a new child the others; paths, pins and state follow.

        False if there is no sequence for the child, or a state here or below is in the snapshot store alone.
        """
        node.pins += 1  # room is made for it, not of it
        possible = self.cells.make_room(0, 1)
        rest_holder = self.cells.take_sequence() if possible and node.holder is not None else None
        node.pins -= 1
        possible = possible and (node.holder is None or rest_holder is not None) and not node.kept_apart
        if not possible:
            if rest_holder is not None:
                self.cells.give_back(rest_holder)
            return False
        parent = node.parent
        assert parent is not None  # noqa: S101 - roots have no tokens to cut
        self._forget_stored(node)
        if node.claimed:
            self.cells.sequences_claimed += 1
        children = node.children
        head, tail = node.tokens[:at], node.tokens[at:]
        node.tokens, node.children = head.copy(), {}
        self._name_anew(node)
        rest = self._add(node, tail, chunks=node.chunks, transient=node.transient)
        rest.children = children
        self._name_anew(rest)
        rest.claimed, rest.pins, rest.used, rest.hits = node.claimed, node.pins, node.used, node.hits
        if rest_holder is not None and node.holder is not None:
            self._context.copy(node.holder, rest_holder, rest.start, rest.end)
            self._context.drop(node.holder, rest.start, rest.end)
            self.cells.hold(rest, rest_holder)
        for path in self._paths:
            if node in path.nodes:
                place = path.nodes.index(node)
                path.nodes.insert(place + 1, rest)
                path.index += path.index > place
        self._share_progress(node, rest)
        return True

    def _joined(self, node: Node, child: Node) -> bool:
        """Make one node of two, if nothing else begins between them: a conversation grows by two nodes a turn."""
        if not self._cuts or node.pins > 1 or len(node.all_children()) > 1 or node.owner or child.owner:
            return False  # one pin is that of the path that is being found
        if not self.cells.bring_back([node, child]) or node.kept_apart:
            return False
        assert node.holder is not None  # noqa: S101 - as checked
        assert child.holder is not None  # noqa: S101
        self._forget_stored(node)
        self._context.copy(child.holder, node.holder)
        self.cells.held.remove(child)
        self.cells.give_back(child.holder)
        self.cells.sequences_claimed -= 1
        node.tokens, node.children = np.concatenate([node.tokens, child.tokens]), child.children
        node.hits, node.transient = max(node.hits, child.hits), node.transient and child.transient
        node.chunks = child.chunks
        self._name_anew(node)
        return True

    def _forget_stored(self, node: Node) -> None:
        """Drop the keys of a node and all below it, and what the snapshot store holds under them."""
        for each in node.subtree():
            if each.stored:
                self.cells.snapshots.discard(each.key)
                each.stored = False
            self._drop_key(each)

    def _name_anew(self, node: Node) -> None:
        """Tell a node and all below it their parents and keys."""
        for each in node.subtree():
            for child in each.all_children():
                child.parent = each
            assert each.parent is not None  # noqa: S101 - a root is neither cut nor joined
            each.key = snapshot_key(each.parent.key, each.tokens)
            self._by_key[each.key] = each

    def _share_progress(self, node: Node, rest: Node) -> None:
        """The owner of a node that was cut goes on where it is: in the first part, or past it."""
        owner = node.owner
        if owner is not None and node.progress >= len(node):
            rest.owner, rest.progress = owner, node.progress - len(node)
            owner.path.index += 1
            self.finish(node, owner.sequence)

    def _count(self, passage: NDArray[np.int32]) -> int:
        key = snapshot_key(b"", passage)  # the passage's words are not kept here
        times = self._asked.pop(key, 0) + 1
        self._asked[key] = times
        if len(self._asked) > _COUNTED_PASSAGES:
            self._asked.popitem(last=False)
        return times

    def _take_over_stored(self) -> None:
        """Grow the tree from what the snapshot store found on disk; what hangs on nothing is of no use."""
        nodes = {root.key: root for root in self._roots.values()}
        for snapshot in sorted(self.cells.snapshots.found(), key=lambda snapshot: snapshot.start):
            parent = nodes.get(snapshot.parent)
            if parent is None or parent.end != snapshot.start or not self._shares:
                self.cells.snapshots.discard(snapshot.key)
                continue
            node = self._add(parent, snapshot.tokens, chunks=parent.chunks | snapshot.chunks)
            node.stored = True
            nodes[node.key] = node
