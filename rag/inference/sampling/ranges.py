"""The ranges of sampling parameters: the same for every generator, whichever model or server it speaks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rag.errors import InvalidRequest

if TYPE_CHECKING:
    from rag.model_types import SamplingParams

_LARGEST = 1e6  # of temperatures, penalties and biases: single precision stays far from its end
_MAX_LOGPROBS = 20
_MAX_STOP = 16


def check_ranges(params: SamplingParams, *, vocabulary_size: int | None = None) -> None:
    """Refuse a value that is out of its range, or not a number. Without I/O, callable from any thread.

    ``vocabulary_size``, where it is known, bounds the token ids of ``logit_bias``.

    Raises:
        InvalidRequest: naming the parameter, its value and its range.
    """
    p = params
    # Written so that a NaN fails.
    _require(p.max_tokens >= 1, "max_tokens", p.max_tokens, "at least 1")
    _require(0 <= p.temperature <= _LARGEST, "temperature", p.temperature, f"from 0 to {_LARGEST:g}")
    _require(0 <= p.top_k < 2**31, "top_k", p.top_k, "at least 0 (off) and below 2^31")
    _require(0 < p.top_p <= 1, "top_p", p.top_p, "above 0 and at most 1 (off)")
    _require(0 <= p.min_p <= 1, "min_p", p.min_p, "from 0 (off) to 1")
    _require(
        1 / _LARGEST <= p.repeat_penalty <= _LARGEST,
        "repeat_penalty",
        p.repeat_penalty,
        f"above 0 (from {1 / _LARGEST:g} to {_LARGEST:g}; 1 is off)",
    )
    for name, value in (("frequency_penalty", p.frequency_penalty), ("presence_penalty", p.presence_penalty)):
        _require(abs(value) <= _LARGEST, name, value, f"from {-_LARGEST:g} to {_LARGEST:g} (0 is off)")
    _require(p.logprobs is None or 0 <= p.logprobs <= _MAX_LOGPROBS, "logprobs", p.logprobs, f"0 to {_MAX_LOGPROBS}")
    _require(len(p.stop) <= _MAX_STOP, "the number of stop strings", len(p.stop), f"at most {_MAX_STOP}")
    _require(all(p.stop), "stop", p.stop, "without empty strings")
    _require(not any(map(_is_torn, p.stop)), "stop", p.stop, "without halves of characters (lone surrogates)")
    _check_biases(p.logit_bias, vocabulary_size)


def _check_biases(biases: tuple[tuple[int, float], ...], vocabulary_size: int | None) -> None:
    named: set[int] = set()
    for token, bias in biases:
        if token < 0 or (vocabulary_size is not None and token >= vocabulary_size):
            known = "not below 0" if vocabulary_size is None else f"0 to {vocabulary_size - 1}"
            raise InvalidRequest(
                f"logit_bias names token {token}: the model's tokens are {known}.",
                hint="Token ids belong to one model; look them up in its vocabulary.",
            )
        if token in named:
            raise InvalidRequest(f"logit_bias names token {token} twice.", hint="Give each token one bias.")
        named.add(token)
        _require(bias == -math.inf or abs(bias) <= _LARGEST, "logit_bias", bias, f"at most {_LARGEST:g}, or -inf")


def _is_torn(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _require(holds: bool, name: str, value: object, rule: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise InvalidRequest(f"{name} is {value!r}: it must be {rule}.")
