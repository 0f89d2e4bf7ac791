"""The model breaks: a torn file, a failing decode, a dead thread, an event loop that went away."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from contextlib import aclosing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag.errors import GenerationFailed, ModelUnloadable
from rag.inference.generator import LlamaGenerator
from rag.model_types import SamplingParams
from tests.unit.inference_prompts import make_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def load(path: Path) -> LlamaGenerator:
    return LlamaGenerator.load(path, model_name="smollm", sha256="", context_tokens=512, threads=1)


@pytest.fixture
def generator(smollm_path: Path) -> Iterator[LlamaGenerator]:
    generator = load(smollm_path)
    yield generator
    generator.close()


async def say(generator: LlamaGenerator, max_tokens: int = 8) -> str:
    async with aclosing(generator.stream(make_prompt("Where?"), SamplingParams(max_tokens=max_tokens))) as stream:
        return "".join([chunk.text async for chunk in stream])


@pytest.mark.parametrize("share", [0.5, 0.001])
def test_a_torn_file_is_refused_with_llama_cpps_reason(smollm_path: Path, tmp_path: Path, share: float) -> None:
    whole = smollm_path.read_bytes()
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(
        ModelUnloadable, match=r"torn\.gguf.*(incomplete|failed to read|failed to load).*rag models verify"
    ):
        load(torn)


async def test_a_failed_decode_fails_its_request_and_not_the_next(
    generator: LlamaGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await say(generator)
    with monkeypatch.context() as patch:
        patch.setattr(generator.engine._context._lib, "llama_decode", lambda *args: 1)
        with pytest.raises(GenerationFailed, match=r"could not decode \d+ tokens.*code 1"):
            await say(generator)
    assert await say(generator) == expected
    assert generator.failure is None


async def test_logits_that_are_no_numbers_fail_the_request(
    generator: LlamaGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(generator.engine._context, "logits", lambda row: np.full(8, np.nan, dtype=np.float32))
        with pytest.raises(GenerationFailed, match="not a number"):
            await say(generator)
    assert await say(generator)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_dead_thread_fails_open_and_later_requests_and_names_the_cause(
    generator: LlamaGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> int:
        raise ZeroDivisionError("the moon is in the way")

    stream = generator.stream(make_prompt("Tell me all."), SamplingParams(max_tokens=200))
    await anext(stream)
    waiting = [asyncio.create_task(say(generator)) for _ in range(3)]
    scoring = asyncio.create_task(generator.next_token_probabilities(make_prompt("Q"), ["Yes"]))
    await asyncio.sleep(0)
    monkeypatch.setattr(generator.engine._context, "decode", die)
    with pytest.raises(GenerationFailed, match="ZeroDivisionError: the moon") as caught:
        async for _ in stream:
            pass
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    for task in [*waiting, scoring]:
        with pytest.raises(GenerationFailed, match="the moon"):
            await task
    generator.engine._thread.join()
    with pytest.raises(GenerationFailed, match="the moon"):
        await say(generator)
    assert "the moon" in str(generator.failure)


def test_an_event_loop_that_went_away_stops_its_request(generator: LlamaGenerator) -> None:
    loop = asyncio.new_event_loop()
    stream = generator.stream(make_prompt("Count to a thousand."), SamplingParams(max_tokens=400))
    loop.run_until_complete(anext(stream))
    loop.close()  # without closing the stream: as after a crash of the caller
    assert asyncio.run(say(generator))
    assert generator.stats().tokens_decoded < 400


@pytest.mark.parametrize("ending", ["pass", "generator.close()", "raise SystemExit(0)"])
def test_a_program_that_forgets_to_close_still_exits_cleanly(smollm_path: Path, ending: str) -> None:
    program = f"""
        import asyncio
        from pathlib import Path
        from rag.inference.generator import LlamaGenerator
        from rag.model_types import SamplingParams
        from tests.unit.inference_prompts import make_prompt

        path = Path({str(smollm_path)!r})
        generator = LlamaGenerator.load(path, model_name="m", sha256="", context_tokens=512, threads=1)

        async def main():
            async for chunk in generator.stream(make_prompt("Count."), SamplingParams(max_tokens=300)):
                break

        asyncio.run(main())
        {ending}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
