"""Requests by the thousand, cancelled, late or too many: nothing leaks, nothing hangs, nobody gets another's text."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psutil
import pytest

from rag.errors import DeadlineExceeded, Overloaded
from rag.model_types import Caller, Priority, Prompt, SamplingParams
from tests.integration.solo import Solo, conversation, draft_always, load, say
from tests.unit.inference_prompts import make_prompt
from tests.unit.kv_books import check_accounts, empty, nodes

if TYPE_CHECKING:
    from pathlib import Path

    from rag.inference.generator import LlamaGenerator
    from tests.integration.solo import Reply

PASSAGES = tuple(f"Tower {i} was built in {1801 + 13 * i}. It is {30 + i} metres high.\n\n" for i in range(8))
QUESTIONS = ("How high is tower {}?", "When was tower {} built?", "Is tower {} the oldest one of all the towers?")
SCHEMA = '{"type": "object", "properties": {"metres": {"type": "integer"}}, "required": ["metres"]}'
AT_ONCE = 20


@dataclass
class Storm:
    """Random operations on a generator, and what came of them."""

    generator: LlamaGenerator
    seed: int
    at_once: int = AT_ONCE
    outcomes: Counter[str] = field(default_factory=Counter)
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - a repeatable mix, not a secret

    async def rage(self, operations: int) -> None:
        gate = asyncio.Semaphore(self.at_once)

        async def one() -> None:
            async with gate:
                self.outcomes[await self._operation()] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(operations):
                group.create_task(one())

    async def _operation(self) -> str:
        kinds = {self._listen: 40, self._leave: 20, self._cancel: 20, self._ask: 12, self._lane: 3}
        operation = self.random.choices(list(kinds), list(kinds.values()))[0]
        try:
            return await operation(self._prompt(), self._caller())
        except DeadlineExceeded:
            return "late"
        except Overloaded:
            await asyncio.sleep(0.1)  # or the rest of the storm would be over at once
            return "refused"

    def _prompt(self) -> Prompt:
        pick = self.random
        question = pick.choice(QUESTIONS).format(pick.randrange(8))
        if pick.random() < 0.2:
            return conversation(*["And then?", "It was high."] * pick.randrange(3), question)
        return make_prompt(question, *pick.sample(PASSAGES, pick.choice([1, 1, 1, 2, 3])))

    def _caller(self) -> Caller:
        pick = self.random
        return Caller(
            key=pick.choice("abc"),
            priority=pick.choice([*[Priority.INTERACTIVE] * 8, Priority.BATCH]),
            timeout_s=pick.choice([None] * 9 + [0.001, 0.05, 0.5]),
        )

    def _params(self) -> SamplingParams:
        pick, params = self.random, SamplingParams(max_tokens=self.random.randint(1, 8))
        odd = pick.choice(
            [{}] * 6 + [{"temperature": 1.0, "seed": 7}, {"json_schema": SCHEMA}, {"repeat_penalty": 1.3}]
        )
        return replace(params, **odd)

    async def _listen(self, prompt: Prompt, caller: Caller) -> str:
        params = self._params()
        reply = await say(self.generator, prompt, params, caller=caller)
        if params == SamplingParams(max_tokens=params.max_tokens):
            self.replies.append(reply)
        return "answered"

    async def _leave(self, prompt: Prompt, caller: Caller) -> str:
        wanted = self.random.randrange(4)
        async with aclosing(self.generator.stream(prompt, self._params(), caller=caller)) as stream:
            async for _ in stream:
                if not wanted:
                    break
                wanted -= 1
        return "left"

    async def _cancel(self, prompt: Prompt, caller: Caller) -> str:
        task = asyncio.create_task(say(self.generator, prompt, self._params(), caller=caller))
        if self.random.random() < 0.5:
            await asyncio.wait([task], timeout=self.random.random() / 10)
        else:
            await asyncio.sleep(0)
        if not task.cancel():
            task.result()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
        return "answered"

    async def _ask(self, prompt: Prompt, caller: Caller) -> str:
        if self.random.random() < 0.5:
            odds = await self.generator.next_token_probabilities(prompt, ["Yes", "No"], caller=caller)
            assert all(0 <= each <= 1 for each in odds.values)
        else:
            (scores,) = await self.generator.score([prompt], "It is 35 metres high.", caller=caller)
            assert len(scores) > 5
            assert max(scores) <= 0
        return "asked"

    async def _lane(self, prompt: Prompt, caller: Caller) -> str:
        await say(self.generator, prompt, SamplingParams(max_tokens=2, deterministic=True), caller=caller)
        return "answered"


async def settled(generator: LlamaGenerator) -> None:
    """Return once everything that was cancelled has left."""
    await generator.next_token_probabilities(make_prompt("Done?"), ["Yes"])


async def weather(generator: LlamaGenerator, operations: int, *, seed: int, loops: int = 1) -> Storm:
    """The storms of one or more event loops together."""
    storms = [Storm(generator, seed + number, AT_ONCE // loops) for number in range(loops)]
    others = [threading.Thread(target=asyncio.run, args=(storm.rage(operations),)) for storm in storms[1:]]
    for other in others:
        other.start()
    await storms[0].rage(operations)
    for other in others:
        await asyncio.to_thread(other.join)
    whole = Storm(generator, seed)
    for storm in storms:
        whole.outcomes += storm.outcomes
        whole.replies += storm.replies
    await settled(generator)
    return whole


def check_nothing_leaked(generator: LlamaGenerator) -> None:
    stats, tree = generator.stats(), generator.engine._tree
    assert (stats.running, stats.queued) == (0, 0)
    assert generator.engine._inbox.empty()
    assert not tree._paths
    check_accounts(tree)
    empty(tree)  # nobody else uses it now
    tree.forget_evicted()
    check_accounts(tree)
    assert tree.cells.claimed == tree.cells.sequences_claimed == 0
    assert len(tree.cells._free) == tree._context.sequences
    assert all(any(below.stored for below in (node, *_below(node))) for node in nodes(tree))


def _below(node: object) -> list[object]:
    below = [child for children in node.children.values() for child in children]  # type: ignore[attr-defined]
    return below + [each for child in below for each in _below(child)]


async def brave(
    path: Path, folder: Path, operations: int, *, reuse: str, loops: int = 1, growth: int, checked: int, minutes: float
) -> Storm:
    """A storm on a small cache, and whether all is as before it."""
    generator = load(
        path,
        context_tokens=256,
        sha256="ab" * 32,
        speculation=True,
        max_queued=16,
        kv_tokens=512,
        kv_ram_bytes=4 << 20,
        kv_disk_bytes=16 << 20,
        snapshot_directory=folder,
        passage_reuse=reuse,
    )
    draft_always(generator)
    alone = Solo(path, cells=512)
    try:
        async with asyncio.timeout(60 * minutes):
            # So that everything has been allocated, the thread that waits for other loops included.
            await weather(generator, max(10, operations // 10), seed=1, loops=loops)
            await say(generator, make_prompt("Where?"), SamplingParams(max_tokens=1, deterministic=True))
            memory, threads = psutil.Process().memory_info().rss, threading.active_count()
            storm = await weather(generator, operations, seed=2, loops=loops)
        grown = psutil.Process().memory_info().rss - memory
        print(storm.outcomes, generator.stats(), f"grown by {grown / 2**20:.1f} MiB")  # noqa: T201 - shown on failure
        assert storm.outcomes.total() == operations * loops
        assert storm.outcomes["answered"] > operations // 5
        assert storm.outcomes["cancelled"] > operations // 50
        assert grown < growth
        assert threading.active_count() <= threads
        assert generator.failure is None
        check_nothing_leaked(generator)
        for reply in random.Random(3).sample(storm.replies, checked):  # noqa: S311
            alone.check(reply, stitched=reply.usage.passage_reuse == "stitched")
        return storm
    finally:
        generator.close()
        alone.free()


@pytest.mark.parametrize("reuse", ["exact", "stitched"])
async def test_a_storm_of_requests_leaves_nothing_behind(smollm_path: Path, tmp_path: Path, reuse: str) -> None:
    await brave(smollm_path, tmp_path, 60, reuse=reuse, growth=32 << 20, checked=4, minutes=1.5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("reuse", ["exact", "stitched"])
async def test_ten_thousand_operations_leave_nothing_behind(smollm_path: Path, tmp_path: Path, reuse: str) -> None:
    await brave(smollm_path, tmp_path, 2500, reuse=reuse, loops=2, growth=48 << 20, checked=100, minutes=30)
