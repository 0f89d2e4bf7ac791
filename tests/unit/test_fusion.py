import pytest

from rag.ranking import Ranking
from rag.retrieval.fusion import fuse
from rag.types import Hit

NONE = Ranking.of([])


def hits(**scores: float) -> Ranking:
    return Ranking.of(Hit(chunk_id=int(name[1:]), score=score) for name, score in scores.items())


def order(ranked) -> list[int]:
    return [chunk_id for chunk_id, _ in ranked]


def test_a_chunk_good_in_both_beats_one_best_in_either() -> None:
    ranked = fuse(hits(c1=0.9, c2=0.8, c3=0.1), hits(c4=10.0, c2=9.0, c3=1.0))
    assert order(ranked)[0] == 2


def test_raw_scores_are_kept_and_absent_legs_are_none() -> None:
    scores = dict(fuse(hits(c1=0.9, c2=0.5), hits(c2=7.0, c3=3.0)))
    assert (scores[1].dense, scores[1].lexical) == (0.9, None)
    assert (scores[2].dense, scores[2].lexical) == (0.5, 7.0)
    assert (scores[3].dense, scores[3].lexical) == (None, 3.0)


def test_no_weight_means_the_default() -> None:
    dense, lexical = hits(c1=0.9, c2=0.1), hits(c2=5.0, c1=0.5)
    # By hand: c1 is best in meaning and has a tenth of the best words, c2 the other way round.
    assert {i: s.fused for i, s in fuse(dense, lexical)} == {1: 0.55, 2: 0.5}
    assert fuse(dense, lexical) == fuse(dense, lexical, weight=0.5)


def test_weight_moves_the_winner_between_the_legs() -> None:
    dense, lexical = hits(c1=0.9, c2=0.1), hits(c2=5.0, c1=0.5)
    assert order(fuse(dense, lexical, weight=0.9))[0] == 1
    assert order(fuse(dense, lexical, weight=0.1))[0] == 2


def test_one_leg_alone_keeps_its_order_and_equal_scores_go_by_id() -> None:
    assert order(fuse(hits(c3=0.9, c1=0.5, c2=0.1), NONE)) == [3, 1, 2]
    assert order(fuse(NONE, hits(c3=1.0, c1=1.0))) == [1, 3]
    assert fuse(NONE, NONE) == []


def test_equal_dense_scores_do_not_divide_by_zero() -> None:
    assert dict(fuse(hits(c1=0.4, c2=0.4), NONE))[1].fused == 0.5


@pytest.mark.parametrize("k", [1, 3, 50])
def test_the_best_are_the_first_of_all(k):
    dense = Ranking.of(Hit(chunk_id=n, score=1 / (1 + n % 7)) for n in range(20))
    lexical = Ranking.of(Hit(chunk_id=n, score=float(n % 5)) for n in range(10, 40))
    assert fuse(dense, lexical, k=k) == fuse(dense, lexical)[:k]
