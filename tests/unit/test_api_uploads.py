"""Uploads and the jobs they become, over a real store."""

from __future__ import annotations

import gc
import json
import tempfile
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2 as httpx
import pytest
from sqlalchemy import Engine, event, update

from api.app import create_app
from indexer.commands.jobs import as_object
from rag.config import Settings
from rag.factory import open_library
from rag.job_types import JobFile, JobState
from rag.stores.collection_rows import change_collection, collection_row
from rag.stores.collections.ingest_lock import ReembeddingLock
from rag.stores.tables import VersionRow
from tests.contracts.store_builders import fingerprint, ingest
from tests.unit.api_library import ScriptedLibrary

FULL = Path("/dev/full")
FILE = {"file": ("report.md", b"# Report\n", "text/markdown")}


@pytest.fixture
def real(tmp_path):
    with open_library(Settings(home=tmp_path, _env_file=None)) as library:
        yield library


@pytest.fixture
def serving(real, tmp_path):
    library = ScriptedLibrary()
    library.store, library.history, library.jobs, library.blobs = real.store, real.history, real.jobs, real.blobs
    library.erase_deleted, library.purge, library.cancel_job = real.erase_deleted, real.purge, real.cancel_job
    library.drop, library.rename = real.drop, real.rename

    @asynccontextmanager
    async def client(**settings):
        app = create_app(Settings(_env_file=None, home=tmp_path, **settings), library)
        async with app.lifespan():
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                yield client

    return client


def kept(tmp_path):
    folder = tmp_path / "blobs"
    return sorted(path.read_bytes() for path in folder.iterdir()) if folder.is_dir() else []


async def test_an_upload_is_kept_and_queued(serving, real, tmp_path):
    async with serving() as client:
        response = await client.post("/v1/documents", files=FILE)
        job = response.json()
        assert (response.status_code, response.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
        assert (job["state"], job["collection"], job["uris"]) == ("queued", "default", ["upload:report.md"])
        assert (await client.get(f"/v1/jobs/{job['id']}")).json() == job
    assert as_object(real.jobs.job(job["id"])) == job  # in the terminal, with --json, it is the same
    assert kept(tmp_path) == [b"# Report\n"]
    (upload,) = real.jobs.claim("w").request.uploads
    assert real.blobs.path(upload.blob).read_bytes() == b"# Report\n"
    assert (upload.name, upload.size) == ("report.md", 9)


async def test_several_files_are_one_job_and_say_what_they_are(serving, real):
    files = [("file", ("a.txt", b"a")), ("file", ("b.txt", b"b"))]
    async with serving() as client:
        data = {"collection": "handbook", "metadata": json.dumps({"team": "red", "year": 2024})}
        body = (await client.post("/v1/documents", files=files, data=data)).json()
        assert (body["collection"], body["uris"]) == ("handbook", ["upload:a.txt", "upload:b.txt"])
        named = (await client.post("/v1/documents", files=FILE, data={"uri": "wiki:42"})).json()
        assert named["uris"] == ["wiki:42"]
    assert real.jobs.claim("w").request.metadata == {"team": "red", "year": 2024}


@pytest.mark.parametrize(
    ("files", "data", "pointer"),
    [
        ([("file", ("a", b"a")), ("file", ("b", b"b"))], {"uri": "one"}, "/uri"),
        ([("file", ("a", b"a")), ("file", ("a", b"b"))], {}, "/file"),
        (FILE, {"uri": "archive.zip!/inner"}, "/uri"),
        (FILE, {"uri": "line\nbreak"}, "/uri"),
        (FILE, {"uri": "x" * 2001}, "/uri"),
        (FILE, {"collection": "x" * 201}, "/collection"),
        (FILE, {"metadata": "{"}, "/metadata"),
        (FILE, {"metadata": "[1]"}, "/metadata"),
        (FILE, {"metadata": "[" * 2000}, "/metadata"),
    ],
)
async def test_what_cannot_be_taken_is_told_and_not_kept(serving, real, tmp_path, files, data, pointer):
    async with serving() as client:
        response = await client.post("/v1/documents", files=files, data=data)
    body = response.json()
    assert (response.status_code, body["code"]) == (422, "invalid_request")
    assert body["errors"][0]["pointer"] == pointer
    assert f"taken: {pointer[1:]}: " in body["detail"]
    assert kept(tmp_path) == []
    assert real.jobs.jobs() == []


async def test_an_upload_without_a_file_is_refused(serving):
    async with serving() as client:
        for form in ({"collection": (None, "c")}, {"metadata": (None, "{}")}):
            body = (await client.post("/v1/documents", files=form)).json()
            assert (body["status"], body["code"], body["detail"]) == (422, "invalid_request", "The form has no file.")
            assert body["errors"] == [{"pointer": "/file", "detail": "it is missing"}]
        for kind in ({"data": {"collection": "c"}}, {"json": {"file": "a"}}, {}):
            body = (await client.post("/v1/documents", **kind)).json()
            assert (body["status"], body["code"]) == (415, "unsupported_media_type")
            assert "multipart/form-data" in body["detail"]


async def test_a_form_that_is_too_long_or_cut_off_is_told(serving, tmp_path):
    async with serving() as client:
        many = await client.post("/v1/documents", files=[("file", (f"{n}.md", b"x")) for n in range(1001)])
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.md"\r\n\r\n'
        torn = await client.post("/v1/documents", content=head + b"It ends", headers=form)
    assert (many.status_code, torn.status_code) == (422, 422)
    assert "more than 1,000 parts" in many.json()["detail"]
    assert "cut off" in torn.json()["detail"]
    assert kept(tmp_path) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Litestar leaves the file to who collects garbage
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not FULL.exists(), reason="has no device that is always full")
async def test_a_form_for_which_there_is_no_room_is_told(serving, real, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_where: FULL.open("r+b", buffering=0))
    async with serving() as client:
        response = await client.post("/v1/documents", files={"file": ("large.txt", b"water " * 600_000)})
    gc.collect()
    body = response.json()
    assert (response.status_code, body["code"]) == (507, "disk_full")
    assert tempfile.gettempdir() in body["hint"]
    assert (kept(tmp_path), real.jobs.jobs()) == ([], [])


