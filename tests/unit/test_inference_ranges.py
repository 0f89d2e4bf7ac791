from __future__ import annotations

import math
from typing import Any

import pytest

from rag.errors import InvalidRequest
from rag.inference.sampling.ranges import check_ranges
from rag.model_types import SamplingParams


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("temperature", math.nan),
        ("top_k", -1),
        ("top_p", 0.0),
        ("min_p", math.nan),
        ("repeat_penalty", 0.0),
        ("presence_penalty", math.nan),
        ("logprobs", 21),
        ("stop", ("",)),
        ("stop", ("a\udfff",)),
        ("logit_bias", ((1, math.nan),)),
        ("logit_bias", ((-1, 0.0),)),
        ("logit_bias", ((5, 1.0), (6, 1.0), (5, 2.0))),
    ],
)
def test_a_value_out_of_range_is_refused_by_name_without_a_vocabulary(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=name):
        check_ranges(SamplingParams(**{name: value}))


def test_the_defaults_and_the_bounds_are_in_range() -> None:
    check_ranges(SamplingParams())
    check_ranges(
        SamplingParams(max_tokens=1, temperature=1e6, top_p=1.0, min_p=1.0, logprobs=20, stop=("a",) * 16),
        vocabulary_size=1,
    )
    check_ranges(SamplingParams(logit_bias=((10**6, -math.inf), (0, -1e6))))


def test_a_known_vocabulary_bounds_the_tokens_of_biases() -> None:
    check_ranges(SamplingParams(logit_bias=((99, 1.0),)), vocabulary_size=100)
    with pytest.raises(InvalidRequest, match=r"token 100.*0 to 99"):
        check_ranges(SamplingParams(logit_bias=((100, 1.0),)), vocabulary_size=100)
