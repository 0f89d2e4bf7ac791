"""Guesses are what the prompt says next; they are tried where they were right before and a longer step is cheap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.inference.speculation import LONGEST_DRAFT, DraftPolicy, PromptLookup, StepCosts

ROWS = (1, 2, 4, 8, 16, 32)
FLAT = dict.fromkeys(ROWS, 10.0)  # as where the weights are what takes the time
STEEP = {rows: 10.0 * rows for rows in ROWS}


def lookup(*tokens: int) -> PromptLookup:
    return PromptLookup(np.array(tokens, dtype=np.int32))


def test_what_followed_the_last_two_tokens_is_guessed() -> None:
    assert lookup(1, 2, 3, 4, 5, 1, 2).guess(3) == ([3, 4, 5], 2)


def test_the_latest_place_counts_and_the_match_is_measured_backwards() -> None:
    assert lookup(7, 1, 2, 9, 9, 8, 7, 1, 2, 3, 4, 8, 7, 1, 2).guess(2) == ([3, 4], 4)


def test_nothing_is_guessed_from_what_stands_nowhere() -> None:
    assert lookup(1, 2, 3).guess(5) == ([], 0)
    assert lookup(1).guess(5) == ([], 0)
    assert lookup().guess(5) == ([], 0)


def test_generated_tokens_are_part_of_the_text() -> None:
    text = lookup(1, 2, 3, 4)
    for token in (9, 2, 3):
        text.append(token)
    assert text.guess(2) == ([4, 9], 2)
    for token in (4, 9, 2):
        text.append(token)
    assert text.guess(3) == ([3, 4, 9], 5)


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(0, 3), max_size=30), st.integers(0, 10))
def test_a_guess_stands_in_the_text_after_the_same_tokens(prompt: list[int], said: list[int], longest: int) -> None:
    text = lookup(*prompt)
    for token in said:
        text.append(token)
    whole = prompt + said
    guess, match = text.guess(longest)
    assert len(guess) <= longest
    pairs = [i for i in range(2, len(whole)) if whole[i - 2 : i] == whole[-2:]]
    if not pairs:
        assert (guess, match) == ([], 0)
        return
    place = pairs[-1]
    assert guess == whole[place : place + longest]
    assert whole[place - match : place] == whole[len(whole) - match :]
    assert match in (32, place) or whole[place - match - 1] != whole[len(whole) - match - 1]


def test_costs_lie_on_straight_lines_between_the_measured_steps() -> None:
    costs = StepCosts({1: 10.0, 3: 20.0, 9: 80.0})
    assert [costs.of(rows) for rows in (1, 2, 3, 6, 9)] == pytest.approx([10, 15, 20, 50, 80])
    assert costs.of(18) == pytest.approx(160), "beyond the last, in proportion"


def test_costs_follow_what_steps_really_take_but_not_a_single_hiccup() -> None:
    costs = StepCosts(dict(FLAT))
    costs.observe(8, 10_000.0)
    assert costs.of(8) <= 10.5
    for _ in range(200):
        costs.observe(8, 20.0)
    assert costs.of(8) == pytest.approx(20, rel=0.05)
    assert costs.of(1) == pytest.approx(10)


def test_drafts_are_tried_where_a_longer_step_costs_nothing_and_not_where_every_row_is_paid() -> None:
    guess = list(range(LONGEST_DRAFT))
    assert DraftPolicy(StepCosts(dict(FLAT))).length(guess, 4, other_rows=0) > 4
    assert DraftPolicy(StepCosts(dict(STEEP))).length(guess, 32, other_rows=0) == 0
    assert DraftPolicy(StepCosts(dict(FLAT))).length([], 0, other_rows=0) == 0


def test_a_draft_is_never_longer_than_the_guess() -> None:
    policy = DraftPolicy(StepCosts(dict(FLAT)))
    assert policy.length([1, 2], 32, other_rows=0) == 2


def test_longer_matches_earn_longer_drafts() -> None:
    policy = DraftPolicy(StepCosts({rows: 8.0 + 2 * rows for rows in ROWS}))
    lengths = [policy.length(list(range(20)), match, other_rows=0) for match in (2, 6, 20)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_wrong_guesses_end_drafting_and_right_ones_bring_it_back() -> None:
    policy = DraftPolicy(StepCosts({rows: 6.0 + 4 * rows for rows in ROWS}))
    guess = [1, 2, 3, 4]
    assert policy.length(guess, 20, other_rows=0)
    for _ in range(400):
        policy.learn(guess, 20, [9])
    assert policy.length(guess, 20, other_rows=0) == 0
    for _ in range(1200):
        policy.learn(guess, 20, [1, 2, 3, 4, 5])
    assert policy.length(guess, 20, other_rows=0) == 4


def test_only_what_was_compared_is_learnt_from() -> None:
    policy = DraftPolicy(StepCosts(dict(FLAT)))
    before = list(policy._tried)
    policy.learn([], 0, [1])
    assert policy._tried == before
    policy.learn([1, 2, 3], 2, [1, 9, 3])
    # Match 2 was right, match 3 was wrong, and what came after that says nothing.
    changed = [after != was for after, was in zip(policy._tried, before, strict=True)]
    assert changed == [True, True, False, False, False, False]


def test_with_many_answers_in_a_step_a_draft_has_to_be_better() -> None:
    costs = {1: 10.0, 2: 11.0, 4: 14.0, 8: 24.0, 16: 48.0, 32: 96.0}
    policy = DraftPolicy(StepCosts(costs))
    alone, beside = (policy.length(list(range(8)), 3, other_rows=rows) for rows in (0, 15))
    assert alone > beside == 0
