"""The in-process language model as callers see it: ``rag.protocols.Generator`` over a GGUF file."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from rag.errors import QuestionTooLong, RagError
from rag.inference.engine import Engine
from rag.inference.model import Context, Model
from rag.inference.requests import Mailbox, ScoreRequest, TextRequest
from rag.inference.segments import PromptEncoder
from rag.inference.template import ChatTemplate
from rag.inference.threads import available_threads
from rag.inference.tokens import Vocabulary
from rag.telemetry import get_logger
from rag.types import GeneratorInfo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from rag.inference.segments import EncodedPrompt
    from rag.types import GenerationChunk, Prompt, SamplingParams

_log = get_logger("inference")

# Hardly a token is this long: a prompt of more bytes for each token of the context does not fit, and finding that out
# must not take the seconds that tokenizing megabytes takes.
_BYTES_PER_TOKEN = 64

_LOGGED = ("model", "context_tokens", "threads", "gpu_layers", "backend")


class LlamaGenerator:
    """A loaded model. Make it with ``load``, end it with ``close`` (at exit, if nobody does before).

    One request runs at a time, the others wait in line; each reuses the model state of the one before as far as the
    two prompts begin alike.
    """

    def __init__(self, *, model: Model, context: Context, model_name: str, sha256: str, threads: int) -> None:
        self._vocabulary = Vocabulary(model)
        template = ChatTemplate(
            model.metadata("tokenizer.chat_template"),
            bos=self._vocabulary.text(self._vocabulary.bos),
            eos=self._vocabulary.text(self._vocabulary.eos),
        )
        self._template_stop = template.stop
        self._encoder = PromptEncoder(self._vocabulary, template)
        self._info = GeneratorInfo(
            model=model_name,
            sha256=sha256,
            context_tokens=context.size,
            threads=threads,
            gpu_layers=model.gpu_layers,
            backend=model.backend(),
        )
        self.engine = Engine(model, context, self._vocabulary)
        self._finalizer = weakref.finalize(self, self.engine.close)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        model_name: str,
        sha256: str,
        context_tokens: int,
        threads: int = 0,
        gpu_layers: int | Literal["auto"] = "auto",
    ) -> LlamaGenerator:
        """Load a GGUF file. Takes seconds: call it in a thread.

        ``threads=0`` takes every core this process may use; ``gpu_layers`` is the number to offload, -1 for all,
        ``"auto"`` for all where this build of llama.cpp finds a GPU. ``info`` tells what was really done.

        Raises:
            ModelMissing: there is no such file.
            ModelUnloadable: llama.cpp rejects it; the message has its reason.
            AcceleratorUnavailable: layers were to be offloaded, and none can be.
        """
        threads = threads or available_threads()
        model = Model.load(path, gpu_layers=gpu_layers)
        try:
            context = Context(model, context_tokens=context_tokens, threads=threads)
        except RagError:
            model.free()
            raise
        generator = cls(model=model, context=context, model_name=model_name, sha256=sha256, threads=threads)
        _log.info("language model loaded", **{name: getattr(generator.info, name) for name in _LOGGED})
        return generator

    @property
    def info(self) -> GeneratorInfo:
        return self._info

    @property
    def failure(self) -> str | None:
        """Why the model no longer answers (its thread died, or it was closed); None while it does."""
        return self.engine.failure

    def count_tokens(self, text: str) -> int:
        return len(self._vocabulary.encode_text(text))

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        return len(self._encoder.encode(prompt).tokens)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """The prompt's tokens with the borders of its segments. Raises InvalidRequest as ``stream`` does."""
        return self._encoder.encode(prompt)

    async def stream(self, prompt: Prompt, params: SamplingParams) -> AsyncGenerator[GenerationChunk, None]:
        """Yield text as it is generated; the last chunk has the finish reason and the usage.

        ``max_tokens`` is lowered to what the context leaves after the prompt; the finish reason is then ``length``.

        Raises:
            QuestionTooLong: the prompt and one token do not fit the context.
            InvalidRequest: the model's chat template cannot express the prompt's turns.
            GenerationFailed: the model stopped working.
        """
        tokens = self._fitting(prompt)
        params = replace(
            params,
            max_tokens=min(params.max_tokens, self._info.context_tokens - len(tokens)),
            stop=(*params.stop, *self._template_stop),
        )
        mailbox: Mailbox[GenerationChunk] = Mailbox()
        self.engine.submit(TextRequest(prompt=tokens, params=params, mailbox=mailbox))
        try:
            while True:
                chunk = await mailbox.take()
                yield chunk
                if chunk.finish_reason is not None:
                    return
        finally:
            mailbox.abandoned = True

    async def next_token_probabilities(self, prompt: Prompt, candidates: Sequence[str]) -> list[float]:
        """Probability (softmax over the whole vocabulary, float64) that the text goes on with the first token of each
        candidate, tokenized exactly as given: ``"Yes"`` and ``" Yes"`` are different candidates.

        Raises:
            ValueError: a candidate has no tokens.
            QuestionTooLong, InvalidRequest, GenerationFailed: as for ``stream``.
        """
        firsts = [self._vocabulary.encode_text(candidate)[:1].tolist() for candidate in candidates]
        if not all(firsts):
            raise ValueError(f"candidates without tokens: {list(candidates)}")
        prompt_tokens = self._fitting(prompt)
        mailbox: Mailbox[list[float]] = Mailbox()
        self.engine.submit(
            ScoreRequest(prompt=prompt_tokens, candidates=tuple(first[0] for first in firsts), mailbox=mailbox)
        )
        try:
            return await mailbox.take()
        finally:
            mailbox.abandoned = True

    def close(self) -> None:
        """Stop the model's thread and free its memory; open streams end as cancelled. Waits for one model step."""
        self._finalizer()

    def _fitting(self, prompt: Prompt) -> NDArray[np.int32]:
        context = self._info.context_tokens
        size = sum(len(segment.text.encode("utf-8", errors="replace")) for segment in prompt.segments)
        if size > context * _BYTES_PER_TOKEN:
            raise QuestionTooLong(
                f"The prompt has {size} bytes of text, far more than fit a context of {context} tokens.",
                hint="Shorten the question, or set RAG_CONTEXT_TOKENS higher.",
            )
        tokens = self._encoder.encode(prompt).tokens
        if len(tokens) + 1 > context:
            raise QuestionTooLong(
                f"The prompt has {len(tokens)} tokens; a context of {context} leaves room for {context - 1} "
                "and one token of an answer.",
                hint="Shorten the question, or set RAG_CONTEXT_TOKENS higher.",
            )
        return tokens
