"""The engine in trouble: a request's own fault stays its own, a broken step ends what it held, a dead thread tells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rag.errors import DeadlineExceeded, GenerationFailed
from rag.inference import runs
from rag.inference.text_output import TextOutput
from rag.model_types import Caller, SamplingParams
from tests.integration.solo import ENDS, Solo, endless, held, load, say
from tests.unit.inference_prompts import TOWER, make_prompt
from tests.unit.kv_books import check_accounts, nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.inference.generator import LlamaGenerator
    from rag.inference.tokens import Vocabulary

PROMPTS = [make_prompt(f"{i}. When was it built?", TOWER, f"Tower {i} is high.\n\n") for i in range(3)]


@pytest.fixture
def generator(smollm_path: Path) -> Iterator[LlamaGenerator]:
    generator = load(smollm_path, max_running=4, context_tokens=512)
    yield generator
    generator.close()


@pytest.fixture
def solo(smollm_path: Path) -> Iterator[Solo]:
    solo = Solo(smollm_path, cells=512)
    yield solo
    solo.free()


async def outcomes(*tasks: asyncio.Task[object]) -> list[object]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_goes_wrong_with_one_answer_ends_that_one(
    generator: LlamaGenerator, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unlucky(TextOutput):
        def take(self, logits: object) -> int:
            if self._params.seed == 13 and len(self.tokens) == 3:
                raise ZeroDivisionError("seven years of it")
            return super().take(logits)  # type: ignore[arg-type]

    monkeypatch.setattr(runs, "TextOutput", Unlucky)
    lucky, unlucky = SamplingParams(max_tokens=10), SamplingParams(max_tokens=10, seed=13)
    _, failed, second = await outcomes(
        asyncio.create_task(say(generator, PROMPTS[0], lucky)),
        asyncio.create_task(say(generator, PROMPTS[1], unlucky)),
        asyncio.create_task(say(generator, PROMPTS[2], lucky)),
    )
    assert isinstance(failed, GenerationFailed)
    assert "ZeroDivisionError: seven years of it" in str(failed)
    assert isinstance(failed.__cause__, ZeroDivisionError)
    solo.check(second)  # type: ignore[arg-type]
    assert generator.stats().failed == 1
    assert generator.failure is None
    check_accounts(generator.engine._tree)


async def test_a_request_that_cannot_be_begun_is_refused_and_no_other(
    generator: LlamaGenerator, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impossible(TextOutput):
        def __init__(self, params: SamplingParams, vocabulary: Vocabulary) -> None:
            if params.seed == 13:
                raise ZeroDivisionError("no grammar for that")
            super().__init__(params, vocabulary)

    monkeypatch.setattr(runs, "TextOutput", Impossible)
    failed, other = await outcomes(
        asyncio.create_task(say(generator, PROMPTS[1], SamplingParams(max_tokens=10, seed=13))),
        asyncio.create_task(say(generator, PROMPTS[2], SamplingParams(max_tokens=10))),
    )
    assert isinstance(failed, GenerationFailed)
    assert "no grammar for that" in str(failed)
    solo.check(other)  # type: ignore[arg-type]
    assert (generator.stats().failed, generator.stats().queued) == (1, 0)
    check_accounts(generator.engine._tree)


async def test_a_tree_that_fails_starts_anew(
    generator: LlamaGenerator, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = generator.stream(PROMPTS[0], endless(400))
    await anext(stream)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a branch fell off")

    with monkeypatch.context() as patch:
        patch.setattr(generator.engine._tree, "descend", fail)
        with pytest.raises(GenerationFailed, match="a branch fell off"):
            await say(generator, PROMPTS[1])
    with pytest.raises(GenerationFailed, match="a branch fell off"):
        async for _ in stream:
            pass
    assert generator.failure is None
    check_accounts(generator.engine._tree)
    solo.check(await say(generator, PROMPTS[1], SamplingParams(max_tokens=10)))


async def test_what_goes_wrong_in_the_lane_ends_that_request(
    generator: LlamaGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = SamplingParams(max_tokens=10, deterministic=True)

    def fail() -> bool:
        raise ZeroDivisionError("off the road")

    with monkeypatch.context() as patch:
        patch.setattr(generator.engine._lane, "step", fail)
        with pytest.raises(GenerationFailed, match="off the road"):
            await say(generator, PROMPTS[1], exact)
    assert (await say(generator, PROMPTS[1], exact)).tokens
    assert generator.stats().failed == 1


async def test_time_is_up_while_the_model_is_busy(generator: LlamaGenerator) -> None:
    with held(generator), pytest.raises(DeadlineExceeded, match=r"within 0.05 s"):
        await say(generator, PROMPTS[0], caller=Caller(timeout_s=0.05))
    await say(generator, PROMPTS[1])
    assert (generator.stats().failed, generator.stats().cancelled) == (1, 0)


async def test_a_step_that_fails_ends_what_ran_and_leaves_an_empty_cache(
    generator: LlamaGenerator, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(generator, PROMPTS[0])
    decode, steps = generator.engine._context.decode, 0

    def fail_once(batch: object) -> None:
        nonlocal steps
        steps += 1
        decode(batch)  # type: ignore[arg-type]
        if steps == 4:
            raise GenerationFailed("the cache went astray")

    with monkeypatch.context() as patch:
        patch.setattr(generator.engine._context, "decode", fail_once)
        # Four run, and two that wait are served afterwards.
        ended = await outcomes(*(asyncio.create_task(say(generator, PROMPTS[i % 3], endless(8))) for i in range(6)))
    assert [isinstance(each, GenerationFailed) for each in ended] == [True] * 4 + [False] * 2
    check_accounts(generator.engine._tree)
    assert generator.stats().failed == 4
    solo.check(ended[5], never=ENDS)  # type: ignore[arg-type]
    assert (await say(generator, PROMPTS[0])).usage.cached_tokens > 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("part", ["_admit", "_drop_ended", "_lane_step"])
async def test_wherever_the_thread_dies_everybody_is_told(
    generator: LlamaGenerator, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Running, waiting, in the deterministic lane, or not yet submitted."""

    def die() -> None:
        raise RuntimeError("out of the blue")

    stream = generator.stream(PROMPTS[0], endless(400))
    await anext(stream)
    lane = generator.stream(PROMPTS[1], SamplingParams(max_tokens=200, deterministic=True))
    await anext(lane)
    waiting = [asyncio.create_task(say(generator, PROMPTS[i % 3], endless(400))) for i in range(6)]
    waiting.append(asyncio.create_task(generator.next_token_probabilities(PROMPTS[0], ["Yes"])))
    waiting.append(asyncio.create_task(generator.score(PROMPTS[:1], " Yes")))
    await asyncio.sleep(0)
    draining = asyncio.create_task(generator.drain()) if part == "_admit" else None
    monkeypatch.setattr(generator.engine, part, die)
    for open_stream in (stream, lane):
        with pytest.raises(GenerationFailed, match=r"thread has died: RuntimeError: out of the blue.*Restart"):
            async for _ in open_stream:
                pass
    for each in await outcomes(*waiting):
        assert isinstance(each, GenerationFailed)
        assert "RuntimeError: out of the blue" in str(each)
    if draining is not None:
        await draining
    await asyncio.to_thread(generator.engine._thread.join)
    assert "out of the blue" in str(generator.failure)
    for ask in (say(generator, PROMPTS[0]), generator.score(PROMPTS, " Yes")):
        with pytest.raises(GenerationFailed, match="out of the blue"):
            await ask


