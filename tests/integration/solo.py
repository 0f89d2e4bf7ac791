"""What a request says by itself: the yardstick for requests that share a batch and reuse each other's state.

Batches of different sizes round differently, so a text may differ from the one its request gives alone where two
tokens are almost equally likely. Teacher forcing tells such a difference from a fault: the model is run alone over the
prompt and the text that came out, and no token of it may be much less likely than the likeliest. State of another
request, or at wrong positions, gives gaps of many units.
"""

from __future__ import annotations

import threading
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rag.inference.context import OUTPUT_ROWS, Context
from rag.inference.generator import LlamaGenerator
from rag.inference.model import Model
from rag.inference.options import EngineOptions
from rag.inference.segments import PromptEncoder
from rag.inference.speculation import StepCosts
from rag.inference.template import ChatTemplate
from rag.inference.tokens import Vocabulary
from rag.model_types import ANYONE, Prompt, SamplingParams, Segment, SegmentKind, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.model_types import Caller, FinishReason

# Logits of a batch and of a solo run differ by 0.3 to 0.6 at a time, and by 1.7 at most (docs/lab-log.md).
TOLERANCE = 2.0
# What ends an answer of SmolLM2: without these tokens an answer is as long as it may be.
ENDS = (0, 2, 4)
ENDLESS = SamplingParams(max_tokens=900, logit_bias=tuple((token, -float("inf")) for token in ENDS), speculate=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    prompt: Prompt
    text: str
    tokens: tuple[int, ...]
    finish: FinishReason
    usage: Usage
    logprobs: tuple[float, ...]


def load(
    path: Path, *, context_tokens: int = 1024, sha256: str = "", speculation: bool = False, **options: object
) -> LlamaGenerator:
    # One thread: tests may share the machine. No speculation: timing steps for it is half of the time to load.
    return LlamaGenerator.load(
        path,
        model_name="smollm",
        sha256=sha256,
        context_tokens=context_tokens,
        threads=1,
        gpu_layers=0,
        options=EngineOptions(speculation=speculation, **options),  # type: ignore[arg-type]
    )


def draft_always(generator: LlamaGenerator) -> None:
    """Let drafts pay whatever this machine's steps take."""
    policy = generator.engine._parts.policy
    assert policy is not None
    policy.costs = StepCosts({1: 10.0, OUTPUT_ROWS: 10.0})
    policy.costs.observe = lambda rows, milliseconds: None  # type: ignore[method-assign]


def endless(max_tokens: int) -> SamplingParams:
    """Greedy text of just so many tokens, none of them drafted."""
    return replace(ENDLESS, max_tokens=max_tokens)


async def say(
    generator: LlamaGenerator, prompt: Prompt, params: SamplingParams | None = None, *, caller: Caller = ANYONE
) -> Reply:
    params = replace(params or SamplingParams(max_tokens=16), logprobs=0)
    async with aclosing(generator.stream(prompt, params, caller=caller)) as stream:
        chunks = [chunk async for chunk in stream]
    last = chunks[-1]
    assert last.usage is not None
    assert last.finish_reason is not None
    assert not any(chunk.finish_reason or chunk.usage for chunk in chunks[:-1])
    chosen = [logprob for chunk in chunks for logprob in chunk.logprobs]
    return Reply(
        prompt=prompt,
        text="".join(chunk.text for chunk in chunks),
        tokens=tuple(logprob.token for logprob in chosen),
        finish=last.finish_reason,
        usage=last.usage,
        logprobs=tuple(logprob.logprob for logprob in chosen),
    )


def reordered(prompt: Prompt, order: Iterable[int]) -> Prompt:
    passages = [segment for segment in prompt.segments if segment.kind is SegmentKind.PASSAGE]
    rest = [segment for segment in prompt.segments if segment.kind is not SegmentKind.PASSAGE]
    return Prompt(segments=(rest[0], *(passages[i] for i in order), *rest[1:]))


def conversation(*turns: str) -> Prompt:
    """Questions and answers by turns, the last a question."""
    kinds = [SegmentKind.HISTORY_USER, SegmentKind.HISTORY_ASSISTANT] * len(turns)
    history = [Segment(kind=kind, text=text) for kind, text in zip(kinds, turns[:-1], strict=False)]
    instructions = Segment(kind=SegmentKind.PREFIX, text="You are a guide to the towers of the world.")
    return Prompt(segments=(instructions, *history, Segment(kind=SegmentKind.QUESTION, text=turns[-1])))


class Solo:
    """The model alone, with an exact context that keeps nothing from one use to the next."""

    def __init__(self, path: Path, *, cells: int = 1024) -> None:
        self._model = Model.load(path, gpu_layers=0)
        self._context = Context(
            self._model, cells=cells, threads=1, batch_tokens=256, sequences=OUTPUT_ROWS, exact=True
        )
        self.vocabulary = Vocabulary(self._model)
        template = ChatTemplate(
            self._model.metadata("tokenizer.chat_template"),
            bos=self.vocabulary.text(self.vocabulary.bos),
            eos=self.vocabulary.text(self.vocabulary.eos),
        )
        self._encoder = PromptEncoder(self.vocabulary, template)

    def free(self) -> None:
        self.vocabulary.close("the test is over")
        self._context.free()
        self._model.free()

    def logits(self, prompt: Prompt, said: Iterable[int], *, stitched: bool = False) -> NDArray[np.float32]:
        """Logits after the prompt and after each token said, shape ``(1 + len(said), vocabulary)``."""
        encoded = self._encoder.encode(prompt)
        passages = [
            span
            for segment, span in zip(prompt.segments, encoded.spans, strict=True)
            if segment.kind is SegmentKind.PASSAGE
        ]
        text = np.array(list(said), dtype=np.int32)
        self._context.clear()
        if not stitched:
            whole = np.concatenate([encoded.tokens, text])
            self._read(whole[: len(encoded.tokens) - 1], 0, 0)
            return self._read(whole[len(encoded.tokens) - 1 :], len(encoded.tokens) - 1, 0, outputs=True)
        start = passages[0][0]
        self._read(encoded.tokens[:start], 0, 0)
        for number, (first, end) in enumerate(passages, 1):
            self._context.copy(0, number)
            self._read(encoded.tokens[first:end], start, number)
        for number in range(1, len(passages) + 1):
            self._context.copy(number, 0, start)
        position = start + max(end - first for first, end in passages)
        rest = encoded.tokens[passages[-1][1] :]
        self._read(rest[:-1], position, 0)
        return self._read(np.concatenate([rest[-1:], text]), position + len(rest) - 1, 0, outputs=True)

    def logprobs(self, prompt: Prompt, said: Iterable[int]) -> list[float]:
        """Natural-log probability of each token said."""
        tokens = list(said)
        logits = self.logits(prompt, tokens)[:-1].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return [float(row[token]) for row, token in zip(logits, tokens, strict=True)]

    def gaps(self, reply: Reply, *, stitched: bool = False, never: Iterable[int] = ()) -> list[float]:
        """How far each token of a greedy reply is from the likeliest one, the end that was chosen or not included."""
        logits = self.logits(reply.prompt, reply.tokens, stitched=stitched)
        logits[:, list(never)] = -np.inf
        gaps = [float(row.max() - row[token]) for row, token in zip(logits[:-1], reply.tokens, strict=True)]
        if reply.finish == "stop":
            gaps.append(float(logits[-1].max() - logits[-1][list(ENDS)].max()))
        return gaps

    def check(self, *replies: Reply, stitched: bool = False, never: Iterable[int] = ()) -> None:
        """Fail if a reply is not what the model says alone."""
        for reply in replies:
            gaps = self.gaps(reply, stitched=stitched, never=never)
            assert max(gaps, default=0.0) < TOLERANCE, (reply.text, [round(gap, 1) for gap in gaps])

    def _read(
        self, tokens: NDArray[np.int32], position: int, sequence: int, *, outputs: bool = False
    ) -> NDArray[np.float32]:
        batch, rows = self._context.batch(), []
        size = OUTPUT_ROWS if outputs else batch.capacity
        for first in range(0, len(tokens), size):
            part = tokens[first : first + size]
            batch.clear()
            batch.add(part, position + first, sequence, outputs=len(part) if outputs else 0)
            self._context.decode(batch)
            rows += [self._context.logits(row).copy() for row in range(len(part)) if outputs]
        return np.array(rows)


@contextmanager
def held(generator: LlamaGenerator) -> Iterator[threading.Event]:
    """The model stands still before its next step, so that what is submitted meanwhile is all there after that step.

    The event is set once it does.
    """
    context, go, stands = generator.engine._context, threading.Event(), threading.Event()
    decode = context.decode

    def wait(batch: object) -> None:
        stands.set()
        go.wait()
        decode(batch)  # type: ignore[arg-type]

    context.decode = wait  # type: ignore[method-assign]
    try:
        yield stands
    finally:
        context.decode = decode  # type: ignore[method-assign]
        go.set()
