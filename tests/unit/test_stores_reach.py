"""What is estimated of rows that a search among lists has not looked at."""

import math

import numpy as np
import pytest

from rag.stores.index.reach import Spread, _beyond, enough_candidates, gaps, threshold
from rag.stores.index.recall import Sample
from rag.stores.index.tuning import _steps


def test_with_the_reach_that_a_list_needs_it_and_nearer_ones_are_looked_through():
    scores = np.random.default_rng(2).normal(0, 0.1, (4, 60)).astype(np.float32)
    needed = gaps(scores)
    assert np.all(np.diff(needed, axis=1) >= 0)
    for row, reaches in zip(scores, needed, strict=True):
        for rank in (4, 7, 59):
            within = row >= threshold(row, float(reaches[rank]) + 1e-6, 10)
            assert within.sum() == rank + 1


def test_a_reach_below_nothing_leaves_some_list_and_no_fewer_for_more():
    scores = np.array([0.71, 0.7, 0.7, 0.7, 0.69, 0.1], np.float32)
    looked_through = [int((scores >= threshold(scores, -0.02, k)).sum()) for k in (1, 10, 50, 200)]
    assert looked_through == [4, 4, 4, 4]  # from .7 on, the mean of the five best


def test_no_less_is_tried_than_what_is_looked_through_without_any_reach():
    generator = np.random.default_rng(4)
    centroids, queries = (generator.standard_normal((count, 8)).astype(np.float32) for count in (64, 20))
    steps = _steps(centroids, Sample(queries, np.zeros(20, np.float32), 10))
    assert steps[0].probes > 1
    assert [step.probes for step in steps] == sorted({step.probes for step in steps})
    assert all(step.reach >= 0 for step in steps)


def test_more_than_ten_are_looked_for_further_away():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1], np.float32)
    assert threshold(scores, 0.3, 10) == pytest.approx(0.4)  # from .7, the mean of the five best
    assert threshold(scores, 0.3, 1) == pytest.approx(0.4)
    assert threshold(scores, 0.3, 100) == pytest.approx(0.7 - 0.3 * 10**0.08)
    assert threshold(np.array([0.5], np.float32), 0.3, 10) == pytest.approx(0.2)


@pytest.mark.parametrize("z", [-6, -2, -0.3, 0, 0.3, 1, 2, 3, 5])
def test_the_tail_of_a_normal_distribution_is_within_a_hundredth_of_it(z):
    assert float(_beyond(z)) == pytest.approx(math.erfc(z / math.sqrt(2)) / 2, rel=0.01)


def test_lists_are_needed_up_to_where_few_of_the_best_can_be():
    generator = np.random.default_rng(0)
    lists = generator.uniform(-0.2, 0.8, 2000).astype(np.float32)
    spread = Spread(lists, lists + generator.normal(0, 0.05, 2000).astype(np.float32))
    scores, counted = np.linspace(0.8, -0.2, 1001, dtype=np.float32), np.full(1001, 50)
    near, far = (spread.lists_needed(scores, counted, least=least, k=10, probes=10) for least in (0.7, 0.4))
    # Rows of a list lie .05 around it: those with 5 such widths to go are not looked through, those with 2 are.
    assert scores[near] == pytest.approx(0.5, abs=0.1)
    assert scores[far] == pytest.approx(0.2, abs=0.1)
    assert spread.lists_needed(scores, counted, least=0.79, k=10, probes=500) == 500  # never fewer than there were
    assert spread.lists_needed(scores, np.zeros(1001, np.int64), least=0.4, k=10, probes=10) == 10  # nothing counts
    assert spread.lists_needed(scores, counted, least=-math.inf, k=10, probes=10) == 1001


def test_candidates_are_enough_where_errors_of_codes_do_not_reach_from_behind_them():
    exact = np.linspace(0.9, 0.5, 120).astype(np.float32)
    assert enough_candidates(exact, exact, least=0.5, k=120)  # codes that do not err
    coded = exact + np.where(np.arange(120) % 2, 0.02, -0.02).astype(np.float32)
    least = float(np.sort(exact)[-10])
    assert enough_candidates(coded, exact, least=least, k=10)
    assert not enough_candidates(coded, exact, least=0.51, k=10)
