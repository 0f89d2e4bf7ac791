from __future__ import annotations

import gzip
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from indexer.web.addresses import AddressRules
from indexer.web.connections import Connections
from indexer.web.fetch import Fetcher
from indexer.web.names import name_of
from rag import __version__
from rag.errors import (
    SourceAddressRefused,
    SourceDisallowed,
    SourceNotFound,
    SourceTooLarge,
    SourceUnreachable,
    SourceUnreadable,
    SourceUnsupported,
)
from tests.integration.web_server import Answer, Site, serving


class Got:
    """What a fetch handed over."""

    def __init__(self, fetcher: Fetcher, waited: list[float]) -> None:
        self.fetcher, self.waited = fetcher, waited
        self.body = b""

    def __call__(self, url: str, **options):
        parts: list[bytes] = []
        fetched = self.fetcher.fetch(url, parts.append, **options)
        self.body = b"".join(parts)
        return fetched


@pytest.fixture
def site():
    with serving(Site()) as running:
        yield running


@pytest.fixture
def got(site):
    waited: list[float] = []
    rules = AddressRules(["127.0.0.1"])
    connections = Connections(rules, timeout_s=1.0, delay_s=0, pause=waited.append)
    with Fetcher(connections, max_bytes=100_000) as fetcher:
        yield Got(fetcher, waited)


def test_a_page_is_fetched_after_asking_the_site_for_its_rules_once(site, got) -> None:
    site.page("/a", "Water.")
    fetched = got(f"{site.base}/a")
    got(f"{site.base}/a")
    assert fetched.url == f"{site.base}/a"
    assert b"Water." in got.body
    assert site.paths() == ["/robots.txt", "/a", "/a"]
    assert {headers["user-agent"] for _path, headers in site.asked} == {f"Plumbline/{__version__}"}


def test_redirects_are_followed_to_where_it_is_in_the_end(site, got) -> None:
    site.answers["/a"] = Answer(status=301, headers={"Location": "b?x=1"})
    site.answers["/b?x=1"] = Answer(status=308, headers={"Location": f"{site.base}/c#part"})
    site.page("/c", "Water.")
    assert got(f"{site.base}/a").url == f"{site.base}/c"


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_addresses_and_names_in_headers_may_be_unescaped(site, got, charset) -> None:
    given = "süß".encode(charset).decode("latin-1")  # as the server writes it
    site.answers["/a"] = Answer(status=301, headers={"Location": f"/{given}"})
    site.page("/s%C3%BC%C3%9F", "Water.", Content_Disposition=f'attachment; filename="{given}.html"')
    fetched = got(f"{site.base}/a")
    assert fetched.url == f"{site.base}/s%C3%BC%C3%9F"
    assert name_of(fetched.url, fetched.headers).name == "süß.html"


def test_redirects_end(site, got) -> None:
    site.answers["/a"] = Answer(status=302, headers={"Location": "/a"})
    with pytest.raises(SourceUnreachable, match="leads on more than 5 times"):
        got(f"{site.base}/a")
    assert site.paths().count("/a") == 6


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data", "http://[::1]:1/", "file:///etc/passwd", "http://a:b@127.0.0.1/"],
)
def test_a_redirect_to_where_nobody_may_go_is_refused(site, got, target: str) -> None:
    site.answers["/a"] = Answer(status=302, headers={"Location": target})
    with pytest.raises(SourceAddressRefused, match=f"{site.base}/a leads"):
        got(f"{site.base}/a")
    assert got.body == b""


def test_rules_that_lead_to_where_nobody_may_go_are_told_as_that(site, got) -> None:
    site.answers["/robots.txt"] = Answer(status=301, headers={"Location": "http://10.0.0.1/robots.txt"})
    for path in ("/a", "/b"):
        with pytest.raises(SourceAddressRefused, match=rf"^{site.base}/robots\.txt leads to http://10\.0\.0\.1/"):
            got(f"{site.base}{path}")


def test_a_redirect_to_another_site_is_refused_where_the_site_is_given(site, got) -> None:
    with serving(Site()) as other:
        other.page("/b", "Elsewhere.")
        site.answers["/a"] = Answer(status=302, headers={"Location": f"{other.base}/b"})
        assert got(f"{site.base}/a").url == f"{other.base}/b"
        other.asked.clear()
        with pytest.raises(SourceAddressRefused, match="another site"):
            got(f"{site.base}/a", site=f"{site.base}/sitemap.xml")
        assert other.asked == []


