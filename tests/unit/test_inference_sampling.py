"""Choosing tokens and cutting at stop strings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import GenerationFailed
from rag.inference.sampling import Sampler, StopMatcher, probabilities
from rag.types import SamplingParams


def logits_of(*weights: float) -> np.ndarray:
    return np.log(np.array(weights, dtype=np.float32))


def test_greedy_takes_the_largest_and_the_first_of_equals() -> None:
    assert Sampler(SamplingParams()).choose(np.array([0.5, 3.0, 3.0], dtype=np.float32)) == 1


def test_logits_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(GenerationFailed, match="not a number"):
        Sampler(SamplingParams()).choose(np.array([1.0, np.nan, 2.0], dtype=np.float32))


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others() -> None:
    logits = logits_of(0.3, 0.3, 0.2, 0.2)

    def draw(seed: int) -> list[int]:
        sampler = Sampler(SamplingParams(temperature=1.0, seed=seed))
        return [sampler.choose(logits) for _ in range(40)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_draws_follow_the_probabilities() -> None:
    sampler = Sampler(SamplingParams(temperature=1.0, seed=1))
    drawn = np.bincount([sampler.choose(logits_of(0.1, 0.6, 0.3)) for _ in range(4000)], minlength=3) / 4000
    assert np.abs(drawn - [0.1, 0.6, 0.3]).max() < 0.04


def test_a_low_temperature_sharpens() -> None:
    sampler = Sampler(SamplingParams(temperature=1e-9, seed=1))
    assert {sampler.choose(logits_of(0.3, 0.4, 0.3)) for _ in range(50)} == {1}


@pytest.mark.parametrize(("top_p", "allowed"), [(0.5, {1}), (0.85, {1, 2}), (0.95, {0, 1, 2})])
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, allowed: set[int]) -> None:
    sampler = Sampler(SamplingParams(temperature=1.0, top_p=top_p, seed=3))
    assert {sampler.choose(logits_of(0.07, 0.6, 0.3, 0.03)) for _ in range(500)} == allowed


def test_top_p_over_a_flat_vocabulary_larger_than_the_first_guess() -> None:
    logits = np.zeros(5000, dtype=np.float32)
    sampler = Sampler(SamplingParams(temperature=1.0, top_p=0.9, seed=3))
    drawn = {sampler.choose(logits) for _ in range(3000)}
    assert max(drawn) <= 4501
    assert len(drawn) > 1500


def test_probabilities_sum_to_one_even_for_huge_logits() -> None:
    result = probabilities(np.array([1e4, 1e4 - 1, -1e4], dtype=np.float32))
    assert result.dtype == np.float64
    assert result.sum() == pytest.approx(1.0, abs=1e-12)
    assert result[0] / result[1] == pytest.approx(np.e)


def run(stop: tuple[str, ...], pieces: list[str]) -> tuple[str, bool]:
    matcher = StopMatcher(stop)
    text = "".join(matcher.push(piece) for piece in pieces)
    return text + matcher.flush(), matcher.stopped


def test_a_stop_string_over_several_pieces_is_cut_out() -> None:
    assert run(("\nQuestion:",), ["Yes.", "\n", "Que", "stion", ": what"]) == ("Yes.", True)


def test_a_beginning_that_does_not_go_on_is_given_back() -> None:
    assert run(("###END",), ["a ##", "#EN", "x"]) == ("a ###ENx", False)
    assert run(("###END",), ["a ##"]) == ("a ##", False)


def test_the_earliest_of_several_stop_strings_wins() -> None:
    assert run(("zz", "b"), ["abzz"]) == ("a", True)


def test_nothing_comes_after_a_stop() -> None:
    matcher = StopMatcher(("b",))
    assert [matcher.push("ab"), matcher.push("c"), matcher.flush()] == ["a", "", ""]


def test_empty_stop_strings_are_no_stop_strings() -> None:
    assert run(("",), ["abc"]) == ("abc", False)


@given(
    pieces=st.lists(st.text(alphabet="ab#", max_size=4), max_size=12),
    stop=st.lists(st.text(alphabet="ab#", min_size=1, max_size=4), max_size=3),
)
def test_cutting_piece_by_piece_equals_cutting_the_whole(pieces: list[str], stop: list[str]) -> None:
    text = "".join(pieces)
    found = [text.find(s) for s in stop if s in text]
    shown, stopped = run(tuple(stop), pieces)
    assert stopped == bool(found)
    # Pieces decide sooner than the whole: an early match ends the text before a longer one could begin further left.
    if stopped:
        assert text.startswith(shown)
        assert not any(s in shown for s in stop)
        assert any(text.startswith(s, len(shown)) for s in stop)
    else:
        assert shown == text
