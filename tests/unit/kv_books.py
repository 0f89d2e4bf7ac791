"""A context and a snapshot store that only keep the books, for tests of what lives in the key-value cache.

A cell knows its token, its position and every token it has seen: state that was put together wrongly shows.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.inference.kv.snapshots import Snapshot, snapshot_key
from rag.inference.requests import PromptParts
from rag.inference.runs import Run
from rag.model_types import ANYONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from rag.inference.kv.node import Node
    from rag.inference.kv.tree import KvTree
    from rag.model_types import Gone

VOCABULARY = 8


def ids(*tokens: int) -> NDArray[np.int32]:
    return np.array(tokens, dtype=np.int32)


def piece(number: int, length: int) -> NDArray[np.int32]:
    """The beginning of text ``number``: two pieces of one number share the shorter one, others share nothing."""
    return np.arange(length, dtype=np.int32) + 1000 * (number + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """Compared by identity: a cell copied to another sequence is the same cell."""

    position: int
    token: int
    seen: int  # a digest of the tokens it attended to, by position

    @property
    def digest(self) -> int:
        return hash((self.position, self.token, self.seen))


def chain(tokens: Sequence[int], position: int = 0, seen: int = 0) -> list[Cell]:
    """The cells of tokens that follow one another, after what they have ``seen`` before."""
    cells = []
    for at, token in enumerate(tokens, position):
        cells.append(Cell(at, token, seen))
        seen += cells[-1].digest
    return cells


def facts(cells: Iterable[Cell]) -> set[tuple[int, int, int]]:
    return {(cell.position, cell.token, cell.seen) for cell in cells}


class BookBatch:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.clear()

    def clear(self) -> None:
        self.rows = self.outputs = 0
        self.added: list[tuple[list[int], int, int]] = []

    def add(self, tokens: NDArray[np.int32], position: int, sequence: int, *, outputs: int = 0) -> int:
        assert len(tokens), "an empty piece"
        first = self.rows
        self.rows += len(tokens)
        self.outputs += outputs
        assert self.rows <= self.capacity
        self.added.append((tokens.tolist(), position, sequence))
        return first


class BookContext:
    """As ``rag.inference.context.Context``; complains where llama.cpp would, and where that would silently be wrong."""

    def __init__(self, cells: int = 1000, sequences: int = 16, batch_tokens: int = 64) -> None:
        self.cells, self.sequences, self.batch_tokens = cells, sequences, batch_tokens
        self.content: list[set[Cell]] = [set() for _ in range(sequences)]
        self.refused: set[bytes] = set()  # states that llama.cpp will not take
        self.read = 0

    def batch(self) -> BookBatch:
        return BookBatch(self.batch_tokens)

    @property
    def used(self) -> int:
        return len(set().union(*self.content))

    def decode(self, batch: BookBatch) -> None:
        for tokens, position, sequence in batch.added:
            assert self.last_position(sequence) == position - 1, "positions of a sequence grow, and leave no gap"
            seen = {cell.digest for cell in self.content[sequence]}  # what is there twice counts once
            new = chain(tokens, position, sum(seen))
            self.content[sequence] |= set(new)
            self.read += len(new)
        assert self.used <= self.cells, "more cells than there are"

    def logits(self, row: int) -> NDArray[np.float32]:
        return np.zeros(VOCABULARY, dtype=np.float32)

    def copy(self, source: int, target: int, start: int = 0, end: int = -1) -> None:
        assert source != target
        assert self.content[source], "nothing to copy"
        self.content[target] |= {cell for cell in self.content[source] if _within(cell, start, end)}

    def drop(self, sequence: int, start: int = 0, end: int = -1) -> bool:
        self.content[sequence] = {cell for cell in self.content[sequence] if not _within(cell, start, end)}
        return True

    def last_position(self, sequence: int) -> int:
        return max((cell.position for cell in self.content[sequence]), default=-1)

    def save(self, sequence: int) -> NDArray[np.uint8]:
        cells = sorted(facts(self.content[sequence]))
        return np.frombuffer(pickle.dumps(cells), dtype=np.uint8)

    def restore(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        assert not self.content[sequence], "a state is restored into an empty sequence"
        if state.tobytes() in self.refused:
            return False
        cells = pickle.loads(state.tobytes())  # noqa: S301 - written by save
        self.content[sequence] = {Cell(*cell) for cell in cells}
        assert self.used <= self.cells, "more cells than there are"
        return True

    def clear(self) -> None:
        self.content = [set() for _ in range(self.sequences)]


def _within(cell: Cell, start: int, end: int) -> bool:
    return cell.position >= start and (end < 0 or cell.position < end)


class BookStore:
    """As ``rag.inference.kv.snapshots.SnapshotStore``, with room for ``limit`` states."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.ram_bytes = limit
        self.states: dict[bytes, tuple[Snapshot, NDArray[np.uint8]]] = {}
        self.evicted: list[bytes] = []

    def found(self) -> list[Snapshot]:
        return [snapshot for snapshot, _ in self.states.values()]

    def put(self, snapshot: Snapshot, state: NDArray[np.uint8]) -> bool:
        assert snapshot.key == snapshot_key(snapshot.parent, snapshot.tokens), "the real store would refuse it"
        if not self.limit:
            return False
        self.states.pop(snapshot.key, None)
        self.states[snapshot.key] = (snapshot, state.copy())
        while len(self.states) > self.limit:
            self.evict()
        return True

    def evict(self) -> None:
        """Lose the oldest."""
        key = next(iter(self.states))
        del self.states[key]
        self.evicted.append(key)

    def get(self, key: bytes) -> NDArray[np.uint8] | None:
        found = self.states.get(key)
        return found[1] if found else None

    def discard(self, key: bytes) -> None:
        self.states.pop(key, None)

    def erase(self, gone: Gone) -> None:
        for key in [key for key, (snapshot, _) in self.states.items() if gone.touches(snapshot.chunks)]:
            self.discard(key)

    def take_evicted(self) -> list[bytes]:
        evicted, self.evicted = self.evicted, []
        return [key for key in evicted if key not in self.states]


