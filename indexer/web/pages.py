"""URLs on their way into the store: asked for again only if they may have changed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from indexer.sources import scan_file
from indexer.web.names import charset_of, name_of
from indexer.web.robots import RulesUnread
from indexer.web.sitemaps import SITEMAP_START
from rag.errors import SourceDisallowed, SourceLeftOut, SourceUnsupported
from rag.source_types import WebFetch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePosixPath
    from typing import BinaryIO

    from indexer.ingestion import SourceIngestion, Taken, Target
    from indexer.sources import SourceScan, SourceStat
    from indexer.spooling import Spool, Spooled
    from indexer.steps import Steps
    from indexer.web.fetch import Fetched, Fetcher
    from indexer.web.sitemaps import WebAddress
    from rag.protocols import DocumentStore
    from rag.source_types import StoredSource

# A date without a time ends when it has ended everywhere.
_LATEST_ZONE: Final = timedelta(hours=12)


@dataclass(slots=True, kw_only=True)
class WebDocument:
    """What was fetched. Implements ``indexer.sources.OpenSource``; its ``path`` is the name it would have as a file."""

    uri: str
    path: PurePosixPath
    file: BinaryIO
    charset: str | None

    @property
    def opened(self) -> SourceStat | None:
        return None

    def changed(self) -> bool:
        return False

    def scan(self) -> SourceScan:
        scan = scan_file(self.file)
        if SITEMAP_START.match(scan.head):
            raise SourceUnsupported(
                f"{self.uri} is a sitemap: a list of addresses, not a document.",
                hint=f"`indexer ingest --sitemap {self.uri}` takes in what it lists.",
            )
        return replace(scan, charset=self.charset)


class WebPages:
    """Takes in what is at URLs, by way of the spool."""

    def __init__(self, fetcher: Fetcher, store: DocumentStore, spool: Spool) -> None:
        self._fetcher, self._store, self._spool = fetcher, store, spool

    def steps(self, target: Target, address: WebAddress, ingestion: SourceIngestion) -> Steps[Taken | None]:
        """As ``SourceIngestion.steps``, of the document at the address that the server leads to in the end.

        Raises SourceError, as ``Fetcher.fetch`` and ``SourceIngestion.steps`` do; and Stopped, where the run was asked
        to stop while the page came.
        """
        from indexer.ingestion import unchanged

        if (known := self._unchanged_by_sitemap(target, address, ingestion)) is not None:
            return unchanged(known)

        def conditions(url: str) -> Mapping[str, str]:
            stored = ingestion.settled(target, url)
            return {} if stored is None or stored.web is None else _conditions(stored.web)

        with self._spool.file() as spooled:

            def write(data: bytes) -> None:
                ingestion.go_on()
                spooled.write(data)

            with _leaving_out(address):
                fetched = self._fetcher.fetch(address.url, write, site=address.site, conditions=conditions)
            before = ingestion.settled(target, fetched.url)
            taken = yield from self._written(target, fetched, spooled, ingestion, before)
        if taken is None:
            return None
        if fetched.url != address.url:
            ingestion.notices.append(self._moved(target, address.url))
        noted = _noted(fetched, address.lastmod, before.web if fetched.unchanged and before is not None else None)
        self._store.note_fetch(target.collection, taken.document_id, noted)
        return replace(taken, uri=fetched.url)

    def _written(
        self,
        target: Target,
        fetched: Fetched,
        spooled: Spooled,
        ingestion: SourceIngestion,
        before: StoredSource | None,
    ) -> Steps[Taken | None]:
        from indexer.ingestion import unchanged

        if fetched.unchanged:
            if before is None:
                raise SourceUnsupported(
                    f"{fetched.url} answers that nothing has changed (HTTP 304), and was not asked that.",
                    hint="Its server is not as it should be; save the page and ingest the file.",
                )
            return unchanged(before)
        spooled.end()
        document = WebDocument(
            uri=fetched.url,
            path=name_of(fetched.url, fetched.headers),
            file=spooled.file,
            charset=charset_of(fetched.headers),
        )
        return (yield from ingestion.steps(target, document))

    def _unchanged_by_sitemap(
        self, target: Target, address: WebAddress, ingestion: SourceIngestion
    ) -> StoredSource | None:
        if not address.lastmod:
            return None
        stored = ingestion.settled(target, address.url)
        if stored is None or stored.web is None or stored.web.lastmod != address.lastmod:
            return None
        changed = _end_of(address.lastmod)
        # What changes again on the day of the last change keeps its date.
        certain = changed is not None and datetime.fromisoformat(stored.web.fetched_at) > changed
        return stored if certain else None

    def _moved(self, target: Target, url: str) -> str:
        told = f"{url} leads here."
        if self._store.stored_source(target.collection, url) is None:
            return told
        return f"{told} The document that was ingested from there is kept; `indexer delete {url}` takes it out."


@contextmanager
def _leaving_out(address: WebAddress) -> Iterator[None]:
    """What a site's own rules forbid of the pages that its sitemap lists was not asked for one by one."""
    try:
        yield
    except SourceDisallowed as error:
        if address.site is None or isinstance(error, RulesUnread):
            raise
        raise SourceLeftOut(error.message, kind="disallowed page", hint=error.hint) from error


def _conditions(web: WebFetch) -> dict[str, str]:
    asked = {"If-None-Match": web.etag, "If-Modified-Since": web.last_modified}
    return {name: value for name, value in asked.items() if value}


def _noted(fetched: Fetched, lastmod: str, before: WebFetch | None) -> WebFetch:
    """What to keep of a fetch; a 304 need not repeat what was said ``before``."""
    headers = fetched.headers
    return WebFetch(
        etag=_plain(headers.get("etag", before.etag if before else "")),
        last_modified=_plain(headers.get("last-modified", before.last_modified if before else "")),
        lastmod=lastmod or (before.lastmod if before else ""),
        fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _plain(value: str) -> str:
    """A header's value as it may be sent back; nothing if it is not made of visible ASCII, or longer than any tag."""
    return value if len(value) <= 1024 and value.isascii() and value.isprintable() else ""


def _end_of(lastmod: str) -> datetime | None:
    """The moment after which a page with this date was not changed (W3C date and time formats); None if unreadable."""
    try:
        moment = datetime.fromisoformat(lastmod)
    except ValueError:
        return None
    if "T" not in lastmod:
        return moment.replace(tzinfo=UTC) + timedelta(days=1) + _LATEST_ZONE
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC) + _LATEST_ZONE
