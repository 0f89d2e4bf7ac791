"""A web server on loopback that answers as a test tells it to, and notes what it was asked."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(kw_only=True)
class Answer:
    """``cut``: say so many bytes more than are sent. ``drip_s``: pause after each byte. ``busy``: 503 so many times."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    drip_s: float = 0.0
    busy: int = 0


@dataclass
class Site:
    """``asked`` are the paths with the headers that came, in order."""

    base: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def page(self, path: str, text: str, **headers: str) -> None:
        title = text.partition(".")[0]
        body = f"<html><head><title>{title}</title></head><body><p>{text}</p></body></html>".encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = Answer(body=body, headers={"Content-Type": "text/html; charset=utf-8", **given})

    def paths(self) -> list[str]:
        return [path for path, _headers in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that has heard enough closes with bytes on the way
            super().handle()

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.site.asked.append((self.path, headers))
        answer = self.site.answers.get(self.path, Answer(status=404))
        if answer.busy:
            answer.busy -= 1
            self._send(Answer(status=503, headers={"Retry-After": "0"}))
        elif "ETag" in answer.headers and headers.get("if-none-match") == answer.headers["ETag"]:
            self._send(Answer(status=304))
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 304:
            self.send_header("Content-Length", str(len(answer.body) + answer.cut))
        self.end_headers()
        if not answer.drip_s:
            self.wfile.write(answer.body)
        for byte in answer.body if answer.drip_s else b"":
            try:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            except OSError:  # the client has gone
                break
            time.sleep(answer.drip_s)
        self.close_connection = bool(answer.cut or answer.drip_s)


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    site.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
