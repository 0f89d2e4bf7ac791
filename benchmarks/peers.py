"""Peers as processes on loopback: started with stated flags, asked over HTTP, ended by their process id."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.completion import Completion
from benchmarks.report import OPENMP_AT_START

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from benchmarks.vocabulary import Vocabulary

BUILT = Path("build/peers")  # where benchmarks.build_peers puts them: these three, below it
LLAMA_SERVER = Path("llama.cpp/bin/llama-server")
PYTHON = Path("venv/bin/python")
INGEST_PYTHON = Path("ingest/bin/python")  # has LlamaIndex and Haystack
_START_S = 180.0
_STOP_S = 20.0
_POLL_S = 0.1


def add_arguments(parser: argparse.ArgumentParser, *, llama_cpp_server: bool = False) -> None:
    """Ask where the peers are."""
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="default: the one built here, or on PATH")
    if llama_cpp_server:
        parser.add_argument(
            "--llama-cpp-server-python",
            type=Path,
            metavar="PATH",
            help="a Python that has llama-cpp-python[server] (default: the one built here, or this one)",
        )


class Peer(ABC):
    """A server under way. Requests may be sent at the same time."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.pid = process.pid
        # No limits of its own: a peer may take minutes, and eight users are eight connections.
        self._client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def complete(self, tokens: Sequence[int], answer_tokens: int) -> Completion:
        """Generate exactly ``answer_tokens`` greedily after the prompt ``tokens``, timed from outside."""
        path, payload = self.request(tokens, answer_tokens)
        text, first, last = "", 0.0, {}
        began = time.perf_counter()
        async with self._client.stream("POST", path, json=payload) as response:
            if response.status_code != 200:
                raise SystemExit(f"{type(self).__name__}: {response.status_code} {(await response.aread()).decode()}")
            async for event in httpx2.EventSource(response):
                if event.data == "[DONE]":
                    break
                last = json.loads(event.data)
                piece = self.piece(last)
                if piece and not first:
                    first = time.perf_counter()
                text += piece
        ended = time.perf_counter()
        prompt_tokens, cached_tokens, generated = self.counts(last, tokens, answer_tokens)
        if not first or generated != answer_tokens:
            raise SystemExit(f"{type(self).__name__} ended after {generated} of {answer_tokens} tokens: {last}")
        return Completion(
            prompt_tokens=prompt_tokens,
            tokens=generated,
            first_token_s=first - began,
            total_s=ended - began,
            text=text,
            cached_tokens=cached_tokens,
        )

    @abstractmethod
    def request(self, tokens: Sequence[int], answer_tokens: int) -> tuple[str, dict[str, Any]]:
        """Path and body."""

    @abstractmethod
    def piece(self, event: dict[str, Any]) -> str:
        """The text an event brings."""

    @abstractmethod
    def counts(self, last: dict[str, Any], tokens: Sequence[int], answer_tokens: int) -> tuple[int, int | None, int]:
        """Prompt tokens, those reused, and tokens generated, as the last event tells."""


class LlamaServer(Peer):
    """llama.cpp's own server; takes token ids."""

    def request(self, tokens: Sequence[int], answer_tokens: int) -> tuple[str, dict[str, Any]]:
        # One sampler that keeps one token: its fastest greedy choice.
        greedy = {"temperature": 0, "samplers": ["top_k"], "top_k": 1}
        body = {"prompt": list(tokens), "n_predict": answer_tokens, "stream": True, "ignore_eos": True, **greedy}
        return "/completion", body

    def piece(self, event: dict[str, Any]) -> str:
        return str(event["content"])

    def counts(self, last: dict[str, Any], tokens: Sequence[int], answer_tokens: int) -> tuple[int, int | None, int]:
        del tokens, answer_tokens
        timings = last["timings"]
        return timings["cache_n"] + timings["prompt_n"], timings["cache_n"], last["tokens_predicted"]


