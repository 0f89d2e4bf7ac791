"""Queries, each of two requests, through one engine: what is begun is finished, and every token read is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rag.model_types import Caller
from rag.pipeline import PipelineOptions, RagPipeline
from rag.retrieval.retriever import Retrieval
from rag.types import Collection, Filter
from tests.integration.solo import load
from tests.unit.builders import OneCollection, make_passage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rag.inference.generator import LlamaGenerator
    from rag.model_types import Prompt
    from rag.types import Answer

QUERIES = 4
QUESTIONS = [f"How high is the bridge of town {number}?" for number in range(QUERIES)]


class Retriever:
    """Finds for each question a passage that no other has."""

    def retrieve(
        self, collection: Collection, query: str, k: int, *, where: Filter | None, as_of: object = None
    ) -> Retrieval:
        number = QUESTIONS.index(query)
        text = f"The bridge of town {number} is {30 + number} metres high. "
        visits = " ".join(f"Visitor {i} of town {number} came on a Monday, and it rained." for i in range(6))
        passage = make_passage(text + visits, id=number)
        return Retrieval(
            collection=collection,
            passages=(passage,),
            best_dense=0.9,
            nothing_to_search=False,
            embed_ms=0.0,
            search_ms=0.0,
        )


class Log:
    """The generator, with a note of the order in which its answers come."""

    def __init__(self, generator: LlamaGenerator) -> None:
        self._generator = generator
        self.seen: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._generator, name)

    async def next_token_probabilities(self, prompt, candidates, *, caller, **options):
        told = await self._generator.next_token_probabilities(prompt, candidates, caller=caller, **options)
        self.seen.append(("judged", _question(prompt)))
        return told

    async def stream(self, prompt, params, *, caller):
        async for chunk in self._generator.stream(prompt, params, caller=caller):
            if chunk.finish_reason:
                self.seen.append(("answered", _question(prompt)))
            yield chunk


def _question(prompt: Prompt) -> str:
    return next(question for question in QUESTIONS if question in prompt.segments[-1].text)


@pytest.fixture
def generator(smollm_path: Path) -> Iterator[LlamaGenerator]:
    generator = load(smollm_path, max_running=1)
    yield generator
    generator.close()


def pipeline(generator: Log | LlamaGenerator) -> RagPipeline:
    return RagPipeline(
        store=OneCollection(),
        retriever=Retriever,  # type: ignore[arg-type]
        generator=lambda: generator,  # type: ignore[arg-type,return-value]
        options=PipelineOptions(top_k=4, min_dense_score=0.0, min_answerability=0.0, max_answer_tokens=8),
    )


@pytest.mark.parametrize("keys", [QUESTIONS, ["same"] * QUERIES], ids=["of many keys", "of one key"])
async def test_a_query_is_answered_before_others_are_begun(generator: LlamaGenerator, keys: list[str]) -> None:
    log = Log(generator)
    asking = pipeline(log)
    answers = await asyncio.gather(
        *(asking.answer(question, caller=Caller(key=key)) for question, key in zip(QUESTIONS, keys, strict=True))
    )
    judged = [question for what, question in log.seen if what == "judged"]
    assert sorted(judged) == QUESTIONS
    # The engine never stands still: while a query is between its requests, the prompt of one other may be begun.
    for first, after_next in zip(judged, judged[2:], strict=False):
        assert log.seen.index(("answered", first)) < log.seen.index(("judged", after_next)), log.seen
    check_figures(answers, generator)


def check_figures(answers: Sequence[Answer], generator: LlamaGenerator) -> None:
    read = [answer.usage.prompt_tokens - answer.usage.cached_tokens for answer in answers]
    assert sum(read) == generator.stats().tokens_prefilled
    for answer in answers:
        timings = answer.timings
        assert timings.queue_ms + timings.prefill_ms <= timings.answerability_ms + timings.generate_ms
