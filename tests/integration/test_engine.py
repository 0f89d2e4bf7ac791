"""Many requests, one context: they run together, in their order, within their bounds, and say what each says alone."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from rag.errors import DeadlineExceeded, Overloaded, QuestionTooLong, ShuttingDown
from rag.model_types import Caller, Priority, SamplingParams
from tests.integration.solo import ENDS, Solo, conversation, draft_always, endless, held, say
from tests.unit.inference_prompts import TOWER, make_prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rag.inference.generator import LlamaGenerator

PLAIN = SamplingParams(max_tokens=16, speculate=False)
LONG = tuple(f"{TOWER}Visit number {i} was on a Monday, and it rained.\n\n" for i in range(18))


async def streaming(
    generator: LlamaGenerator, tokens: int = 900, *, caller: Caller | None = None
) -> AsyncIterator[str]:
    """The pieces of an answer of just so many tokens, one a step."""
    params = endless(tokens)
    async with aclosing(generator.stream(make_prompt("Tell me all."), params, caller=caller or Caller())) as stream:
        async for chunk in stream:
            yield chunk.text


async def started(generator: LlamaGenerator, tokens: int = 900, *, caller: Caller | None = None) -> AsyncIterator[str]:
    """A request that is being answered."""
    stream = streaming(generator, tokens, caller=caller)
    await anext(stream)
    return stream


async def idle(generator: LlamaGenerator) -> None:
    """Return once what was cancelled before has left."""
    await generator.next_token_probabilities(make_prompt("Done?"), ["Yes"])


async def test_requests_are_answered_together_each_as_if_alone(make: Callable[..., LlamaGenerator], solo: Solo) -> None:
    generator = make()
    prompts = [make_prompt(f"Tower {i} is {100 + i} metres high. How high is tower {i}?") for i in range(6)]
    replies = await asyncio.gather(*(say(generator, prompt, PLAIN) for prompt in prompts))
    stats = generator.stats()
    assert stats.steps <= 16 + 4, "not a step for every token of every answer"
    assert stats.tokens_decoded > 2 * stats.steps
    assert stats.requests == 6
    solo.check(*replies[::2])


async def test_a_request_joins_and_leaves_while_another_is_being_answered(generator: LlamaGenerator) -> None:
    stream = await started(generator)
    await say(generator, make_prompt("When was it built?"), endless(4))
    assert generator.stats().running == 1
    await anext(stream)
    await stream.aclose()
    await idle(generator)


async def test_a_long_prompt_does_not_stop_answers(generator: LlamaGenerator, solo: Solo) -> None:
    prompt = make_prompt("Where?", *LONG[:10])
    assert generator.count_prompt_tokens(prompt) > 3 * 128
    stream = await started(generator)
    pieces = 0
    waiting = asyncio.create_task(say(generator, prompt, endless(1)))
    async for _ in stream:
        pieces += 1
        if waiting.done():
            break
    await stream.aclose()
    assert pieces >= 3, "a step reads at most 128 prompt tokens beside answers, and each gives a piece"
    solo.check(await waiting, never=ENDS)


async def test_priorities_decide_who_is_next_and_not_when_they_came(make: Callable[..., LlamaGenerator]) -> None:
    generator, order = make(max_running=1), []

    async def ask(priority: Priority) -> None:
        await say(generator, make_prompt(f"{priority}?"), endless(2), caller=Caller(priority=priority))
        order.append(priority)

    stream = await started(generator)
    tasks = [asyncio.create_task(ask(each)) for each in (Priority.BATCH, Priority.INTERACTIVE)]
    await asyncio.sleep(0)
    await stream.aclose()
    await asyncio.gather(*tasks)
    assert order == [Priority.INTERACTIVE, Priority.BATCH]


async def test_a_key_that_asks_for_much_does_not_keep_others_waiting(make: Callable[..., LlamaGenerator]) -> None:
    generator, order = make(max_running=1), []

    async def ask(key: str, number: int) -> None:
        await say(generator, make_prompt(f"{key} {number}?"), endless(4), caller=Caller(key=key))
        order.append(key)

    stream = await started(generator, caller=Caller(key="first"))
    tasks = [asyncio.create_task(ask("greedy", number)) for number in range(5)]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(ask("modest", number)) for number in range(2)]
    await asyncio.sleep(0)
    await stream.aclose()
    await asyncio.gather(*tasks)
    assert order.index("modest") <= 1
    assert order[:4].count("modest") == 2


async def test_a_full_queue_refuses_and_tells_the_place_and_when_to_come_back(
    make: Callable[..., LlamaGenerator],
) -> None:
    generator = make(max_running=1, max_queued=2)
    stream = await started(generator)
    waiting = [asyncio.create_task(say(generator, make_prompt("Where?"), endless(2))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match=r"3 requests running or waiting.*number 3") as refused:
        await say(generator, make_prompt("Where?"))
    assert refused.value.queue_position == 3
    assert refused.value.retry_after_s >= 1
    with pytest.raises(Overloaded):
        await generator.score([make_prompt("Where?")], " In Paris.")
    await stream.aclose()
    await asyncio.gather(*waiting)
    assert generator.stats().rejected == 2
    await say(generator, make_prompt("Where?"), endless(1))


async def test_a_deadline_passes_while_waiting_and_while_being_answered(make: Callable[..., LlamaGenerator]) -> None:
    generator = make(max_running=1)
    stream = await started(generator)
    with pytest.raises(DeadlineExceeded, match=r"not complete within 0\.05 s"):
        await say(generator, make_prompt("Where?"), caller=Caller(timeout_s=0.05))
    await stream.aclose()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.1 s"):
        await say(generator, make_prompt("Where?"), endless(900), caller=Caller(timeout_s=0.1))
    with pytest.raises(DeadlineExceeded):
        await say(generator, make_prompt("Where?"), SamplingParams(deterministic=True), caller=Caller(timeout_s=0.01))
    await idle(generator)
    stats = generator.stats()
    assert (stats.failed, stats.running, stats.queued) == (3, 0, 0)


async def test_an_answer_nobody_listens_to_ends_with_the_step(generator: LlamaGenerator) -> None:
    stream = await started(generator)
    before = generator.stats()
    await stream.aclose()
    await idle(generator)
    after = generator.stats()
    assert after.tokens_decoded - before.tokens_decoded <= 2, "the step that was under way, and one just begun"
    assert after.cancelled == before.cancelled + 1
    assert after.running == 0


async def test_a_prompt_is_read_no_further_when_its_caller_has_gone(
    generator: LlamaGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await idle(generator)
    monkeypatch.setattr(generator.engine._stepper._batch, "capacity", 100)
    before = generator.stats()
    with held(generator) as stands:
        task = asyncio.create_task(say(generator, make_prompt("Never?", *reversed(LONG))))
        await asyncio.to_thread(stands.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await idle(generator)
    assert 100 <= generator.stats().tokens_prefilled - before.tokens_prefilled <= 100 + 20


async def test_draining_waits_for_what_runs_and_refuses_what_comes(make: Callable[..., LlamaGenerator]) -> None:
    generator = make(max_running=1)
    with held(generator):
        running = [asyncio.create_task(say(generator, make_prompt("Where?"), endless(6))) for _ in range(2)]
        await asyncio.sleep(0)
        draining = asyncio.create_task(generator.drain())
        while not generator.engine._draining:  # noqa: ASYNC110 - it is set on another thread
            await asyncio.sleep(0)
        with pytest.raises(ShuttingDown, match="shutting down"):
            await say(generator, make_prompt("Where?"))
        assert not draining.done()
    await draining
    assert all(task.done() for task in running)
    assert [len((await task).tokens) for task in running] == [6, 6]
    assert generator.failure is None


async def test_the_deterministic_lane_gives_the_same_bits_alone_and_under_load(
    make: Callable[..., LlamaGenerator],
) -> None:
    params = SamplingParams(max_tokens=12, deterministic=True)
    prompts = [make_prompt("When was it built?", *LONG[:2]), make_prompt("How high is it?", *LONG[:2])]
    alone = await say(make(), prompts[0], params)

    generator = make()
    streams = [await started(generator) for _ in range(2)]
    loaded = await asyncio.gather(*(say(generator, prompt, params) for prompt in prompts))
    for stream in streams:
        await stream.aclose()
    again = await say(generator, prompts[0], params)
    for reply in (loaded[0], again):
        assert reply.tokens == alone.tokens
        assert reply.logprobs == alone.logprobs
    assert again.usage.cached_tokens > 0


async def test_probabilities_and_scores_of_the_lane_are_replayed_too(generator: LlamaGenerator) -> None:
    stream = await started(generator)
    odds = [
        await generator.next_token_probabilities(make_prompt("Is it high?"), ["Yes", "No"], deterministic=True)
        for _ in range(2)
    ]
    await stream.aclose()
    assert odds[0].values == odds[1].values
    assert odds[1].usage.cached_tokens > 0


async def test_drafts_do_not_change_what_is_said(make: Callable[..., LlamaGenerator], solo: Solo) -> None:
    prompt = make_prompt("Repeat the text above word for word.", *LONG[:2])
    generator = make(speculation=True)
    draft_always(generator)
    drafted = await say(generator, prompt, SamplingParams(max_tokens=32))
    plain = await say(generator, prompt, SamplingParams(max_tokens=32, speculate=False))
    solo.check(drafted)
    usage, stats = drafted.usage, generator.stats()
    assert 0 < usage.accepted_tokens <= usage.drafted_tokens
    assert (stats.tokens_drafted, stats.tokens_accepted) == (usage.drafted_tokens, usage.accepted_tokens)
    assert plain.usage.drafted_tokens == plain.usage.accepted_tokens == 0
    assert stats.steps < len(drafted.tokens) + len(plain.tokens)

    replies = await asyncio.gather(*(say(generator, make_prompt("Repeat.", LONG[i])) for i in range(4)))
    solo.check(replies[2])


async def test_a_generator_without_speculation_drafts_nothing(make: Callable[..., LlamaGenerator]) -> None:
    reply = await say(make(), make_prompt("Repeat the text above."), SamplingParams(max_tokens=24))
    assert reply.usage.drafted_tokens == 0


async def test_a_score_is_what_the_model_says_of_each_token_alone(generator: LlamaGenerator, solo: Solo) -> None:
    text = " It was built in 1889."
    tokens = solo.vocabulary.encode_text(text).tolist()
    prompts = [make_prompt("When was it built?"), make_prompt("When was it built?", *LONG[:2]), make_prompt("Why?")]
    scores = await generator.score(prompts, text)
    for prompt, score in zip(prompts, scores, strict=True):
        assert score == pytest.approx(solo.logprobs(prompt, tokens), abs=0.7)
        assert sum(score) == pytest.approx(sum(solo.logprobs(prompt, tokens)), abs=1.5)
    stats = generator.stats()
    assert await generator.score(prompts, text) == [pytest.approx(score, abs=0.7) for score in scores]
    assert generator.stats().tokens_prefilled - stats.tokens_prefilled <= 3 * (1 + len(tokens)), (
        "the prompts are cached"
    )


async def test_a_long_text_is_scored_over_several_steps(generator: LlamaGenerator, solo: Solo) -> None:
    text = " ".join(f"Visitor {i} came on a Monday." for i in range(14))
    tokens = solo.vocabulary.encode_text(text).tolist()
    assert len(tokens) > 64, "more than a step has logits for"
    ((*score,),) = await generator.score([make_prompt("Who came?")], text)
    assert score == pytest.approx(solo.logprobs(make_prompt("Who came?"), tokens), abs=1.0)


async def test_who_has_gone_away_takes_no_place(make: Callable[..., LlamaGenerator]) -> None:
    generator = make(max_running=1, max_queued=1)
    with held(generator) as stands:
        first = asyncio.create_task(say(generator, make_prompt("First?"), endless(2)))
        await asyncio.to_thread(stands.wait)
        second = asyncio.create_task(say(generator, make_prompt("Second?"), endless(2)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await say(generator, make_prompt("Third?"), endless(2))
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        fourth = asyncio.create_task(say(generator, make_prompt("Fourth?"), endless(2)))
        await asyncio.sleep(0)
        assert not fourth.done(), "it waits, though no step has ended"
    assert [len((await each).tokens) for each in (first, fourth)] == [2, 2]


async def test_any_number_of_prompts_is_scored_whatever_the_queue_takes(make: Callable[..., LlamaGenerator]) -> None:
    generator = make(max_running=2, max_queued=1)
    assert len(await generator.score([make_prompt(f"{i}?") for i in range(7)], " Yes.")) == 7


async def test_a_text_to_score_takes_its_place_once(make: Callable[..., LlamaGenerator], solo: Solo) -> None:
    generator = make(context_tokens=256, kv_tokens=256)
    text = " ".join(["one two three four five"] * 26)
    prompt = make_prompt("Numbers?", TOWER)
    room = 256 - generator.count_prompt_tokens(prompt) - len(solo.vocabulary.encode_text(text))
    assert 0 <= room < len(solo.vocabulary.encode_text(text)), "it fits once, and not twice"
    ((*scores,),) = await generator.score([prompt], text)
    assert len(scores) == len(solo.vocabulary.encode_text(text))


async def test_usage_accounts_for_every_token(make: Callable[..., LlamaGenerator]) -> None:
    generator, prompt = make(), make_prompt("When was it built?", *LONG[:2])
    first, second = [(await say(generator, prompt, endless(5))).usage for _ in range(2)]
    size = generator.count_prompt_tokens(prompt)
    assert first.prompt_tokens == second.prompt_tokens == size
    assert (first.cached_tokens, second.cached_tokens) == (0, size - 1)
    assert first.completion_tokens == 5
    assert size + 5 <= first.kv_cells <= size + 6
    assert 0 < first.prefill_ms <= first.first_token_ms
    assert first.queue_ms >= 0 < first.decode_ms
    stats = generator.stats()
    assert stats.tokens_prefilled == size + 1
    assert stats.tokens_cached == size - 1
    assert stats.tokens_decoded == 10
    assert 0 < stats.python_seconds < stats.step_seconds


async def test_requests_wait_for_cells_and_all_are_answered(make: Callable[..., LlamaGenerator], solo: Solo) -> None:
    generator = make(context_tokens=256, kv_tokens=256)
    prompts = [make_prompt(f"How often did it rain on tower {i}?", LONG[i]) for i in range(4)]
    replies = await asyncio.gather(*(say(generator, prompt, endless(40)) for prompt in prompts))
    assert generator.count_prompt_tokens(prompts[0]) + 40 > 256 // 3, "not three of them at once"
    solo.check(replies[3], never=ENDS)
    assert all(len(reply.tokens) == 40 for reply in replies)
    stats = generator.stats()
    assert stats.failed == 0
    assert stats.kv_cells_used <= stats.kv_cells == 256


async def test_a_prompt_longer_than_the_context_is_refused_with_the_numbers(generator: LlamaGenerator) -> None:
    size = generator.count_prompt_tokens(make_prompt("Where?", *LONG, *LONG))
    with pytest.raises(QuestionTooLong, match=f"{size} tokens.*context of 1024.*room for 1023"):
        await say(generator, make_prompt("Where?", *LONG, *LONG))
    assert generator.stats().queued == 0


async def test_an_answer_ends_where_the_context_does(make: Callable[..., LlamaGenerator]) -> None:
    generator = make(context_tokens=128, kv_tokens=128)
    reply = await say(generator, make_prompt("Tell me all."), endless(900))
    assert reply.finish == "length"
    assert reply.usage.prompt_tokens + reply.usage.completion_tokens == 128


async def test_a_prompt_of_very_many_passages_is_read(make: Callable[..., LlamaGenerator]) -> None:
    """More than the context has sequences for nodes."""
    prompt = make_prompt("Where?", *(f"{i}\n" for i in range(100)))
    reply = await say(make(passage_reuse="stitched"), prompt, endless(2))
    assert len(reply.tokens) == 2


async def test_two_event_loops_share_a_generator(generator: LlamaGenerator, solo: Solo) -> None:
    def other() -> None:
        replies.append(asyncio.run(say(generator, make_prompt("How high is the tower?"), PLAIN)))

    replies: list[object] = []
    thread = threading.Thread(target=other)
    stream = await started(generator)
    thread.start()
    mine = await say(generator, make_prompt("When was the tower built?"), PLAIN)
    await asyncio.to_thread(thread.join)
    await stream.aclose()
    solo.check(mine, *replies)  # type: ignore[arg-type]


async def test_a_conversation_goes_on_from_the_state_of_the_answer(generator: LlamaGenerator, solo: Solo) -> None:
    turns = ["Which tower is the highest of all in Paris, and since when?"]
    read = 0
    for question in ("And in London?", "And in Rome?", "Which of them is the oldest one?"):
        reply = await say(generator, conversation(*turns), SamplingParams(max_tokens=24))
        solo.check(reply)
        if read:
            assert reply.usage.cached_tokens >= read - 1, "all but the last token said"
        read = reply.usage.prompt_tokens + len(reply.tokens)
        turns += [reply.text, question]
