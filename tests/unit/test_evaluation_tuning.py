import numpy as np
import pytest

from rag.errors import InvalidRequest
from rag.evaluation.fusion import Legs, legs
from rag.evaluation.tuning import MIN_QUERIES, tune
from rag.ranking import Ranking

CHUNKS = 30


def leg(generator: np.random.Generator, lead: float) -> Ranking:
    """All chunks with random scores; chunk 0, the relevant one, has ``lead`` more."""
    scores = generator.random(CHUNKS)
    scores[0] += lead
    return Ranking.ordered(np.arange(CHUNKS), scores, CHUNKS)


def queries(seed: int, *, dense: float, lexical: float, count: int = MIN_QUERIES) -> list[Legs]:
    generator = np.random.default_rng(seed)
    return [legs(leg(generator, dense), leg(generator, lexical), {0: 0}, [1]) for _ in range(count)]


def test_the_leg_that_tells_something_gets_the_weight() -> None:
    towards_dense = tune(queries(1, dense=0.8, lexical=0), 0.5)
    towards_lexical = tune(queries(1, dense=0, lexical=0.8), 0.5)
    assert towards_dense.clear
    assert towards_dense.best > 0.7
    assert towards_lexical.clear
    assert towards_lexical.best < 0.3
    assert towards_dense.best_ndcg > towards_dense.before_ndcg
    assert towards_dense.gain_interval[0] <= towards_dense.gain <= towards_dense.gain_interval[1]


def test_noise_changes_nothing_but_for_the_errors_of_a_99_percent_interval() -> None:
    changed = sum(tune(queries(seed, dense=0, lexical=0), 0.5).clear for seed in range(60))
    assert changed <= 1


def test_legs_that_are_equally_good_keep_equal_weights() -> None:
    assert not any(tune(queries(seed, dense=0.5, lexical=0.5), 0.5).clear for seed in range(20))


def test_a_weight_that_is_best_already_stays() -> None:
    found = queries(1, dense=0.8, lexical=0)
    again = tune(found, tune(found, 0.5).best)
    assert again.best == again.before
    assert not again.clear


def test_where_all_weights_are_equal_none_is_moved_to() -> None:
    found = queries(3, dense=5, lexical=5)
    told = tune(found, 0.42)
    assert (told.best, told.before_ndcg, told.gain) == (0.42, 1.0, 0.0)


def test_too_few_queries_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="tuned with 49 labelled queries:"):
        tune(queries(1, dense=0.8, lexical=0, count=MIN_QUERIES - 1), 0.5)
