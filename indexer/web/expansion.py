"""From what a command line names, paths, URLs and sitemaps mixed, to the sources of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from indexer.sources import expand
from indexer.steps import Stopped
from indexer.web.urls import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from indexer.sources import SourcePath
    from indexer.web.fetch import Fetcher
    from indexer.web.sitemaps import WebAddress
    from rag.config import Settings


def open_fetcher(settings: Settings) -> Fetcher:
    """What fetches as the settings allow. Opens no connection yet. Raises InvalidSettings."""
    from indexer.web.addresses import AddressRules
    from indexer.web.connections import Connections
    from indexer.web.fetch import Fetcher

    proxy = settings.fetch_proxy
    connections = Connections(
        AddressRules(settings.fetch_allow),
        timeout_s=settings.fetch_timeout_s,
        delay_s=settings.fetch_delay_s,
        proxy=proxy.get_secret_value() if proxy is not None else None,
    )
    return Fetcher(connections, max_bytes=settings.max_file_bytes)


def all_sources(
    named: Sequence[str],
    sitemaps: Sequence[str],
    fetcher: Fetcher | None,
    *,
    max_urls: int,
    stop: Callable[[], bool],
) -> Iterator[SourcePath | WebAddress]:
    """Files and folders' files, then URLs, then the pages of sitemaps, which are fetched for it; no source twice.

    Without a ``fetcher``, of files and folders alone. ``stop`` is asked before each, and while sitemaps come.

    Raises:
        Stopped: it was to stop.
    """

    def go_on() -> None:
        if stop():
            raise Stopped

    for source in expand(Path(text) for text in named if not is_url(text)):
        go_on()
        yield source
    if fetcher is None:
        return
    from indexer.web.sitemaps import Sitemaps, addresses

    pages = Sitemaps(fetcher, max_urls=max_urls, go_on=go_on)
    seen = set()
    for address in addresses(text for text in named if is_url(text)):
        seen.add(address.url)
        yield address
    for sitemap in sitemaps:
        for page in pages.pages(sitemap):
            go_on()
            if page.url not in seen:
                yield page
