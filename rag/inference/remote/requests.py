"""What a request to an OpenAI-compatible server holds: messages made of a prompt's segments, and the parameters."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rag.errors import UnsupportedSampling
from rag.inference.sampling.portable_schema import portable_schema
from rag.inference.sampling.ranges import check_ranges
from rag.inference.template import Message
from rag.model_types import SegmentKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from rag.model_types import Prompt, SamplingParams

# As the model in process reads prompts: reasoning that nobody sees is left out where the template knows how.
TEMPLATE_OPTIONS = {"enable_thinking": False}

_ROLES = {
    SegmentKind.PREFIX: "system",
    SegmentKind.PASSAGE: "user",
    SegmentKind.QUESTION: "user",
    SegmentKind.HISTORY_USER: "user",
    SegmentKind.HISTORY_ASSISTANT: "assistant",
}
_HISTORY = frozenset({SegmentKind.HISTORY_USER, SegmentKind.HISTORY_ASSISTANT})
_STRONGEST_BIAS = 100.0  # the protocol's bound, which stands for "never" and "always"
_SEEDS = 1 << 31  # servers read 32 bits, and some take the largest numbers for "random"


def chat_messages(prompt: Prompt) -> tuple[Message, ...]:
    """One message for each run of segments of the same role, joined as ``PromptEncoder`` joins them."""
    messages = []
    for role, run in groupby(prompt.segments, key=lambda segment: _ROLES[segment.kind]):
        content, gap = "", ""
        for segment in run:
            content += gap + segment.text
            gap = "\n\n" if segment.kind in _HISTORY else ""
        messages.append(Message(role=role, content=content))
    return tuple(messages)


def as_json(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": sendable(message.content)} for message in messages]


def sendable(text: str) -> str:
    """``text`` with what UTF-8 has no bytes for (lone surrogates) replaced, as the model in process reads it."""
    return text.encode("utf-8", errors="replace").decode()


def require_supported(
    params: SamplingParams, *, models: Collection[str], known: bool, vocabulary_size: int | None = None
) -> None:
    """Refuse what a server cannot be relied on to do. ``known`` servers have more parameters than the protocol, and
    keep to JSON schemas. ``vocabulary_size`` is None where the server does not tell it.

    Raises:
        InvalidRequest: a value is out of its range, or the JSON schema is not valid.
        UnsupportedSampling: naming the parameter and why.
    """
    check_ranges(params, vocabulary_size=vocabulary_size)
    if params.labels:
        raise UnsupportedSampling("A remote server cannot be held to citation labels.", hint="Ask without labels.")
    if params.deterministic:
        raise UnsupportedSampling(
            "Nobody can promise that a remote server repeats an answer to the last bit.",
            hint="Use a local model for deterministic answers.",
        )
    if params.adapter is not None and params.adapter not in models:
        raise UnsupportedSampling(
            f"The generator server does not serve an adapter '{params.adapter}'.",
            hint=f"It serves: {', '.join(models)}.",
        )
    used = [name for name, off in (("top_k", 0), ("min_p", 0), ("repeat_penalty", 1)) if getattr(params, name) != off]
    if used and not known:
        raise UnsupportedSampling(
            f"The generator server is neither llama-server nor vLLM, so it may ignore {' and '.join(used)}.",
            hint="Use temperature, top_p and the frequency and presence penalties with it.",
        )
    for token, bias in params.logit_bias:
        if abs(bias) > _STRONGEST_BIAS and bias != -math.inf:
            raise UnsupportedSampling(
                f"logit_bias adds {bias:g} to token {token}: the protocol of remote servers ends at "
                f"{_STRONGEST_BIAS:g}, for always, and {-_STRONGEST_BIAS:g}, for never.",
                hint="Use a bias within these bounds, or -inf for never.",
            )
    if params.json_schema is not None:
        portable_schema(params.json_schema)
        if not known:
            raise UnsupportedSampling(
                "The generator server is neither llama-server nor vLLM, so it may ignore json_schema or parts of it.",
                hint="Let RAG_GENERATOR_URL lead to llama-server or vLLM (a proxy between must let /tokenize and "
                "/apply-template through: they are known by them), use a local model, or ask without a schema.",
            )


def chat_request(model: str, prompt: Prompt, params: SamplingParams, *, known: bool) -> dict[str, Any]:
    """Arguments of ``chat.completions.create``, beside streaming.

    Every parameter a known server has is sent, also where it is off: what servers take by default differs. ``params``
    have passed ``require_supported``.
    """
    arguments: dict[str, Any] = {
        "model": model,
        "messages": as_json(chat_messages(prompt)),
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "seed": params.seed % _SEEDS,
        "frequency_penalty": params.frequency_penalty,
        "presence_penalty": params.presence_penalty,
    }
    if params.stop:
        arguments["stop"] = list(params.stop)
    if params.logit_bias:
        arguments["logit_bias"] = {str(token): max(-_STRONGEST_BIAS, bias) for token, bias in params.logit_bias}
    if params.logprobs is not None:
        # llama-server takes 0 alternatives for no log-probabilities at all; what is too many is cut on arrival.
        arguments |= {"logprobs": True, "top_logprobs": max(1, params.logprobs)}
    if params.json_schema is not None:
        arguments["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": portable_schema(params.json_schema)},
        }
    if known:
        arguments["extra_body"] = {
            "top_k": params.top_k,
            "min_p": params.min_p,
            "repeat_penalty": params.repeat_penalty,  # llama-server's name
            "repetition_penalty": params.repeat_penalty,  # vLLM's name
            "chat_template_kwargs": TEMPLATE_OPTIONS,
        }
    return arguments