async def test_a_field_that_an_upload_does_not_know_is_refused_by_its_name(serving, real, tmp_path):
    async with serving() as client:
        body = (await client.post("/v1/documents", files=FILE, data={"metdata": '{"a": 1}', "uri": "wiki:1"})).json()
    assert (body["status"], body["code"]) == (422, "invalid_request")
    assert body["errors"] == [{"pointer": "/metdata", "detail": "it is not known"}]
    assert "metadata" in body["hint"]
    assert (kept(tmp_path), real.jobs.jobs()) == ([], [])


async def test_an_upload_with_an_empty_file_names_it_and_keeps_none(serving, real, tmp_path):
    async with serving() as client:
        files = [("file", ("good.txt", b"good")), ("file", ("hollow.txt", b""))]
        body = (await client.post("/v1/documents", files=files)).json()
    assert (body["code"], body["detail"]) == ("source_empty", "hollow.txt is empty.")
    assert (kept(tmp_path), real.jobs.jobs()) == ([], [])


async def test_empty_and_too_large_files_are_refused(serving, real, tmp_path):
    async with serving(max_file_bytes=10) as client:
        empty = await client.post("/v1/documents", files={"file": ("a", b"")})
        large = await client.post("/v1/documents", files={"file": ("a", b"x" * 11)})
        huge = await client.post("/v1/documents", files={"file": ("a", b"x" * (3 << 20))})
    assert empty.json()["code"] in {"source_empty", "invalid_request"}
    assert (large.status_code, large.json()["code"]) == (413, "source_too_large")
    assert huge.status_code == 413
    assert kept(tmp_path) == []
    assert real.jobs.jobs() == []


