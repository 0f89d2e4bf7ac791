"""Which state is found again, what is read only once, what goes first when room is short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag.inference.kv import node as node_module
from rag.inference.kv.tree import KvTree
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
)

if TYPE_CHECKING:
    from rag.inference.kv.node import Node

PREFIX, FIRST, SECOND, QUESTION = piece(0, 40), piece(1, 30), piece(2, 30), piece(7, 10)


class Cache:
    def __init__(self, *, cells: int = 1000, sequences: int = 24, stored: int = 0, **kind: bool) -> None:
        self.context = BookContext(cells, sequences)
        self.store = BookStore(stored)
        self.tree = KvTree(self.context, self.store, identity="model", **kind)  # type: ignore[arg-type]
        self.runs: list[Reading] = []

    def begin(self, prompt: PromptParts, **options: object) -> Reading:
        run = Reading(self.tree, self.context, prompt, **options)  # type: ignore[arg-type]
        if run.admitted_now:
            self.runs.append(run)
        self.check()
        return run

    def end(self, *runs: Reading) -> None:
        for run in runs:
            self.runs.remove(run)
            run.release()
        self.check()

    def read(self, *prompts: PromptParts, **options: object) -> int:
        """Tokens that had to be read for prompts that came together."""
        runs = [self.begin(prompt, **options) for prompt in prompts]
        rows = read_all(self.context, *runs)
        for run in runs:
            run.check_content()
        self.end(*runs)
        return rows

    def check(self) -> None:
        check_books(self.tree, self.context, self.runs)


def prompt(*parts: np.ndarray, question: np.ndarray = QUESTION) -> PromptParts:
    return PromptParts(prefix=PREFIX, passages=parts, rest=question)


def plain(*parts: np.ndarray) -> PromptParts:
    return PromptParts(prefix=np.concatenate(parts))


def test_a_shared_beginning_is_read_once() -> None:
    cache = Cache()
    assert cache.read(prompt(FIRST)) == 80
    assert cache.read(prompt(FIRST)) == 1, "the last token is read for its logits"
    assert cache.read(prompt(FIRST, question=piece(8, 10))) == 10
    assert cache.read(prompt(SECOND)) == 40


def test_requests_that_come_together_read_what_they_share_once() -> None:
    cache = Cache(cells=2000, sequences=40)
    assert cache.read(*(prompt(FIRST, question=piece(10 + i, 5)) for i in range(8))) == 70 + 8 * 5


def test_a_request_goes_on_where_another_is_still_reading_past_their_common_beginning() -> None:
    cache = Cache()
    long = cache.begin(plain(PREFIX, FIRST, SECOND))
    for _ in range(3):
        step(cache.context, cache.runs, 20)
    short = cache.begin(plain(PREFIX, FIRST[:10], QUESTION))
    read_all(cache.context, long, short)
    long.check_content()
    short.check_content()
    assert cache.context.read == 100 + 10
    cache.end(long, short)


def test_what_a_request_has_behind_it_can_be_cut_by_another() -> None:
    cache = Cache()
    long = cache.begin(prompt(FIRST, SECOND))
    step(cache.context, cache.runs, 50)
    short = cache.begin(plain(PREFIX[:20], QUESTION))
    read_all(cache.context, long, short)
    long.check_content()
    short.check_content()


def test_beginnings_of_fewer_than_16_tokens_are_not_shared() -> None:
    cache = Cache()
    assert cache.read(plain(PREFIX[:15], FIRST)) == 45
    assert cache.read(plain(PREFIX[:15], SECOND)) == 45
    assert cache.read(plain(PREFIX[:16], SECOND)) == 46


def test_what_was_read_for_a_request_that_left_is_kept() -> None:
    cache = Cache()
    leaver, other = cache.begin(plain(PREFIX, FIRST)), cache.begin(plain(PREFIX, FIRST, SECOND))
    step(cache.context, cache.runs, 50)
    cache.end(leaver)
    read_all(cache.context, other)
    other.check_content()
    assert cache.context.read == 100
    cache.end(other)


def test_a_request_that_leaves_when_no_sequence_is_free_leaves_its_reading_to_others() -> None:
    cache = Cache(sequences=3)
    leaver, other = cache.begin(plain(PREFIX, FIRST)), cache.begin(plain(PREFIX, FIRST))
    assert other.admitted_now, "two sequences of their own, and one for what they share"
    step(cache.context, cache.runs, 50)
    cache.end(leaver)
    read_all(cache.context, other)
    other.check_content()


def test_a_node_with_children_can_be_given_up_in_the_middle() -> None:
    cache = Cache(sequences=5)
    cache.read(prompt(FIRST))
    nodes(cache.tree)[0].used = -1
    while nodes(cache.tree)[0].holder is not None:
        cache.tree.cells.demote_one()
    leaver = cache.begin(plain(PREFIX, QUESTION))
    step(cache.context, cache.runs, 20)
    cache.end(leaver)
    assert cache.read(prompt(FIRST)) <= 40 + 10


def test_the_least_recently_used_goes_first_and_beginnings_outlive_what_follows_them() -> None:
    cache = Cache(cells=200)
    cache.read(prompt(FIRST))
    cache.read(prompt(SECOND))
    assert cache.read(prompt(FIRST)) == 1
    cache.read(plain(piece(3, 100)))
    assert cache.tree.cells.claimed <= 200
    assert cache.read(prompt(FIRST)) < 20, "only the question can have gone"
    assert cache.read(prompt(SECOND)) >= 30
    while cache.tree.cells.demote_one():
        for node in nodes(cache.tree):
            assert node.holder is None or not node.parent.tokens.size or node.parent.holder is not None


def test_questions_go_before_passages() -> None:
    cache = Cache()
    cache.read(prompt(FIRST))
    cache.read(prompt(SECOND, question=piece(8, 20)))
    cache.tree.cells.demote_one()
    cache.tree.cells.demote_one()
    assert cache.read(prompt(FIRST)) == 10
    assert cache.read(prompt(SECOND, question=piece(8, 20))) == 20


def test_what_was_demoted_comes_back_without_being_read() -> None:
    cache = Cache(stored=10)
    cache.read(prompt(FIRST))
    empty(cache.tree)
    assert cache.context.used == 0
    assert len(cache.store.states) == 2, "prefix and passage; nobody asked for the question again"
    assert cache.read(prompt(FIRST, question=piece(8, 10))) == 10


def test_a_stored_beginning_can_be_left_in_its_middle() -> None:
    cache = Cache(stored=10)
    cache.read(plain(PREFIX, FIRST))
    empty(cache.tree)
    assert cache.read(plain(PREFIX, SECOND)) == 30


def test_a_damaged_state_is_read_anew() -> None:
    cache = Cache(stored=10)
    cache.read(prompt(FIRST))
    empty(cache.tree)
    cache.context.refused |= {state.tobytes() for _, state in cache.store.states.values()}
    assert cache.read(prompt(FIRST)) == 80
    empty(cache.tree)
    cache.context.refused.clear()
    assert cache.read(prompt(FIRST)) == 10


def test_a_damaged_state_is_not_cut_either() -> None:
    cache = Cache(stored=10)
    cache.read(plain(PREFIX, FIRST))
    empty(cache.tree)
    cache.context.refused |= {state.tobytes() for _, state in cache.store.states.values()}
    assert cache.read(plain(PREFIX[:20], SECOND)) == 50
    assert not cache.store.states


def test_a_state_of_other_tokens_is_not_believed() -> None:
    cache = Cache(stored=10)
    cache.read(prompt(FIRST))
    empty(cache.tree)
    (first, state), (second, other) = cache.store.states.values()
    cache.store.states = {first.key: (first, other), second.key: (second, state)}
    assert cache.read(prompt(FIRST)) == 80


def test_an_evicted_state_is_read_anew() -> None:
    cache = Cache(stored=10)
    cache.read(prompt(FIRST))
    empty(cache.tree)
    while cache.store.states:
        cache.store.evict()
    cache.tree.forget_evicted()
    assert not nodes(cache.tree)
    assert cache.read(prompt(FIRST)) == 80


def test_a_cut_leaves_every_state_under_a_key_it_can_be_found_by() -> None:
    cache = Cache(stored=10)
    cache.read(prompt(FIRST), prompt(SECOND))
    assert cache.read(plain(PREFIX[:20], piece(5, 10))) == 10
    empty(cache.tree)
    cache.check()
    again = KvTree(BookContext(), cache.store, identity="model")  # type: ignore[arg-type]
    assert {node.key for node in nodes(again)} == {node.key for node in nodes(cache.tree)}
    assert sorted(map(len, nodes(again))) == [9, 20, 20, 30, 30]


def test_passages_that_only_the_store_has_are_not_lost_by_a_cut_before_them() -> None:
    cache = Cache(stored=10)
    cache.read(prompt(FIRST))
    empty(cache.tree)
    assert cache.read(plain(PREFIX[:20], SECOND)) == 30, "all of it came back, and was cut"
    assert cache.read(plain(PREFIX[:20], SECOND)) == 1, "and that is found the next time"
    assert cache.read(prompt(FIRST, question=SECOND)) == 30


def test_what_does_not_fit_is_not_brought_back_for_a_cut() -> None:
    cache = Cache(cells=130, stored=10)
    cache.read(prompt(FIRST))
    empty(cache.tree)
    assert cache.read(plain(PREFIX[:20], SECOND)) == 50, "reading 20 tokens again loses less than the passages"
    assert cache.read(prompt(FIRST, question=SECOND)) == 30


def test_a_request_alone_has_nothing_idle_beside_it() -> None:
    cache = Cache(stored=10)
    cache.read(prompt(FIRST), prompt(SECOND))
    run = cache.begin(prompt(SECOND), alone=True)
    read = read_all(cache.context, run)
    assert {len(node) for node in cache.tree.cells.held} == {40, 30, 9}, "the prefix, its passage, its question"
    cache.end(run)
    assert read == 1
    assert cache.read(prompt(FIRST)) == 1, "what was set aside has come back"


def test_a_request_that_does_not_fit_now_takes_nothing_from_the_others() -> None:
    cache = Cache(cells=200)
    cache.read(prompt(FIRST))
    running = cache.begin(prompt(SECOND), new_tokens=60)
    assert not cache.begin(prompt(piece(5, 40)), new_tokens=60).admitted_now
    cache.end(running)
    assert cache.read(prompt(FIRST)) == 1


def test_nothing_is_set_aside_where_it_would_be_lost() -> None:
    cache = Cache(stored=0)
    cache.read(prompt(FIRST))
    cache.read(prompt(SECOND), alone=True)
    assert cache.read(prompt(FIRST)) == 1


def test_a_long_conversation_takes_few_sequences() -> None:
    cache = Cache(cells=4000, sequences=6)
    conversation = PREFIX
    for turn in range(40):
        run = cache.begin(plain(conversation), new_tokens=30)
        assert run.admitted_now
        rows = read_all(cache.context, run)
        assert rows <= (40 if turn == 0 else 21)
        for token in range(30):
            run.say(50_000 + 100 * turn + token)
        run.check_content()
        run.keep()
        cache.end(run)
        said = 50_000 + 100 * turn + np.arange(30, dtype=np.int32)
        conversation = np.concatenate([conversation, said, piece(100 + turn, 20)])


def test_nodes_are_not_joined_while_another_request_needs_the_first_alone() -> None:
    cache = Cache()
    run = cache.begin(plain(PREFIX), new_tokens=20)
    read_all(cache.context, run)
    for token in range(20):
        run.say(900 + token)
    run.keep()
    cache.end(run)
    alone = cache.begin(plain(PREFIX))
    longer = cache.begin(plain(PREFIX, 900 + np.arange(20, dtype=np.int32), FIRST))
    read_all(cache.context, alone, longer)
    alone.check_content()
    longer.check_content()


def test_nodes_are_not_joined_over_what_else_follows_the_first() -> None:
    cache = Cache()
    cache.read(plain(PREFIX, FIRST))
    cache.read(plain(PREFIX, SECOND))
    assert cache.read(plain(PREFIX, FIRST, piece(5, 10))) == 11
    assert cache.read(plain(PREFIX, SECOND, piece(5, 10))) == 11


def test_nodes_are_not_joined_over_what_only_the_store_has() -> None:
    cache = Cache(stored=10)
    cache.read(prompt(FIRST, SECOND))
    while nodes(cache.tree)[-1].holder is not None:
        cache.tree.cells.demote_one()
    assert len(cache.store.states) == 1
    assert cache.read(plain(PREFIX, FIRST, piece(5, 10))) == 10
    assert cache.read(prompt(FIRST, SECOND)) == 10


def test_borders_that_are_asked_for_stay() -> None:
    cache = Cache()
    cache.read(prompt(FIRST))
    cache.read(prompt(FIRST))
    assert [len(node) for node in nodes(cache.tree)] == [40, 30, 9]


def test_a_request_waits_if_cells_or_sequences_are_short_and_holds_nothing_meanwhile() -> None:
    for short in (Cache(cells=100), Cache(sequences=5)):
        first = short.begin(prompt(FIRST))
        before = short.tree.cells.claimed, short.tree.cells.sequences_claimed
        assert not short.begin(prompt(SECOND)).admitted_now
        assert (short.tree.cells.claimed, short.tree.cells.sequences_claimed) == before
        short.end(first)
        assert short.begin(prompt(SECOND)).admitted_now


def test_tokens_to_come_are_counted() -> None:
    cache = Cache(cells=100)
    assert not cache.begin(prompt(FIRST), new_tokens=21).admitted_now
    assert cache.begin(prompt(FIRST), new_tokens=20).admitted_now


def test_after_a_failed_decode_nothing_is_believed_but_the_store() -> None:
    cache = Cache(stored=10)
    cache.read(prompt(FIRST))
    empty(cache.tree)
    cache.read(prompt(SECOND))
    cache.begin(prompt(SECOND))
    step(cache.context, cache.runs)
    cache.begin(plain(SECOND, FIRST))
    cache.tree.reset()
    cache.runs = []
    cache.check()
    assert cache.context.used == 0
    assert cache.read(prompt(FIRST, question=piece(8, 3))) == 3
    assert cache.read(prompt(SECOND)) == 40


def test_state_made_with_an_adapter_is_apart() -> None:
    tree = KvTree(BookContext(), BookStore(), identity="model", adapters={"style": "f1"})  # type: ignore[arg-type]
    assert tree.root("style") is not tree.root(None)
    assert tree.root("style").key != tree.root(None).key


@pytest.mark.parametrize("kind", [{"shares": False, "cuts": False}, {"cuts": False}])
def test_models_whose_state_cannot_be_cut_read_again_what_they_must(kind: dict[str, bool]) -> None:
    cache = Cache(**kind)
    shares = kind.get("shares", True)
    assert cache.read(prompt(FIRST)) == 80
    assert cache.read(prompt(FIRST, question=piece(8, 10))) == (10 if shares else 80)
    assert cache.read(plain(PREFIX[:30], SECOND)) == 60
    empty(cache.tree)
    assert not nodes(cache.tree)


def test_passages_at_hand_come_first_and_then_those_asked_for_most() -> None:
    cache = Cache()
    third = piece(3, 30)
    cache.read(prompt(SECOND, FIRST))
    (prefix,) = cache.tree.descend(cache.tree.root(None), PREFIX)
    assert cache.tree.order(prefix, [FIRST, third, SECOND]) == [2, 0, 1]
    assert cache.tree.order(prefix, [piece(4, 30), third, piece(5, 30)]) == [1, 0, 2]


def order_after(cache: Cache, *passages: np.ndarray) -> list[int]:
    (prefix,) = cache.tree.descend(cache.tree.root(None), PREFIX)
    return cache.tree.order(prefix, passages)


def test_of_the_chains_at_hand_that_of_most_tokens_comes_first() -> None:
    cache = Cache()
    short, long = piece(3, 20), piece(4, 70)
    cache.read(prompt(FIRST, short))
    cache.read(prompt(SECOND, long))
    for _ in range(3):
        order_after(cache, FIRST)
    assert order_after(cache, FIRST, short, long, SECOND) == [3, 2, 0, 1], "although the first is asked for more"
    assert order_after(cache, FIRST, short, SECOND) == [0, 1, 2], "of what is asked for, not of what there is"


def test_of_chains_as_long_as_each_other_that_asked_for_most_comes_first() -> None:
    cache = Cache()
    cache.read(prompt(FIRST))
    cache.read(prompt(SECOND))
    order_after(cache, SECOND)
    assert order_after(cache, FIRST, SECOND) == [1, 0]


def test_a_chain_is_found_where_passages_begin_alike() -> None:
    cache = Cache()
    alike = [np.concatenate([piece(3, 20), piece(number, 30)]) for number in (4, 5)]
    for passage in alike:
        cache.read(prompt(passage, SECOND))
    assert order_after(cache, FIRST, SECOND, alike[0]) == [2, 1, 0]
    assert order_after(cache, FIRST, SECOND, alike[1]) == [2, 1, 0]


def test_a_passage_that_comes_twice_is_placed_twice() -> None:
    cache = Cache()
    twelve_times = [FIRST] * 12
    assert sorted(order_after(cache, *twelve_times)) == list(range(12))
    cache.read(prompt(*twelve_times))
    order = order_after(cache, SECOND, *twelve_times)
    assert order[-1] == 0
    assert sorted(order) == list(range(13))


def test_passages_that_are_beginnings_of_one_another_cost_no_more_than_the_nodes_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = Cache(cells=3000, sequences=60)
    word = piece(3, 20)
    repeated = [np.tile(word, times) for times in range(1, 10)]
    cache.read(prompt(*[word] * 30))
    looked = 0
    at_hand = node_module._at_hand

    def counted(parent: Node, tokens: np.ndarray) -> Node | None:
        nonlocal looked
        looked += 1
        return at_hand(parent, tokens)

    monkeypatch.setattr(node_module, "_at_hand", counted)
    assert sorted(order_after(cache, *repeated)) == list(range(9))
    assert looked <= 9 * len(nodes(cache.tree))


def test_an_answer_is_kept_for_the_next_turn_only_if_that_is_worth_it() -> None:
    cache = Cache()
    for words, kept in ((20, True), (5, False)):
        run = cache.begin(plain(piece(words, 40)), new_tokens=words)
        read_all(cache.context, run)
        for token in range(words):
            run.say(900 + token)
        run.keep()
        cache.end(run)
        follow_up = np.concatenate([piece(words, 40), 900 + np.arange(words, dtype=np.int32), ids(1, 2)])
        assert cache.read(plain(follow_up)) == (2 if kept else 8)


def test_stitched_passages_are_read_once_whatever_their_order() -> None:
    cache = Cache(sequences=40)
    third = piece(3, 50)
    assert cache.read(prompt(FIRST, SECOND, third), stitched=True) == 160
    assert cache.read(prompt(third, FIRST), stitched=True) == 10
    assert cache.read(prompt(SECOND, question=piece(8, 4)), prompt(third, SECOND), stitched=True) == 4 + 10


def test_stitched_requests_share_what_they_read_at_the_same_time() -> None:
    cache = Cache(cells=2000, sequences=60)
    both = [prompt(FIRST, SECOND), prompt(SECOND, FIRST, piece(3, 5), piece(4, 5), piece(5, 5), piece(6, 5))]
    assert cache.read(*both, stitched=True) == 40 + 60 + 20 + 2 * 10


def test_stitched_passages_that_begin_alike_share_that() -> None:
    cache = Cache(sequences=40)
    alike = np.concatenate([FIRST[:20], piece(9, 7)])
    assert cache.read(prompt(FIRST, alike), stitched=True) == 40 + 30 + 7 + 10


def test_a_stitched_request_that_leaves_hands_its_reading_on() -> None:
    cache = Cache(cells=2000, sequences=60)
    reader = cache.begin(prompt(FIRST, SECOND), stitched=True)
    waiter = cache.begin(prompt(SECOND, FIRST, question=piece(8, 3)), stitched=True)
    for rows in (30, 30, 25):
        step(cache.context, cache.runs, rows)
    cache.end(reader)
    read_all(cache.context, waiter)
    waiter.check_content()
    assert cache.context.read <= 100 + 3 + 2 * 16, "of what was read, only beginnings too short to keep are lost"


def test_a_stitched_request_goes_on_when_others_have_read_all_it_waits_for() -> None:
    cache = Cache(cells=2000, sequences=60)
    passages = [piece(number, 20) for number in range(1, 7)]
    reader = cache.begin(prompt(*passages), stitched=True)
    waiter = cache.begin(prompt(*passages, question=piece(8, 3)), stitched=True)
    while nodes(cache.tree)[-1].holder is None:
        step(cache.context, cache.runs, 32)
    cache.end(reader)
    read_all(cache.context, waiter)  # would assert if a step got nobody any further
    waiter.check_content()
