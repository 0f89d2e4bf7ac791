"""Nodes of the tree of model state, and the paths that requests take through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Node:
    """A run of tokens. Of its state it knows where it is: in cells (``holder``), being read (``owner``), stored.

    ``chunks`` are the ids of the passages it was made of, those above it included: it is of use as long as all of them
    are there. A ``doomed`` node is no longer in the tree. It serves the requests whose path it is on already, and goes
    with the last of them.
    """

    __slots__ = (
        "children",
        "chunks",
        "claimed",
        "doomed",
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

    def __init__(
        self,
        parent: Node | None,
        tokens: NDArray[np.int32],
        *,
        key: bytes,
        chunks: frozenset[int] = frozenset(),
        transient: bool = False,
    ) -> None:
        self.parent = parent
        self.tokens = tokens
        self.start: int = parent.end if parent else 0
        self.key = key
        self.chunks = chunks
        self.doomed = False
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

    @property
    def at_hand(self) -> bool:
        """Whether its state need not be read: it is there, stored, or being read already."""
        return self.holder is not None or self.stored or self.owner is not None

    def shared(self, tokens: NDArray[np.int32]) -> int:
        """How many tokens at the beginning are the same."""
        length = min(len(self), len(tokens))
        differing = np.flatnonzero(self.tokens[:length] != tokens[:length])
        return int(differing[0]) if len(differing) else length

    def beginning_like(self, tokens: NDArray[np.int32]) -> list[Node]:
        """The children that share at least their first token with ``tokens``."""
        return self.children.get(int(tokens[0]), [])

    def child(self, tokens: NDArray[np.int32]) -> Node | None:
        """The child that holds just these tokens."""
        return next((node for node in self.beginning_like(tokens) if np.array_equal(node.tokens, tokens)), None)

    def all_children(self) -> list[Node]:
        return [node for nodes in self.children.values() for node in nodes]

    def subtree(self) -> list[Node]:
        """The node and all below it, parents first."""
        found = [self]
        for each in found:  # grows on the way
            found += each.all_children()
        return found

    @property
    def kept_apart(self) -> bool:
        """Whether its state or that of one below is in the snapshot store alone, under a key that says how the tokens
        before it were cut.
        """
        return any(each.stored and each.holder is None for each in self.subtree())


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


def longest_chain(
    parent: Node, passages: Sequence[NDArray[np.int32]], candidates: list[int], visited: set[Node]
) -> list[int]:
    """Candidates whose state is at hand one after the other below ``parent``, as many tokens as can be had.

    Among equals, the chain that begins with the earliest candidate. Every node is visited once, whatever passages it
    can be put together from: one may come twice, or be the beginning of another.
    """
    chains: list[list[int]] = []
    for i in candidates:
        node = _at_hand(parent, passages[i])
        if node is not None and node not in visited:
            visited.add(node)
            others = [other for other in candidates if other != i]
            chains.append([i, *longest_chain(node, passages, others, visited)])
    return max(chains, key=lambda chain: sum(len(passages[i]) for i in chain), default=[])


def _at_hand(parent: Node, tokens: NDArray[np.int32]) -> Node | None:
    """The node where ``tokens`` after ``parent`` end, if all state up to it is at hand.

    There are several nodes on the way where another passage begins alike.
    """
    node = parent
    while len(tokens):
        children = [child for child in node.beginning_like(tokens) if child.at_hand]
        whole = [child for child in children if child.shared(tokens) == len(child)]
        if not whole:
            return None
        node = max(whole, key=len)
        tokens = tokens[len(node) :]
    return node
