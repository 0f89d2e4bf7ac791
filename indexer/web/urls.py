"""URLs as they are stored: one spelling for each address (RFC 3986, section 6)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from indexer.sources import uri_of
from rag.errors import SourceAddressRefused
from rag.types import MEMBER_MARK

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# RFC 9110, section 4.1, asks servers for at least as much; what is longer is data, not an address.
_LONGEST: Final = 8000
_DOT_OR_STRAY: Final = re.compile("%2e|%(?![0-9a-f]{2})", re.IGNORECASE)
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def is_url(text: str) -> bool:
    """Whether this is meant as a URL and not as a path, of whatever scheme."""
    return _SCHEME.match(text.lstrip()) is not None


def normalised(text: str, *, base: str | None = None) -> str:
    """A URL as it is stored and asked for: scheme and host in lower case (names of other scripts in ASCII), no default
    port, no fragment, no dot segments, escapes only where they are needed.

    ``base`` is what a relative one is meant from.

    ``!/`` marks a document within another in the store, so it is escaped to ``%21/``.

    Raises:
        SourceAddressRefused: it is no http or https URL, cannot be read, or holds a user name or password.
    """
    import httpx2

    # A dot segment is one however it is written (section 6.2.2), and a stray "%" makes no escape of what follows.
    text = _DOT_OR_STRAY.sub(lambda found: "." if len(found[0]) > 1 else "%25", text.strip())
    try:
        url = httpx2.URL(text) if base is None else httpx2.URL(base).join(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise _unreadable(text, str(error)) from error
    if url.scheme not in _DEFAULT_PORTS:
        other = f"; {url.scheme} is not fetched" if url.scheme else ""
        raise SourceAddressRefused(
            f"{shown(text)} is not an http or https address{other}.", hint="Files are named by their paths."
        )
    if url.userinfo:
        raise SourceAddressRefused(
            f"An address at {url.host} holds a user name or password, which would be stored with the document.",
            hint="Leave them out. Pages behind a login are saved as files and ingested as these.",
        )
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    if not _HOST.fullmatch(host) or (url.port is not None and not 0 < url.port < 65536):
        raise _unreadable(text, "its host or port is none")
    shown_host = f"[{host}]" if ":" in host else host
    port = "" if url.port in {None, _DEFAULT_PORTS[url.scheme]} else f":{url.port}"
    target = _ESCAPE.sub(_escape, url.raw_path.decode("ascii")).replace(MEMBER_MARK, "%21/")
    whole = f"{url.scheme}://{shown_host}{port}{target}"
    if len(whole) > _LONGEST:
        raise _unreadable(text[:80], f"it has more than {_LONGEST:,} characters")
    return whole


def stored_uri(named: str) -> str:
    """The URI of a document that was ingested by this name, a URL or a path; what cannot be read stays as it is."""
    if not is_url(named):
        return uri_of(Path(named))
    try:
        return normalised(named)
    except SourceAddressRefused:
        return named


def host_of(url: str) -> str:
    """The host of a normalised URL."""
    import httpx2

    return httpx2.URL(url).raw_host.decode("ascii")


def origin_of(url: str) -> str:
    """Scheme, host and port of a normalised URL: what a robots.txt is for."""
    return "/".join(url.split("/", 3)[:3])


def same_site(url: str, other: str) -> bool:
    """Whether two normalised URLs have the same host and port; http and https with their default ports are alike."""
    return _place(url) == _place(other)


def _place(url: str) -> tuple[str, int | None]:
    import httpx2

    parsed = httpx2.URL(url)
    return parsed.host, parsed.port


def _escape(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _unreadable(text: str, reason: str) -> SourceAddressRefused:
    return SourceAddressRefused(
        f"{shown(text)} cannot be read as an address: {reason}.", hint="Copy it from the address line of a browser."
    )


def shown(text: str) -> str:
    """What was given as a URL, fit for messages and logs: without a user name and password."""
    return re.sub(r"//[^/?#]*@", "//…@", text)
