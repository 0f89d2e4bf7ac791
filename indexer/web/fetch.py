"""Fetches what is at a URL into a file: redirects followed and checked, robots.txt heeded, nothing without a bound."""

from __future__ import annotations

import math
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NoReturn, Self

from indexer.web.robots import ROBOTS_BYTES, Robots
from indexer.web.urls import normalised, same_site
from rag.errors import (
    SourceAddressRefused,
    SourceNotFound,
    SourceTooLarge,
    SourceUnreachable,
    SourceUnreadable,
    SourceUnsupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from indexer.web.connections import Connections, Reply

_MOST_HOPS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BUSY: Final = frozenset({429, 503})
_ATTEMPTS: Final = 3
_LONGEST_WAIT_S: Final = 30.0
_UNPACKED_STEP: Final = 1 << 20
_DRAINED_BYTES: Final = 1 << 16
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a server said. ``url`` is where it was in the end; ``unchanged`` is a 304, and nothing came."""

    url: str
    unchanged: bool
    headers: Mapping[str, str]


class Fetcher:
    """Fetches for one run. A context manager; one request at a time."""

    def __init__(self, connections: Connections, *, max_bytes: int) -> None:
        self._connections, self._max_bytes = connections, max_bytes
        self._robots = Robots(self._read_robots, connections.slow_down)

    def __enter__(self) -> Self:
        self._connections.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connections.__exit__(*exc_info)

    def fetch(
        self,
        url: str,
        write: Callable[[bytes], object],
        *,
        site: str | None = None,
        conditions: Callable[[str], Mapping[str, str]] = lambda _url: {},
        max_bytes: int | None = None,
    ) -> Fetched:
        """Hand what is at a normalised URL to ``write``, decoded, piece by piece.

        ``site`` is a URL whose host no redirect may leave. ``conditions`` gives the headers for each URL on the way
        that make the server answer 304. ``max_bytes`` is a limit below the run's.

        Raises:
            SourceAddressRefused: the URL, or one it leads to, may not be connected to.
            SourceDisallowed: robots.txt forbids it.
            SourceNotFound: the server does not have it (404, 410).
            SourceUnreadable, SourceUnreachable: it refuses, is down, is too slow or breaks off.
            SourceTooLarge: it has more bytes than allowed, sent or decoded.
        """
        self._connections.deadline.renew()
        with self._follow(url, site, conditions) as (final, reply):
            if reply.status == 304:
                return Fetched(url=final, unchanged=True, headers=reply.headers)
            _require_success(final, reply)
            limit = min(max_bytes or self._max_bytes, self._max_bytes)
            for data in _bounded(final, reply, limit):
                write(data)
            return Fetched(url=final, unchanged=False, headers=reply.headers)

    @contextmanager
    def _follow(
        self, url: str, site: str | None, conditions: Callable[[str], Mapping[str, str]]
    ) -> Iterator[tuple[str, Reply]]:
        first = url
        for _hop in range(_MOST_HOPS + 1):
            if site is not None and not same_site(url, site):
                raise elsewhere(url, site)
            with _led(first, url):
                self._robots.check(url)
            with self._asked(url, conditions(url)) as reply:
                location = reply.headers.get("location") if reply.status in _REDIRECTS else None
                if location is None:
                    yield url, reply
                    return
                _drain(reply)
            url = _next(url, location)
        raise SourceUnreachable(
            f"{first} leads on more than {_MOST_HOPS} times, now to {url}.", hint="Ingest the address it should end at."
        )

    @contextmanager
    def _asked(self, url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        for attempt in range(_ATTEMPTS):
            with self._connections.get(url, headers) as reply:
                wait = _wait(reply) if attempt + 1 < _ATTEMPTS else None
                if wait is None:
                    yield reply
                    return
            self._connections.wait(wait)

    def _read_robots(self, url: str) -> tuple[int, bytes]:
        first = url
        for _hop in range(_MOST_HOPS + 1):  # as many as RFC 9309 asks for, to other hosts too
            with _led(first, url), self._asked(url, {}) as reply:
                location = reply.headers.get("location") if reply.status in _REDIRECTS else None
                if location is None and reply.status == 200:
                    return 200, b"".join(_unpacked(url, reply, ROBOTS_BYTES))
                _drain(reply)
                if location is None:
                    return reply.status, b""
            url = _next(url, location)
        return 404, b""  # "may be assumed to be unavailable", section 2.3.1.2


def _drain(reply: Reply) -> None:
    """Read what nobody wants to its end if that is near: the connection can then be used again."""
    size = 0
    for data in reply.body:
        size += len(data)
        if size > _DRAINED_BYTES:
            break


@contextmanager
def _led(first: str, url: str) -> Iterator[None]:
    """Of an address that nobody named and that is refused, whose word it was."""
    try:
        yield
    except SourceAddressRefused as error:
        if url == first:
            raise
        raise SourceAddressRefused(f"{first} leads to {url}: {error.message}", hint=error.hint) from error


def _next(url: str, location: str) -> str:
    try:
        led_to = normalised(location, base=url)
    except SourceAddressRefused as error:
        raise SourceAddressRefused(
            f"{url} leads on: {error.message}", hint="Save the page from a browser and ingest the file."
        ) from error
    if url.startswith("https:") and not led_to.startswith("https:"):
        raise SourceAddressRefused(
            f"{url} leads to {led_to}, from https to plain http, which anyone on the way can change.",
            hint="Ingest that address by itself, if it is trusted all the same.",
        )
    return led_to


def elsewhere(url: str, site: str) -> SourceAddressRefused:
    """The error for an address that is not on the site it should be on."""
    return SourceAddressRefused(
        f"{url} is on another site than {site}, which is where it was named.",
        hint="Ingest it by itself, if it is wanted.",
    )


def _wait(reply: Reply) -> float | None:
    """Seconds that a busy server asks to wait; None if it is not busy or asks for too long."""
    if reply.status not in _BUSY:
        return None
    seconds = _seconds(reply.headers.get("retry-after", "1"))
    return seconds if seconds <= _LONGEST_WAIT_S else None


def _seconds(asked: str) -> float:
    """How long ``Retry-After`` asks to wait, in seconds or until a date (RFC 9110, section 10.2.3)."""
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return math.inf
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _require_success(url: str, reply: Reply) -> None:
    status = reply.status
    if status in {200, 203}:
        return
    if status in {404, 410}:
        raise SourceNotFound(
            f"{url} is not there (HTTP {status}).",
            hint=f"Check the address. A page that was ingested before is kept; `indexer delete {url}` takes it out.",
        )
    if status in {401, 402, 403, 407, 451}:
        raise SourceUnreadable(
            f"{url} is not open to everyone (HTTP {status}).", hint="Save it from a browser and ingest the file."
        )
    raise SourceUnreachable(f"{url} answers HTTP {status}.", hint="Try again later; what was ingested before is kept.")


def _bounded(url: str, reply: Reply, limit: int) -> Iterator[bytes]:
    stated = reply.headers.get("content-length", "")
    if stated.isascii() and stated.isdigit() and int(stated[:18]) > limit:
        _too_large(url, limit)
    size = 0
    for data in _unpacked(url, reply, limit):
        size += len(data)
        if size > limit:
            _too_large(url, limit)
        yield data


def _unpacked(url: str, reply: Reply, limit: int) -> Iterator[bytes]:
    """The body without its content coding, no further than just beyond the limit, sent or decoded."""
    coding = reply.headers.get("content-encoding", "identity").strip().lower()
    if coding in {"", "identity"}:
        yield from _up_to(reply.body, limit)
    elif coding in {"gzip", "x-gzip"}:
        yield from _up_to(_gunzip(url, reply.body), limit)
    else:
        raise SourceUnsupported(
            f"{url} is sent in the coding {coding[:40]!r}, which was not asked for.",
            hint="Save it and ingest the file.",
        )


def _up_to(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for data in pieces:
        yield data[: limit + 1 - size]
        size += len(data)
        if size > limit:
            return


def _gunzip(url: str, body: Iterable[bytes]) -> Iterator[bytes]:
    """At most ``_UNPACKED_STEP`` bytes at a time, whatever they were packed to."""
    decoder = zlib.decompressobj(_GZIP_WINDOW)
    begun = False
    try:
        for packed in body:
            data = packed
            while data:
                if decoder.eof:  # several members may follow each other (RFC 1952, section 2.2)
                    decoder = zlib.decompressobj(_GZIP_WINDOW)
                begun = True
                if unpacked := decoder.decompress(data, _UNPACKED_STEP):
                    yield unpacked
                data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    except zlib.error as error:
        raise SourceUnreachable(f"{url} is not sent as it says: {error}.", hint="Try again later.") from error
    if begun and not decoder.eof:
        raise SourceUnreachable(f"{url} breaks off before its end.", hint="Try again later.")


def _too_large(url: str, limit: int) -> NoReturn:
    raise SourceTooLarge(
        f"{url} has more bytes than the limit of {limit:,}.",
        hint="The limit is RAG_MAX_FILE_BYTES; of sitemaps, what their protocol allows.",
    )