class Reading(Run[Any]):
    """A request that reads its prompt and then says what the test tells it to."""

    def __init__(
        self,
        tree: KvTree,
        context: BookContext,
        prompt: PromptParts,
        *,
        new_tokens: int = 0,
        stitched: bool = False,
        alone: bool = False,
    ) -> None:
        request = SimpleNamespace(new_tokens=new_tokens, adapter=None, caller=ANYONE)
        super().__init__(request, tree, context, None)  # type: ignore[arg-type]
        self.prompt = prompt
        self.said: list[int] = []
        self.admitted_now = self.admit(prompt, stitched=stitched, alone=alone)

    def _take(self, logits: NDArray[np.float32]) -> None:
        pass

    def _complete(self) -> None:
        pass

    def say(self, token: int) -> None:
        batch = self._context.batch()
        batch.add(ids(token), self.position, self.sequence)
        self._context.decode(batch)
        self.position += 1
        self.said.append(token)

    def keep(self) -> None:
        """As the engine does at the end of an answer."""
        if self._paths[0].nodes:
            read = np.concatenate([self._tail, np.array(self.said, dtype=np.int32)])
            self._tree.adopt(self._paths[0].nodes[-1], read, self.sequence)

    def sequences_in_use(self) -> list[int]:
        walkers = getattr(self._reader, "_walkers", [])
        return [self.sequence, *(walker.sequence for walker in walkers)]

    def check_content(self) -> None:
        """The sequence holds this prompt and what was said, each token having seen what it should."""
        cells = self._context.content[self.sequence]
        if not self.stitched:
            assert facts(cells) == facts(chain([*self.prompt.tokens.tolist(), *self.said]))
            assert len(cells) == self.position
            return
        prefix = self.prompt.prefix.tolist()
        expected = facts(chain(prefix))
        for passage in self.prompt.passages:
            expected |= facts(chain(prefix + passage.tolist()))
        seen = sum(map(hash, expected))
        start = max(at for at, _, _ in expected) + 1
        tail = [*(token for part in self.prompt.recomputed for token in part.tolist()), *self.prompt.rest.tolist()]
        assert facts(cells) == expected | facts(chain([*tail, *self.said], start, seen))


def step(context: BookContext, runs: Sequence[Reading], room: int = 64) -> int:
    """One step over the runs that still read, as the engine takes it; how many rows it had."""
    batch = context.batch()
    reading = [run for run in runs if run.in_prompt]
    for run in reading:
        room -= run.add_prompt_rows(batch, room)
    context.decode(batch)
    for run in reading:
        run.commit()
    assert batch.rows or not reading or any(not run.in_prompt for run in reading), "nobody got any further"
    return batch.rows