def test_the_address_that_was_checked_is_the_one_connected_to(site, monkeypatch) -> None:
    """A name that resolves to a public address first and to a private one then is never connected to as the latter."""
    answers = iter([["1.2.3.4"], ["127.0.0.1"]])
    connected: list[tuple] = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[tuple]:
        if host != "rebinding.example":  # an address, which resolving leaves as it is
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    def connect(address: tuple, *_: object, **__: object) -> None:
        connected.append(address)
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    connections = Connections(AddressRules(), timeout_s=1.0, delay_s=0)
    with Fetcher(connections, max_bytes=1000) as fetcher, pytest.raises(SourceUnreachable):
        fetcher.fetch("http://rebinding.example/", print)
    assert connected == [("1.2.3.4", 80)]
    with (
        Fetcher(Connections(AddressRules(), timeout_s=1.0, delay_s=0), max_bytes=1000) as fetcher,
        pytest.raises(SourceAddressRefused, match=r"leads to 127\.0\.0\.1"),
    ):
        fetcher.fetch("http://rebinding.example/", print)
    assert len(connected) == 1


def test_a_name_that_is_allowed_is_asked_for_by_its_name(site, monkeypatch) -> None:
    port = int(site.base.rsplit(":", 1)[1])
    original = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: original("127.0.0.1" if host == "wiki.example" else host, *rest, **more),
    )
    site.page("/", "Water.")
    connections = Connections(AddressRules(["wiki.example"]), timeout_s=1.0, delay_s=0)
    with Fetcher(connections, max_bytes=1000) as fetcher:
        fetcher.fetch(f"http://wiki.example:{port}/", bytes)
    assert site.asked[-1][1]["host"] == f"wiki.example:{port}"


def test_a_site_is_asked_for_what_changed(site, got) -> None:
    site.page("/a", "Water.", ETag='"1"')
    fetched = got(f"{site.base}/a", conditions=lambda url: {"If-None-Match": '"1"'} if url.endswith("/a") else {})
    assert fetched.unchanged
    assert got.body == b""


@pytest.mark.parametrize(("status", "error"), [(404, SourceNotFound), (410, SourceNotFound), (403, SourceUnreadable)])
def test_what_a_server_does_not_give(site, got, status: int, error: type[Exception]) -> None:
    site.answers["/a"] = Answer(status=status, body=b"Sorry.")
    with pytest.raises(error, match=f"HTTP {status}"):
        got(f"{site.base}/a")
    assert got.body == b""


def test_a_busy_server_is_asked_again(site, got) -> None:
    site.page("/a", "Water.")
    site.answers["/a"].busy = 2
    got(f"{site.base}/a")
    assert got.waited == [0.0, 0.0]
    site.answers["/a"].busy = 3
    with pytest.raises(SourceUnreachable, match="HTTP 503"):
        got(f"{site.base}/a")


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(timedelta(seconds=20), 20.0), (timedelta(seconds=-20), 0.0), (timedelta(days=1), None), ("soon", None)],
)
def test_a_busy_server_may_name_a_date(site, got, asked, waited) -> None:
    given = asked if isinstance(asked, str) else format_datetime(datetime.now(UTC) + asked, usegmt=True)
    site.answers["/a"] = Answer(status=429, headers={"Retry-After": given})
    with pytest.raises(SourceUnreachable, match="HTTP 429"):
        got(f"{site.base}/a")
    assert got.waited == [] if waited is None else got.waited == pytest.approx([waited] * 2, abs=5)


def test_a_body_that_breaks_off_is_no_document(site, got) -> None:
    site.page("/a", "Water.")
    site.answers["/a"].cut = 10
    with pytest.raises(SourceUnreachable, match="cannot be read"):
        got(f"{site.base}/a")


def test_bytes_that_drip_have_a_deadline(site, got) -> None:
    site.answers["/a"] = Answer(body=b"x" * 1000, drip_s=0.05)
    with pytest.raises(SourceUnreachable, match="1 s in all"):
        got(f"{site.base}/a")


def test_a_server_that_is_not_there(got) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(SourceUnreachable, match="cannot be read"):
            got(f"http://127.0.0.1:{unused.getsockname()[1]}/")


def test_more_bytes_than_allowed_are_refused_before_and_while_they_come(site, got) -> None:
    site.answers["/stated"] = Answer(body=b"x" * 100_001)
    site.answers["/exact"] = Answer(body=b"x" * 100_000)
    site.answers["/bomb"] = Answer(body=gzip.compress(bytes(50 << 20)), headers={"Content-Encoding": "gzip"})
    assert len(site.answers["/bomb"].body) < 100_000
    got(f"{site.base}/exact")
    assert len(got.body) == 100_000
    for path in ("/stated", "/bomb"):
        sizes: list[int] = []
        with pytest.raises(SourceTooLarge, match="100,000"):
            got.fetcher.fetch(f"{site.base}{path}", lambda data, sizes=sizes: sizes.append(len(data)))
        assert sum(sizes) <= 100_000


