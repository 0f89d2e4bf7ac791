"""The engine under test, loaded and asked as the product does, timed as every other side is."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from benchmarks.completion import Completion
from rag.inference.generator import LlamaGenerator
from rag.inference.options import EngineOptions
from rag.model_types import ANYONE, SamplingParams

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from rag.model_types import Caller, Prompt


def load(options: argparse.Namespace, *, context_tokens: int, **engine: Any) -> LlamaGenerator:  # noqa: ANN401
    """A generator on the CPU; ``engine`` are fields of EngineOptions."""
    return LlamaGenerator.load(
        options.model.path,
        model_name=options.model.name,
        sha256=options.model.sha256,
        context_tokens=context_tokens,
        threads=options.threads,
        gpu_layers=0,
        options=EngineOptions(**engine),
    )


async def complete(
    generator: LlamaGenerator,
    prompt: Prompt,
    answer_tokens: int,
    *,
    banned: Sequence[int] = (),
    caller: Caller = ANYONE,
    speculate: bool = True,
    on_first: Callable[[], None] = lambda: None,
) -> Completion:
    """Ask greedily. ``banned`` tokens are never chosen; ``on_first`` is called at the first text."""
    params = SamplingParams(
        max_tokens=answer_tokens, speculate=speculate, logit_bias=tuple((token, -float("inf")) for token in banned)
    )
    text, usage, first = "", None, 0.0
    began = time.perf_counter()
    async with aclosing(generator.stream(prompt, params, caller=caller)) as chunks:
        async for chunk in chunks:
            if chunk.text and not first:
                first = time.perf_counter()
                on_first()
            text += chunk.text
            usage = chunk.usage
    ended = time.perf_counter()
    if usage is None or not first:
        raise SystemExit("the engine generated nothing")
    return Completion(
        prompt_tokens=usage.prompt_tokens,
        tokens=usage.completion_tokens,
        first_token_s=first - began,
        total_s=ended - began,
        text=text,
        cached_tokens=usage.cached_tokens,
        drafted_tokens=usage.drafted_tokens,
        accepted_tokens=usage.accepted_tokens,
    )
