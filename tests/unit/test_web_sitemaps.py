"""Sitemaps without a server: what they take of the machine that reads them."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import pytest

from indexer.web import sitemaps
from indexer.web.sitemaps import Sitemaps
from rag.errors import SourceTooLarge


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


@pytest.mark.parametrize("within", ["{}", "<url>{}</url>"])
def test_a_list_of_nothing_is_not_read_to_its_end(within, monkeypatch):
    monkeypatch.setattr(sitemaps, "_FILE_ELEMENTS", 1000)
    content = f"<urlset>{within.format('<x/>' * 2000)}</urlset>".encode()
    (found,) = Sitemaps(Site(content), max_urls=10).pages("https://example.org/sitemap.xml")
    assert isinstance(found.error, SourceTooLarge)
    assert "1,000 elements" in found.error.message
