import numpy as np
import pytest

from rag.evaluation.fusion import (
    METHODS,
    WEIGHTS,
    best_ten,
    distribution,
    from_floor,
    legs,
    min_max,
    ndcg,
    ndcg_table,
    reciprocal_rank,
)
from rag.evaluation.retrieval import score_rankings
from rag.ranking import Ranking
from rag.retrieval.fusion import fuse
from rag.types import Hit

NONE = Ranking.of([])


def hits(scores: dict[int, float]) -> Ranking:
    return Ranking.of(Hit(chunk_id=chunk_id, score=score) for chunk_id, score in scores.items())


def drawn(seed: int) -> tuple[Ranking, Ranking]:
    """Two rankings of some of 40 chunks, with equal scores among them."""
    generator = np.random.default_rng(seed)
    found = []
    for scale in (0.1, 2.0):
        ids = generator.permutation(40)[: generator.integers(0, 30)]
        scores = sorted(generator.integers(1, 9, len(ids)) * scale, reverse=True)
        found.append(hits(dict(zip(ids.tolist(), scores, strict=True))))
    return found[0], found[1]


def test_normalisations_by_hand() -> None:
    scores = np.array([4.0, 2.0, 1.0])
    assert min_max(scores) == pytest.approx([1, 1 / 3, 0])
    assert from_floor(0)(scores) == pytest.approx([1, 0.5, 0.25])
    assert from_floor(-1)(np.array([1.0, 0.0])) == pytest.approx([1, 0.5])
    assert reciprocal_rank(60)(np.array([1.0, 4.0, 4.0])) == pytest.approx([1 / 63, 1 / 61, 1 / 62])
    # Mean 3, standard deviation 1: from 0 to 6.
    assert distribution(np.array([4.0, 2.0])) == pytest.approx([4 / 6, 2 / 6])


@pytest.mark.parametrize("normalisation", [min_max, distribution, from_floor(0)])
def test_one_hit_or_equal_scores_count_whole(normalisation) -> None:
    assert normalisation(np.array([0.3])) == pytest.approx([1])
    if normalisation is not distribution:
        assert normalisation(np.array([2.0, 2.0])) == pytest.approx([1, 1])


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_leg_leaves_the_order_of_the_other(method) -> None:
    only = hits({7: 3.0, 3: 2.0, 5: 1.0})
    for dense, lexical in ((only, NONE), (NONE, only)):
        found = legs(dense, lexical, {}, [1])
        assert list(found.ids[best_ten(found, 0.3, method)]) == [7, 3, 5]
    assert ndcg(legs(NONE, NONE, {}, [1]), 0.5, method) == 0


@pytest.mark.parametrize("seed", range(30))
def test_the_convex_method_ranks_as_searches_do(seed) -> None:
    dense, lexical = drawn(seed)
    found = legs(dense, lexical, {}, [1])
    for weight in WEIGHTS:
        # Rounding may part what is equal in one and not in the other; nothing else may differ.
        scores = {chunk_id: each.fused for chunk_id, each in fuse(dense, lexical, weight=weight)}
        ranked = [scores[int(chunk_id)] for chunk_id in found.ids[best_ten(found, weight)]]
        assert ranked == pytest.approx(sorted(scores.values(), reverse=True)[:10])


@pytest.mark.parametrize("seed", range(10))
def test_ndcg_is_what_trec_eval_computes(seed) -> None:
    dense, lexical = drawn(seed)
    grades = {chunk_id: 1 + chunk_id % 3 for chunk_id in range(0, 40, 3)}
    places = {chunk_id: place for place, chunk_id in enumerate(grades)}
    found = legs(dense, lexical, places, list(grades.values()))
    ranking = [str(chunk_id) for chunk_id in found.ids[best_ten(found, 0.35)]]
    expected = score_rankings({"q": ranking}, {"q": {str(chunk_id): grade for chunk_id, grade in grades.items()}})
    assert ndcg(found, 0.35) == pytest.approx(expected["q"]["ndcg@10"])


def test_a_judgment_counts_once_however_many_chunks_satisfy_it() -> None:
    found = legs(hits({1: 0.9, 2: 0.5, 3: 0.1}), NONE, {1: 0, 2: 0, 3: 1}, [1, 1])
    assert ndcg(found, 0.5) == pytest.approx((1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3)))


def test_the_table_has_a_row_a_query_and_a_column_a_weight() -> None:
    found = legs(hits({1: 0.9, 2: 0.1}), hits({2: 5.0, 1: 0.5}), {1: 0}, [1])
    table = ndcg_table([found, found], (0.1, 0.9))
    assert table == pytest.approx(np.array([[1 / np.log2(3), 1]] * 2))
    assert ndcg_table([]).shape == (0, len(WEIGHTS))
