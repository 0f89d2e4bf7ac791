"""Reusable model state: a radix tree over token ids, whose nodes hold cells of the key-value cache.

A node is a run of tokens after everything on its way from the root; its *holder* is a sequence of the context that
contains the node's cells and no others. A request composes its own sequence by copying holders along its path, which
shares the cells and moves no data. What no request needs is demoted, least recently used first: its state goes to the
snapshot store (RAM, then disk), its cells become free. Passages that are read side by side after the same prefix
(*stitched*) are children of the prefix, just as the first passage of an exact prompt is.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rag.inference.snapshots import Snapshot, root_key, snapshot_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from rag.inference.context import Context
    from rag.inference.snapshots import SnapshotStore

_NONE = np.empty(0, dtype=np.int32)
# How many passages' use is counted.
_COUNTED_PASSAGES = 8192
# A shared beginning of fewer tokens is not worth a node of its own: every node takes a sequence of the context.
_LEAST_SHARED = 16


class Node:
    """A run of tokens. Of its state it knows where it is: in cells (``holder``), being read (``owner``), stored."""

    __slots__ = (
        "children",
        "claimed",
        "hits",
        "holder",
        "key",
        "owner",
        "parent",
        "pins",
        "progress",
        "start",
        "stored",
        "tokens",
        "transient",
        "used",
    )

    def __init__(self, parent: Node | None, tokens: NDArray[np.int32], *, key: bytes, transient: bool = False) -> None:
        self.parent = parent
        self.tokens = tokens
        self.start: int = parent.end if parent else 0
        self.key = key
        self.children: dict[int, list[Node]] = {}
        self.holder: int | None = None
        self.owner: Owner | None = None
        self.progress = 0  # tokens its owner has read so far
        self.pins = 0  # paths that need it
        self.claimed = False  # its cells are counted: they are held, or promised to a path
        self.stored = False
        self.transient = transient  # most likely of use to one request only: first to go, and not worth storing
        self.used = 0
        self.hits = 0

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


class Path:
    """Nodes from a root on that a request needs; ``index`` is how many of them its sequence holds already."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.index = 0

    def __len__(self) -> int:
        return sum(map(len, self.nodes))


