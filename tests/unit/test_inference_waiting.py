"""Who is next: priority before all, then the key that has had least, then who came first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from rag.inference.waiting import FairQueue
from rag.model_types import Caller, Priority

if TYPE_CHECKING:
    from rag.inference.requests import Request


def request(
    key: str, arrived: float = 0.0, priority: Priority = Priority.INTERACTIVE, *, deterministic: bool = False
) -> Request:
    caller = Caller(key=key, priority=priority)
    return cast("Request", SimpleNamespace(caller=caller, arrived=arrived, deterministic=deterministic))


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
    waiting = queue(request("a", 0, Priority.IDLE), request("b", 1, Priority.BATCH), request("c", 2))
    waiting.charge("c", 1000)
    assert served(waiting) == ["c", "b", "a"]


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
