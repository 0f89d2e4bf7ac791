"""Choosing the next token from logits as a request asks, and refusing what cannot be done before it is queued.

Plain greedy choice is one ``argmax``. Everything else runs through llama.cpp's own samplers, in this order: logit bias,
penalties, grammar, top-k, top-p, min-p, temperature, draw. The grammar is the dear one: it is asked about one chosen
token first, and about the whole vocabulary only if that one does not fit.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.errors import GenerationFailed, UnsupportedSampling
from rag.inference.sampling.grammar import Grammar, grammar_of
from rag.inference.sampling.ranges import check_ranges
from rag.model_types import TokenLogprob

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.inference.tokens import Vocabulary
    from rag.model_types import SamplingParams


_SHORTLIST = 64  # candidates to try one by one before a grammar is put to the whole vocabulary
_PENALTY_WINDOW = 131_072  # tokens; as far back as penalties look in the longest contexts there are
_SEEDS = 0xFFFFFFFF  # llama.cpp takes 32 bits, and this last value for "a random one"
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax in double precision, shape as given."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max()
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum()
    return shifted


def check(params: SamplingParams, vocabulary: Vocabulary) -> None:
    """Refuse parameters that are out of range or cannot be honoured together. Callable from any thread.

    Raises:
        InvalidRequest: a value is out of its range, or the JSON schema or a label is not valid.
        UnsupportedSampling: the combination, or a keyword of the JSON schema, cannot be honoured.
    """
    check_ranges(params, vocabulary_size=vocabulary.size)
    if params.json_schema is not None and params.labels:
        raise UnsupportedSampling(
            "json_schema and labels cannot be used together: a JSON text has brackets of its own.", hint="Drop one."
        )
    gbnf = grammar_of(params)
    if gbnf is not None:
        # Parsing does not read the vocabulary, so a model that is freed meanwhile does no harm.
        Grammar(gbnf, vocabulary).free()


class Sampler:
    """One request's choices. The same seed and logits give the same tokens; greedy, the lowest id among equals.

    Made from parameters that passed ``check``. Belongs to one thread; ``free`` it before the model.
    """

    def __init__(self, params: SamplingParams, vocabulary: Vocabulary) -> None:
        """Allocate what the parameters need; for plain greedy choice nothing.

        Raises:
            InvalidRequest: llama.cpp does not take the grammar.
            UnsupportedSampling: the JSON schema cannot be enforced.
        """
        self.last_logprob: TokenLogprob | None = None  # of the token chosen last, if ``logprobs`` asks for it
        self._vocabulary = vocabulary
        self._logprobs = params.logprobs
        self._samples = params.temperature > 0
        adjusts = bool(params.logit_bias) or _penalizes(params)
        gbnf = grammar_of(params)
        self._grammar = Grammar(gbnf, vocabulary) if gbnf is not None else None
        self._chains: _Chains | None = None
        if self._samples or adjusts or self._grammar is not None:
            self._chains = _Chains(params, vocabulary)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """The next token's id, from ``logits`` of shape ``(vocabulary,)``, which stay as they are. The token counts as
        generated: penalties and the grammar go on from it.

        Raises:
            GenerationFailed: the logits are not numbers, or no token is left to choose.
        """
        token = int(np.argmax(logits))
        if not np.isfinite(logits[token]):  # argmax returns the first NaN there is
            raise GenerationFailed("The model's output is not a number: the model file or the build is broken.")
        if self._chains is not None:
            token = self._chains.choose(logits, None)
            if self._grammar is not None and not self._grammar.allows(token):
                token = self._chains.choose(logits, self._grammar)
            self._chains.accept(token)
        if self._grammar is not None:
            self._grammar.accept(token)
        if self._logprobs is not None:
            self.last_logprob = self._logprob(logits, token, self._logprobs)
        return token

    def _logprob(self, logits: NDArray[np.float32], token: int, n: int) -> TokenLogprob:
        weights = logits.astype(np.float64)
        weights -= weights.max()
        weights -= np.log(np.exp(weights).sum())
        best: list[int] = []
        if n:
            least = np.partition(weights, -n)[-n]
            ids = np.flatnonzero((weights >= least) & np.isfinite(weights))
            best = ids[np.lexsort((ids, -weights[ids]))][:n].tolist()
        return TokenLogprob(
            token=token,
            text=self._text(token),
            logprob=float(weights[token]),
            alternatives=tuple((self._text(i), float(weights[i])) for i in best),
        )

    def _text(self, token: int) -> str:
        return self._vocabulary.piece(token).decode("utf-8", errors="replace")

    def free(self) -> None:
        """Release llama.cpp's samplers; more than once does no harm. Choose nothing afterwards."""
        if self._chains is not None:
            self._chains.free()
        if self._grammar is not None:
            self._grammar.free()