class Owner(Protocol):
    """Who is reading a node's tokens, and along which path."""

    @property
    def sequence(self) -> int: ...
    @property
    def path(self) -> Path: ...


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
        self.snapshots = store
        self._shares = shares
        self._cuts = cuts
        self._free = list(range(context.sequences))[::-1]
        self._clock = itertools.count(1)
        names: dict[str | None, str] = {None: ""}
        names.update(adapters or {})
        self._roots = {
            name: Node(None, _NONE, key=root_key(f"{identity} adapter={fingerprint}"))
            for name, fingerprint in names.items()
        }
        self._by_key: dict[bytes, Node] = {}
        self._held: set[Node] = set()
        self._paths: list[Path] = []
        self._asked: OrderedDict[bytes, int] = OrderedDict()
        self.cells_claimed = 0
        self.sequences_claimed = 0
        self._take_over_stored()

    def root(self, adapter: str | None) -> Node:
        """Where prompts begin; state made with an adapter is of no use without it."""
        return self._roots[adapter]

    def descend(
        self, parent: Node, tokens: NDArray[np.int32], borders: Iterable[int] = (), *, transient_from: int | None = None
    ) -> list[Node]:
        """The nodes that make up ``tokens`` after ``parent``; what is not there yet is added, cut at ``borders``.

        Nodes that begin at or after ``transient_from`` (an index into ``tokens``) are marked transient.
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
                    parent, tokens[at:cut], transient=transient_from is not None and at >= transient_from
                )
                path.append(parent)
                at = cut
        return path

    def order(self, parent: Node, passages: Sequence[NDArray[np.int32]]) -> list[int]:
        """Indices of ``passages``: first those whose state is at hand one after the other, then the most asked for.

        What is asked for often comes early, so that its state can be reused whatever follows it.
        """
        asked = [self._count(passage) for passage in passages]
        rest = sorted(range(len(passages)), key=lambda i: -asked[i])
        order: list[int] = []
        while rest:
            following = [(i, node) for i in rest if (node := _child(parent, passages[i])) and _at_hand(node)]
            if not following:
                break
            index, parent = following[0]
            rest.remove(index)
            order.append(index)
        return order + rest

    def pin(self, path: Path) -> None:
        """Keep the path's nodes, and count the cells and sequences they take."""
        self._paths.append(path)
        for node in reversed(path.nodes):  # what others stand on is the last to go
            node.pins += 1
            node.used = next(self._clock)
            self._claim(node)

    def unpin(self, path: Path) -> None:
        """A request is done with a path; what was promised to be read for it and was not is no longer counted."""
        self._paths.remove(path)
        for node in reversed(path.nodes):
            node.pins -= 1
            if node.pins == 0 and node.holder is None:
                self._unclaim(node)
                self._prune(node)

    def reserve(self, cells: int, sequences: int) -> bool:
        """Count cells and sequences of a request's own, demoting for them; False if they cannot be had now."""
        if not self.make_room(cells, sequences):
            return False
        self.cells_claimed += cells
        self.sequences_claimed += sequences
        return True

    def release(self, cells: int, sequences: int) -> None:
        self.cells_claimed -= cells
        self.sequences_claimed -= sequences

    def make_room(self, cells: int, sequences: int) -> bool:
        """Demote until so many cells and sequences are unclaimed; False if that cannot be had now."""
        while (
            self._context.cells - self.cells_claimed < cells
            or self._context.sequences - self.sequences_claimed < sequences
        ):
            if not self._demote_one():
                return False
        return True

    def take_sequence(self) -> int | None:
        """An empty sequence; None if all are in use and none can be freed."""
        if not self._free and not self._demote_one():
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
            self._hold(node, holder)
            return True
        self.give_back(holder)
        self.snapshots.discard(node.key)
        node.stored = False
        return False

    def finish(self, node: Node, sequence: int) -> None:
        """The node's tokens have been read as part of ``sequence``: keep their cells for others."""
        node.owner, node.progress = None, 0
        holder = self.take_sequence() if self._shares else None
        if holder is not None:
            self._context.copy(sequence, holder, node.start, node.end)
            self._hold(node, holder)

    def abandon(self, node: Node) -> None:
        """The node's owner stops: what it has read so far becomes a node of its own, while its sequence still is."""
        owner, progress = node.owner, node.progress
        if owner is not None and self._shares and progress >= _LEAST_SHARED and self._cut(node, progress):
            node = owner.path.nodes[owner.path.index]  # the part before it is complete, and kept
        node.owner, node.progress = None, 0

    def adopt(self, parent: Node, tokens: NDArray[np.int32], sequence: int) -> None:
        """Keep the end of a finished sequence for a conversation's next turn, if there is room without any effort."""
        shared = max((_common(child, tokens) for child in parent.children.get(int(tokens[0]), ())), default=0)
        if self._shares and self._free and len(tokens) >= _LEAST_SHARED > shared:
            node = self._add(parent, tokens, transient=True)
            node.used = next(self._clock)
            self._claim(node)
            self.finish(node, sequence)

    def forget_evicted(self) -> None:
        """Take note of what the snapshot store no longer has."""
        for key in self.snapshots.take_evicted():
            node = self._by_key.get(key)
            if node is not None:
                node.stored = False
                self._prune(node)

    def reset(self) -> None:
        """Forget every cell: what the cache holds after a failed decode is unknown. Snapshots stay."""
        self._context.clear()
        self._free = list(range(self._context.sequences))[::-1]
        self._held.clear()
        self._paths.clear()
        self.cells_claimed = self.sequences_claimed = 0
        nodes = [node for root in self._roots.values() for node in _subtree(root) if node is not root]
        for node in nodes:
            node.holder = node.owner = None
            node.progress = node.pins = 0
            node.claimed = False
        for leaf in [node for node in nodes if not node.children]:
            self._prune(leaf)

    def store_all(self) -> None:
        """Give the snapshot store everything worth keeping, oldest first."""
        for node in sorted(self._held, key=lambda node: node.used):
            self._store(node)

    def _hold(self, node: Node, holder: int) -> None:
        node.holder = holder
        self._held.add(node)
        self._claim(node)

    def _claim(self, node: Node) -> None:
        if not node.claimed:
            node.claimed = True
            self.cells_claimed += len(node)
            self.sequences_claimed += 1

    def _unclaim(self, node: Node) -> None:
        if node.claimed:
            node.claimed = False
            self.cells_claimed -= len(node)
            self.sequences_claimed -= 1

    def _demote_one(self) -> bool:
        """Free the cells of the node that is missed least; its state stays in the snapshot store if it is worth it."""
        idle = [node for node in self._held if node.pins == 0]
        if not idle:
            return False
        node = min(idle, key=lambda node: (node.hits > 0 or not node.transient, node.used))
        self._store(node)
        assert node.holder is not None  # noqa: S101 - it is held
        self._held.remove(node)
        self.give_back(node.holder)
        node.holder = None
        self._unclaim(node)
        self._prune(node)
        return True

    def _store(self, node: Node) -> None:
        if node.holder is None or (node.transient and not node.hits) or node.stored:
            return
        assert node.parent is not None  # noqa: S101 - roots hold nothing
        snapshot = Snapshot(key=node.key, parent=node.parent.key, start=node.start, tokens=node.tokens)
        node.stored = self.snapshots.put(snapshot, self._context.save(node.holder))

    def _prune(self, node: Node) -> None:
        """Take out a node that stands for nothing any more, and what it leaves bare above it."""
        while node.parent is not None and not (node.children or node.pins or node.stored or node.owner):
            if node.holder is not None:
                return
            siblings = node.parent.children[int(node.tokens[0])]
            siblings.remove(node)
            if not siblings:
                del node.parent.children[int(node.tokens[0])]
            self._drop_key(node)
            node = node.parent

    def _add(self, parent: Node, tokens: NDArray[np.int32], *, transient: bool = False) -> Node:
        tokens = tokens.copy()
        node = Node(parent, tokens, key=snapshot_key(parent.key, tokens), transient=transient)
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
        children = [(_common(child, tokens), child) for child in parent.children.get(int(tokens[0]), ())]
        for common, child in sorted(children, key=lambda found: (-found[0], len(found[1]))):
            if common == len(child) or (common >= _LEAST_SHARED and self._split(child, common)):
                return child
        return None

    def _split(self, node: Node, at: int) -> bool:
        """Cut a node in two so that a path can leave it in the middle; False if that cannot be done."""
        if self._cuts and node.stored and node.holder is None and node.owner is None:
            node.pins += 1  # room is made for it, not of it
            restored = self.make_room(len(node), 1) and self.ready(node)
            node.pins -= 1
            if not restored:
                self._prune(node)
                return False
        read = node.holder is not None or node.progress > at
        return (self._cuts or not read) and self._cut(node, at)

    def _cut(self, node: Node, at: int) -> bool:
        """``node`` keeps its first ``at`` tokens, a new child the others; paths, pins and state follow.

        False if there is no sequence for the child, or a state here or below is in the snapshot store alone.
        """
        node.pins += 1  # room is made for it, not of it
        possible = self.make_room(0, 1)
        rest_holder = self.take_sequence() if possible and node.holder is not None else None
        node.pins -= 1
        possible = possible and (node.holder is None or rest_holder is not None) and not _kept_apart(node)
        if not possible:
            if rest_holder is not None:
                self.give_back(rest_holder)
            return False
        parent = node.parent
        assert parent is not None  # noqa: S101 - roots have no tokens to cut
        self._forget_stored(node)
        if node.claimed:
            self.sequences_claimed += 1
        children = node.children
        head, tail = node.tokens[:at], node.tokens[at:]
        node.tokens, node.children = head.copy(), {}
        self._name_anew(node)
        rest = self._add(node, tail, transient=node.transient)
        rest.children = children
        self._name_anew(rest)
        rest.claimed, rest.pins, rest.used, rest.hits = node.claimed, node.pins, node.used, node.hits
        if rest_holder is not None and node.holder is not None:
            self._context.copy(node.holder, rest_holder, rest.start, rest.end)
            self._context.drop(node.holder, rest.start, rest.end)
            self._hold(rest, rest_holder)
        for path in self._paths:
            if node in path.nodes:
                place = path.nodes.index(node)
                path.nodes.insert(place + 1, rest)
                path.index += path.index > place
        self._share_progress(node, rest)
        return True

    def _joined(self, node: Node, child: Node) -> bool:
        """Make one node of two, if nothing else begins between them: a conversation grows by two nodes a turn."""
        possible = self._cuts and node.holder is not None and child.holder is not None
        if not possible or node.pins > 1 or len(_children(node)) > 1 or _kept_apart(node):
            return False  # one pin is that of the path that is being found
        assert node.holder is not None  # noqa: S101 - as checked
        assert child.holder is not None  # noqa: S101
        self._forget_stored(node)
        self._context.copy(child.holder, node.holder)
        self._held.remove(child)
        self.give_back(child.holder)
        self.sequences_claimed -= 1
        node.tokens, node.children = np.concatenate([node.tokens, child.tokens]), child.children
        node.hits, node.transient = max(node.hits, child.hits), node.transient and child.transient
        self._name_anew(node)
        return True

    def _forget_stored(self, node: Node) -> None:
        """Drop the keys of a node and all below it, and what the snapshot store holds under them."""
        for each in _subtree(node):
            if each.stored:
                self.snapshots.discard(each.key)
                each.stored = False
            self._drop_key(each)

    def _name_anew(self, node: Node) -> None:
        """Tell a node and all below it their parents and keys."""
        for each in _subtree(node):
            for child in _children(each):
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
        key = passage.tobytes()
        times = self._asked.pop(key, 0) + 1
        self._asked[key] = times
        if len(self._asked) > _COUNTED_PASSAGES:
            self._asked.popitem(last=False)
        return times

    def _take_over_stored(self) -> None:
        """Grow the tree from what the snapshot store found on disk; what hangs on nothing is of no use."""
        nodes = {root.key: root for root in self._roots.values()}
        for snapshot in sorted(self.snapshots.found(), key=lambda snapshot: snapshot.start):
            parent = nodes.get(snapshot.parent)
            if parent is None or parent.end != snapshot.start or not self._shares:
                self.snapshots.discard(snapshot.key)
                continue
            node = self._add(parent, snapshot.tokens)
            node.stored = True
            nodes[node.key] = node


def _common(node: Node, tokens: NDArray[np.int32]) -> int:
    """How many tokens at the beginning are the same."""
    length = min(len(node), len(tokens))
    differing = np.flatnonzero(node.tokens[:length] != tokens[:length])
    return int(differing[0]) if len(differing) else length


def _subtree(node: Node) -> list[Node]:
    """The node and all below it, parents first."""
    found = [node]
    for each in found:  # grows on the way
        found += _children(each)
    return found


def _children(node: Node) -> list[Node]:
    return [child for children in node.children.values() for child in children]


def _kept_apart(node: Node) -> bool:
    """Whether the state of the node or one below is in the snapshot store alone, under a key that says how the tokens
    before it were cut.
    """
    return any(each.stored and each.holder is None for each in _subtree(node))


def _child(parent: Node, tokens: NDArray[np.int32]) -> Node | None:
    """The node that holds just these tokens, if its parent has it."""
    for child in parent.children.get(int(tokens[0]), ()):
        if len(child) == len(tokens) and np.array_equal(child.tokens, tokens):
            return child
    return None


def _at_hand(node: Node) -> bool:
    return node.holder is not None or node.stored or node.owner is not None
