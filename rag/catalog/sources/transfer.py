"""Downloads one file over HTTP so that it can be taken up again where it stopped (RFC 9110, sections 13.1.5 and 14)."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NoReturn

import httpx2

from rag import __version__
from rag.catalog.sources.source import SourceFailure
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rag.catalog.entries import Piece

_log = get_logger("catalog")

# A host that is down must not hold up the next source; a slow one may take its time between two blocks.
_TIMEOUT = httpx2.Timeout(20.0, connect=5.0)
_ATTEMPTS = 5  # in a row without a new byte
_LONGEST_PAUSE_S = 8.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_OUT_OF_REACH = (
    httpx2.ConnectError,
    httpx2.TimeoutException,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
_PROXY_ADVICE = "Set HTTPS_PROXY if this network has a proxy."


class _Interrupted(Exception):
    """The connection broke or the server is busy; what has arrived so far stays."""


def open_client(*, allow_http: bool = False) -> httpx2.Client:
    """Return a client that honours the environment's proxies and refuses to be led from https to plain http."""

    def refuse_plain_http(request: httpx2.Request) -> None:
        if request.url.scheme != "https" and not allow_http and request.url.host not in _LOOPBACK_HOSTS:
            raise SourceFailure(f"it leads to {request.url.host} over plain http, which is refused")

    return httpx2.Client(
        timeout=_TIMEOUT,
        follow_redirects=True,
        event_hooks={"request": [refuse_plain_http]},
        headers={"User-Agent": f"plumbline/{__version__}", "Accept-Encoding": "identity"},
    )


class Transfer:
    """Brings one URL's content into one file. The server's entity tag is kept beside it, to go on with the same."""

    def __init__(
        self, client: httpx2.Client, url: str, piece: Piece, target: Path, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self._client = client
        self._url = url
        self._piece = piece
        self._target = target
        self._tag_file = target.with_name(target.name + ".etag")
        self._headers = dict(headers or {})
        self._answered = False

    def run(self, advance: Callable[[int], None]) -> None:
        """Download, or go on downloading. Raises as ``FetchPiece`` says."""
        failures = 0
        while True:
            before = self._arrived()
            try:
                self._attempt(before, advance)
                cause: Exception = _Interrupted("the connection ended early")
            except (httpx2.TransportError, _Interrupted) as error:
                if not self._answered and isinstance(error, _OUT_OF_REACH):
                    raise SourceFailure(f"it cannot be reached: {_reason(error)}", advice=_PROXY_ADVICE) from error
                cause = error
            except httpx2.HTTPError as error:
                raise SourceFailure(_reason(error)) from error
            if self._arrived() == self._piece.bytes:
                self._tag_file.unlink(missing_ok=True)
                return
            failures = 1 if self._arrived() > before else failures + 1
            if failures >= _ATTEMPTS:
                raise SourceFailure(f"it broke off {failures} times in a row: {_reason(cause)}", advice=_PROXY_ADVICE)
            _log.info("a download is taken up again", file=self._piece.name, at=self._arrived(), cause=_reason(cause))
            pause(min(0.5 * 2 ** (failures - 1), _LONGEST_PAUSE_S))

    def _attempt(self, offset: int, advance: Callable[[int], None]) -> None:
        if offset == self._piece.bytes:
            advance(offset)
            return
        with self._client.stream("GET", self._url, headers=self._request_headers(offset)) as response:
            self._answered = True
            start = self._start_of(response, offset)
            self._keep_tag(response)
            with self._target.open("r+b" if start else "wb") as stream:
                stream.seek(start)
                stream.truncate()
                done = start
                for block in response.iter_raw():
                    done += len(block)
                    if done > self._piece.bytes:
                        raise SourceFailure(f"it sends more than the {self._piece.bytes} bytes the catalog knows")
                    stream.write(block)
                    advance(done)

    def _request_headers(self, offset: int) -> dict[str, str]:
        headers = dict(self._headers)
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._tag_file.exists():
                headers["If-Range"] = self._tag_file.read_text(encoding="utf-8")
        return headers

    def _start_of(self, response: httpx2.Response, offset: int) -> int:
        """Return where the response's body belongs, after checking that it is of the file the catalog means."""
        if response.status_code in _PASSING:
            raise _Interrupted(f"HTTP {response.status_code}")
        if response.status_code == 416:
            self._target.unlink(missing_ok=True)
            raise _Interrupted("the server has no such range; starting over")
        if response.status_code not in (200, 206):
            _refuse(response)
        for hop in (*response.history, response):
            self._check_size(hop.headers.get("X-Linked-Size"))
        if response.status_code == 200:
            self._check_size(response.headers.get("Content-Length"))
            return 0
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            raise SourceFailure("it answers a range request with another range")
        self._check_size(match[2])
        return offset

    def _check_size(self, stated: str | None) -> None:
        if stated is not None and stated.isdigit() and int(stated) != self._piece.bytes:
            raise SourceFailure(f"its file has {stated} bytes, the catalog's {self._piece.bytes}: it is another file")

    def _keep_tag(self, response: httpx2.Response) -> None:
        tag = response.headers.get("ETag", "")
        if tag.startswith('"'):  # If-Range takes strong tags only
            self._tag_file.write_text(tag, encoding="utf-8")
        else:
            self._tag_file.unlink(missing_ok=True)

    def _arrived(self) -> int:
        size = self._target.stat().st_size if self._target.exists() else 0
        if size > self._piece.bytes:
            self._target.unlink()
            return 0
        return size


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _refuse(response: httpx2.Response) -> NoReturn:
    host = response.url.host
    explained = response.headers.get("X-Error-Message", "")
    code = response.headers.get("X-Error-Code", "")
    if response.status_code in (401, 403):
        raise SourceFailure(
            f"{host} denies access (HTTP {response.status_code}{', ' + explained if explained else ''})",
            advice="Set HF_TOKEN to a token with access." if code or explained else "",
        )
    if response.status_code in (404, 410):
        raise SourceFailure(f"{host} does not have it (HTTP {response.status_code}{', ' + code if code else ''})")
    raise SourceFailure(f"{host} answers HTTP {response.status_code}{', ' + explained if explained else ''}")


def pause(seconds: float) -> None:
    """Wait before the next attempt; a name of its own so that tests need not wait."""
    time.sleep(seconds)