async def test_a_page_from_elsewhere_cannot_upload(serving, real):
    async with serving() as client:
        refused = await client.post("/v1/documents", files=FILE, headers={"origin": "https://evil.example"})
        opaque = await client.post("/v1/documents", files=FILE, headers={"origin": "null"})
        own = await client.post("/v1/documents", files=FILE, headers={"origin": "http://localhost"})
    assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
    assert (opaque.status_code, own.status_code) == (403, 202)
    assert len(real.jobs.jobs()) == 1


async def test_a_full_queue_of_a_broken_database_keeps_no_file(serving, real, tmp_path, monkeypatch):
    from rag.errors import DatabaseBusy

    def busy(request):
        raise DatabaseBusy("Somebody writes.", hint="Wait.")

    monkeypatch.setattr(real.jobs, "put", busy)
    async with serving() as client:
        response = await client.post("/v1/documents", files=FILE)
    assert (response.status_code, response.json()["code"]) == (503, "database_busy")
    assert kept(tmp_path) == []


async def test_jobs_are_listed_and_cancelled(serving, real, tmp_path):
    async with serving() as client:
        ids = [(await client.post("/v1/documents", files={"file": (f"{n}", b"x")})).json()["id"] for n in range(3)]
        page = (await client.get("/v1/jobs", params={"limit": 2})).json()
        assert ([job["id"] for job in page["jobs"]], page["next"]) == ([ids[2], ids[1]], ids[1])
        rest = (await client.get("/v1/jobs", params={"limit": 2, "before": page["next"]})).json()
        assert ([job["id"] for job in rest["jobs"]], rest["next"]) == ([ids[0]], None)
        assert len(kept(tmp_path)) == 3
        assert (await client.delete(f"/v1/jobs/{ids[1]}")).json()["state"] == "cancelled"
        assert len(kept(tmp_path)) == 2
        real.jobs.claim("w")
        assert (await client.delete(f"/v1/jobs/{ids[0]}")).json()["cancel_requested"] is True
        assert (await client.delete(f"/v1/jobs/{ids[1]}")).status_code == 200  # it is cancelled, as was asked for
        real.jobs.finish(ids[0], "w", JobState.CANCELLED)
        assert real.jobs.claim("w").id == ids[2]
        real.jobs.finish(ids[2], "w", JobState.SUCCEEDED)
        late = await client.delete(f"/v1/jobs/{ids[2]}")
        assert (late.status_code, late.json()["code"]) == (409, "conflict")
        assert "succeeded" in late.json()["detail"]
        assert (await client.get("/v1/jobs/999")).json()["code"] == "unknown_job"
        assert (await client.get("/v1/jobs/999/files")).json()["code"] == "unknown_job"


async def test_what_came_of_a_jobs_files(serving, real):
    async with serving() as client:
        job_id = (await client.post("/v1/documents", files=FILE)).json()["id"]
        real.jobs.claim("w")
        files = [
            JobFile(uri=f"upload:{n}", outcome="ingested", document_id=n, chunks=2, notices=("n",)) for n in (1, 2)
        ]
        real.jobs.record(job_id, "w", files)
        first = (await client.get(f"/v1/jobs/{job_id}/files", params={"limit": 1})).json()
        last = (await client.get(f"/v1/jobs/{job_id}/files", params={"after": first["next"]})).json()
        assert [file["uri"] for file in (*first["files"], *last["files"])] == ["upload:1", "upload:2"]
        assert last["next"] is None
        real.jobs.finish(job_id, "w", JobState.SUCCEEDED)
        job = (await client.get(f"/v1/jobs/{job_id}")).json()
        assert (job["state"], job["outcomes"]) == ("succeeded", {"ingested": 2})


