from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest

from rag.errors import ModelError
from rag.ranking import Ranking
from rag.retrieval.legs import Legs
from rag.types import Hit
from tests.unit.builders import OneCollection

_COLLECTION = OneCollection().collection("c")
_AT_MOST_S = 30.0


class Embedder:
    identity = "small@1"

    def __init__(self, number: float = 1.0) -> None:
        self.embedded = 0
        self.number = number

    def embed_query(self, _text):
        self.embedded += 1
        return np.full(2, self.number, dtype=np.float32)


class Leg:
    """Finds one chunk, after what it is told to do first."""

    def __init__(self, chunk_id, first=lambda: None) -> None:
        self.chunk_id, self.first = chunk_id, first

    def search(self, _collection, _query, _depth, *, where=None, as_of=None):
        self.first()
        return Ranking.of([Hit(chunk_id=self.chunk_id, score=1.0)])


@pytest.fixture
def executor():
    with ThreadPoolExecutor() as executor:
        yield executor


def legs(executor, *, embedder=None, dense=Leg(1), lexical=Leg(2)) -> Legs:  # noqa: B008 - they hold nothing
    return Legs(embedder, dense, lexical, executor, collection=_COLLECTION, query="q")


def ids(found: tuple[Ranking, Ranking]) -> list[list[int]]:
    return [[hit.chunk_id for hit in ranking] for ranking in found]


def test_both_legs_run_at_the_same_time(executor):
    both = Barrier(2, timeout=_AT_MOST_S)  # broken, and an error, where one waits for the other to end
    found = legs(executor, embedder=Embedder(), dense=Leg(1, both.wait), lexical=Leg(2, both.wait)).search(10)
    assert ids(found) == [[1], [2]]


@pytest.mark.parametrize("number", [np.nan, np.inf, 0.0])
def test_a_question_that_compares_to_nothing_is_told(executor, number):
    with pytest.raises(ModelError, match="small@1 made a vector of this question that is zero or not finite"):
        legs(executor, embedder=Embedder(number)).search(10)


def test_a_question_is_embedded_once_however_often_it_is_searched_for(executor):
    embedder = Embedder()
    each = legs(executor, embedder=embedder)
    assert ids(each.search(10)) == ids(each.search(40)) == [[1], [2]]
    assert embedder.embedded == 1


@pytest.mark.parametrize(
    ("given", "found"),
    [({"embedder": Embedder(), "lexical": None}, [[1], []]), ({"embedder": None}, [[], [2]])],
)
def test_a_leg_that_is_not_there_finds_nothing(executor, given, found):
    assert ids(legs(executor, **given).search(10)) == found


def test_an_error_of_either_leg_is_told_once_the_other_has_ended(executor):
    failed, ended = Event(), Event()

    def fails():
        failed.set()
        raise LookupError

    def ends_later():
        assert failed.wait(_AT_MOST_S)
        ended.set()

    with pytest.raises(LookupError):
        legs(executor, embedder=Embedder(), dense=Leg(1, fails), lexical=Leg(2, ends_later)).search(10)
    assert ended.is_set()
    with pytest.raises(LookupError):
        legs(executor, embedder=Embedder(), lexical=Leg(2, fails)).search(10)
