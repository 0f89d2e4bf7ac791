"""Batches of texts under a token budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rag.embedding.batches import token_budget_batches


def test_nothing_is_no_batch() -> None:
    assert list(token_budget_batches([], 10)) == []


def test_the_longest_come_first_and_equal_ones_keep_their_order() -> None:
    assert list(token_budget_batches([2, 5, 2, 5], 10)) == [[1, 3], [0, 2]]


def test_a_text_longer_than_the_budget_is_alone() -> None:
    assert list(token_budget_batches([3, 50, 3], 10)) == [[1], [0, 2]]


def test_a_full_batch_is_used_to_the_last_token() -> None:
    assert list(token_budget_batches([5, 5, 5], 10)) == [[0, 1], [2]]


@given(st.lists(st.integers(1, 300)), st.integers(1, 1024))
def test_every_text_is_in_one_batch_that_keeps_to_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(token_budget_batches(lengths, budget))
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert batch
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget
        assert [lengths[i] for i in batch] == sorted((lengths[i] for i in batch), reverse=True)


def test_one_worker_waits_for_none() -> None:
    assert list(token_budget_batches([300, 10, 10], 1024)) == [[0, 1, 2]]


def test_the_last_batches_of_several_workers_are_smaller() -> None:
    batches = list(token_budget_batches([4] * 20, 16, workers=2, least=8))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 2, 2]


@given(st.lists(st.integers(1, 300)), st.integers(2, 8))
def test_no_worker_waits_long_for_another(lengths: list[int], workers: int) -> None:
    least, done = 256, [0] * workers
    for batch in token_budget_batches(lengths, 1024, workers=workers, least=least):
        first = min(range(workers), key=done.__getitem__)
        done[first] += sum(lengths[i] for i in batch)
    fair = sum(lengths) / workers
    assert max(done) - fair <= least + max(lengths, default=0)
