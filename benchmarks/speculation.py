"""Decoding speed with drafts from the passages and without, by the same engine: quotes, answers, and invented words.

Each prompt is answered greedily both ways, in turns; the time after the first token counts. Texts are compared:
drafts must never change them.

    python -m benchmarks.speculation [MODEL] [--data DIR] [--json FILE]
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import ours
from benchmarks.options import Options, Size
from benchmarks.report import Report
from benchmarks.vocabulary import Vocabulary
from benchmarks.workloads import (
    Request,
    Writer,
    add_data_argument,
    bare_prompt,
    instructed,
    library,
    retrieval_prompt,
)

if TYPE_CHECKING:
    import argparse

    from benchmarks.completion import Completion
    from rag.model_types import Prompt

_KINDS = {"quotes": 1.6, "answers": 0.97, "invented": 0.97}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A prompt of a kind."""

    kind: str
    prompt: Prompt


async def main() -> None:
    parser = Options("speculation", __doc__)
    add_data_argument(parser)
    parser.size("--prompts", Size(full=4, quick=1), "prompts of each kind")
    parser.size("--passages", Size(full=3, quick=2), "passages of a prompt")
    parser.size("--answer-tokens", Size(full=128, quick=16), "tokens of an answer at most")
    options = parser.read()
    report = Report("speculation", options)
    vocabulary = Vocabulary(options.model.path)
    generator = ours.load(options, context_tokens=2048, kv_tokens=8192, speculation=True)
    done: dict[tuple[str, bool], list[Completion]] = {}
    try:
        await ours.complete(generator, bare_prompt("Say hello."), 4)  # pages everything in
        for number, task in enumerate(_tasks(options, vocabulary)):
            # Both ways then go on from the same state of the prompt: what differs is the drafts alone.
            await ours.complete(generator, task.prompt, 1, speculate=False)
            for speculate in (True, False) if number % 2 else (False, True):
                answer = await ours.complete(generator, task.prompt, options.answer_tokens, speculate=speculate)
                done.setdefault((task.kind, speculate), []).append(answer)
                report.add(
                    f"{task.kind} {'on' if speculate else 'off'}",
                    tokens=answer.tokens,
                    decode_tokens_per_s=answer.decode_tokens_per_s,
                    drafted=answer.drafted_tokens,
                    accepted=answer.accepted_tokens,
                )
    finally:
        generator.close()
    for kind, target in _KINDS.items():
        with_drafts, without = done[kind, True], done[kind, False]
        report.figure(f"{kind}: tokens/s, on / off", _speed(with_drafts) / _speed(without), at_least=target)
        drafted = sum(answer.drafted_tokens for answer in with_drafts)
        accepted = sum(answer.accepted_tokens for answer in with_drafts)
        report.figure(f"{kind}: drafted tokens accepted", accepted / drafted if drafted else 0.0)
        equal = sum(a.text == b.text for a, b in zip(with_drafts, without, strict=True))
        report.figure(f"{kind}: texts that are equal", equal / len(without), at_least=1.0)
    report.finish()


def _tasks(options: argparse.Namespace, vocabulary: Vocabulary) -> list[Task]:
    source = library(options.data, vocabulary.count, seed=options.seed)
    writer = Writer(vocabulary.count, f"words {options.seed}")
    tasks = []
    for number in range(options.prompts):
        passages = source.passages[number * options.passages : (number + 1) * options.passages]
        prompt = retrieval_prompt(
            Request(question=source.questions[number], passages=passages, seen=0),
        )
        quoted = passages[number % len(passages)].document.title
        quote = f"Quote the passage from {quoted} word for word, from its first word to its last. Add nothing."
        task = "Write a list of forty invented words that exist in no language, one a line."
        words = f"{task} The first is: {writer.word()}"
        tasks += [
            Task(kind="quotes", prompt=instructed(prompt, quote)),
            Task(kind="answers", prompt=prompt),
            Task(kind="invented", prompt=bare_prompt(words)),
        ]
    return tasks


def _speed(answers: list[Completion]) -> float:
    """Tokens per second over all answers together; answers of one token have no decoding to time."""
    timed = [answer for answer in answers if answer.tokens > 1]
    if not timed:
        raise SystemExit("no answer was longer than a token: nothing to time")
    return sum(answer.tokens - 1 for answer in timed) / sum(answer.decode_s for answer in timed)


if __name__ == "__main__":
    asyncio.run(main())
