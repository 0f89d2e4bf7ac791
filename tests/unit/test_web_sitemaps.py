"""Sitemaps without a server: what they take of the machine that reads them."""

from __future__ import annotations

import gzip
import tracemalloc
from types import SimpleNamespace

import pytest

from indexer.web import sitemaps
from indexer.web.sitemaps import Sitemaps
from rag.errors import SourceDamaged, SourceTooLarge


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
        first = next(Sitemaps(Site(content), max_urls=10, go_on=lambda: None).pages("https://example.org/sitemap.txt"))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert first.url == "https://example.org/"
    assert most < 4 * len(content)


@pytest.mark.parametrize("within", ["{}", "<url>{}</url>"])
def test_a_list_of_nothing_is_not_read_to_its_end(within, monkeypatch):
    monkeypatch.setattr(sitemaps, "_FILE_ELEMENTS", 1000)
    content = f"<urlset>{within.format('<x/>' * 2000)}</urlset>".encode()
    (found,) = Sitemaps(Site(content), max_urls=10, go_on=lambda: None).pages("https://example.org/sitemap.xml")
    assert isinstance(found.error, SourceTooLarge)
    assert "1,000 elements" in found.error.message


def test_a_packed_sitemap_may_have_several_members():
    halves = b"https://example.org/a\nhttps://exam", b"ple.org/b\n"
    packed = b"".join(map(gzip.compress, halves))
    read = Sitemaps(Site(packed), max_urls=10, go_on=lambda: None).pages
    assert [page.url for page in read("https://example.org/sitemap.txt.gz")] == [
        "https://example.org/a",
        "https://example.org/b",
    ]
    (torn,) = Sitemaps(Site(packed[:-9]), max_urls=10, go_on=lambda: None).pages("https://example.org/sitemap.txt.gz")
    assert isinstance(torn.error, SourceDamaged)


@pytest.mark.timeout(60)
def test_a_packed_sitemap_of_a_million_members_costs_seconds():
    packed = gzip.compress(b"") * 1_000_000 + gzip.compress(b"https://example.org/a\n")
    (page,) = Sitemaps(Site(packed), max_urls=10, go_on=lambda: None).pages("https://example.org/sitemap.txt.gz")
    assert page.url == "https://example.org/a"


class Indexes(Site):
    """Addresses at the root are indexes of what lies below them, each of which lists a page."""

    def __init__(self, entries: int) -> None:
        self.entries, self.asked = entries, []

    def fetch(self, url, write, *, site, max_bytes):
        self.asked.append(url)
        listed = "".join(f"<sitemap><loc>{url}/{number}</loc></sitemap>" for number in range(self.entries))
        leaf = url.count("/") > 3
        write(f"{url}.html".encode() if leaf else f"<sitemapindex>{listed}</sitemapindex>".encode())
        return SimpleNamespace(url=url)


def test_no_more_sitemaps_are_fetched_than_one_run_may(monkeypatch):
    monkeypatch.setattr(sitemaps, "_MOST_FILES", 3)
    site = Indexes(entries=5)
    pages = Sitemaps(site, max_urls=100, go_on=lambda: None)
    found = [*pages.pages("https://example.org/a"), *pages.pages("https://example.org/b")]
    assert len(site.asked) == 5, "those that are named, and three"
    assert [page.url for page in found if page.error is None] == [f"https://example.org/a/{n}.html" for n in range(3)]
    errors = [page for page in found if page.error is not None]
    assert [page.url for page in errors] == ["https://example.org/a", "https://example.org/b"]
    assert "lists more sitemaps than the 3 of one run" in errors[0].error.message


def test_between_sitemaps_it_is_asked_whether_to_go_on():
    class Enough(Exception):
        pass

    site = Indexes(entries=50)

    def go_on():
        if len(site.asked) == 4:
            raise Enough

    with pytest.raises(Enough):
        list(Sitemaps(site, max_urls=100, go_on=go_on).pages("https://example.org/a"))
    assert len(site.asked) == 4
