from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.web.names import charset_of, name_of
from indexer.web.sitemaps import SITEMAP_START, addresses
from indexer.web.urls import is_url, normalised, origin_of, same_site, stored_uri
from rag.errors import SourceAddressRefused


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("HTTP://Example.COM:80", "http://example.com/"),
        (" https://example.com:443/a/./b/../c?q=1&r=2#part ", "https://example.com/a/c?q=1&r=2"),
        ("https://example.com:8443/", "https://example.com:8443/"),
        ("https://example.com./", "https://example.com/"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://h.example/%7euser/%c3%bc%2f", "https://h.example/~user/%C3%BC%2F"),
        ("https://h.example/a!/b", "https://h.example/a%21/b"),
        ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
        ("https://h.example/x/%2E%2e/private/p", "https://h.example/private/p"),
        ("https://h.example/a/%2E%2E/../b/.%2e/c?d=%2e%2e/", "https://h.example/c?d=../"),
        ("https://h.example/%%32E%%32E/%zz", "https://h.example/%252E%252E/%25zz"),
        ("https://h.example/a!/%2e/b/%252E%252E/c", "https://h.example/a%21/b/%252E%252E/c"),
    ],
)
def test_one_spelling_for_each_address(given_url: str, expected: str) -> None:
    assert normalised(given_url) == expected
    assert normalised(expected) == expected


@pytest.mark.parametrize(
    "refused",
    [
        "file:///etc/passwd", "ftp://h.example/", "gopher://h.example/", "http:///x", "http://", "http://h.example:0/",
        "http://h.example:99999/", "http://a b/", "http://a\\b/", "http://h.example/\x01", "http://-h.example/",
        "http://h.example/" + "a" * 9000,
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(refused: str) -> None:
    with pytest.raises(SourceAddressRefused):
        normalised(refused)


def test_an_address_without_a_scheme_is_told_as_that() -> None:
    with pytest.raises(SourceAddressRefused, match=r"^docs is not an http or https address\. "):
        normalised("docs")


@pytest.mark.parametrize("url", ["https://me:hunter2@h.example/", "https://hunter2@h.example/x", "ftp://a:hunter2@h/"])
def test_a_password_is_refused_and_shown_nowhere(url: str) -> None:
    (address,) = addresses([url])
    assert address.error is not None
    assert "hunter2" not in f"{address.uri} {address.error}"


def test_relative_addresses_are_meant_from_where_they_stand() -> None:
    assert normalised("../b#x", base="https://h.example/a/c/d") == "https://h.example/a/b"
    assert normalised("%2e%2e/%2E/b", base="https://h.example/a/c/d") == "https://h.example/a/b"
    assert normalised("//other.example", base="https://h.example/a") == "https://other.example/"


def test_paths_are_told_from_urls() -> None:
    assert [is_url(text) for text in ("https://h/x", "HTTP://h", "file:///x", "a/b.md", "C:/x", "a://b")] == [
        True, True, True, False, False, True,
    ]  # fmt: skip
    assert stored_uri("HTTPS://H.example/#x") == "https://h.example/"
    assert stored_uri("/srv/../srv/a.md") == "/srv/a.md"


def test_sites() -> None:
    assert same_site("http://h.example/a", "https://h.example/b")
    assert not same_site("https://h.example/", "https://www.h.example/")
    assert not same_site("https://h.example/", "https://h.example:8443/")
    assert origin_of("https://h.example:8443/a/b?c") == "https://h.example:8443"


def test_addresses_come_once() -> None:
    assert [address.url for address in addresses(["https://h.example", "HTTPS://h.example/#a"])] == [
        "https://h.example/"
    ]


@given(
    st.text(max_size=60) | st.text("%2eE./.!~x?5 6@:#", max_size=40),
    st.sampled_from(["", "http://h.example/", "https://h.example/a?", "http://"]),
)
def test_normalising_settles(text: str, before: str) -> None:
    try:
        once = normalised(before + text)
    except SourceAddressRefused:
        return
    assert normalised(once) == once
    assert once.isascii()
    assert "#" not in once
    assert "!/" not in once
    assert "@" not in once.split("/")[2]
    assert not {".", ".."} & set(once.partition("?")[0].split("/"))


@pytest.mark.parametrize(
    ("url", "headers", "name"),
    [
        ("https://h.example/", {"content-type": "text/html"}, "h.example.html"),
        ("https://h.example/a/index.php?x=1", {"content-type": "text/html; charset=x"}, "index.html"),
        ("https://h.example/v1.2/guide", {"content-type": "text/html"}, "guide.html"),
        ("https://h.example/README.md", {"content-type": "text/plain"}, "README.md"),
        ("https://h.example/main.py", {"content-type": "application/octet-stream"}, "main.py"),
        ("https://h.example/get?id=7", {"content-disposition": 'attachment; filename="../a b.csv"'}, "a b.csv"),
        ("https://h.example/get", {"content-disposition": "attachment; filename*=UTF-8''%C3%BC.md"}, "ü.md"),
        ("https://h.example/..", {}, "h.example"),
        ("https://h.example/%2e%2e%2fpasswd", {}, "passwd"),
    ],
)
def test_the_name_it_would_have_as_a_file(url: str, headers: dict[str, str], name: str) -> None:
    assert str(name_of(normalised(url), headers)) == name


def test_the_servers_charset_by_what_is_meant() -> None:
    assert charset_of({"content-type": "text/html; charset=ISO-8859-1"}) == "cp1252"
    assert charset_of({"content-type": 'text/html; charset="windows-1251"'}) == "windows-1251"
    assert charset_of({"content-type": "text/html"}) is None


def test_a_sitemap_may_begin_with_comments_and_instructions():
    assert SITEMAP_START.match(b"<?xml version='1.0'?><?style?>\n" + b"<!-- - -- > -->\n" * 6 + b"<s:urlset>")


@pytest.mark.timeout(20)  # in vain for years if what repeats is tried again
@pytest.mark.parametrize("start", [b"<!---->" * 3000, b"<?a?>" * 4000, b"<!-- " * 3000 + b"--><?a?>" * 3000])
def test_no_start_of_a_page_takes_more_than_a_moment(start):
    assert SITEMAP_START.match(start) is None


@pytest.mark.timeout(20)
def test_no_media_type_takes_more_than_a_moment():
    assert charset_of({"content-type": "text/html; charset=" + " " * 200_000 + ";"}) is None
