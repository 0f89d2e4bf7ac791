"""Traces of questions: what repeats in them, and that nothing but the share retrieved before chose their order."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.traces import independent_trace, repeated_share, retrieved_trace
from benchmarks.workloads import Library, Request, library, retrieval_prompt
from rag.model_types import SegmentKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

TOPICS, EACH = 24, 10


def words(text: str) -> int:
    return len(text.split())


class ScriptedEmbedder:
    """Knows a vector of unit length for every text's last line, and counts how often it was asked."""

    identity, dimension, max_tokens = "scripted", 8, 512

    def __init__(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        self.vectors = vectors
        self.questions = 0

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [words(text) for text in texts]

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self.vectors[text.splitlines()[-1]] for text in texts])

    def embed_query(self, text: str) -> NDArray[np.float32]:
        self.questions += 1
        return self.vectors[text]


def scripted() -> tuple[Library, ScriptedEmbedder]:
    """Passages and questions about some topics, each near its topic and further from the others."""
    chance = np.random.default_rng(0)
    topics = chance.normal(size=(TOPICS, 8))

    def near(topic: int) -> NDArray[np.float32]:
        vector = topics[topic] + 0.5 * chance.normal(size=8)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    made = library(None, words, seed=0, invented=TOPICS * EACH)
    vectors = {passage.chunk.text: near(i // EACH) for i, passage in enumerate(made.passages)}
    questions = [f"Question {number}?" for number in range(TOPICS * EACH)]
    vectors |= {question: near(i // EACH) for i, question in enumerate(questions)}
    random.Random(0).shuffle(questions)  # noqa: S311 - not for secrets
    return replace(made, questions=tuple(questions)), ScriptedEmbedder(vectors)


def retrieved(seed: int = 1, requests: int = 20, repeat_share: float = 0.4) -> list[Request]:
    source, embedder = scripted()
    return retrieved_trace(source, embedder, requests=requests, passages=6, repeat_share=repeat_share, seed=seed)


def independent() -> list[Request]:
    source = library(None, words, seed=3, invented=200)
    return independent_trace(source, requests=30, passages=8, repeat_share=0.4, seed=3)


@pytest.mark.parametrize("make", [retrieved, independent])
def test_a_trace_says_what_came_up_before(make: Callable[[], list[Request]]) -> None:
    before: set[int] = set()
    for request in make():
        ids = {passage.chunk.id for passage in request.passages}
        assert len(ids) == len(request.passages)
        assert len(ids & before) == request.seen
        before |= ids


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_a_retrieved_trace_repeats_about_the_share_it_was_asked_for(share: float) -> None:
    assert repeated_share(retrieved(repeat_share=share)) == pytest.approx(share, abs=0.03)


def test_an_independent_trace_repeats_the_share_it_was_asked_for() -> None:
    assert repeated_share(independent()) == pytest.approx(0.4, abs=0.01)


def test_a_retrieved_trace_depends_on_nothing_but_its_seed() -> None:
    assert retrieved(seed=1) == retrieved(seed=1)
    assert retrieved(seed=1) != retrieved(seed=2)


def test_retrieved_passages_are_the_most_similar_ones_as_they_rank() -> None:
    source, embedder = scripted()
    for request in retrieved():
        asked = embedder.vectors[request.question]
        cosines = {p.chunk.id: float(embedder.vectors[p.chunk.text] @ asked) for p in source.passages}
        ranking = sorted(cosines, key=lambda number: -cosines[number])
        assert [passage.chunk.id for passage in request.passages] == ranking[:6]


def test_no_question_is_asked_twice_and_only_those_drawn_are_embedded() -> None:
    source, embedder = scripted()
    requests = retrieved_trace(source, embedder, requests=5, passages=6, repeat_share=0.4, seed=0)
    assert len({request.question for request in requests}) == 5
    assert embedder.questions <= 1 + 4 * 16
    everything = retrieved(requests=len(source.questions))
    assert sorted(request.question for request in everything) == sorted(source.questions)


def test_passages_that_were_retrieved_together_come_up_together_again() -> None:
    """Of the passages that one earlier request has in common with a later one, the most: more than by chance."""

    def most_alike(requests: list[Request]) -> float:
        sets = [{passage.chunk.id for passage in request.passages} for request in requests]
        shared = [max(len(ids & other) for other in sets[:at]) for at, ids in enumerate(sets) if at]
        seen = [request.seen for request in requests[1:]]
        return sum(shared) / sum(seen)

    source, _ = scripted()
    drawn = independent_trace(source, requests=20, passages=6, repeat_share=0.4, seed=1)
    assert most_alike(retrieved()) > most_alike(drawn) + 0.1


def test_what_repeats_in_an_independent_trace_is_popular() -> None:
    times: dict[int, int] = {}
    for request in independent():
        for passage in request.passages:
            times[passage.chunk.id] = times.get(passage.chunk.id, 0) + 1
    often = sorted(times.values(), reverse=True)
    assert often[0] >= 5
    assert often[len(often) // 2] == 1


def test_a_library_too_small_for_a_trace_is_refused() -> None:
    source = library(None, words, seed=0, invented=10)
    with pytest.raises(SystemExit, match="too few passages"):
        independent_trace(source, requests=3, passages=8, repeat_share=0.4, seed=0)
    source, embedder = scripted()
    for requests, number in ((3, len(source.passages) + 1), (len(source.questions) + 1, 6)):
        with pytest.raises(SystemExit, match="too few passages or questions"):
            retrieved_trace(source, embedder, requests=requests, passages=number, repeat_share=0.4, seed=0)


def test_retrieval_prompts_keep_the_ranking() -> None:
    request = retrieved()[1]
    segments = retrieval_prompt(request).segments
    read = [segment.text for segment in segments if segment.kind is SegmentKind.PASSAGE]
    assert all(passage.chunk.text in text for passage, text in zip(request.passages, read, strict=True))
