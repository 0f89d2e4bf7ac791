import numpy as np
import pytest

from rag.ranking import Ranking
from rag.types import Hit

HITS = [Hit(chunk_id=4, score=0.5), Hit(chunk_id=2, score=0.25)]


def test_it_is_the_sequence_of_its_hits() -> None:
    ranking = Ranking(np.array([4, 2]), np.array([0.5, 0.25], np.float32))
    assert (list(ranking), len(ranking), ranking[1], ranking[-2]) == (HITS, 2, HITS[1], HITS[0])
    assert ranking == HITS == Ranking.of(HITS)
    assert ranking != HITS[:1]
    assert ranking != HITS[::-1]
    assert ranking[:1] == HITS[:1]
    assert HITS[1] in ranking
    with pytest.raises(IndexError):
        ranking[2]
    assert all(type(hit.chunk_id) is int and type(hit.score) is float for hit in ranking)


def test_one_that_is_empty_is_false() -> None:
    assert not Ranking.of([])
    assert Ranking.of([]) == []


def test_equal_scores_go_by_id() -> None:
    scores = {9: 1.0, 3: 2.0, 5: 1.0, 7: 0.5}
    assert [hit.chunk_id for hit in Ranking.best(scores, 3)] == [3, 5, 9]
    assert [hit.chunk_id for hit in Ranking.best(scores, 9)] == [3, 5, 9, 7]
    ids, values = np.array(list(scores)), np.array(list(scores.values()))
    assert Ranking.ordered(ids, values, 2) == Ranking.best(scores, 2)
    assert Ranking.best({}, 5) == []
