"""Sitemaps without a server: what they take of the machine that reads them."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

from indexer.web.sitemaps import Sitemaps


class Site:
    """Answers every address with the same."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def fetch(self, url, write, *, site, max_bytes):
        write(self.content)
        return SimpleNamespace(url=url)


def test_a_text_is_read_line_by_line():
    content = b"https://example.org/\n" + b"ab\n" * (1 << 20)
    tracemalloc.start()
    try:
        first = next(Sitemaps(Site(content), max_urls=10).pages("https://example.org/sitemap.txt"))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert first.url == "https://example.org/"
    assert most < 4 * len(content)