async def test_closing_ends_open_requests_as_cancelled(generator: LlamaGenerator) -> None:
    stream = generator.stream(PROMPTS[0], endless(400))
    await anext(stream)
    lane = asyncio.create_task(say(generator, PROMPTS[1], SamplingParams(max_tokens=200, deterministic=True)))
    waiting = [asyncio.create_task(say(generator, PROMPTS[i % 3], endless(400))) for i in range(5)]
    odds = asyncio.create_task(generator.next_token_probabilities(PROMPTS[0], ["Yes"]))
    await asyncio.sleep(0)
    await asyncio.to_thread(generator.close)
    assert [chunk async for chunk in stream][-1].finish_reason == "cancelled"
    assert [(await task).finish for task in [lane, *waiting]] == ["cancelled"] * 6
    (refused,) = await outcomes(odds)
    assert isinstance(refused, GenerationFailed)
    with pytest.raises(GenerationFailed, match="is closed"):
        await say(generator, PROMPTS[0])


async def test_a_request_cancelled_in_line_is_never_begun(smollm_path: Path) -> None:
    generator = load(smollm_path, max_running=1)
    stream = generator.stream(PROMPTS[0], endless(400))
    await anext(stream)
    waiting = asyncio.create_task(say(generator, make_prompt("Something else?", "Nobody reads this. " * 20)))
    await asyncio.sleep(0)
    waiting.cancel()
    (gone,) = await outcomes(waiting)
    assert isinstance(gone, asyncio.CancelledError)
    await stream.aclose()
    await say(generator, PROMPTS[0], endless(1))
    assert generator.stats().tokens_prefilled <= generator.count_prompt_tokens(PROMPTS[0]) + 1
    assert generator.stats().cancelled == 2
    generator.close()


async def test_a_folder_that_cannot_be_written_costs_the_reuse_after_a_restart_and_nothing_else(
    smollm_path: Path, tmp_path: Path, solo: Solo
) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    stored = {"sha256": "ab" * 32, "kv_disk_bytes": 1 << 30, "snapshot_directory": tmp_path / "state"}
    generator = load(smollm_path, context_tokens=256, kv_tokens=256, **stored)
    prompts = [make_prompt(f"How high is tower {i}?", f"Tower {i} is high. " * 10) for i in range(4)]
    replies = [await say(generator, prompt, endless(2)) for prompt in [*prompts, prompts[0]]]
    solo.check(replies[-1], never=ENDS)
    assert generator.failure is None
    assert generator.engine._tree.cells.snapshots.disk_error
    assert generator.stats().kv_disk_bytes == 0
    check_accounts(generator.engine._tree)
    assert not any(node.stored for node in nodes(generator.engine._tree))
    generator.close()