def test_gzip_is_undone_in_several_members_and_refused_when_torn(site, got) -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"two")
    site.answers["/a"] = Answer(body=packed, headers={"Content-Encoding": "gzip"})
    site.answers["/torn"] = Answer(body=packed[:-4], headers={"Content-Encoding": "gzip"})
    site.answers["/not"] = Answer(body=b"plain", headers={"Content-Encoding": "gzip"})
    site.answers["/br"] = Answer(body=b"x", headers={"Content-Encoding": "br"})
    got(f"{site.base}/a")
    assert got.body == b"one two"
    for path in ("/torn", "/not"):
        with pytest.raises(SourceUnreachable):
            got(f"{site.base}{path}")
    with pytest.raises(SourceUnsupported, match="'br'"):
        got(f"{site.base}/br")


def test_robots_txt_is_heeded_with_its_wildcards(site, got) -> None:
    rules = b"User-agent: *\nDisallow: /\n\nUser-agent: plumbline\nDisallow: /private/*.html$\nAllow: /\n"
    site.answers["/robots.txt"] = Answer(body=rules)
    site.page("/open.html", "Water.")
    site.page("/private/a.html", "Secret.")
    got(f"{site.base}/open.html")
    with pytest.raises(SourceDisallowed, match=r"/robots\.txt asks programs not to fetch"):
        got(f"{site.base}/private/a.html")
    site.answers["/way"] = Answer(status=302, headers={"Location": "/private/a.html"})
    with pytest.raises(SourceDisallowed):
        got(f"{site.base}/way")
    assert "/private/a.html" not in site.paths()


@pytest.mark.parametrize(
    "rules",
    [
        b"\xef\xbb\xbfUser-agent: *\nDisallow: /a\n",
        b"User-agent: *\nAllow: /\n\nUser-agent: Other/2.0\nUser-agent: Plumbline/0.0.7 (+note)\nDisallow: /a\n",
    ],
    ids=["mark", "version"],
)
def test_rules_may_begin_with_a_mark_and_name_a_version(site, got, rules: bytes) -> None:
    site.answers["/robots.txt"] = Answer(body=rules)
    with pytest.raises(SourceDisallowed):
        got(f"{site.base}/a")


@pytest.mark.parametrize("status", [500, 503, 429])
def test_without_readable_rules_nothing_is_fetched(site, got, status: int) -> None:
    site.answers["/robots.txt"] = Answer(status=status, headers={"Retry-After": "3600"})
    site.page("/a", "Water.")
    for _attempt in range(2):
        with pytest.raises(SourceDisallowed, match=f"HTTP {status}"):
            got(f"{site.base}/a")
    assert site.paths() == ["/robots.txt"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_site_without_rules_allows_everything(site, got, status: int) -> None:
    site.answers["/robots.txt"] = Answer(status=status, body=b"User-agent: *\nDisallow: /")
    site.page("/a", "Water.")
    assert got(f"{site.base}/a").url == f"{site.base}/a"


def test_rules_are_read_where_a_redirect_leads_and_in_part_if_they_are_long(site, got) -> None:
    site.answers["/robots.txt"] = Answer(status=301, headers={"Location": "/rules"})
    site.answers["/rules"] = Answer(body=b"User-agent: *\nDisallow: /a\n" + b"# filler\n" * 100_000)
    site.page("/a", "Water.")
    with pytest.raises(SourceDisallowed):
        got(f"{site.base}/a")


def test_the_pause_that_a_site_asks_for_is_kept_up_to_a_limit(site, got) -> None:
    site.answers["/robots.txt"] = Answer(body=b"User-agent: *\nCrawl-delay: 86400\n")
    site.page("/a", "Water.")
    got(f"{site.base}/a")
    assert [round(seconds) for seconds in got.waited] == [30]


def test_one_connection_is_used_for_a_host(site, got, monkeypatch) -> None:
    opened: list[object] = []
    original = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: opened.append(a) or original(*a, **k))
    site.page("/a", "Water.")
    for _page in range(3):
        got(f"{site.base}/a")
    assert len(opened) == 1


def test_a_proxy_is_used_only_where_the_setting_names_it(site, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    site.page("/a", "Water.")
    with Fetcher(Connections(AddressRules(["127.0.0.1"]), timeout_s=1, delay_s=0), max_bytes=1000) as fetcher:
        fetcher.fetch(f"{site.base}/a", bytes)
    with serving(Site()) as proxy:
        proxy.page("http://far.example/a", "Water.")
        connections = Connections(AddressRules(), timeout_s=1, delay_s=0, proxy=proxy.base)
        with Fetcher(connections, max_bytes=1000) as fetcher:
            fetcher.fetch("http://far.example/a", bytes)
            assert proxy.paths() == ["http://far.example/robots.txt", "http://far.example/a"]
            with pytest.raises(SourceAddressRefused):
                fetcher.fetch("http://127.0.0.1/", bytes)
