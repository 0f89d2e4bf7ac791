"""Sitemaps (sitemaps.org, protocol 0.9): the pages that a site lists, with when they were changed.

The protocol lets a site list them in a text file, a line each, or a feed (RSS 2.0, Atom 1.0) as well.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.xml_parts import local_name
from indexer.web.fetch import elsewhere
from indexer.web.urls import normalised, same_site, shown
from rag.errors import SourceDamaged, SourceError, SourceLeftOut, SourceNotFound, SourceTooLarge, SourceUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lxml.etree import _Element

    from indexer.web.fetch import Fetcher

_NOT_THERE: Final = (
    "Check the address: a site's robots.txt often names its sitemaps. Pages that were ingested before are kept."
)
# As the protocol has it, of one file: bytes when unpacked, and entries.
_FILE_BYTES: Final = 50 << 20
_FILE_ENTRIES: Final = 50_000
# No list needs more than fifty bytes for each; many more are made to take up time and memory.
_FILE_ELEMENTS: Final = 1_000_000
# An index may list as many files as it has entries, each of which is waited for; max_urls bounds only their pages.
_MOST_FILES: Final = 1000
# An index lists files, not further indexes; some do all the same.
_MAX_DEPTH: Final = 2
_GZIP_MARK: Final = b"\x1f\x8b\x08"
_MARK: Final = b"\xef\xbb\xbf"
_TEXT_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*+https?://", re.IGNORECASE)
_LINE: Final = re.compile(rb"[^\r\n]++")  # one after the other: a list of all takes twenty times as much as the file
_ENTRIES: Final = {"urlset": "url", "sitemapindex": "sitemap", "rss": "item", "feed": "entry"}
_CHANGED: Final = frozenset({"lastmod", "updated"})
# Told from other XML by its root, which the XML declaration, comments and instructions may precede.
SITEMAP_START: Final = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*+(?>(?:<\?.{0,500}?\?>\s*|<!--.{0,2000}?-->\s*){0,8})"
    rb"<(?:[\w.-]+:)?(?:urlset|sitemapindex)[\s>]",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """A URL to take in, or the reason why it cannot be.

    ``site`` is a URL whose site it must not leave; ``lastmod`` is when it was changed, as its sitemap writes it.
    """

    url: str
    error: SourceError | None = None
    site: str | None = None
    lastmod: str = ""

    @property
    def uri(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    kind: str
    location: str
    lastmod: str


def addresses(urls: Iterable[str]) -> Iterator[WebAddress]:
    """Normalised addresses, each once; what is none comes with its error."""
    seen = set()
    for text in urls:
        try:
            address = WebAddress(url=normalised(text))
        except SourceError as error:
            address = WebAddress(url=shown(text), error=error)
        if address.url not in seen:
            seen.add(address.url)
            yield address


class Sitemaps:
    """Reads sitemaps and indexes of sitemaps. Together they may list ``max_urls`` pages.

    ``go_on`` is called before each sitemap and while it comes; what it raises ends the reading.
    """

    def __init__(self, fetcher: Fetcher, *, max_urls: int, go_on: Callable[[], None]) -> None:
        self._fetcher, self._max_urls, self._go_on = fetcher, max_urls, go_on
        self._listed_files = 0
        self._seen: set[str] = set()
        self._read: set[str] = set()

    def pages(self, text: str) -> Iterator[WebAddress]:
        """The pages that the sitemap at a URL lists, each once; what cannot be read or taken comes with its error."""
        try:
            url = normalised(text)
        except SourceError as error:
            yield WebAddress(url=shown(text), error=error)
            return
        yield from self._pages(url, site=None, depth=0)

    def _pages(self, url: str, site: str | None, depth: int) -> Iterator[WebAddress]:
        if url in self._read:  # one that lists itself, or is listed twice
            return
        self._read.add(url)
        count = 0
        try:
            place, content = self._fetch(url, site)
            self._read.add(place)
            for entry in _entries(place, content):
                count += 1
                if count > _FILE_ENTRIES:
                    raise SourceTooLarge(
                        f"{place} lists more than {_FILE_ENTRIES:,} addresses; those after are left out.",
                        hint="Its site should split it, as the sitemap protocol says.",
                    )
                if entry.kind == "sitemap":
                    yield from self._listed(entry, place, depth)
                else:
                    yield from self._page(entry, place)
            if not count:
                raise SourceNotFound(f"{place} lists nothing.", hint="Check that it is the site's sitemap.")
        except SourceError as error:
            yield WebAddress(url=url, error=error)

    def _listed(self, entry: _Entry, place: str, depth: int) -> Iterator[WebAddress]:
        if depth == _MAX_DEPTH:
            raise SourceDamaged(
                f"{place} is an index of sitemaps in an index in an index.", hint="Ingest what it lists by --sitemap."
            )
        address = _address(entry, place)
        if address.error is not None:
            yield address
        elif address.url not in self._read:
            if self._listed_files == _MOST_FILES:
                raise SourceTooLarge(
                    f"{place} lists more sitemaps than the {_MOST_FILES:,} of one run; those after are left out.",
                    hint="Ingest what it lists by --sitemap, in several runs.",
                )
            self._listed_files += 1
            yield from self._pages(address.url, site=place, depth=depth + 1)

    def _page(self, entry: _Entry, place: str) -> Iterator[WebAddress]:
        address = _address(entry, place)
        if address.url in self._seen:
            return
        if len(self._seen) == self._max_urls:
            raise SourceTooLarge(
                f"{place} lists more pages than the limit of {self._max_urls:,}; those after are left out.",
                hint="Raise RAG_MAX_SITEMAP_URLS.",
            )
        self._seen.add(address.url)
        yield address

    def _fetch(self, url: str, site: str | None) -> tuple[str, bytes]:
        file = io.BytesIO()

        def write(data: bytes) -> None:
            self._go_on()
            file.write(data)

        self._go_on()
        try:
            fetched = self._fetcher.fetch(url, write, site=site, max_bytes=_FILE_BYTES)
        except (SourceNotFound, SourceUnreadable) as error:
            error.hint = _NOT_THERE
            raise
        content = file.getvalue()
        return fetched.url, _gunzipped(fetched.url, content) if content.startswith(_GZIP_MARK) else content


def _address(entry: _Entry, place: str) -> WebAddress:
    try:
        url = normalised(entry.location, base=place)
        if not same_site(url, place):
            error = elsewhere(url, place)
            raise SourceLeftOut(error.message, kind="foreign address", hint=error.hint)
    except SourceError as error:
        return WebAddress(url=shown(entry.location[:500]), error=error)
    return WebAddress(url=url, site=place, lastmod=entry.lastmod)


def _gunzipped(url: str, content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:  # of one member or several (RFC 1952, section 2.2)
        try:
            unpacked = file.read(_FILE_BYTES + 1)
        except EOFError as error:
            raise SourceDamaged(f"{url} breaks off before its end.", hint="Try again later.") from error
        except (OSError, zlib.error) as error:
            raise SourceDamaged(f"{url} cannot be unpacked: {error}.", hint="Try again later.") from error
    if len(unpacked) > _FILE_BYTES:
        raise SourceTooLarge(
            f"{url} unpacks to more than {_FILE_BYTES:,} bytes.",
            hint="Its site should split it, as the sitemap protocol says.",
        )
    return unpacked


def _entries(url: str, content: bytes) -> Iterator[_Entry]:
    """Entries in their order."""
    if _TEXT_START.match(content):
        for line in _LINE.finditer(content.removeprefix(_MARK)):
            if location := line[0].decode("utf-8", "replace").strip():
                yield _Entry(kind="url", location=location, lastmod="")
    else:
        yield from _elements(url, content)


def _elements(url: str, content: bytes) -> Iterator[_Entry]:
    """Entries of a sitemap in XML or a feed, read without entities, without network and element by element."""
    from lxml import etree

    found = etree.iterparse(
        io.BytesIO(content.removeprefix(_MARK).lstrip()),  # many sites have an empty line before the declaration
        events=("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        recover=False,
    )
    kind: str | None = None
    try:
        _event, root = next(found)
        kind = _ENTRIES.get(local_name(root))
        if kind is None:
            raise _no_sitemap(url, f"its root is <{local_name(root)}>")
        if root.getroottree().docinfo.internalDTD is not None:
            raise _no_sitemap(url, "it has a DOCTYPE, which may declare entities that grow")
        for number, (event, element) in enumerate(found):
            if number > 2 * _FILE_ELEMENTS:  # each begins and ends
                raise SourceTooLarge(
                    f"{url} has more than {_FILE_ELEMENTS:,} elements.", hint="Check that it is the site's sitemap."
                )
            around = element.getparent()
            if event != "end" or around is None or not (around is root or local_name(around) == "channel"):
                continue
            if local_name(element) == kind and (location := _location(element)):
                yield _Entry(kind=kind, location=location, lastmod=_lastmod(element))
            element.clear()
            while element.getprevious() is not None:
                del around[0]
    except (etree.LxmlError, StopIteration) as error:
        if kind is not None:
            raise SourceDamaged(
                f"{url} cannot be read to its end: {error}. What it lists after that is left out.",
                hint="Try again later, or tell whoever runs the site.",
            ) from error
        raise _no_sitemap(url, str(error) or "it is empty") from error


def _location(entry: _Element) -> str:
    """Where an entry's page is; a feed's may have further links, to pictures and to comments."""
    for child in entry:
        name = local_name(child)
        if name == "loc" or (name == "link" and child.get("rel", "alternate") == "alternate"):
            return (child.text or "").strip() or (child.get("href") or "").strip()
    return ""


def _lastmod(entry: _Element) -> str:
    return next((child.text or "" for child in entry if local_name(child) in _CHANGED), "").strip()[:40]


def _no_sitemap(url: str, reason: str) -> SourceDamaged:
    return SourceDamaged(
        f"{url} is no sitemap: {reason}.",
        hint="A page is ingested without --sitemap; a site's robots.txt often names its sitemaps.",
    )
