"""Uploads that mean harm or are broken: refused at once or by the worker, each for its reason."""

from __future__ import annotations

import gzip
import json
import sys
from contextlib import asynccontextmanager

import httpx2 as httpx
import pytest
from click.testing import CliRunner

from api.app import create_app
from indexer.cli import main
from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library, open_library
from tests.unit.api_library import ScriptedLibrary
from tests.unit.mails import zipped
from tests.unit.office_files import docx, paragraph
from tests.unit.pdf_pages import make_pdf

GOOD = b"Lakes hold water."
FILES = {
    "good.txt": (GOOD, None),
    "../../etc/evil.txt": (GOOD, None),
    "-rf": (GOOD, None),
    "[bold]x[/].txt": (GOOD, None),
    "spaces.txt": (b" \n\n", "source_has_no_text"),
    "locked.pdf": (make_pdf([["secret"]], encrypted=True), "source_encrypted"),
    "torn.pdf": (make_pdf([["words"]])[:300], "source_damaged"),
    "torn.docx": (docx(paragraph("words"))[:400], "source_damaged"),
    "bomb.zip": (zipped({"zeros.txt": bytes(80 << 20)}), "source_too_large"),
    "bomb.txt.gz": (gzip.compress(bytes(80 << 20)), "source_too_large"),
    "outside.xml": (b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>', "source_unsafe"),
    "noise.txt": (bytes(range(256)) * 9, "source_binary"),
}


@pytest.fixture
def real(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())
    monkeypatch.setattr("os.nice", lambda _: 0)  # the tests that follow are not to be slow
    with open_library(Settings(_env_file=None)) as library:
        yield library


@asynccontextmanager
async def serving(real):
    library = ScriptedLibrary()
    library.store, library.history, library.jobs, library.blobs = real.store, real.history, real.jobs, real.blobs
    app = create_app(real.settings, library)
    async with app.lifespan():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


def work(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["indexer", "worker", "--once", "--json"])
    result = CliRunner().invoke(main, ["worker", "--once", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output


async def test_each_upload_has_its_own_reason_and_leaves_nothing_behind(real, monkeypatch, tmp_path):
    sent = [("file", (name, content)) for name, (content, _) in FILES.items()]
    async with serving(real) as client:
        response = await client.post("/v1/documents", files=sent)
        assert response.status_code == 202, response.text
        work(monkeypatch)
        told = (await client.get(f"/v1/jobs/{response.json()['id']}/files")).json()
    codes = {file["uri"]: (file["error"] or {}).get("code") for file in told["files"]}
    assert codes == {f"upload:{name}": code for name, (_, code) in FILES.items()}
    assert list((real.settings.home / "blobs").iterdir()) == []
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("name", ["a\nb.txt", "\x1b[2J.txt", "order\u202etxt.exe", "a!/b.txt", "x" * 2001, "tab\t.txt"])
async def test_names_that_no_citation_could_show_are_refused(real, name):
    async with serving(real) as client:
        response = await client.post("/v1/documents", files={"file": ("f.txt", GOOD)}, data={"uri": name})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert real.jobs.jobs() == []


async def test_what_says_that_it_is_too_large_is_refused_unread(real):
    async def body():
        pytest.fail("it was read")
        yield b""

    headers = {"content-type": "multipart/form-data; boundary=b", "content-length": str(5 << 30)}
    async with serving(real) as client:
        response = await client.post("/v1/documents", content=body(), headers=headers)
    assert response.status_code == 413
    assert json.loads(response.text)["code"]
    assert real.jobs.jobs() == []