class LlamaCppServer(Peer):
    """llama-cpp-python's server; takes text only, so it gets the tokens' text, which may be cut otherwise."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, vocabulary: Vocabulary) -> None:
        super().__init__(process, port)
        self._vocabulary = vocabulary

    def request(self, tokens: Sequence[int], answer_tokens: int) -> tuple[str, dict[str, Any]]:
        body = {
            "prompt": self._vocabulary.text(tokens),
            "max_tokens": answer_tokens,
            "stream": True,
            "temperature": 0.0,
            "repeat_penalty": 1.0,
            "logit_bias": dict.fromkeys(map(str, self._vocabulary.ends), -1000.0),
        }
        return "/v1/completions", body

    def piece(self, event: dict[str, Any]) -> str:
        return str(event["choices"][0]["text"])

    def counts(self, last: dict[str, Any], tokens: Sequence[int], answer_tokens: int) -> tuple[int, int | None, int]:
        # It counts nothing in a stream; that it ended by length says how many tokens there were.
        complete = last["choices"][0]["finish_reason"] == "length"
        return self._vocabulary.count(self._vocabulary.text(tokens)), None, answer_tokens if complete else 0


def llama_server_command(options: argparse.Namespace, *flags: str) -> list[str]:
    """llama-server with the same threads, on the CPU, ready for a port. Exits if there is none to be found."""
    built = BUILT / LLAMA_SERVER
    found = options.llama_server or (built if built.exists() else shutil.which("llama-server"))
    if found is None or not Path(found).exists():
        raise SystemExit(f"There is no llama-server at {found or built}: run python -m benchmarks.build_peers")
    threads = str(options.threads)
    common = ["-m", str(options.model.path), "-t", threads, "-tb", threads, "-ngl", "0", "-fa", "on"]
    return [str(Path(found).absolute()), *common, "--no-context-shift", *flags]


def llama_cpp_server_command(options: argparse.Namespace, *flags: str) -> list[str]:
    """llama_cpp.server with the same threads. Exits if its Python lacks the server's packages.

    By default it cuts an answer off as soon as another request arrives: with several users at once nobody would get
    one, so that is switched off.
    """
    built = BUILT / PYTHON
    python = options.llama_cpp_server_python or (built if built.exists() else Path(sys.executable))
    here = Path(sys.executable) == python
    if not python.exists() or (here and importlib.util.find_spec("sse_starlette") is None):
        raise SystemExit(f"{python} has no llama-cpp-python[server]: run python -m benchmarks.build_peers")
    threads = str(options.threads)
    common = ["--model", str(options.model.path), "--n_threads", threads, "--n_threads_batch", threads]
    # absolute, not resolved: a virtual environment is known by the link it was started through
    return [str(python.absolute()), "-m", "llama_cpp.server", *common, "--interrupt_requests", "False", *flags]


@contextmanager
def running(command: Sequence[str], *, ready: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a server until the block ends; ``ready`` is a path that answers 200 once the model is loaded."""
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - a benchmark starts the peers its user named
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
        )
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}{ready}", log)
            yield process, port
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def llama_server(options: argparse.Namespace, *flags: str) -> Iterator[LlamaServer]:
    """A running llama-server."""
    with running(llama_server_command(options, *flags), ready="/health") as (process, port):
        yield LlamaServer(process, port)


@contextmanager
def llama_cpp_server(options: argparse.Namespace, vocabulary: Vocabulary, *flags: str) -> Iterator[LlamaCppServer]:
    """A running llama_cpp.server."""
    with running(llama_cpp_server_command(options, *flags), ready="/v1/models") as (process, port):
        yield LlamaCppServer(process, port, vocabulary)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Any) -> None:  # noqa: ANN401 - a binary file
    deadline = time.monotonic() + _START_S
    with httpx2.Client(trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                log.seek(0)
                said = log.read().decode(errors="replace")[-2000:]
                raise SystemExit(f"{process.args!r} ended with {process.returncode}:\n{said}")
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx2.TransportError:  # not listening yet
                pass
            time.sleep(_POLL_S)
    raise SystemExit(f"{process.args!r} was not ready after {_START_S:.0f} s")


def _environment() -> dict[str, str]:
    """What the user set for OpenMP, not what this process set for itself: a peer runs as it would by itself."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    return others | OPENMP_AT_START


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
