"""Measures against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from rag.evaluation.intervals import mean_interval
from rag.evaluation.overlap import Overlap, compare, normalised_tokens
from rag.evaluation.retrieval import score_rankings
from rag.evaluation.selective import area_under_roc, risk_coverage_area


def test_normalisation_is_squads() -> None:
    assert normalised_tokens("The  U.S. 1,287-MWh answer: an APPLE!") == ["us", "1287mwh", "answer", "apple"]


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("the Denver Broncos.", ["Denver Broncos"], Overlap(em=1, f1=1, contains=1, recall=1)),
        ("They gave up 308 points", ["308"], Overlap(em=0, f1=2 / 6, contains=1, recall=1)),
        ("They gave up 3080 points", ["308"], Overlap()),
        ("red and blue", ["blue red"], Overlap(em=0, f1=0.8, contains=0, recall=1)),
        ("b", ["a b c", "b d"], Overlap(em=0, f1=2 / 3, contains=0, recall=0.5)),
        ("a a b", ["b b"], Overlap(em=0, f1=2 / 3, contains=0, recall=0.5)),
        ("", ["x"], Overlap()),
        ("the", ["the"], Overlap()),
        ("x", [], Overlap()),
    ],
)
def test_overlap_takes_the_best_reference(answer: str, references: list[str], expected: Overlap) -> None:
    found = compare(answer, references)
    assert (found.em, found.contains) == (expected.em, expected.contains)
    assert (found.f1, found.recall) == pytest.approx((expected.f1, expected.recall))


def test_rankings_are_scored_by_trec_evals_definitions() -> None:
    qrels = {"q1": {"a": 2, "b": 1}, "q2": {"a": 1}, "q3": {"z": 1}}
    filler = [f"x{i}" for i in range(20)]
    scores = score_rankings({"q1": ["b", "x", "a"], "q2": [*filler, "a"], "q3": []}, qrels)
    ideal = 2 + 1 / math.log2(3)
    assert scores["q1"]["ndcg@10"] == pytest.approx((1 + 2 / math.log2(4)) / ideal)
    assert (scores["q1"]["recall@10"], scores["q1"]["mrr@10"]) == (1, 1)
    assert scores["q2"] == {"ndcg@10": 0, "recall@10": 0, "recall@100": 1, "mrr@10": 0}
    assert set(scores["q3"].values()) == {0}


def test_the_order_of_a_ranking_is_kept_whatever_the_ids() -> None:
    first, last = (score_rankings({"q": order}, {"q": {"m": 1}})["q"]["mrr@10"] for order in (["m", "a", "z"], "azm"))
    assert (first, last) == (1, pytest.approx(1 / 3))


def test_area_under_roc_counts_pairs() -> None:
    assert area_under_roc([0.9, 0.4], [0.1, 0.5]) == 0.75
    assert area_under_roc([0.5], [0.5]) == 0.5
    assert area_under_roc([0.1], [0.9]) == 0
    assert area_under_roc([], [0.1]) is None
    assert area_under_roc([0.1], []) is None


def test_risk_coverage_area_rewards_confidence_where_answers_are_right() -> None:
    losses = [0.0, 1.0, 0.0, 1.0]
    assert risk_coverage_area([0.9, 0.1, 0.8, 0.2], losses) == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert risk_coverage_area([0.1, 0.9, 0.2, 0.8], losses) == pytest.approx((1 + 1 + 2 / 3 + 2 / 4) / 4)
    assert risk_coverage_area([], []) is None


def test_equal_confidence_makes_file_order_irrelevant() -> None:
    losses = [0.0, 0.3, 1.0, 1.0, 0.0]
    assert risk_coverage_area([0.5] * 5, losses) == risk_coverage_area([0.5] * 5, losses[::-1])
    assert risk_coverage_area([0.5] * 5, losses) == pytest.approx(0.46)


def test_intervals_are_reproducible_and_hold_the_mean() -> None:
    values = [0.0, 1.0] * 50
    low, high = mean_interval(values) or (0, 0)
    assert low < 0.5 < high
    # The normal approximation: 1.96 standard errors of 0.05.
    assert (low, high) == pytest.approx((0.402, 0.598), abs=0.015)
    assert mean_interval(values) == (low, high)
    assert mean_interval([0.25] * 9) == (0.25, 0.25)
    assert mean_interval([]) is None
