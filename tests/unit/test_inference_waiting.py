"""Who is next: priority before all, then what is begun, then the key that has had least, then who came first."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from rag.inference.requests import ProbabilityRequest
from rag.inference.waiting import FairQueue
from rag.model_types import Caller, Priority

if TYPE_CHECKING:
    from rag.inference.requests import Mailbox, PromptParts, Request
    from rag.model_types import TokenProbabilities


def request(
    key: str,
    began: float = 0.0,
    priority: Priority = Priority.INTERACTIVE,
    *,
    continues: bool = False,
    deterministic: bool = False,
) -> Request:
    caller = Caller(key=key, priority=priority, continues=continues)
    return cast("Request", SimpleNamespace(caller=caller, began=began, deterministic=deterministic))


def queue(*requests: Request, running: set[str] | None = None) -> FairQueue:
    waiting = FairQueue()
    for each in requests:
        waiting.push(each, running=running or set())
    return waiting


def served(waiting: FairQueue, tokens: int = 10) -> list[str]:
    """The keys in the order they are served, each request being charged the same."""
    order = []
    while (first := waiting.first()) is not None:
        waiting.remove(first)
        waiting.charge(first.caller.key, tokens)
        order.append(first.caller.key)
    return order


def test_nobody_waits() -> None:
    assert FairQueue().first() is None
    assert len(FairQueue()) == 0


def test_of_one_key_who_came_first_is_first() -> None:
    late, early = request("a", 2.0), request("a", 1.0)
    waiting = queue(late, early)
    assert waiting.first() is early
    assert list(waiting) == [late, early]


def test_keys_take_turns_whoever_asked_for_more() -> None:
    waiting = queue(*(request("greedy", i) for i in range(6)), request("modest", 10), request("modest", 11))
    assert served(waiting) == ["greedy", "modest", "greedy", "modest", "greedy", "greedy", "greedy", "greedy"]


def test_shares_are_of_tokens_not_of_requests() -> None:
    waiting = queue(request("long", 0), request("long", 1), *(request("short", 2 + i) for i in range(4)))
    order = []
    while (first := waiting.first()) is not None:
        waiting.remove(first)
        waiting.charge(first.caller.key, 30 if first.caller.key == "long" else 10)
        order.append(first.caller.key)
    assert order == ["long", "short", "short", "short", "long", "short"]


def test_priority_comes_before_shares() -> None:
    waiting = queue(request("a", 0, Priority.BATCH), request("b", 1))
    waiting.charge("b", 1000)
    assert served(waiting) == ["b", "a"]


def test_what_is_begun_is_finished_before_anything_is_begun() -> None:
    begun, fresh, other = request("a", 1.0, continues=True), request("a", 2.0), request("b", 3.0)
    waiting = queue(fresh, other, begun)
    waiting.charge("a", 1000)
    assert waiting.first() is begun
    waiting.remove(begun)
    assert served(waiting) == ["b", "a"], "what it took counts when the next is begun"


def test_of_those_begun_the_oldest_query_is_finished_first() -> None:
    late, early = request("a", 2.0, continues=True), request("b", 1.0, continues=True)
    waiting = queue(late, early)
    waiting.charge("b", 1000)
    assert waiting.first() is early


def test_priority_comes_before_what_is_begun() -> None:
    waiting = queue(request("a", 0, Priority.BATCH, continues=True), request("b", 1))
    assert served(waiting) == ["b", "a"]


def test_a_request_is_as_old_as_its_query() -> None:
    prompt, mailbox = cast("PromptParts", None), cast("Mailbox[TokenProbabilities]", None)
    alone = ProbabilityRequest(prompt=prompt, mailbox=mailbox, candidates=(), arrived=7.0)
    part = replace(alone, caller=Caller(arrived=2.0, timeout_s=10))
    assert (alone.began, part.began) == (7.0, 2.0)
    assert part.deadline == 17.0


def test_a_pause_earns_no_credit() -> None:
    waiting = queue(request("steady"))
    for _ in range(100):
        waiting.charge("steady", 10)
    for arrived in range(3):
        waiting.push(request("returning", 1 + arrived), running={"steady"})
    waiting.push(request("steady", 9), running=set())
    assert served(waiting) == ["steady", "returning", "returning", "steady", "returning"]


def test_who_has_had_much_is_not_forgiven_by_a_pause() -> None:
    waiting = FairQueue()
    waiting.charge("a", 100)
    waiting.push(request("b"), running=set())
    waiting.charge("b", 10)
    waiting.push(request("a", 1), running={"b"})
    assert served(waiting)[0] == "b"


def test_requests_for_a_busy_lane_hold_up_nobody() -> None:
    first, second = request("a", 0, deterministic=True), request("b", 1)
    waiting = queue(first, second)
    assert waiting.first(lane_is_free=False) is second
    assert waiting.first() is first


def test_keys_long_gone_are_forgotten() -> None:
    waiting = FairQueue()
    for number in range(5000):
        each = request(f"key {number}")
        waiting.push(each, running=set())
        waiting.charge(each.caller.key, 5)
        waiting.remove(each)
    assert len(waiting._served) <= 1025


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), min_size=1, max_size=60))
def test_while_keys_wait_none_is_more_than_one_request_ahead(asked: list[tuple[str, int]]) -> None:
    waiting = FairQueue()
    cost = {}
    for arrived, (key, tokens) in enumerate(asked):
        each = request(key, arrived)
        cost[id(each)] = tokens
        waiting.push(each, running=set())
    had = dict.fromkeys("abc", 0)
    while (first := waiting.first()) is not None:
        still = {each.caller.key for each in waiting}
        assert had[first.caller.key] <= min(had[key] for key in still)
        waiting.remove(first)
        waiting.charge(first.caller.key, cost[id(first)])
        had[first.caller.key] += cost[id(first)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=40))
def test_while_keys_wait_none_is_more_than_one_query_of_two_requests_ahead(asked: list[tuple[str, int, int]]) -> None:
    waiting = FairQueue()
    cost = {}
    for arrived, (key, *tokens) in enumerate(asked):
        each = request(key, arrived)
        cost[id(each)] = each, tokens
        waiting.push(each, running=set())
    had = dict.fromkeys("abc", 0)
    while (first := waiting.first()) is not None:
        began, tokens = cost[id(first)]
        key = first.caller.key
        assert had[key] <= min(had[each.caller.key] for each in waiting)
        waiting.remove(first)
        waiting.charge(key, tokens[0])
        second = request(key, began.began, continues=True)
        waiting.push(second, running=set())
        assert waiting.first() is second
        waiting.remove(second)
        waiting.charge(key, tokens[1])
        had[key] += sum(tokens)
