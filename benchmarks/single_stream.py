"""One request at a time: reading a prompt, reusing it, and generating, against llama-cpp-python's own ``Llama`` class.

    python benchmarks/single_stream.py MODEL.gguf [--prompt-tokens 1024] [--answer-tokens 64] [--rounds 3]

Both sides use the same file, threads and context in one process, take turns, and are greedy; each figure is the median
over the rounds. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from contextlib import aclosing
from pathlib import Path

from rag.inference.generator import LlamaGenerator
from rag.inference.threads import available_threads
from rag.telemetry import configure_logging
from rag.types import Prompt, SamplingParams, Segment, SegmentKind

_SENTENCE = "The archive keeps {} boxes of letters about bridges, tides and lighthouses, sorted by year and by sender. "


def prompt_of(generator: LlamaGenerator, tokens: int, *, salt: int, question: str) -> Prompt:
    """About ``tokens`` tokens; prompts of different salt have nothing in common but the instructions."""
    passages: list[Segment] = []
    question_segment = Segment(kind=SegmentKind.QUESTION, text=question)
    while True:
        text = _SENTENCE.format(salt * 1000 + len(passages))
        passages.append(Segment(kind=SegmentKind.PASSAGE, text=text))
        prompt = Prompt(segments=(*passages, question_segment))
        if generator.count_prompt_tokens(prompt) >= tokens:
            return prompt


async def ours(generator: LlamaGenerator, prompt: Prompt, answer_tokens: int) -> dict[str, float]:
    began = time.perf_counter()
    first: float | None = None
    async with aclosing(generator.stream(prompt, SamplingParams(max_tokens=answer_tokens))) as chunks:
        async for chunk in chunks:
            if first is None and chunk.text:
                first = time.perf_counter() - began
            usage = chunk.usage
    if usage is None or first is None:
        raise SystemExit("nothing was generated")
    return {
        "first_token_s": first,
        "prefill_tokens_per_s": (usage.prompt_tokens - usage.cached_tokens) / usage.prefill_ms * 1000,
        "decode_tokens_per_s": usage.completion_tokens / usage.decode_ms * 1000,
        "cached_tokens": usage.cached_tokens,
    }


def peer(llama: object, tokens: list[int], answer_tokens: int) -> dict[str, float]:
    """The same token ids through ``Llama.generate`` (the loop under its completion calls) and its detokenizer."""
    began = time.perf_counter()
    first = began
    text, said = b"", []
    for token in llama.generate(tokens, temp=0.0, top_k=1, repeat_penalty=1.0):
        if not said:
            first = time.perf_counter()
        said.append(token)
        text += llama.detokenize([token], prev_tokens=tokens)
        if len(said) == answer_tokens or token == llama.token_eos():
            break
    ended = time.perf_counter()
    return {
        "first_token_s": first - began,
        "prefill_tokens_per_s": len(tokens) / (first - began),
        "decode_tokens_per_s": (len(said) - 1) / (ended - first) if len(said) > 1 else 0.0,
    }


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--answer-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    configure_logging()
    threads = options.threads or available_threads()
    context = options.prompt_tokens + options.answer_tokens + 256

    generator = LlamaGenerator.load(
        options.model, model_name=options.model.stem, sha256="", context_tokens=context, threads=threads, gpu_layers=0
    )
    from llama_cpp import Llama  # after our own set-up, which both sides then share

    llama = Llama(
        str(options.model), n_ctx=context, n_threads=threads, n_threads_batch=threads, n_gpu_layers=0, verbose=False
    )
    rows: dict[str, list[dict[str, float]]] = {"plumbline": [], "plumbline_again": [], "llama_cpp_python": []}
    for salt in range(options.rounds):
        prompt = prompt_of(generator, options.prompt_tokens, salt=salt, question="What does the archive keep?")
        again = Prompt(segments=(*prompt.segments[:-1], Segment(kind=SegmentKind.QUESTION, text="How is it sorted?")))
        rows["plumbline"].append(await ours(generator, prompt, options.answer_tokens))
        rows["plumbline_again"].append(await ours(generator, again, options.answer_tokens))
        tokens = generator.encode(prompt).tokens.tolist()
        llama.reset()
        rows["llama_cpp_python"].append(peer(llama, tokens, options.answer_tokens))
    report = {
        "benchmark": "single_stream",
        "model": options.model.name,
        "threads": threads,
        "wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "load_average": round(os.getloadavg()[0], 1),
        "prompt_tokens": options.prompt_tokens,
        "answer_tokens": options.answer_tokens,
        "rounds": options.rounds,
        **{name: medians(measured) for name, measured in rows.items()},
    }
    print(json.dumps(report, indent=2))
    generator.close()
    llama.close()


if __name__ == "__main__":
    asyncio.run(main())
