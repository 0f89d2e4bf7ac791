"""What every ``Generator`` must do.

Run by the scripted one, by llama.cpp with a real small model, and by the remote one with a server on loopback.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING

import pytest

from rag.errors import DeadlineExceeded, GenerationFailed, QuestionTooLong, ServiceError, UnsupportedSampling
from rag.inference.remote.generator import RemoteGenerator
from rag.inference.scripted import ScriptedGenerator
from rag.model_types import Caller, GenerationChunk, Priority, SamplingParams
from rag.protocols import Generator
from tests.integration.openai_server import serving
from tests.unit.inference_prompts import make_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REPLY = "The tower was built in 1889, and it is three hundred and thirty metres high."
CONTEXT = 256


SCORES = [[-0.5, -0.25], [-1.5, -0.125]]


@pytest.fixture(params=["scripted", "llama", "remote"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[], Generator]]:
    made: list[Generator] = []
    rooms = ExitStack()

    def build() -> Generator:
        if request.param == "scripted":
            made.append(
                ScriptedGenerator(
                    [REPLY] * 8, probabilities=[[0.7, 0.1]] * 8, scores=[SCORES] * 2, context_tokens=CONTEXT
                )
            )
        elif request.param == "remote":
            server = rooms.enter_context(serving(reply=REPLY, context=CONTEXT))
            made.append(
                RemoteGenerator.connect(
                    server.url, model=None, api_key=None, context_tokens=4096, timeout_s=60, max_retries=0
                )
            )
        else:
            from rag.inference.generator import LlamaGenerator

            path: Path = request.getfixturevalue("smollm_path")
            # One thread: tests may share the machine.
            made.append(LlamaGenerator.load(path, model_name="smollm", sha256="", context_tokens=CONTEXT, threads=1))
        return made[-1]

    yield build
    for generator in made:
        generator.close()
    rooms.close()


@pytest.fixture
def generator(make: Callable[[], Generator]) -> Generator:
    return make()


async def collect(
    generator: Generator, params: SamplingParams, question: str = "When was it built?"
) -> list[GenerationChunk]:
    async with aclosing(generator.stream(make_prompt(question), params)) as chunks:
        return [chunk async for chunk in chunks]


def text_of(chunks: list[GenerationChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_it_is_a_generator_and_tells_what_it_is(generator: Generator) -> None:
    assert isinstance(generator, Generator)
    assert generator.info.context_tokens == CONTEXT
    assert generator.info.gpu_layers == 0
    assert generator.info.model
    assert generator.info.backend


def test_tokens_are_counted(generator: Generator) -> None:
    assert generator.count_tokens("") == 0
    assert 1 <= generator.count_tokens("one") < generator.count_tokens("one two three four")
    prompt = make_prompt("Why?")
    assert generator.count_prompt_tokens(prompt) >= sum(generator.count_tokens(s.text) for s in prompt.segments)


async def test_only_the_last_chunk_carries_reason_and_usage(generator: Generator) -> None:
    chunks = await collect(generator, SamplingParams(max_tokens=6))
    assert all(chunk.finish_reason is None and chunk.usage is None for chunk in chunks[:-1])
    assert all(chunk.text for chunk in chunks[:-1])
    last = chunks[-1]
    assert last.finish_reason == "length"
    assert last.usage is not None
    assert last.usage.completion_tokens == 6
    assert last.usage.prompt_tokens == generator.count_prompt_tokens(make_prompt("When was it built?"))


async def test_greedy_text_repeats(generator: Generator) -> None:
    params = SamplingParams(max_tokens=12)
    assert text_of(await collect(generator, params)) == text_of(await collect(generator, params)) != ""


async def test_stop_strings_end_the_text_and_are_not_in_it(generator: Generator) -> None:
    whole = text_of(await collect(generator, SamplingParams(max_tokens=12)))
    stop = whole[len(whole) // 2 :][:5]  # spans tokens
    chunks = await collect(generator, SamplingParams(max_tokens=12, stop=("never said", stop)))
    assert text_of(chunks) == whole[: whole.find(stop)]
    assert chunks[-1].finish_reason == "stop"


async def test_a_prompt_that_leaves_no_room_is_refused_with_the_numbers(generator: Generator) -> None:
    with pytest.raises(QuestionTooLong, match=rf"\d+ tokens.*{CONTEXT}"):
        await collect(generator, SamplingParams(), "word " * 300)
    with pytest.raises(QuestionTooLong):
        await generator.next_token_probabilities(make_prompt("word " * 300), ["Yes"])


async def test_max_tokens_is_lowered_to_what_the_context_leaves(generator: Generator) -> None:
    prompt_tokens = generator.count_prompt_tokens(make_prompt("Why?"))
    question = "Why?" + " why" * (CONTEXT - prompt_tokens - 4)
    chunks = await collect(generator, SamplingParams(max_tokens=320), question)
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens + usage.completion_tokens <= CONTEXT
    assert chunks[-1].finish_reason == "length"


async def test_closing_the_iterator_leaves_the_generator_usable(generator: Generator) -> None:
    async with aclosing(generator.stream(make_prompt("Tell me more."), SamplingParams(max_tokens=100))) as chunks:
        async for _ in chunks:
            break
    assert (await collect(generator, SamplingParams(max_tokens=3)))[-1].finish_reason == "length"
    assert generator.stats().cancelled == 1


async def test_what_was_done_is_counted(generator: Generator) -> None:
    before = generator.stats()
    await collect(generator, SamplingParams(max_tokens=4))
    with pytest.raises(QuestionTooLong):
        await collect(generator, SamplingParams(), "word " * 300)
    after = generator.stats()
    assert after.tokens_decoded - before.tokens_decoded == 4
    assert after.requests > before.requests
    assert (after.running, after.queued, after.failed, after.cancelled) == (0, 0, 0, 0)


async def test_anybody_may_ask_at_any_priority(generator: Generator) -> None:
    caller = Caller(key="evaluation", priority=Priority.BATCH, timeout_s=600)
    async with aclosing(generator.stream(make_prompt("Why?"), SamplingParams(max_tokens=3), caller=caller)) as chunks:
        assert [chunk async for chunk in chunks][-1].finish_reason == "length"
    odds = await generator.next_token_probabilities(make_prompt("Q"), ["Yes", "No"], caller=caller)
    assert len(odds.values) == 2


async def test_a_caller_without_time_gets_no_answer(generator: Generator) -> None:
    caller = Caller(timeout_s=0)
    with pytest.raises(DeadlineExceeded, match="within 0 s"):
        async with aclosing(generator.stream(make_prompt("Why?"), SamplingParams(), caller=caller)) as chunks:
            [chunk async for chunk in chunks]


async def test_a_text_is_scored_after_each_prompt_or_that_is_refused(generator: Generator) -> None:
    prompts = [make_prompt("Is it tall?"), make_prompt("Is it old?")]
    try:
        scores = await generator.score(prompts, " Yes")
    except UnsupportedSampling:
        return
    assert len(scores) == 2
    assert all(logprobs and all(logprob <= 0 for logprob in logprobs) for logprobs in scores)
    with pytest.raises(ValueError, match="token"):
        await generator.score(prompts, "")


async def test_drain_lets_an_answer_finish_and_takes_no_other(generator: Generator) -> None:
    chunks = generator.stream(make_prompt("Tell me all."), SamplingParams(max_tokens=5))
    first = await anext(chunks)
    draining = asyncio.create_task(generator.drain())
    await asyncio.sleep(0)
    with pytest.raises(ServiceError):
        await collect(generator, SamplingParams())
    rest = [first, *[chunk async for chunk in chunks]]
    assert rest[-1].finish_reason == "length"
    await draining
    assert generator.stats().running == 0


async def test_probabilities_are_probabilities(generator: Generator) -> None:
    yes, no = (await generator.next_token_probabilities(make_prompt("Is it in Paris?"), ["Yes", "No"])).values
    assert 0 <= yes <= 1
    assert 0 <= no <= 1
    assert yes + no <= 1


async def test_probabilities_come_with_what_they_took(generator: Generator) -> None:
    before = generator.stats()
    usage = (await generator.next_token_probabilities(make_prompt("Is it in Paris?"), ["Yes", "No"])).usage
    after = generator.stats()
    assert usage.prompt_tokens == generator.count_prompt_tokens(make_prompt("Is it in Paris?"))
    assert (usage.completion_tokens, usage.drafted_tokens, usage.decode_ms) == (0, 0, 0)
    assert after.tokens_prefilled - before.tokens_prefilled == usage.prompt_tokens - usage.cached_tokens


async def test_a_candidate_without_tokens_is_a_mistake(generator: Generator) -> None:
    with pytest.raises(ValueError, match="without tokens"):
        await generator.next_token_probabilities(make_prompt("Q"), ["Yes", ""])


async def test_many_callers_each_get_their_whole_answer(generator: Generator) -> None:
    answers = await asyncio.gather(*(collect(generator, SamplingParams(max_tokens=5)) for _ in range(4)))
    assert {text_of(chunks) for chunks in answers} == {text_of(answers[0])}


async def test_close_ends_open_streams_as_cancelled_and_refuses_new_ones(generator: Generator) -> None:
    chunks = generator.stream(make_prompt("Tell me all."), SamplingParams(max_tokens=150))
    first = await anext(chunks)
    generator.close()
    rest = [first, *[chunk async for chunk in chunks]]
    assert rest[-1].finish_reason == "cancelled"
    with pytest.raises(GenerationFailed, match="closed"):
        await collect(generator, SamplingParams())
    with pytest.raises(GenerationFailed, match="closed"):
        await generator.next_token_probabilities(make_prompt("Q"), ["Yes"])
    generator.close()
