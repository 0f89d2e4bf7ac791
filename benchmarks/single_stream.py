"""One request at a time beside the raw llama_decode loop and llama-cpp-python's class; Python's share at eight streams.

All three read the same token ids in one process with the same threads, take turns, are greedy and generate the same
number of tokens; drafts are off, so that a decoded token costs everybody one run of the model. Every prompt is new.

    python -m benchmarks.single_stream [MODEL] [--rounds 4] [--json FILE]
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from benchmarks import ours
from benchmarks.completion import Completion
from benchmarks.options import Options, Size
from benchmarks.raw_loop import RawLoop
from benchmarks.report import Report, turns
from benchmarks.vocabulary import Vocabulary
from benchmarks.workloads import Writer, bare_prompt, prefixed_prompt
from rag.inference.binding import library
from rag.inference.model import may_repack
from rag.model_types import Caller

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rag.inference.generator import LlamaGenerator
    from rag.model_types import GeneratorStats

_SIDES = ("plumbline", "raw_loop", "llama_class")
_TASK = "\n\nContinue these notes in the same manner."


class LlamaClass:
    """``llama_cpp.Llama``, asked through ``generate``: the loop under its completion calls."""

    def __init__(self, options: argparse.Namespace, *, context_tokens: int, banned: Sequence[int]) -> None:
        import numpy as np
        from llama_cpp import Llama, LogitsProcessorList  # after our own set-up, which all sides share

        lib: Any = library()
        if not may_repack(lib):  # its constructor has no parameter for that
            params = lib.llama_model_default_params()
            params.use_extra_bufts = False
            lib.llama_model_default_params = lambda: params
        forbidden = np.array(banned, dtype=np.int64)

        def ban(_tokens: Any, scores: Any) -> Any:  # noqa: ANN401 - its interface
            scores[forbidden] = -np.inf
            return scores

        self._processors = LogitsProcessorList([ban])
        self._llama = Llama(
            str(options.model.path),
            n_ctx=context_tokens,
            n_threads=options.threads,
            n_threads_batch=options.threads,
            n_gpu_layers=0,
            flash_attn=True,
            verbose=False,
        )

    def complete(self, tokens: list[int], answer_tokens: int) -> Completion:
        """Read the prompt anew and generate exactly ``answer_tokens``, each turned into text."""
        llama, said = self._llama, list[int]()
        llama.reset()
        began = first = time.perf_counter()
        for token in llama.generate(tokens, temp=0.0, repeat_penalty=1.0, logits_processor=self._processors):
            if not said:
                first = time.perf_counter()
            said.append(token)
            llama.detokenize([token], prev_tokens=tokens)
            if len(said) == answer_tokens:
                break
        ended = time.perf_counter()
        return Completion(
            prompt_tokens=len(tokens), tokens=len(said), first_token_s=first - began, total_s=ended - began
        )

    def close(self) -> None:
        self._llama.close()


async def main() -> None:
    parser = Options("single_stream", __doc__)
    parser.size("--prompt-tokens", Size(full=1024, quick=96), "tokens of a prompt, at least")
    parser.size("--answer-tokens", Size(full=64, quick=8), "tokens of an answer")
    parser.size("--rounds", Size(full=4, quick=1), "prompts, each read by every side")
    parser.size("--streams", Size(full=8, quick=8), "answers at the same time, for Python's share")
    options = parser.read()
    report = Report("single_stream", options)
    vocabulary = Vocabulary(options.model.path)
    context = options.prompt_tokens + options.answer_tokens + 256
    generator = ours.load(
        options,
        context_tokens=context,
        kv_tokens=max(2 * context, options.streams * (2 * options.answer_tokens + 128)),
        max_running=options.streams,
        speculation=False,
    )
    raw = RawLoop(options.model.path, context_tokens=context, threads=options.threads)
    llama = LlamaClass(options, context_tokens=context, banned=vocabulary.ends)
    report.side("plumbline", speculation=False, backend=generator.info.backend)
    report.side("raw_loop", settings=RawLoop.SETTINGS)
    report.side("llama_class", settings="flash attention on, its own defaults otherwise")
    try:
        await _measure(report, options, vocabulary, generator, raw, llama)
        await _python_share(report, options, vocabulary, generator)
    finally:
        generator.close()
        raw.close()
        llama.close()
    for kind in ("prefill", "decode"):
        own = report.median("plumbline", f"{kind}_tokens_per_s")
        for peer, target in (("raw_loop", 0.97), ("llama_class", None)):
            value = own / report.median(peer, f"{kind}_tokens_per_s")
            report.figure(f"{kind} speed / {peer}", value, at_least=target)
    report.figure(
        f"Python's share of a step, {options.streams} streams", report.median("streams", "python_share"), at_most=0.03
    )
    report.finish()


async def _measure(
    report: Report,
    options: argparse.Namespace,
    vocabulary: Vocabulary,
    generator: LlamaGenerator,
    raw: RawLoop,
    llama: LlamaClass,
) -> None:
    banned = vocabulary.ends
    # Round -1 pages everything in and is not counted.
    for number in range(-1, options.rounds):
        size, length = (options.prompt_tokens, options.answer_tokens) if number >= 0 else (16, 4)
        writer = Writer(vocabulary.count, f"{options.seed} {number}")
        # Instructions of its own too, or the template's would be cached from the prompt before.
        prompt = prefixed_prompt(writer.text(8), writer.text(size) + _TASK)
        tokens = [int(token) for token in generator.encode(prompt).tokens]
        for side in turns(_SIDES, max(number, 0)):
            if side == "plumbline":
                done = await ours.complete(generator, prompt, length, banned=banned)
            elif side == "raw_loop":
                done = raw.complete(tokens, length, banned=banned)
            else:
                done = llama.complete(tokens, length)
            if number >= 0:
                report.add(
                    side,
                    prompt_tokens=done.prompt_tokens - (done.cached_tokens or 0),
                    first_token_s=done.first_token_s,
                    prefill_tokens_per_s=done.prefill_tokens_per_s,
                    decode_tokens_per_s=done.decode_tokens_per_s,
                )


async def _python_share(
    report: Report, options: argparse.Namespace, vocabulary: Vocabulary, generator: LlamaGenerator
) -> None:
    """Measured from the moment that every stream has its first token until the first of them ends."""
    writer = Writer(vocabulary.count, f"{options.seed} streams")
    begun = 0
    marks: list[GeneratorStats] = []

    def mark_if_all() -> None:
        nonlocal begun
        begun += 1
        if begun == options.streams:
            marks.append(generator.stats())

    async def user(number: int) -> Completion:
        done = await ours.complete(
            generator,
            bare_prompt(writer.text(24) + _TASK),
            2 * options.answer_tokens,
            caller=Caller(key=f"user {number}"),
            on_first=mark_if_all,
        )
        if len(marks) == 1:
            marks.append(generator.stats())
        return done

    await asyncio.gather(*(user(number) for number in range(options.streams)))
    if len(marks) < 2:
        raise SystemExit("an answer ended before all had begun: use longer ones (--answer-tokens)")
    before, after = marks
    steps, tokens = after.steps - before.steps, after.tokens_decoded - before.tokens_decoded
    seconds = after.step_seconds - before.step_seconds
    report.add(
        "streams",
        steps=steps,
        tokens=tokens,
        step_ms=1000 * seconds / steps,
        tokens_per_s=tokens / seconds,
        python_share=(after.python_seconds - before.python_seconds) / seconds,
    )


if __name__ == "__main__":
    asyncio.run(main())
