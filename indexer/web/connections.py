"""One request at a time to web servers: to checked addresses, within a deadline, with a pause between two of them."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import httpcore2
import httpx2

from indexer.web.urls import host_of, origin_of
from rag import __version__
from rag.errors import SourceUnreachable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from indexer.web.addresses import AddressRules

AGENT: Final = "Plumbline"
_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 30.0
_TIMEOUTS: Final = {"connect": _CONNECT_S, "read": _SILENCE_S, "write": _SILENCE_S, "pool": _CONNECT_S}
_NETWORK_HINT: Final = "Try again later. Without direct access to the Internet, set RAG_FETCH_PROXY."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A response whose body is still to be read; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Iterable[bytes]


class Deadline:
    """When all that belongs to one source has to be there. Renewed for each of them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        self._end = time.monotonic() + self.seconds

    def extend(self, seconds: float) -> None:
        """What was spent waiting on purpose does not count."""
        self._end += seconds

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._end

    def within(self, wanted: float | None) -> float:
        """Seconds to wait at most. Raises httpcore2.ReadTimeout: there are none left."""
        if self.over:
            raise httpcore2.ReadTimeout
        left = max(0.001, self._end - time.monotonic())  # zero would mean not to wait at all
        return left if wanted is None else min(wanted, left)


class _BoundedStream(httpcore2.NetworkStream):
    """A connection on which nothing lasts beyond the deadline, however slowly bytes drip."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.within(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, self._deadline.within(timeout))
        return _BoundedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the interface's
        return self._stream.get_extra_info(info)


class _CheckedBackend(httpcore2.SyncBackend):
    """Connects to addresses that the rules let through, and to no other: a name is resolved once, here.

    Behind a proxy only the proxy is connected to, so ``rules`` is None.
    """

    def __init__(self, rules: AddressRules | None, deadline: Deadline) -> None:
        self._rules, self._deadline = rules, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = [host] if self._rules is None else self._rules.addresses(host, port)
        for number, address in enumerate(addresses, start=1):
            try:
                wait = self._deadline.within(timeout)
                stream = super().connect_tcp(address, port, wait, local_address, socket_options)
                return _BoundedStream(stream, self._deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError("a host that resolves has an address")


class Connections:
    """A context manager. Sequential use keeps it to one connection a host; ``delay_s`` is between two requests to one.

    ``proxy`` is the URL of an HTTP proxy; names are resolved there, so that only addresses written as such are checked.
    """

    def __init__(
        self,
        rules: AddressRules,
        *,
        timeout_s: float,
        delay_s: float,
        proxy: str | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.deadline = Deadline(timeout_s)
        self._rules, self._delay_s, self._proxied, self._pause = rules, delay_s, proxy is not None, pause
        self._delays: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._pool = _pool(rules, self.deadline, proxy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def slow_down(self, url: str, delay_s: float) -> None:
        """Leave at least this many seconds between requests to the host of a URL."""
        self._delays[host_of(url)] = max(delay_s, self._delay_s)

    def wait(self, seconds: float) -> None:
        """Let time pass that does not count."""
        self._pause(seconds)
        self.deadline.extend(seconds)

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        """Ask for a normalised URL.

        Raises (while the body is read, too):
            SourceAddressRefused: it leads to an address that is not allowed.
            SourceUnreachable: there is no connection, no answer in time, or the answer ends early.
        """
        host = host_of(url)
        if self._proxied:
            self._rules.check_literal(host)
        self._take_turn(host)
        sent = {"User-Agent": f"{AGENT}/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip", **headers}
        try:
            with ExitStack() as stack:
                response = self._response(stack, url, sent)
                yield Reply(status=response.status, headers=_read(response.headers), body=response.iter_stream())
        except _NETWORK_ERRORS as error:
            late = isinstance(error, httpcore2.TimeoutException)
            reason = self._late() if late else str(error).rstrip(".") or type(error).__name__
            raise SourceUnreachable(f"{origin_of(url)} cannot be read: {reason}.", hint=_NETWORK_HINT) from error
        finally:
            self._ended[host] = time.monotonic()

    def _response(self, stack: ExitStack, url: str, headers: Mapping[str, str]) -> httpcore2.Response:
        def ask() -> httpcore2.Response:
            request = self._pool.stream("GET", url, headers=[*headers.items()], extensions={"timeout": _TIMEOUTS})
            return stack.enter_context(request)

        try:
            return ask()
        except (httpcore2.RemoteProtocolError, httpcore2.ReadError, httpcore2.WriteError):
            return ask()  # a server may close a kept connection just when it is used again (RFC 9112, section 9.5)

    def _late(self) -> str:
        if self.deadline.over:
            return f"it took longer than {self.deadline.seconds:g} s in all (RAG_FETCH_TIMEOUT_S)"
        return f"no connection within {_CONNECT_S:g} s, or silence for {_SILENCE_S:g} s"

    def _take_turn(self, host: str) -> None:
        if host in self._ended:
            left = self._ended[host] + self._delays.get(host, self._delay_s) - time.monotonic()
            if left > 0:
                self.wait(left)


_NETWORK_ERRORS: Final = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


def _pool(rules: AddressRules, deadline: Deadline, proxy: str | None) -> httpcore2.ConnectionPool:
    context = httpx2.create_ssl_context()
    if proxy is None:
        return httpcore2.ConnectionPool(
            ssl_context=context, max_keepalive_connections=1, network_backend=_CheckedBackend(rules, deadline)
        )
    url = httpx2.URL(proxy)
    return httpcore2.HTTPProxy(
        proxy_url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"),
        proxy_auth=(url.username, url.password) if url.userinfo else None,
        ssl_context=context,
        max_keepalive_connections=1,
        network_backend=_CheckedBackend(None, deadline),
    )


def _read(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): _text(value) for name, value in headers}


def _text(value: bytes) -> str:
    """Servers write names and addresses as they have them, today in UTF-8; what that is not is Latin-1, as of old."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
