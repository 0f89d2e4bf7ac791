"""A server on loopback that speaks OpenAI's chat protocol as llama-server, vLLM and plainer ones do.

It answers with a given text, a token a word, and misbehaves as it is told. Its prompts are counted in words too.
"""

from __future__ import annotations

import json
import re
import select
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from rag.inference.sampling.stop import StopMatcher

Style = Literal["llama-server", "vllm", "plain"]
MODEL = "words-1b"
ADAPTER = "words-legal"
VOCABULARY = 1000
_WORD = re.compile(r"\s*\S+|\s+$")
_BOS = "<s>"
_PATIENCE_S = 60


@dataclass
class Refusal:
    """What one request is answered with instead."""

    status: int
    message: str = "no"
    kind: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    path: str
    body: dict[str, Any]
    headers: dict[str, str]


class ModelServer:
    """``url`` is its OpenAI API. ``requests`` is what came in, in order.

    ``refusals`` answer the next chat requests, one each. ``hold_after`` words the answer waits until ``release`` is
    set, or its client is gone (``gone`` is then set); ``break_after`` words the connection is closed, in the middle
    of the framing or, ``breaks_cleanly``, as a body ends that has none. ``hang_ups`` of the next chat requests get no
    answer at all. ``silent`` are the paths that get none, on a connection that stays open.
    """

    def __init__(self, *, style: Style, reply: str, context: int) -> None:
        self.style = style
        self.reply = reply
        self.context = context
        self.url = ""
        self.models = [MODEL]
        self.api_key: str | None = None
        self.tells_logprobs = True
        self.tells_usage = True
        self.finish: str | None = None
        self.refusals: deque[Refusal] = deque()
        self.error_event: dict[str, Any] | None = None
        self.silent: set[str] = set()
        self.hang_ups = 0
        self.hold_after: int | None = None
        self.break_after: int | None = None
        self.breaks_cleanly = False
        self.release = threading.Event()
        self.held = threading.Event()
        self.gone = threading.Event()
        self.requests: list[Request] = []
        self.connections: set[socket.socket] = set()

    def seen(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    @property
    def asked(self) -> dict[str, Any]:
        """The body of the last chat request."""
        return self.seen("/v1/chat/completions")[-1].body


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def rendered(messages: list[dict[str, str]]) -> str:
    turns = "".join(f"\n<{message['role']}>\n{message['content']} </>" for message in messages)
    return f"{turns}\n<assistant>"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_model: ModelServer

    def setup(self) -> None:
        super().setup()
        self.server_model.connections.add(self.connection)

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that hangs up is what some tests are about
            super().handle()

    def finish(self) -> None:
        self.server_model.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, body: dict[str, Any]) -> None:
        model = self.server_model
        model.requests.append(Request(self.path, body, {key.lower(): value for key, value in self.headers.items()}))
        if model.api_key is not None and self.headers["Authorization"] != f"Bearer {model.api_key}":
            self._refuse(Refusal(401, "wrong key"))
            return
        if self.path in model.silent:
            self._wait_until_gone()
            return
        answers = {
            "/v1/models": self._models,
            "/v1/chat/completions": self._chat,
            "/tokenize": self._tokenize,
            "/apply-template": self._template,
            "/props": self._props,
        }
        answers.get(self.path, self._unknown)(body)

    def _unknown(self, body: dict[str, Any]) -> None:
        self._refuse(Refusal(404, "no such route"))

    def _refuse(self, refusal: Refusal) -> None:
        error = {"message": refusal.message, "type": refusal.kind, "code": refusal.status}
        self._json({"error": error}, status=refusal.status, headers=refusal.headers)

    def _json(self, value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def _models(self, body: dict[str, Any]) -> None:
        model = self.server_model
        entries: list[dict[str, Any]] = [{"id": name, "object": "model"} for name in model.models]
        for entry in entries:
            if model.style == "vllm":
                entry |= {"max_model_len": model.context, "parent": None}
            elif model.style == "llama-server":
                entry |= {"meta": {"n_ctx_train": 4 * model.context, "n_vocab": VOCABULARY}, "aliases": ["words"]}
        if model.style == "vllm":
            entries.append({"id": ADAPTER, "object": "model", "parent": model.models[0]})
        self._json({"object": "list", "data": entries})

    def _props(self, body: dict[str, Any]) -> None:
        if self.server_model.style != "llama-server":
            self._unknown(body)
            return
        self._json({"default_generation_settings": {"n_ctx": self.server_model.context}})

    def _tokenize(self, body: dict[str, Any]) -> None:
        style = self.server_model.style
        if style == "llama-server" and "content" in body:
            special = [_BOS] if body.get("add_special") else []
            self._json({"tokens": list(range(len(special + words(body["content"]))))})
        elif style == "vllm" and ("prompt" in body or "messages" in body):
            special = [_BOS] if "messages" in body or body.get("add_special_tokens", True) else []
            text = body["prompt"] if "prompt" in body else rendered(body["messages"])
            self._json({"count": len(special + words(text)), "max_model_len": self.server_model.context})
        else:
            self._refuse(Refusal(404 if style == "plain" else 400, "no such request"))

    def _template(self, body: dict[str, Any]) -> None:
        if self.server_model.style != "llama-server":
            self._unknown(body)
            return
        self._json({"prompt": rendered(body["messages"])})

    def _chat(self, body: dict[str, Any]) -> None:
        model = self.server_model
        prompt_tokens = 1 + len(words(rendered(body["messages"])))
        if model.hang_ups:
            model.hang_ups -= 1
            self.close_connection = True
            return
        if model.refusals:
            self._refuse(model.refusals.popleft())
            return
        if prompt_tokens >= model.context:
            message = f"request ({prompt_tokens} tokens) exceeds the available context size ({model.context} tokens)"
            self._refuse(Refusal(400, message, "exceed_context_size_error"))
            return
        room = min(body["max_tokens"], model.context - prompt_tokens)
        tokens = words(model.reply)
        finish = model.finish or ("length" if len(tokens) > room else "stop")
        tokens = tokens[:room]
        if body.get("stream"):
            self._stream(body, tokens, finish, prompt_tokens)
            return
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "message": {"role": "assistant"}}
        if body.get("logprobs") and model.tells_logprobs:
            choice["logprobs"] = {"content": [self._logprob(i, token, body) for i, token in enumerate(tokens)]}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice]}
        self._json(answer | self._figures(prompt_tokens, len(tokens)))

    def _stream(self, body: dict[str, Any], tokens: list[str], finish: str, prompt_tokens: int) -> None:
        model = self.server_model
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if model.breaks_cleanly:
            self.send_header("Connection", "close")
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]})
        stop = StopMatcher(body.get("stop", ()))
        said = 0
        for token in tokens:
            if said == model.hold_after and not self._released():
                return
            if said == model.break_after:
                self.close_connection = True
                return
            said += 1
            choice: dict[str, Any] = {"index": 0, "delta": {"content": stop.push(token)}}
            if body.get("logprobs") and model.tells_logprobs:
                choice["logprobs"] = {"content": [self._logprob(said, token, body)]}
            self._event({"choices": [choice]})
            if stop.stopped:
                finish = "stop"
                break
        if model.error_event is not None:
            self._event({"error": model.error_event})
        else:
            self._event({"choices": [{"index": 0, "delta": {"content": stop.flush()}, "finish_reason": finish}]})
            figures = self._figures(prompt_tokens, said)
            if figures:
                self._event({"choices": [], **figures})
        self._write("data: [DONE]\n\n")
        self._write("")

    def _figures(self, prompt_tokens: int, said: int) -> dict[str, Any]:
        if not self.server_model.tells_usage:
            return {}
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": said,
            "total_tokens": prompt_tokens + said,
            "prompt_tokens_details": {"cached_tokens": 2},
        }
        if self.server_model.style != "llama-server":
            return {"usage": usage}
        drafts = {"draft_n": 4, "draft_n_accepted": 3}
        return {"usage": usage, "timings": {"cache_n": 2, "prompt_ms": 12.5, "predicted_ms": 40} | drafts}

    def _event(self, event: dict[str, Any]) -> None:
        shared = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": MODEL}
        self._write(f"data: {json.dumps(shared | event if 'error' not in event else event)}\n\n")

    def _write(self, text: str) -> None:
        data = text.encode()
        try:
            self.wfile.write(data if self.server_model.breaks_cleanly else b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
        except OSError:
            self.server_model.gone.set()
            self.close_connection = True

    def _released(self) -> bool:
        model = self.server_model
        model.held.set()
        while not model.release.is_set():
            if self._client_gone(0.02):
                return False
        return True

    def _wait_until_gone(self) -> None:
        while not self.server_model.release.is_set() and not self._client_gone(0.02):
            pass
        self.close_connection = True

    def _client_gone(self, patience_s: float) -> bool:
        readable, _, _ = select.select([self.connection], [], [], patience_s)
        if not readable:
            return False
        self.close_connection = True
        self.server_model.gone.set()
        return True

    @staticmethod
    def _logprob(number: int, token: str, body: dict[str, Any]) -> dict[str, Any]:
        tops = [(token, -0.25), ("No", -1.75), ("Y", -4.0)][: body["top_logprobs"]]
        return {
            "id": number,
            "token": token,
            "logprob": -0.25,
            "bytes": None,
            "top_logprobs": [{"token": text, "logprob": logprob, "bytes": None} for text, logprob in tops],
        }


@contextmanager
def serving(
    *, style: Style = "llama-server", reply: str = "It was built in 1889.", context: int = 256
) -> Iterator[ModelServer]:
    model = ModelServer(style=style, reply=reply, context=context)
    handler = type("Handler", (_Handler,), {"server_model": model})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield model
    finally:
        model.release.set()
        server.shutdown()
        for connection in tuple(model.connections):
            with suppress(OSError):  # it has just ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join(_PATIENCE_S)
