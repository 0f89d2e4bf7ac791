"""What needs no model: ranges of parameters, plain greedy choice, softmax, cutting at stop strings."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import GenerationFailed, InvalidRequest, UnsupportedSampling
from rag.inference.sampling.sampler import Sampler, check, probabilities
from rag.inference.sampling.stop import StopMatcher
from rag.inference.tokens import Vocabulary
from rag.model_types import SamplingParams

# Of a vocabulary only the size may be needed here.
VOCABULARY = cast("Vocabulary", SimpleNamespace(size=100))


def test_greedy_takes_the_largest_and_the_first_of_equals() -> None:
    sampler = Sampler(SamplingParams(), VOCABULARY)
    logits = np.array([0.5, 3.0, 3.0], dtype=np.float32)
    logits.setflags(write=False)
    assert sampler.choose(logits) == 1
    assert sampler.last_logprob is None
    sampler.free()
    sampler.free()


def test_greedy_ignores_what_only_narrows_a_draw() -> None:
    sampler = Sampler(SamplingParams(top_k=5, top_p=0.5, min_p=0.1, seed=9), VOCABULARY)
    assert sampler.choose(np.array([0.5, 3.0, 3.0], dtype=np.float32)) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error(bad: float) -> None:
    with pytest.raises(GenerationFailed, match="not a number"):
        Sampler(SamplingParams(), VOCABULARY).choose(np.array([1.0, bad, 2.0], dtype=np.float32))


def test_the_defaults_and_the_ends_of_every_range_are_accepted() -> None:
    check(SamplingParams(), VOCABULARY)
    check(
        SamplingParams(
            max_tokens=1,
            temperature=1e-40,
            top_k=0,
            top_p=1.0,
            min_p=1.0,
            repeat_penalty=0.5,
            frequency_penalty=-2.0,
            presence_penalty=2.0,
            seed=-(2**70),
            stop=("x",) * 16,
            logit_bias=((0, 1.5), (99, -math.inf)),
            logprobs=20,
            adapter="never looked at here",
            deterministic=True,
        ),
        VOCABULARY,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_k", 2**31),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", math.nan),
        ("min_p", -0.01),
        ("min_p", 1.01),
        ("repeat_penalty", 0.0),
        ("repeat_penalty", -1.0),
        ("repeat_penalty", math.inf),
        ("frequency_penalty", math.nan),
        ("presence_penalty", -math.inf),
        ("logprobs", -1),
        ("logprobs", 21),
        ("stop", ("a", "")),
        ("stop", ("a",) * 17),
        ("logit_bias", ((100, 1.0),)),
        ("logit_bias", ((-1, 1.0),)),
        ("logit_bias", ((1, math.nan),)),
        ("logit_bias", ((1, math.inf),)),
        ("label", ("",)),
        ("label", ("a", "b", "a")),
        ("label", ("a]b",)),
        ("label", ("a[b",)),
        ("label", ("a\nb",)),
        ("label", ("a" * 129,)),
        ("label", tuple(map(str, range(257)))),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    field = "labels" if name == "label" else name
    with pytest.raises(InvalidRequest, match=name):
        check(SamplingParams(**{field: value}), VOCABULARY)


def test_a_schema_and_labels_together_are_refused() -> None:
    with pytest.raises(UnsupportedSampling, match="json_schema and labels"):
        check(SamplingParams(json_schema="{}", labels=("1",)), VOCABULARY)


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
