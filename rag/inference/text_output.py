"""The text of one request, token by token: chosen, decoded, cut at stop strings, and ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.inference.sampling.sampler import Sampler
from rag.inference.sampling.stop import StopMatcher
from rag.inference.tokens import TextDecoder
from rag.model_types import GenerationChunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag.inference.tokens import Vocabulary
    from rag.model_types import FinishReason, SamplingParams, TokenLogprob


class TextOutput:
    """Takes logits, gives chunks. ``tokens`` are those chosen so far, the one that ended the text not among them."""

    def __init__(self, params: SamplingParams, vocabulary: Vocabulary) -> None:
        self._params = params
        self._vocabulary = vocabulary
        self._decoder = TextDecoder(vocabulary)
        self._sampler = Sampler(params, vocabulary)
        self._stop = StopMatcher(params.stop)
        self._text = ""
        self._logprobs: list[TokenLogprob] = []
        self.tokens: list[int] = []
        self.finish: FinishReason | None = None

    @property
    def room(self) -> int:
        """How many more tokens the text may have."""
        return self._params.max_tokens - len(self.tokens)

    def take(self, logits: NDArray[np.float32]) -> int:
        """Choose the next token; ``finish`` is set if the text ends with it. The token ending a turn adds nothing."""
        token = self._sampler.choose(logits)
        if self._vocabulary.ends_generation(token):
            self.finish = "stop"
            return token
        self.tokens.append(token)
        if self._sampler.last_logprob is not None:
            self._logprobs.append(self._sampler.last_logprob)
        self._text += self._stop.push(self._decoder.push(token))
        if self._stop.stopped:
            self.finish = "stop"
        elif not self.room:
            self.finish = "length"
        return token

    def chunk(self) -> GenerationChunk | None:
        """What was added since the last chunk; None if that is nothing to be told yet."""
        if not self._text and not self._logprobs:
            return None
        chunk = GenerationChunk(text=self._text, logprobs=tuple(self._logprobs))
        self._text, self._logprobs = "", []
        return chunk

    def rest(self) -> str:
        """What was held back for a stop string that did not come."""
        return self._stop.flush()

    def free(self) -> None:
        self._sampler.free()
