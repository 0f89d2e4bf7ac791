"""Whatever requests come, go, give up and are demoted: each gets its own prompt's state, and the books balance."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rag.inference.kv.tree import KvTree
from rag.model_types import Gone
from tests.unit.kv_books import (
    BookContext,
    BookStore,
    PromptParts,
    Reading,
    check_books,
    empty,
    ids,
    nodes,
    piece,
    read_all,
    step,
    way_to,
)

# Texts that begin alike, part in the middle, go on with other texts or end.
lengths = st.sampled_from([1, 15, 16, 17, 25, 40, 50])
texts = st.lists(st.tuples(st.integers(0, 1), lengths), min_size=1, max_size=2).map(
    lambda parts: np.concatenate([piece(*part) for part in parts])
)
passages = st.lists(st.tuples(st.integers(3, 5), st.sampled_from([5, 20, 40])), max_size=4)
questions = st.tuples(st.integers(7, 8), st.integers(1, 30)).map(lambda p: piece(*p))


class Cache(RuleBasedStateMachine):
    @initialize(
        cells=st.sampled_from([320, 900]),
        sequences=st.sampled_from([9, 24]),
        stored=st.sampled_from([0, 3, 50]),
        kind=st.sampled_from(["shares and cuts", "shares and cuts", "shares", ""]),
    )
    def open(self, cells: int, sequences: int, stored: int, kind: str) -> None:
        self.shares, self.cuts = "shares" in kind, "cuts" in kind
        self.context = BookContext(cells, sequences)
        self.store = BookStore(stored if self.shares else 0)
        self.tree = self.make_tree(self.context)
        self.runs: list[Reading] = []
        self.conversations: list[np.ndarray] = []
        self.chunk_ids = count(1)  # never used twice
        self.chunks: dict[int, tuple[int, int]] = {}  # the text of those that are there
        self.erased: dict[int, tuple[int, int]] = {}
        self.readings: list[tuple[np.ndarray, list[tuple[int, int]]]] = []  # what was asked, and where passages began

    def make_tree(self, context: BookContext) -> KvTree:
        return KvTree(context, self.store, identity="model", shares=self.shares, cuts=self.cuts)  # type: ignore[arg-type]

    def chunk(self, data: st.DataObject, text: tuple[int, int]) -> int | None:
        """A chunk of this text: a new one, one that is there, one that was deleted while its request was under way."""
        known = [chunk for chunk, its in (self.chunks | self.erased).items() if its == text]
        new = next(self.chunk_ids)
        chunk = data.draw(st.sampled_from([new, None, *known]), label="chunk")
        if chunk == new:
            self.chunks[new] = text
        return chunk

    @rule(
        data=st.data(),
        prefix=st.just(piece(0, 25)) | texts,
        found=passages,
        question=questions,
        new=st.integers(0, 20),
        stitched=st.booleans(),
    )
    def begin(
        self,
        data: st.DataObject,
        prefix: np.ndarray,
        found: list[tuple[int, int]],
        question: np.ndarray,
        new: int,
        stitched: bool,
    ) -> None:
        passages = [piece(*text) for text in found]
        chunks = tuple(self.chunk(data, text) for text in found)
        parts = PromptParts(prefix=prefix, passages=tuple(passages), rest=question, chunks=chunks)
        if stitched and len(passages) > 2:
            parts = replace(parts, passages=parts.passages[1:], chunks=chunks[1:], recomputed=parts.passages[:1])
        if stitched:
            for passage, chunk in zip(parts.passages, parts.chunks, strict=True):
                mark = [] if chunk is None else [(len(prefix), chunk)]
                self.readings.append((np.concatenate([prefix, passage]), mark))
        self.readings.append((parts.tokens, [] if stitched and passages and self.cuts else parts.marks()))
        stitched = stitched and bool(passages) and self.cuts
        run = Reading(self.tree, self.context, parts, new_tokens=new, stitched=stitched, alone=not self.runs)
        if run.admitted_now:
            self.runs.append(run)
        else:
            assert self.runs or len(passages) + 9 > self.context.sequences, "a request alone has all the room there is"

    @precondition(lambda self: self.conversations)
    @rule(data=st.data(), more=texts, new=st.integers(0, 40))
    def go_on(self, data: st.DataObject, more: np.ndarray, new: int) -> None:
        said = data.draw(st.sampled_from(range(len(self.conversations))), label="conversation")
        prompt = np.concatenate([self.conversations[said], more])
        self.readings.append((prompt[:200], []))
        run = Reading(self.tree, self.context, PromptParts(prefix=prompt[:200]), new_tokens=new, alone=not self.runs)
        if run.admitted_now:
            self.runs.append(run)

    @precondition(lambda self: self.runs)
    @rule(room=st.sampled_from([3, 20, 40, 64]), times=st.integers(1, 4))
    def step(self, room: int, times: int) -> None:
        for _ in range(times):
            step(self.context, self.runs, room)
        for run in self.runs:
            if not run.in_prompt:
                run.check_content()

    @precondition(lambda self: any(not run.in_prompt for run in self.runs))
    @rule(data=st.data(), answer=st.integers(0, 40), keep=st.booleans())
    def answer(self, data: st.DataObject, answer: int, keep: bool) -> None:
        run = data.draw(st.sampled_from([run for run in self.runs if not run.in_prompt]), label="run")
        for token in range(min(answer, run.request.new_tokens)):
            run.say(5000 + token)
        run.check_content()
        if keep and not run.stitched and not run.prompt.passages:
            run.keep()
            self.conversations.append(np.concatenate([run.prompt.tokens, np.array(run.said, dtype=np.int32)]))
            self.readings.append((self.conversations[-1], []))
        self.runs.remove(run)
        run.release()

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.runs), label="run")
        self.runs.remove(run)
        run.release()

    @precondition(lambda self: self.chunks)
    @rule(data=st.data(), others=st.booleans())
    def erase(self, data: st.DataObject, others: bool) -> None:
        """Documents are deleted; or the tree is told, of all that ever were, which are left."""
        ids = data.draw(st.sets(st.sampled_from(sorted(self.chunks)), min_size=1), label="deleted")
        self.erased |= {chunk: self.chunks.pop(chunk) for chunk in ids}
        everything = Gone(kept=frozenset(self.chunks), last=max(self.erased | self.chunks))
        self.tree.erase(everything if others else Gone(ids=frozenset(ids)))

    @rule(times=st.sampled_from([1, 3, 20]))
    def demote(self, times: int) -> None:
        for _ in range(times):
            self.tree.cells.demote_one()

    @rule()
    def set_aside(self) -> None:
        self.tree.cells.set_aside()

    @precondition(lambda self: self.store.states)
    @rule()
    def lose_a_stored_state(self) -> None:
        self.store.evict()
        self.tree.forget_evicted()

    @precondition(lambda self: self.store.states)
    @rule(data=st.data())
    def damage_a_stored_state(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.store.states)), label="key")
        self.context.refused.add(self.store.states[key][1].tobytes())

    @rule(really=st.sampled_from([False, False, False, True]))
    def lose_all_cells(self, really: bool) -> None:
        """A decode failed."""
        if really:
            self.tree.reset()
            self.runs = []

    @invariant()
    def the_books_balance(self) -> None:
        if hasattr(self, "tree"):
            self.tree.forget_evicted()
            check_books(self.tree, self.context, self.runs)
            self.check_origins(self.tree)

    def check_origins(self, tree: KvTree) -> None:
        """All state that can be found is that of a prompt of whose passages, so far, none is gone."""
        for node in nodes(tree):
            assert node.chunks.isdisjoint(self.erased)
            way = np.array(way_to(tree, node), dtype=np.int32)
            made_of = [
                {chunk for start, chunk in marks if start < len(way)}
                for tokens, marks in self.readings
                if np.array_equal(tokens[: len(way)], way)
            ]
            assert any(chunks <= node.chunks for chunks in made_of)
        for snapshot, _ in self.store.states.values():
            assert snapshot.chunks.isdisjoint(self.erased)

    def teardown(self) -> None:
        if not hasattr(self, "tree"):
            return
        read_all(self.context, *self.runs)
        for run in self.runs:
            run.check_content()
            run.release()
        check_books(self.tree, self.context, [])
        self.tree.cells.store_all()
        empty(self.tree)
        self.tree.forget_evicted()
        check_books(self.tree, self.context, [])
        assert self.tree.cells.claimed == self.tree.cells.sequences_claimed == self.context.used == 0
        assert not self.tree._paths
        kept = {node.key for node in nodes(self.tree) if node.stored}
        assert kept == set(self.store.states)

        # What was stored is there for the next process, as far as it hangs together.
        context = BookContext(self.context.cells, self.context.sequences)
        tree = self.make_tree(context)
        check_books(tree, context, [])
        self.check_origins(tree)
        whole: set[bytes] = {root.key for root in self.tree._roots.values()}
        for node in nodes(self.tree):
            if node.stored and node.parent.key in whole:
                whole.add(node.key)
        assert {node.key for node in nodes(tree)} == whole - {root.key for root in tree._roots.values()}
        for node in nodes(tree):
            above, depth = node, 0
            while above is not None:
                above, depth = above.parent, depth + 1
            if node.end + 1 > context.cells or depth + 1 > context.sequences:
                continue
            run = Reading(tree, context, PromptParts(prefix=ids(*way_to(tree, node), 77)))
            assert run.admitted_now
            read_all(context, run)
            run.check_content()
            run.release()
        check_books(tree, context, [])


Cache.TestCase.settings = settings(
    max_examples=250,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
TestCache = Cache.TestCase
