from __future__ import annotations

import gzip
import json
import tempfile
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from indexer.cli import main
from indexer.commands.interruption import Interruption
from rag.cli import main as rag
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library
from tests.integration.programs import indexer
from tests.integration.web_server import Answer, Site, serving

PDF = Path(__file__).parents[2] / "examples" / "corpus" / "08-scaling-laws.pdf"
FULL = Path("/dev/full")
LIST = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</urlset>'
INDEX = '<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</sitemapindex>'

TEXT = "\ufeff{0}/a\r\n\r\n  {0}/b \r\n"
RSS = (
    '<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel><link>{0}/</link>'
    "<item><title>A</title><link>{0}/a</link></item>"
    '<item><atom:link rel="self" href="{0}/x"/><link>/b</link></item></channel></rss>'
)
ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom"><link href="{0}/"/>'
    '<entry><link rel="enclosure" href="{0}/x"/><link href="{0}/a"/></entry>'
    '<entry><link rel="alternate" href="/b">\n</link></entry></feed>'
)


@pytest.fixture
def site():
    with serving(Site()) as running:
        yield running


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAG_FETCH_ALLOW", "127.0.0.0/8")
    monkeypatch.setenv("RAG_FETCH_DELAY_S", "0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())

    return indexer(monkeypatch)


@pytest.fixture
def ingest(run):
    """Ingests; gives back the line of each source and the summary."""

    def invoke(*arguments: str, exit_code: int = 0) -> tuple[list[dict], dict]:
        lines = [
            json.loads(line) for line in run("ingest", *arguments, "--json", exit_code=exit_code).stdout.splitlines()
        ]
        return [line for line in lines if line["type"] == "file"], next(x for x in lines if x["type"] == "summary")

    return invoke


@pytest.fixture
def listed(run):
    return lambda: json.loads(run("list", "--json").stdout)["documents"]


def entry(url: str, lastmod: str = "", kind: str = "url") -> str:
    return f"<{kind}><loc>{url}</loc>{f'<lastmod>{lastmod}</lastmod>' if lastmod else ''}</{kind}>"


def test_a_page_is_a_document_at_its_url(run, ingest, listed, site, tmp_path) -> None:
    site.page("/rivers", "Rivers run down. The Vejle is one.")
    (tmp_path / "lake.md").write_text("# Lakes\n\nWater stands.\n")
    taken, summary = ingest(f"{site.base}/rivers#x", "lake.md", f"{site.base.upper().replace('HTTP', 'http')}/rivers")
    assert [line["uri"] for line in taken] == [str(tmp_path / "lake.md"), f"{site.base}/rivers"]
    assert (summary["ingested"], summary["failed"]) == (2, 0)
    document = listed()[1]
    assert (document["title"], document["media_type"]) == ("Rivers run down", "text/html")
    assert f"{site.base}/rivers" in run("history", f"{site.base}/rivers#other").stdout
    run("delete", f"{site.base}/rivers#other")
    assert len(listed()) == 1


def test_the_final_url_is_the_documents_and_the_way_there_is_told(run, ingest, listed, site) -> None:
    site.page("/old", "Rivers. They run.")
    ingest(f"{site.base}/old")
    site.answers["/old"] = Answer(status=301, headers={"Location": "/new"})
    site.page("/new", "Rivers. They run.", ETag='"7"')
    (first,), _summary = ingest(f"{site.base}/old")
    assert (first["uri"], first["outcome"]) == (f"{site.base}/new", "ingested")
    (notice,) = first["notices"]
    assert notice.startswith(f"{site.base}/old leads here.")
    assert f"`indexer delete {site.base}/old`" in notice
    assert len(listed()) == 2
    run("delete", f"{site.base}/old")
    (again,), _summary = ingest(f"{site.base}/old")
    assert (again["outcome"], again["notices"]) == ("unchanged", [f"{site.base}/old leads here."])
    assert site.asked[-1][1]["if-none-match"] == '"7"'


def test_two_urls_that_lead_to_one_long_page_are_one_document(ingest, listed, site, monkeypatch) -> None:
    monkeypatch.setattr("rag.stores.writing.staging._HELD_CHARACTERS", 50)  # to disk before its end is read
    monkeypatch.setattr("indexer.embedding_group._LONGEST_WAIT_S", 60)
    site.page("/new", f"Rivers. {'They run on and on. ' * 10}")
    for path in ("/old", "/older"):
        site.answers[path] = Answer(status=301, headers={"Location": "/new"})
    site.page("/other", "Lakes. They stand.")
    _lines, summary = ingest(*(f"{site.base}{path}" for path in ("/old", "/older", "/new", "/other")))
    assert (summary["ingested"], summary["failed"]) == (2, 0)
    assert [document["uri"] for document in listed()] == [f"{site.base}/new", f"{site.base}/other"]


def test_what_has_not_changed_is_not_sent_again(ingest, site) -> None:
    modified = "Wed, 21 Oct 2026 07:28:00 GMT"
    site.page("/a", "Rivers. They run.", ETag='"1"', Last_Modified=modified)
    url = f"{site.base}/a"
    assert ingest(url)[0][0]["outcome"] == "ingested"
    assert "if-none-match" not in site.asked[-1][1]
    for _time in range(2):  # the 304 repeats neither of both
        assert ingest(url)[0][0]["outcome"] == "unchanged"
        asked = site.asked[-1][1]
        assert (asked["if-none-match"], asked["if-modified-since"]) == ('"1"', modified)
    assert ingest(url, "--meta", "kind=river")[0][0]["outcome"] == "replaced"
    assert "if-none-match" not in site.asked[-1][1]
    site.page("/a", "Rivers. They run dry.", ETag='"2"')
    assert ingest(url)[0][0]["outcome"] == "replaced"
    site.page("/a", "Rivers. They run dry.", ETag='"3"')
    assert ingest(url)[0][0]["outcome"] == "unchanged"
    ingest(url)
    assert site.asked[-1][1]["if-none-match"] == '"3"'


def test_a_page_that_is_gone_fails_and_stays(ingest, listed, site) -> None:
    site.page("/a", "Rivers. They run.")
    ingest(f"{site.base}/a")
    site.answers["/a"] = Answer(status=410)
    (line,), _summary = ingest(f"{site.base}/a", exit_code=1)
    assert line["error"]["code"] == "source_not_found"
    assert f"`indexer delete {site.base}/a`" in line["error"]["hint"]
    assert len(listed()) == 1


def test_private_addresses_are_refused_unless_a_setting_names_them(ingest, site, monkeypatch) -> None:
    monkeypatch.delenv("RAG_FETCH_ALLOW")
    site.page("/a", "Rivers. They run.")
    (line,), _summary = ingest(f"{site.base}/a", exit_code=1)
    assert line["error"]["code"] == "source_address_refused"
    assert "RAG_FETCH_ALLOW=127.0.0.1" in line["error"]["hint"]
    assert site.asked == []


def test_what_it_is_follows_from_its_content_with_the_servers_word_as_a_hint(ingest, listed, site) -> None:
    pdf = PDF.read_bytes()
    site.answers["/get?id=7"] = Answer(body=pdf, headers={"Content-Type": "text/html"})
    site.answers["/page.php"] = Answer(body=b"<p>Rivers run.</p>", headers={"Content-Type": "text/html"})
    site.answers["/table"] = Answer(body=b"river,km\nVejle,41\n", headers={"Content-Type": "text/csv"})
    site.answers["/doc.md"] = Answer(body=b"# Rivers\n\nThey run.\n", headers={"Content-Type": "text/plain"})
    ingest(*(f"{site.base}{path}" for path in site.answers))
    types = {document["uri"].removeprefix(site.base): document["media_type"] for document in listed()}
    assert types == {
        "/get?id=7": "application/pdf", "/page.php": "text/html", "/table": "text/csv", "/doc.md": "text/markdown",
    }  # fmt: skip


def test_the_charset_of_the_header_is_honoured(ingest, listed, site) -> None:
    body = "<title>Реки</title><meta charset=iso-8859-1><p>Вода течёт вниз.</p>".encode("cp1251")
    site.answers["/a"] = Answer(body=body, headers={"Content-Type": "text/html; charset=windows-1251"})
    ingest(f"{site.base}/a")
    assert listed()[0]["title"] == "Реки"


def test_the_limit_of_a_files_size_is_that_of_a_page(ingest, site, monkeypatch) -> None:
    monkeypatch.setenv("RAG_MAX_FILE_BYTES", "1000")
    site.page("/a", "Rivers. " + "x" * 1000)
    (line,), _summary = ingest(f"{site.base}/a", exit_code=1)
    assert line["error"]["code"] == "source_too_large"


def test_what_is_in_an_archive_at_a_url(ingest, site, tmp_path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in.txt", "Rivers run.")
    body = (tmp_path / "a.zip").read_bytes()
    site.answers["/a.zip"] = Answer(body=body, headers={"ETag": '"1"', "Content-Type": "application/zip"})
    taken, _summary = ingest(f"{site.base}/a.zip")
    assert sorted(line["uri"] for line in taken) == [f"{site.base}/a.zip", f"{site.base}/a.zip!/in.txt"]
    assert [line["outcome"] for line in ingest(f"{site.base}/a.zip")[0]] == ["unchanged"]


@pytest.mark.skipif(not FULL.exists(), reason="has no device that is always full")
@pytest.mark.parametrize("full", [False, True])
def test_pages_and_members_are_on_their_way_in_the_data_directory(ingest, site, tmp_path, monkeypatch, full) -> None:
    make, spool, spooled = tempfile.TemporaryFile, tmp_path / "home" / "spool", []

    def noting(**where):
        if where.get("dir") != spool:
            return make(**where)
        spooled.append(FULL.open("r+b") if full else make(**where))
        return spooled[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", noting)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in.txt", "Lakes.")
    site.page("/rivers", "Rivers run.")
    (tmp_path / "z.txt").write_text("Seas.")
    lines, summary = ingest("a.zip", "z.txt", f"{site.base}/rivers", exit_code=int(full))
    assert (len(spooled), list(spool.iterdir())) == (2, [])
    failed = [line["uri"].rpartition("/")[2] for line in lines if line["outcome"] == "failed"]
    assert failed == (["in.txt", "rivers"] if full else [])
    assert summary["ingested"] == 4 - len(failed)


def test_the_pages_of_a_sitemap_are_taken_in(ingest, site) -> None:
    site.page("/a", "Rivers. They run.")
    site.page("/b", "Lakes. They stand.")
    inner = LIST.format(entry(f"{site.base}/b") + entry(f"{site.base}/a") + entry("http://elsewhere.example/c"))
    inner = inner.replace("</urlset>", entry(f"{site.base}/private") + "</urlset>")
    site.answers["/one.xml"] = Answer(body=LIST.format(entry(f" {site.base}/a ")).encode())
    site.answers["/two.xml.gz"] = Answer(body=gzip.compress(inner.encode()))
    both = entry(f"{site.base}/one.xml", kind="sitemap") + entry("/two.xml.gz", kind="sitemap")
    site.answers["/sitemap.xml"] = Answer(body=f'<?xml version="1.0"?>{INDEX.format(both)}'.encode())
    site.answers["/robots.txt"] = Answer(body=b"User-agent: *\nDisallow: /private\n")
    taken, summary = ingest("--sitemap", f"{site.base}/sitemap.xml")
    assert (summary["failed"], summary["left_out"]) == (0, {"foreign address": 1, "disallowed page": 1})
    found = {line["uri"]: (line["error"] or line)["code" if line["error"] else "outcome"] for line in taken}
    assert found == {
        f"{site.base}/a": "ingested",
        f"{site.base}/b": "ingested",
        f"{site.base}/private": "source_left_out",
        "http://elsewhere.example/c": "source_left_out",
    }
    (refused, _) = ingest(f"{site.base}/private", exit_code=1)  # asked for by itself
    assert refused[0]["error"]["code"] == "source_disallowed"


@pytest.mark.parametrize("body", [TEXT, RSS, ATOM], ids=["text", "rss", "atom"])
def test_a_site_may_list_its_pages_in_a_text_or_a_feed(ingest, site, body: str) -> None:
    for page in "ab":
        site.page(f"/{page}", f"{page} is a page.")
    site.answers["/list"] = Answer(body=body.format(site.base).encode())
    taken, summary = ingest("--sitemap", f"{site.base}/list")
    assert [line["uri"] for line in taken] == [f"{site.base}/a", f"{site.base}/b"]
    assert summary["ingested"] == 2


def test_what_a_sitemap_dates_is_not_asked_for_again(ingest, site) -> None:
    def lists(lastmod: str) -> None:
        site.answers["/s.xml"] = Answer(body=LIST.format(entry(f"{site.base}/a", lastmod)).encode())

    def pages_asked_for(*, outcome: str) -> int:
        site.asked.clear()
        (line,), _summary = ingest("--sitemap", f"{site.base}/s.xml")
        assert line["outcome"] == outcome
        return site.paths().count("/a")

    site.page("/a", "Rivers. They run.", ETag='"1"')
    lists("2026-01-31T10:00:00+01:00")
    assert pages_asked_for(outcome="ingested") == 1
    assert pages_asked_for(outcome="unchanged") == 0
    lists("2026-02-01")
    assert pages_asked_for(outcome="unchanged") == 1
    assert pages_asked_for(outcome="unchanged") == 0
    lists("2999-01-01")  # a day that is not over: the page may change again
    assert pages_asked_for(outcome="unchanged") == 1
    assert pages_asked_for(outcome="unchanged") == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<html><body>Not here</body></html>", "source_damaged"),
        (b"", "source_damaged"),
        (LIST.format("").encode(), "source_not_found"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><urlset><url><loc>/&b;</loc></url>', "source_damaged"),
        (gzip.compress(bytes(51 << 20), mtime=0), "source_too_large"),
        (gzip.compress(b"<urlset/>", mtime=0)[:-3], "source_damaged"),
    ],
)
def test_what_is_no_sitemap_is_told(ingest, site, body: bytes, code: str) -> None:
    site.answers["/s.xml"] = Answer(body=body)
    (line,), _summary = ingest("--sitemap", f"{site.base}/s.xml", exit_code=1)
    assert (line["uri"], line["error"]["code"]) == (f"{site.base}/s.xml", code)


@pytest.mark.parametrize(("status", "code"), [(404, "source_not_found"), (403, "source_unreadable")])
def test_a_sitemap_that_is_not_there_is_told_what_to_do_about_a_sitemap(ingest, site, status, code) -> None:
    site.answers["/s.xml"] = Answer(status=status)
    (line,), _summary = ingest("--sitemap", f"{site.base}/s.xml", exit_code=1)
    assert line["error"]["code"] == code
    assert "robots.txt often names its sitemaps" in line["error"]["hint"]
    assert "delete" not in line["error"]["hint"]


def test_a_sitemap_may_begin_with_an_empty_line_and_break_off(ingest, site) -> None:
    whole = '\n<?xml version="1.0"?>' + LIST.format("<url><loc>/a</loc></url><url><loc>/b</loc></url>")
    site.page("/a", "Rivers. They run.")
    site.page("/b", "Lakes. They stand.")
    site.answers["/s.xml"] = Answer(body=whole.encode())
    assert len(ingest("--sitemap", f"{site.base}/s.xml")[0]) == 2
    site.answers["/s.xml"] = Answer(body=whole[:-40].encode())
    lines, _summary = ingest("--sitemap", f"{site.base}/s.xml", exit_code=1)
    (failed,) = (line for line in lines if line["outcome"] == "failed")
    assert "cannot be read to its end" in failed["error"]["message"]


def test_sitemaps_that_list_each_other_end(ingest, site) -> None:
    for name, other in (("/a.xml", "/b.xml"), ("/b.xml", "/a.xml")):
        site.answers[name] = Answer(body=INDEX.format(entry(other, kind="sitemap")).encode())
    ingest("--sitemap", f"{site.base}/a.xml")
    assert site.paths() == ["/robots.txt", "/a.xml", "/b.xml"]


def test_more_pages_than_the_limit_are_left_out_and_told(ingest, site, monkeypatch) -> None:
    monkeypatch.setenv("RAG_MAX_SITEMAP_URLS", "2")
    for name in "abc":
        site.page(f"/{name}", f"River {name}. It runs.")
    site.answers["/s.xml"] = Answer(body=LIST.format("".join(entry(f"/{name}") for name in "abc")).encode())
    taken, summary = ingest("--sitemap", f"{site.base}/s.xml", exit_code=1)
    assert summary["ingested"] == 2
    assert taken[-1]["error"]["code"] == "source_too_large"
    assert "RAG_MAX_SITEMAP_URLS" in taken[-1]["error"]["hint"]


def test_a_page_of_a_sitemap_does_not_lead_away_from_its_site(ingest, site) -> None:
    with serving(Site()) as other:
        other.page("/login", "Log in.")
        site.answers["/a"] = Answer(status=302, headers={"Location": f"{other.base}/login"})
        site.answers["/s.xml"] = Answer(body=LIST.format(entry("/a")).encode())
        (line,), _summary = ingest("--sitemap", f"{site.base}/s.xml", exit_code=1)
        assert line["error"]["code"] == "source_address_refused"
        assert other.asked == []


def test_a_run_that_is_stopped_does_not_wait_for_a_page_that_drips(ingest, site, monkeypatch) -> None:
    site.answers["/slow"] = Answer(body=b"x" * 1000, drip_s=0.5)  # longer than a test may take
    monkeypatch.setattr(Interruption, "requested", lambda _self: "/slow" in site.paths())
    lines, summary = ingest(f"{site.base}/slow", f"{site.base}/b", exit_code=1)
    assert (lines, summary["ingested"], summary["skipped"]) == ([], 0, 2)
    assert "/b" not in site.paths()


def test_a_sitemap_is_no_document(ingest, site) -> None:
    site.answers["/s.xml"] = Answer(body=b'<?xml version="1.0"?>\n<!-- made -->\n' + LIST.format(entry("/a")).encode())
    (line,), _summary = ingest(f"{site.base}/s.xml", exit_code=1)
    assert line["error"]["code"] == "source_unsupported"
    assert f"--sitemap {site.base}/s.xml" in line["error"]["hint"]


def test_other_schemes_passwords_and_nothing(run, ingest) -> None:
    taken, _summary = ingest("file:///etc/passwd", "https://me:hunter2@h.example/", exit_code=1)
    assert [line["error"]["code"] for line in taken] == ["source_address_refused"] * 2
    assert "hunter2" not in json.dumps(taken)
    assert "--sitemap" in run("ingest", exit_code=2).output


def test_a_search_shows_the_url(tmp_path, monkeypatch, site, embedder_path) -> None:
    site.page("/harbours", "The lighthouse of Kolding was rebuilt in 1871, after the storm.")
    site.page("/bread", "Rye bread needs a day to rise.")
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAG_FETCH_ALLOW", "127.0.0.1")
    monkeypatch.setenv("RAG_FETCH_DELAY_S", "0")
    taken = CliRunner().invoke(main, ["ingest", f"{site.base}/harbours", f"{site.base}/bread"], catch_exceptions=False)
    assert taken.exit_code == 0, taken.output
    found = CliRunner().invoke(rag, ["search", "when was the beacon built again", "-k", "1"], catch_exceptions=False)
    assert f"({site.base}/harbours)" in found.output