@pytest.mark.parametrize("purge", [False, True])
async def test_a_document_is_deleted_with_what_is_in_it(serving, real, purge):
    collection = real.store.ensure_collection("default", fingerprint())
    gone, _, kept_one = (
        ingest(real.store, collection, uri, [f"{uri} says something.\n"]).id
        for uri in ("upload:a.zip", "upload:a.zip!/b.txt", "upload:c.txt")
    )
    async with serving() as client:
        response = await client.delete(f"/v1/documents/{gone}", params={"purge": purge})
        body = response.json()
        assert (response.status_code, body["document_id"], body["complete"]) == (200, gone, True)
        places = {place["place"]: place for place in body["searched"]}
        assert {"files of model state", "processes with a model"} <= places.keys()
        assert (len(places) > 2) is purge
        left = (await client.get("/v1/documents")).json()["documents"]
        assert [document["id"] for document in left] == [kept_one]
        versions = await client.get(f"/v1/documents/{gone}/versions")
        assert versions.status_code == (404 if purge else 200)
        again = await client.delete(f"/v1/documents/{gone}")
        assert (again.status_code, again.json()["code"]) == (404, "unknown_document")
        assert again.json()["hint"].startswith("GET /v1/documents lists"), "no command of another program"


async def test_a_document_that_is_deleted_and_kept_can_be_purged(serving, real):
    collection = real.store.ensure_collection("handbook", fingerprint())
    gone = ingest(real.store, collection, "/a", ["It says something.\n"]).id
    async with serving() as client:
        path = f"/v1/documents/{gone}"
        assert (await client.delete(path)).status_code == 200
        assert (await client.get(path)).json()["code"] == (await client.delete(path)).json()["code"]
        assert (await client.get(f"{path}/versions")).status_code == 200
        body = (await client.delete(path, params={"purge": True})).json()
        places = {place["place"]: place for place in body["searched"]}
        assert (body["complete"], places["versions"]["removed"]) == (True, 1)
        for answer in (
            await client.get(f"{path}/versions"),
            await client.delete(path, params={"purge": True}),
            await client.get(path),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_document")


async def test_a_damaged_document_elsewhere_is_in_nobodys_way_and_can_be_deleted(serving, real):
    ids = {}
    for name, uri in (("sound", "/a"), ("damaged", "/b"), ("sound", "/c")):
        collection = real.store.ensure_collection(name, fingerprint())
        ids[uri] = ingest(real.store, collection, uri, [f"{uri} says something.\n"]).id
    with real.database.write() as connection:
        of = VersionRow.document_id == ids["/b"]
        connection.execute(update(VersionRow).where(of).values(title="something else"))
    async with serving() as client:
        found = await client.get(f"/v1/documents/{ids['/a']}")
        assert (found.status_code, found.json()["collection"]) == (200, "sound")
        damaged = await client.get(f"/v1/documents/{ids['/b']}")
        assert (damaged.status_code, damaged.json()["code"]) == (500, "database_damaged")
        for uri in ("/a", "/b"):
            assert (await client.delete(f"/v1/documents/{ids[uri]}")).status_code == 200
            assert (await client.get(f"/v1/documents/{ids[uri]}")).status_code == 404
        assert (await client.get(f"/v1/documents/{ids['/c']}")).status_code == 200


async def test_a_document_is_found_without_asking_every_collection(serving, real):
    asked = []
    for number in range(20):
        collection = real.store.ensure_collection(f"c{number}", fingerprint())
        last = ingest(real.store, collection, "/a", ["It says something.\n"]).id
    async with serving() as client:
        counts = []
        for document_id in (1, last):
            asked.clear()
            event.listen(Engine, "before_cursor_execute", note := lambda *call: asked.append(call[2]))
            try:
                assert (await client.get(f"/v1/documents/{document_id}")).status_code == 200
            finally:
                event.remove(Engine, "before_cursor_execute", note)
            counts.append(len(asked))
    assert counts[0] == counts[1] < 20


async def test_what_is_wrong_with_a_request_is_told_without_commands(serving, real, tmp_path):
    """Whoever sends requests has no terminal there: the hint says what to send instead."""
    collection = real.store.ensure_collection("hand book's", fingerprint())
    ingest(real.store, collection, "/a", ["It says something.\n"])
    before = datetime.now(UTC) - timedelta(days=1)
    with real.database.write() as connection:
        row = collection_row(connection, collection.id)
        change_collection(connection, row, history_floor=before + timedelta(hours=1))
    named, other = {"collection": "hand book's"}, {"collection": "other"}
    span = {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
    async with serving() as client:
        job = (await client.post("/v1/documents", files=FILE, data=named)).json()["id"]
        hints = {
            "GET /v1/collections lists": await client.get("/v1/documents", params=other),
            "POST /v1/documents with a new": await client.get("/v1/changes", params=other),
            "history_begins": await client.get("/v1/changes", params={**named, "since": before.isoformat()}),
            "`since`": await client.get("/v1/changes", params={**named, **span}),
            f"Cancel it (DELETE /v1/jobs/{job})": await client.delete("/v1/collections", params=named),
            "GET /v1/jobs lists": await client.get("/v1/jobs/77"),
            "GET /v1/documents lists": await client.delete("/v1/documents/77", params={"purge": True}),
        }
        await client.delete(f"/v1/jobs/{job}")
        with ReembeddingLock(tmp_path, "hand book's"):
            hints["Wait for it to finish."] = await client.delete("/v1/collections", params=named)
    for wanted, response in hints.items():
        problem = response.json()
        assert 400 <= response.status_code < 500, problem
        assert wanted in problem["hint"], problem
        assert "indexer" not in problem["hint"], problem
        assert "--" not in problem["hint"], problem


async def test_a_collection_is_renamed(serving, real):
    for name in ("hand book/1", "default"):
        collection = real.store.ensure_collection(name, fingerprint())
        ingest(real.store, collection, "/a", ["It says something.\n"])
    async with serving() as client:
        before, named = (await client.get("/v1/collections")).json(), {"collection": "hand book/1"}
        renamed = await client.patch("/v1/collections", params=named, json={"name": "manual"})
        wanted = {**before["collections"][1], "name": "manual"}
        assert (renamed.status_code, renamed.json()) == (200, wanted)
        assert (await client.get("/v1/collections")).json()["collections"][1] == wanted
        assert (await client.get("/v1/documents", params={"collection": "manual"})).json()["documents"]
        for params, body, status, code in (
            (named, {"name": "another"}, 404, "unknown_collection"),
            ({"collection": "manual"}, {"name": "default"}, 409, "conflict"),
            ({"collection": "manual"}, {"name": ""}, 422, "invalid_request"),
            ({"collection": "manual"}, {"name": "x", "seq": 1}, 422, "invalid_request"),
            ({}, {"name": "another"}, 422, "invalid_request"),  # none is meant unless it is named
        ):
            refused = await client.patch("/v1/collections", params=params, json=body)
            assert (refused.status_code, refused.json()["code"]) == (status, code), body
        json_type = {"content-type": "application/json"}
        surrogate = await client.patch(
            "/v1/collections", params={"collection": "manual"}, content=rb'{"name": "\ud800"}', headers=json_type
        )
        assert surrogate.status_code in (400, 422)


@pytest.mark.parametrize("purge", [False, True])
async def test_a_collection_is_dropped_with_all_that_is_in_it(serving, real, purge):
    for name in ("hand book/1", "default"):
        collection = real.store.ensure_collection(name, fingerprint())
        ingest(real.store, collection, "/a", ["It says something.\n"])
    async with serving() as client:
        response = await client.delete("/v1/collections", params={"collection": "hand book/1", "purge": purge})
        body = response.json()
        assert (response.status_code, body["collection"]) == (200, "hand book/1")
        assert (body["documents"], body["chunks"], body["complete"]) == (1, 1, True)
        assert ("the database file" in {place["place"] for place in body["searched"]}) is purge
        left = (await client.get("/v1/collections")).json()["collections"]
        assert [each["name"] for each in left] == ["default"]
        again = await client.delete("/v1/collections", params={"collection": "hand book/1"})
        assert (again.status_code, again.json()["code"]) == (404, "unknown_collection")
        await client.post("/v1/documents", files=FILE)
        assert (await client.delete("/v1/collections")).status_code == 422  # none is meant unless it is named
        refused = await client.delete("/v1/collections", params={"collection": "default"})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
