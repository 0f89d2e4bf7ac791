"""State that is reused: beginnings, passages in any order, a conversation's turns, and across a restart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag.model_types import SamplingParams
from tests import tiny_models
from tests.integration.solo import Solo, endless, load, reordered, say
from tests.unit.inference_prompts import make_prompt
from tests.unit.kv_books import nodes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rag.inference.generator import LlamaGenerator
    from rag.model_types import Prompt

BRIDGES = tuple(
    f"The bridge of town {i} was built in {1800 + 7 * i}. It is {30 + i} metres high.\n\n" for i in range(6)
)
GREEDY = SamplingParams(max_tokens=12)
SHA = "ab" * 32


def common(generator: LlamaGenerator, *prompts: Prompt) -> int:
    """Tokens with which all prompts begin."""
    tokens = [generator.encode(prompt).tokens for prompt in prompts]
    length = min(map(len, tokens))
    same = np.all([each[:length] == tokens[0][:length] for each in tokens], axis=0)
    return length if same.all() else int(np.argmin(same))


def damage(folder: Path) -> int:
    """Change a byte within each stored state, where the header does not show it; how many files there are."""
    files = list(folder.rglob("*.kv"))
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    return len(files)


def end_of_passages(generator: LlamaGenerator, prompt: Prompt) -> int:
    return generator.encode(prompt).spans[len(prompt.segments) - 2][1]


async def test_eight_cold_requests_read_their_common_beginning_once(
    make: Callable[..., LlamaGenerator], solo: Solo
) -> None:
    generator = make()
    prompts = [make_prompt(f"{i}. How high is the bridge of town {i % 4}?", *BRIDGES[:4]) for i in range(8)]
    shared = common(generator, *prompts)
    replies = await asyncio.gather(*(say(generator, prompt, endless(4)) for prompt in prompts))
    sizes = [generator.count_prompt_tokens(prompt) for prompt in prompts]
    stats = generator.stats()
    assert shared > 100
    assert stats.tokens_prefilled <= shared + sum(size - shared for size in sizes)
    assert stats.tokens_prefilled + stats.tokens_cached == sum(sizes)
    solo.check(replies[3], never=(0, 2, 4))


async def test_reused_state_says_what_a_fresh_context_says(make: Callable[..., LlamaGenerator], solo: Solo) -> None:
    generator = make()
    for question in ("When was the bridge of town 1 built?", "How high is the bridge of town 2?"):
        prompt = make_prompt(question, *BRIDGES[:3])
        odds = await generator.next_token_probabilities(make_prompt("Is it high?", *BRIDGES[:3]), [" Yes", " No"])
        reply = await say(generator, prompt, GREEDY)
        solo.check(reply)
        assert reply.usage.cached_tokens >= end_of_passages(generator, prompt)
        assert reply.usage.passage_reuse == "exact"
    logits = solo.logits(make_prompt("Is it high?", *BRIDGES[:3]), [])[0].astype(np.float64)
    weights = np.exp(logits - logits.max())
    yes, no = (solo.vocabulary.encode_text(word)[0] for word in (" Yes", " No"))
    assert odds.values == pytest.approx([weights[yes] / weights.sum(), weights[no] / weights.sum()], abs=0.07)


async def test_permuted_passages_are_not_read_again_when_stitched(
    make: Callable[..., LlamaGenerator], solo: Solo
) -> None:
    generator = make(passage_reuse="stitched")
    assert generator.info.passage_reuse == "stitched"
    prompt = make_prompt("When was the bridge of town 2 built?", *BRIDGES)
    first = await say(generator, prompt, GREEDY)
    read = generator.stats().tokens_prefilled
    assert read == first.usage.prompt_tokens, "each passage once, though four are read at a time"
    others = [
        reordered(make_prompt("How high is the bridge of town 4?", *BRIDGES), order)
        for order in ([3, 1, 0, 5, 4, 2], [5, 4, 3, 2, 1, 0], [2, 4])
    ]
    replies = await asyncio.gather(*(say(generator, other, GREEDY) for other in others))
    for reply in replies:
        assert reply.usage.cached_tokens >= end_of_passages(generator, reply.prompt)
        assert reply.usage.passage_reuse == "stitched"
    solo.check(replies[0], replies[2], stitched=True)


async def test_stitched_requests_that_come_together_read_every_passage_once(
    make: Callable[..., LlamaGenerator], solo: Solo
) -> None:
    generator = make(passage_reuse="stitched")
    prompts = [reordered(make_prompt(f"How high is bridge {i}?", *BRIDGES), [i, (i + 2) % 6, 5 - i]) for i in range(3)]
    replies = await asyncio.gather(*(say(generator, prompt, GREEDY) for prompt in prompts))
    questions = [reply.usage.prompt_tokens - end_of_passages(generator, reply.prompt) for reply in replies]
    whole = end_of_passages(generator, make_prompt("", *BRIDGES))
    assert generator.stats().tokens_prefilled <= whole + sum(questions)
    solo.check(replies[1], stitched=True)


async def test_a_single_stitched_passage_is_the_exact_prompt(make: Callable[..., LlamaGenerator], solo: Solo) -> None:
    prompt = make_prompt("How high is the bridge?", BRIDGES[2])
    stitched = await say(make(passage_reuse="stitched"), prompt, GREEDY)
    exact = await say(make(), prompt, GREEDY)
    assert (stitched.usage.passage_reuse, exact.usage.passage_reuse) == ("stitched", "exact")
    solo.check(stitched, exact)


async def test_the_best_passages_can_be_read_anew_after_the_others(
    make: Callable[..., LlamaGenerator],
) -> None:
    generator = make(passage_reuse="stitched", recomputed_passages=1)
    prompt = make_prompt("How high is the bridge of town 2?", BRIDGES[2], *BRIDGES[3:6])
    await say(generator, prompt, GREEDY)
    again = await say(generator, prompt, GREEDY)
    best = generator.encode(prompt).spans[1]
    question = again.usage.prompt_tokens - end_of_passages(generator, prompt)
    assert again.usage.prompt_tokens - again.usage.cached_tokens == best[1] - best[0] + question
    alone = await say(generator, make_prompt("How high is it?", BRIDGES[2]), GREEDY)
    assert alone.usage.passage_reuse == "exact", "nothing is left to be stitched"


async def test_passages_with_state_come_first_where_the_order_may_change(
    make: Callable[..., LlamaGenerator], solo: Solo
) -> None:
    generator = make(passage_order="cached")
    await say(generator, make_prompt("How high is the bridge of town 1?", *BRIDGES[:4]), GREEDY)
    mixed = make_prompt("When was the bridge of town 3 built?", *(BRIDGES[i] for i in (4, 3, 0, 2, 1)))
    reply = await say(generator, mixed, GREEDY)
    read = reply.usage.prompt_tokens - reply.usage.cached_tokens
    question = reply.usage.prompt_tokens - end_of_passages(generator, mixed)
    own = generator.count_tokens(BRIDGES[4])
    assert read == own + question
    in_order = reordered(mixed, [2, 4, 3, 1, 0])
    solo.check(type(reply)(**{name: getattr(reply, name) for name in reply.__slots__} | {"prompt": in_order}))


async def test_state_comes_back_from_ram_when_it_had_to_make_room(
    make: Callable[..., LlamaGenerator], solo: Solo
) -> None:
    generator = make(context_tokens=256, kv_tokens=256, kv_ram_bytes=64 << 20)
    prompts = [make_prompt(f"How high is bridge {i}?", *BRIDGES[i : i + 2]) for i in range(5)]
    for prompt in prompts:
        await say(generator, prompt, GREEDY)
    assert generator.stats().kv_ram_bytes > 0
    reply = await say(generator, prompts[0], GREEDY)
    assert reply.usage.cached_tokens >= end_of_passages(generator, prompts[0])
    solo.check(reply)


async def test_state_survives_a_restart(make: Callable[..., LlamaGenerator], solo: Solo, tmp_path: Path) -> None:
    stored = {
        "sha256": SHA,
        "passage_reuse": "stitched",
        "kv_disk_bytes": 256 << 20,
        "snapshot_directory": tmp_path,
    }
    prompt = make_prompt("When was the bridge of town 2 built?", *BRIDGES[:3])
    before = make(**stored)
    first = await say(before, prompt, GREEDY)
    before.close()

    after = make(**stored)
    assert after.stats().kv_disk_bytes > 0
    again = await say(after, prompt, GREEDY)
    assert again.usage.cached_tokens >= end_of_passages(after, prompt)
    solo.check(first, again, stitched=True)

    other_model = make(**stored | {"sha256": "cd" * 32})
    assert (await say(other_model, prompt, endless(1))).usage.cached_tokens == 0


async def test_damaged_state_on_disk_is_read_anew_and_replaced(
    make: Callable[..., LlamaGenerator], solo: Solo, tmp_path: Path
) -> None:
    stored = {"sha256": SHA, "kv_disk_bytes": 256 << 20, "snapshot_directory": tmp_path}
    prompt = make_prompt("When was the bridge of town 2 built?", *BRIDGES[:3])
    before = make(**stored)
    await say(before, prompt, endless(1))
    before.close()
    assert damage(tmp_path) > 0

    after = make(**stored)
    reply = await say(after, prompt, GREEDY)
    assert reply.usage.cached_tokens == 0
    assert after.engine._tree.cells.snapshots.corrupt > 0
    solo.check(reply)
    after.close()
    rebuilt = await say(make(**stored), prompt, GREEDY)
    assert rebuilt.usage.cached_tokens > 0
    solo.check(rebuilt)


@pytest.mark.parametrize("kind", ["mixture_of_experts", "sliding_window", "recurrent", "hybrid"])
async def test_other_kinds_of_models_reuse_what_they_can_and_are_never_wrong(
    kind: str, smollm_path: Path, tmp_path: Path
) -> None:
    path = getattr(tiny_models, kind)(tmp_path, smollm_path)
    generator, alone = load(path, passage_reuse="stitched"), Solo(path)
    try:
        for _ in range(2):
            prompts = [make_prompt(f"{i}. How high is it?", *BRIDGES[i % 2 : 3]) for i in range(4)]
            replies = await asyncio.gather(*(say(generator, prompt, endless(8)) for prompt in prompts))
            for reply in replies[::2]:
                stitched = reply.usage.passage_reuse == "stitched"
                # Their own logits lie within 0.8 or so; rounding moves them by less than a hundredth.
                assert max(alone.gaps(reply, stitched=stitched, never=(0, 2, 4))) < 0.05
        again = replies[0].usage
        if kind in ("recurrent", "hybrid"):
            assert again.cached_tokens == 0
            assert not nodes(generator.engine._tree)
        else:
            assert again.cached_tokens > again.prompt_tokens - 40
        assert again.passage_reuse == ("stitched" if kind == "mixture_of_experts" else "exact")
    finally:
        generator.close()
        alone.free()
