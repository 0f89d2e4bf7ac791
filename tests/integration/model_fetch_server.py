"""A model hub on loopback: resolves files by redirecting to a second server, as the real one does to its CDN."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Misbehaviour:
    """What goes wrong. ``cuts`` are numbers of body bytes after which one response each breaks off."""

    cuts: list[int] = field(default_factory=list)
    busy: int = 0  # answer this many requests with 503
    ignore_range: bool = False
    flip_byte: int | None = None
    linked_size: int | None = None
    gated: bool = False
    redirect_to: str | None = None
    hold: threading.Event | None = None  # pause before the second half of a body


@dataclass
class Request:
    server: str
    path: str
    headers: dict[str, str]


class Hub:
    """Two servers: ``endpoint`` answers as a hub, ``cdn`` holds the bytes. ``requests`` is what came in, in order."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.wrong = Misbehaviour()
        self.requests: list[Request] = []
        self.endpoint = ""
        self.cdn = ""

    def seen(self, server: str) -> list[Request]:
        return [request for request in self.requests if request.server == server]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    role: str

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.hub.requests.append(Request(self.role, self.path, headers))
        if self.role == "hub":
            self._resolve()
        else:
            self._serve(headers)

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def _resolve(self) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        wrong = self.hub.wrong
        if wrong.gated:
            self._head(
                401, X_Error_Code="GatedRepo", X_Error_Message="Access to this model is restricted", Content_Length="0"
            )
            return
        content = self.hub.files.get(match[3]) if match and match[2] == COMMIT else None
        if content is None:
            self._head(404, X_Error_Code="EntryNotFound", Content_Length="0")
            return
        digest = hashlib.sha256(content).hexdigest()
        self._head(
            302,
            Location=wrong.redirect_to or f"{self.hub.cdn}/blobs/{digest}",
            X_Repo_Commit=COMMIT,
            X_Linked_Etag=f'"{digest}"',
            X_Linked_Size=str(wrong.linked_size or len(content)),
            Content_Length="0",
        )

    def _serve(self, headers: dict[str, str]) -> None:
        wrong = self.hub.wrong
        if wrong.busy:
            wrong.busy -= 1
            self._head(503, Content_Length="0", Retry_After="1")
            return
        name = self.path.rpartition("/")[2]
        by_digest = {hashlib.sha256(content).hexdigest(): content for content in self.hub.files.values()}
        content = by_digest.get(name, self.hub.files.get(name))
        if content is None:
            self._head(404, Content_Length="0")
            return
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if wrong.flip_byte is not None:
            at = wrong.flip_byte
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if asked and not wrong.ignore_range and headers.get("if-range", tag) == tag:
            start = int(asked[1])
        body = content[start:]
        extra = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self._head(206 if start else 200, ETag=tag, Accept_Ranges="bytes", Content_Length=str(len(body)), **extra)
        self._send(body)

    def _send(self, body: bytes) -> None:
        wrong = self.hub.wrong
        if wrong.cuts:
            self.wfile.write(body[: wrong.cuts.pop(0)])
            self.close_connection = True
            return
        half = len(body) // 2
        self.wfile.write(body[:half])
        if wrong.hold:
            self.wfile.flush()
            wrong.hold.wait(60)
        try:
            self.wfile.write(body[half:])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Hub]:
    hub = Hub(files)
    servers = []
    for role in ("hub", "cdn"):
        handler = type("Handler", (_Handler,), {"hub": hub, "role": role})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
    hub.endpoint, hub.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    try:
        yield hub
    finally:
        if hub.wrong.hold:
            hub.wrong.hold.set()
        for server in servers:
            server.shutdown()
            server.server_close()


def describe_model(models_dir: Path, files: dict[str, bytes], *sources: str, name: str = "tiny") -> None:
    """Write a ``models.toml`` with one generator of these files; each source is the body of its TOML table."""
    rows = ",\n".join(
        f'{{ path = "{path}", bytes = {len(content)}, sha256 = "{hashlib.sha256(content).hexdigest()}" }}'
        for path, content in files.items()
    )
    tables = "\n".join(f"[[models.{name}.sources]]\n{source}\n" for source in sources)
    text = f'format = 1\n[models.{name}]\nkind = "generator"\nlicence = "MIT"\nfiles = [\n{rows}\n]\n'
    models_dir.mkdir(parents=True, exist_ok=True)
    (models_dir / "models.toml").write_text(text + tables, encoding="utf-8")