def _penalizes(params: SamplingParams) -> bool:
    return params.repeat_penalty != 1 or params.frequency_penalty != 0 or params.presence_penalty != 0


class _Chains:
    """llama.cpp's samplers on either side of the grammar, and the candidates they work on."""

    def __init__(self, params: SamplingParams, vocabulary: Vocabulary) -> None:
        self._lib = lib = vocabulary.lib
        size = vocabulary.size
        self._ids = np.arange(size, dtype=np.int32)
        self._table = np.zeros(size, dtype=_CANDIDATE)
        self._data = self._table.ctypes.data_as(lib.llama_token_data_p)
        self._array = lib.llama_token_data_array()
        adjusting, drawing = [], []
        if params.logit_bias:
            biases = (lib.llama_logit_bias * len(params.logit_bias))(*params.logit_bias)
            adjusting.append(lib.llama_sampler_init_logit_bias(size, len(biases), biases))
        if _penalizes(params):
            window = min(params.max_tokens, _PENALTY_WINDOW)
            penalties = params.repeat_penalty, params.frequency_penalty, params.presence_penalty
            adjusting.append(lib.llama_sampler_init_penalties(size, window, *penalties))
        if params.temperature > 0:
            if params.top_k:
                drawing.append(lib.llama_sampler_init_top_k(params.top_k))
            if params.top_p < 1:
                drawing.append(lib.llama_sampler_init_top_p(params.top_p, 1))
            if params.min_p:
                drawing.append(lib.llama_sampler_init_min_p(params.min_p, 1))
            drawing.append(lib.llama_sampler_init_temp(params.temperature))
            drawing.append(lib.llama_sampler_init_dist(params.seed % _SEEDS))
        self._adjust = self._chain(adjusting)
        self._draw = self._chain(drawing)

    def _chain(self, samplers: list[Any]) -> Any:  # noqa: ANN401 - a ctypes pointer
        if not samplers:
            return None
        params = self._lib.llama_sampler_chain_default_params()
        params.no_perf = True
        chain = self._lib.llama_sampler_chain_init(params)
        for sampler in samplers:
            self._lib.llama_sampler_chain_add(chain, sampler)
        return chain

    def choose(self, logits: NDArray[np.float32], grammar: Grammar | None) -> int:
        """A token's id, of those that ``grammar`` allows if one is given."""
        weights = self._table["logit"]
        self._table["id"] = self._ids
        weights[:] = logits
        array = self._array
        array.data, array.size, array.selected, array.sorted = self._data, len(weights), -1, False
        if self._adjust is not None:
            self._lib.llama_sampler_apply(self._adjust, ctypes.byref(array))
        if grammar is not None:
            if self._draw is None and (token := self._best_allowed(grammar)) is not None:
                return token
            grammar.mask(array)
        best = int(np.argmax(weights))
        if not np.isfinite(weights[best]):
            raise GenerationFailed(
                "No token is left to choose: the logit bias, the penalties and the grammar rule out every one.",
                hint="Relax the logit bias or the JSON schema.",
            )
        if self._draw is None:
            return best
        weights -= weights[best]  # no logit above 0: however small the temperature, nothing overflows
        array.sorted = False
        self._lib.llama_sampler_apply(self._draw, ctypes.byref(array))
        drawn = array.data[array.selected]
        # A draw of exactly 0 stops at the first candidate, whatever its probability.
        return int(drawn.id) if drawn.logit > -np.inf else best

    def _best_allowed(self, grammar: Grammar) -> int | None:
        """The likeliest token that fits, if it is among the first few; masking all takes milliseconds."""
        weights = self._table["logit"]
        n = min(_SHORTLIST, len(weights))
        ids = np.argpartition(weights, -n)[-n:]
        likely = weights[ids]
        # Strictly above the least: others with its logit, and maybe a lower id, are not on the list.
        ids = ids[np.lexsort((ids, -likely))][: np.count_nonzero(likely > likely.min())]
        return next((token for token in ids.tolist() if grammar.allows(token)), None)

    def accept(self, token: int) -> None:
        if self._adjust is not None:
            self._lib.llama_sampler_accept(self._adjust, token)

    def free(self) -> None:
        for chain in (self._adjust, self._draw):
            if chain is not None:
                self._lib.llama_sampler_free(chain)
        self._adjust = self._draw = None
