"""Counting tokens for a remote model: by the server's own tokenizer where it offers one, else by an estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from rag.inference.remote.requests import TEMPLATE_OPTIONS, as_json, sendable
from rag.inference.remote.server import positive
from rag.inference.template import Message

if TYPE_CHECKING:
    from rag.inference.remote.server import RemoteServer

_PROBE = (Message(role="user", content="one"),)
_TURN_TOKENS = 8  # an estimate of what a chat template puts around a message


class TokenCounter(Protocol):
    """``known`` servers (llama-server, vLLM) also have the sampling parameters that OpenAI's protocol lacks.

    Both counts block for a request to the server, except an estimate's. They raise RagError.
    """

    description: str
    known: bool
    exact: bool

    def text(self, text: str) -> int:
        """Tokens of a bare text."""

    def chat(self, messages: tuple[Message, ...]) -> int:
        """Tokens of a conversation, chat template and the beginning of the answer included."""


class LlamaServerTokens:
    """By ``/tokenize`` and ``/apply-template`` of llama.cpp's server."""

    description = "tokens are counted by the server"
    known = True
    exact = True

    def __init__(self, server: RemoteServer, model: str) -> None:
        self._server = server
        self._model = model

    def offered(self) -> bool:
        counted = self._server.probe("/tokenize", self._bare("one"))
        rendered = self._server.probe("/apply-template", self._conversation(_PROBE)) if counted else {}
        return isinstance(counted.get("tokens"), list) and isinstance(rendered.get("prompt"), str)

    def text(self, text: str) -> int:
        return self._count(self._bare(text))

    def chat(self, messages: tuple[Message, ...]) -> int:
        rendered = self._server.ask("/apply-template", self._conversation(messages)).get("prompt")
        if not isinstance(rendered, str):
            raise self._server.errors.not_understood("/apply-template without a prompt")
        # As the server does it for a conversation: its BOS, and control tokens recognized.
        return self._count({"content": rendered, "add_special": True, "parse_special": True, "model": self._model})

    def _count(self, body: dict[str, Any]) -> int:
        tokens = self._server.ask("/tokenize", body).get("tokens")
        if not isinstance(tokens, list):
            raise self._server.errors.not_understood("/tokenize without tokens")
        return len(tokens)

    def _bare(self, text: str) -> dict[str, Any]:
        return {"content": sendable(text), "add_special": False, "parse_special": False, "model": self._model}

    def _conversation(self, messages: tuple[Message, ...]) -> dict[str, Any]:
        return {"messages": as_json(messages), "chat_template_kwargs": TEMPLATE_OPTIONS, "model": self._model}


class VllmTokens:
    """By ``/tokenize`` of vLLM, which SGLang has too."""

    description = "tokens are counted by the server"
    known = True
    exact = True

    def __init__(self, server: RemoteServer, model: str) -> None:
        self._server = server
        self._model = model

    def offered(self) -> bool:
        return all(
            positive(self._server.probe("/tokenize", body).get("count"))
            for body in (self._bare("one"), self._conversation(_PROBE))
        )

    def text(self, text: str) -> int:
        return self._count(self._bare(text)) if text else 0

    def chat(self, messages: tuple[Message, ...]) -> int:
        return self._count(self._conversation(messages))

    def _count(self, body: dict[str, Any]) -> int:
        count = self._server.ask("/tokenize", body).get("count")
        if not isinstance(count, int):
            raise self._server.errors.not_understood("/tokenize without a count")
        return count

    def _bare(self, text: str) -> dict[str, Any]:
        return {"model": self._model, "prompt": sendable(text), "add_special_tokens": False}

    def _conversation(self, messages: tuple[Message, ...]) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": as_json(messages),
            "add_generation_prompt": True,
            "chat_template_kwargs": TEMPLATE_OPTIONS,
        }


class EstimatedTokens:
    """For servers without a tokenizer route: a token for every two bytes of UTF-8, and at least one for every word.

    More than common tokenizers make of prose in any script (about four bytes a token in English, three in Chinese),
    so what is packed by it fits; text of single rare bytes can have more tokens, and the server then refuses it.
    """

    description = "tokens are estimated: the server has no tokenizer route"
    known = False
    exact = False

    def text(self, text: str) -> int:
        size = len(text.encode("utf-8", errors="replace"))
        return max((size + 1) // 2, len(text.split()))

    def chat(self, messages: tuple[Message, ...]) -> int:
        return sum(self.text(message.content) + _TURN_TOKENS for message in messages) + _TURN_TOKENS


def find_counter(server: RemoteServer, model: str) -> TokenCounter:
    """Ask the server which tokenizer routes it has. Blocks; raises RemoteUnavailable."""
    llama_server = LlamaServerTokens(server, model)
    if llama_server.offered():
        return llama_server
    vllm = VllmTokens(server, model)
    return vllm if vllm.offered() else EstimatedTokens()