def read_all(context: BookContext, *runs: Reading) -> int:
    """Step until all prompts are read; the rows it took."""
    rows = 0
    while any(run.in_prompt for run in runs):
        rows += step(context, runs)
    return rows


def nodes(tree: KvTree) -> list[Node]:
    """Every node but the roots, parents first."""
    found: list[Node] = []
    waiting = list(tree._roots.values())
    while waiting:
        node = waiting.pop(0)
        below = [child for children in node.children.values() for child in children]
        found += below
        waiting += below
    return found


def doomed(tree: KvTree) -> list[Node]:
    """Nodes that are no longer in the tree and serve requests at work."""
    return list({node: None for path in tree._paths for node in path.nodes if node.doomed})


def way_to(tree: KvTree, node: Node) -> list[int]:
    """All tokens up to the end of a node."""
    if node.doomed:
        path = next(path.nodes for path in tree._paths if node in path.nodes)
        return [token for each in path[: path.index(node) + 1] for token in each.tokens.tolist()]
    way: list[int] = []
    above: Node | None = node
    while above is not None:
        way, above = [*above.tokens.tolist(), *way], above.parent
    return way


def check_accounts(tree: KvTree, runs: Sequence[Reading] = ()) -> None:
    """What is counted is what is held or promised."""
    everything = nodes(tree)
    for node in everything:
        assert node.key == snapshot_key(node.parent.key, node.tokens)
        assert node.start == node.parent.end
        assert node.chunks >= node.parent.chunks
        assert not node.doomed
        assert tree._by_key.get(node.key) is node or not tree._shares
        assert node.children or node.claimed or node.stored or node.owner, "a node that stands for nothing"
    going = doomed(tree)
    for node in going:
        assert node.pins
        assert not node.stored
        assert node.parent is None
    for node in everything + going:
        assert (node in tree.cells.held) == (node.holder is not None)
        assert node.claimed == (node.holder is not None or node.pins > 0)
        assert node.pins == sum(path.nodes.count(node) for path in tree._paths)
        if node.owner is not None:
            assert node.holder is None
            assert node in node.owner.path.nodes
    assert {node.key for node in everything} >= set(tree._by_key)
    assert len(tree._by_key) == len(everything) or not tree._shares
    claimed = [node for node in everything + going if node.claimed]
    assert tree.cells.claimed == sum(map(len, claimed)) + sum(run._cells for run in runs)
    assert tree.cells.sequences_claimed == len(claimed) + sum(run._sequences for run in runs)
    assert tree.cells.claimed <= tree._context.cells
    assert tree.cells.sequences_claimed <= tree._context.sequences
    taken = [node.holder for node in tree.cells.held] + [
        sequence for run in runs for sequence in run.sequences_in_use()
    ]
    assert sorted([*taken, *tree.cells._free]) == list(range(tree._context.sequences))
    assert all(tree._context.last_position(sequence) == -1 for sequence in tree.cells._free)


def check_books(tree: KvTree, context: BookContext, runs: Sequence[Reading]) -> None:
    """As ``check_accounts``, and every node holds just its own tokens' state."""
    check_accounts(tree, runs)
    for run in runs:
        if not run.stitched:
            (path,) = run._paths
            at_work = path.nodes[path.index : path.index + 1]
            held = sum(map(len, path.nodes[: path.index]))
            held += sum(node.progress for node in at_work if node.owner is run._reader)
            assert context.last_position(run.sequence) + 1 == held + run._tail_read + len(run.said)
    assert context.used <= tree.cells.claimed
    for node in nodes(tree) + doomed(tree):
        if node.stored and node.key not in tree.cells.snapshots.evicted:
            assert node.key in tree.cells.snapshots.states
        if node.holder is not None:
            cells = context.content[node.holder]
            assert facts(cells) == facts(chain(way_to(tree, node))[node.start :])
            assert len(cells) == len(node)


def empty(tree: KvTree) -> None:
    """Demote everything that no request needs."""
    while tree.cells.demote_one():
        pass


__all__ = [
    "BookContext",
    "BookStore",
    "Cell",
    "PromptParts",
    "Reading",
    "check_accounts",
    "check_books",
    "doomed",
    "empty",
    "ids",
    "nodes",
    "piece",
    "read_all",
    "step",
    "way_to",
]
