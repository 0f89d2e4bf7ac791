"""A purge leaves no byte of a document in any file of the data directory, and says what it has searched."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library, open_library
from tests.integration.test_worker import put
from tests.unit.mails import zipped

WORD = "zanzibarquux"  # one word, in full text as it stands
OTHER = "harmlessword"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())
    return tmp_path / "home"


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.txt").write_text(f"{OTHER} number {number} says nothing. " * 20)
    (folder / "secret.txt").write_text(f"The word is {WORD}. " * 200)
    return folder


def places(home: Path, *needles: bytes) -> set[str]:
    """Where any of these bytes are, in every file below the data directory."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    return {path.name for path in files if any(needle in path.read_bytes() for needle in needles)}


def vectors_of(home: Path, word: str) -> list[bytes]:
    """The stored vectors of the chunks that hold a word, in the two forms they have on disk."""
    with sqlite3.connect(home / "plumbline.db") as connection:
        query = "SELECT e.vector FROM embeddings e JOIN chunks c ON c.id = e.chunk_id WHERE c.text LIKE ?"
        rows = [row[0] for row in connection.execute(query, (f"%{word}%",))]
    as_float32 = [np.frombuffer(row, "<f2").astype("<f4") for row in rows]
    return rows + [(row / np.linalg.norm(row)).astype("<f4").tobytes()[:64] for row in as_float32]


def test_nothing_is_left_of_a_purged_document(run, docs, home):
    path = docs / "secret.txt"
    run("ingest", str(docs))
    run("rebuild")
    path.write_text(f"The word was {WORD}, and is not told any more. " * 100)
    run("ingest", str(docs))
    run("rebuild")
    vectors = vectors_of(home, WORD)
    assert vectors
    assert places(home, WORD.encode())
    assert places(home, *vectors) > {"plumbline.db"}

    report = json.loads(run("delete", "--purge", str(path), "--json").stdout)

    found = {each["place"]: each for each in report["searched"]}
    assert found["versions"] == {"place": "versions", "searched": 2, "removed": 2, "left": 0, "note": ""}
    assert found["chunks"]["searched"] == found["full text"]["searched"] > 2
    assert {each["left"] for each in report["searched"]} == {0}
    assert places(home, WORD.encode(), *vectors) == set()
    assert places(home, OTHER.encode())
    assert json.loads(run("verify", "--json").stdout)["findings"] == []
    assert "unknown_document" in run("delete", "--purge", str(path), "--json", exit_code=1).output


def test_a_document_that_was_deleted_before_can_be_purged(run, docs, home):
    path = docs / "secret.txt"
    run("ingest", str(docs))
    vectors = vectors_of(home, WORD)
    run("delete", str(path))
    assert places(home, WORD.encode())
    shown = run("delete", "--purge", str(path)).output
    assert (shown.splitlines()[0].split(" ", 2)[::2], "full text" in shown) == (["purged", str(path)], True)
    assert places(home, WORD.encode(), *vectors) == set()


@pytest.mark.parametrize("has_files", [True, False])
def test_other_processes_go_on_from_the_index_that_is_left(run, docs, home, has_files):
    run("ingest", str(docs))
    if has_files:
        run("rebuild")
    with open_library(Settings(_env_file=None)) as other:
        collection = other.store.collection("default")
        query = HashingEmbedder().embed_query(WORD)
        before = other.vectors.search(collection, query, 100)
        run("delete", "--purge", str(docs / "secret.txt"))
        after = other.vectors.search(other.store.collection("default"), query, 100)
        assert 0 < len(after) < len(before)
        assert {path.name for path in (home / "indexes" / str(collection.id)).glob("*") if path.is_dir()} == {
            Path(generation).name for generation in _directories(home)
        }


def test_what_was_purged_is_not_found_in_the_past_and_the_rest_is(run, docs, home):
    run("ingest", str(docs))
    moment = json.loads(run("changes", "--json").stdout.splitlines()[-1])["at"]
    (docs / "1.txt").write_text("something else")
    run("ingest", str(docs))
    run("delete", "--purge", str(docs / "secret.txt"))
    from rag.commands.ask import search

    result = CliRunner().invoke(search, [OTHER, "-k", "100", "--as-of", moment, "--json"], catch_exceptions=False)
    found = {Path(passage["uri"]).name for passage in json.loads(result.stdout)["passages"]}
    assert found == {f"{number}.txt" for number in range(30)}


def test_copies_beside_the_database_are_named(run, docs, home):
    run("ingest", str(docs))
    copies = (
        "plumbline.before-migration-from-0001.db",
        "blobs.before-restore-20260131T120000000000Z",
        "plumbline.db-wal.damaged-20260131T120000000000Z",
        "plumbline.db.restoring",
        ".unfinished-backup-1-abcd",
    )
    for name in copies:
        (home / name).write_bytes(b"")
    report = json.loads(run("delete", "--purge", str(docs / "secret.txt"), "--json").stdout)["searched"]
    (told,) = [each["note"] for each in report if each["place"] == "copies beside the database"]
    assert [name for name in copies if name not in told] == []


@pytest.fixture
def uploaded(home, run, monkeypatch):
    """An upload that a worker took in, beside one of something else; the word is in all that is told of it."""
    monkeypatch.setattr("os.nice", lambda _: 0)  # the tests that follow are not to be slow
    archive = zipped({f"{WORD}.txt": f"The word is {WORD}.", f"{WORD}.mp3": b"ID3\x04" + bytes(40)})
    with open_library(Settings(_env_file=None)) as library:
        put(library, (f"{WORD}.zip", archive), ("other.txt", OTHER.encode()), metadata={"team": "red"})
        put(library, (f"{WORD}.zip", archive), metadata={"team": WORD})
        put(library, (f"{WORD}.zip", bytes(range(256)) * 10), metadata={"team": WORD})
    run("worker", "--once")
    return f"upload:{WORD}.zip"


def searched(result) -> dict[str, dict]:
    return {each["place"]: each for each in json.loads(result.stdout)["searched"]}


def test_nothing_is_left_of_a_purged_upload_in_what_jobs_tell(run, home, uploaded):
    assert places(home, WORD.encode())
    report = searched(run("delete", "--purge", uploaded, "--json"))
    assert (report["jobs"]["removed"] > 3, report["jobs"]["left"]) == (True, 0)
    assert places(home, WORD.encode()) == set()
    (last, _, first) = json.loads(run("jobs", "--json").stdout)["jobs"]
    assert first["uris"] == ["upload:other.txt"]
    assert first["metadata"] == {"team": "red"}
    assert (last["state"], last["error"]["code"], last["metadata"]) == ("failed", "purged", None)
    files = json.loads(run("jobs", str(first["id"]), "--json").stdout)["files"]
    assert [file["uri"] for file in files] == ["upload:other.txt"]


def test_nothing_is_left_of_where_a_purged_document_was_before_it_moved(run, docs, home):
    (docs / "secret.txt").unlink()
    former = docs / f"{WORD}.txt"
    former.write_text("What this says is no secret, but what it was called is one. " * 20)
    run("ingest", str(former), str(docs / "1.txt"))
    former.rename(docs / "plain.txt")
    assert "moved" in run("sync", str(docs)).stdout
    (docs / "1.txt").rename(docs / "first.txt")
    run("sync", str(docs))
    (docs / "1.txt").write_text("Another document at the address that one had before. " * 20)
    run("ingest", str(docs / "1.txt"))
    assert places(home, WORD.encode())
    report = searched(run("delete", "--purge", str(docs / "plain.txt"), str(docs / "first.txt"), "--json"))
    assert (report["jobs"]["removed"] > 1, report["jobs"]["left"]) == (True, 0)
    assert places(home, WORD.encode()) == set()
    jobs = json.loads(run("jobs", "--json").stdout)["jobs"]
    assert any(str(docs / "1.txt") in job["uris"] for job in jobs)  # of the one that is there now


def test_what_an_upload_would_bring_again_is_not_purged_before_that_is_cancelled(run, home, uploaded):
    with open_library(Settings(_env_file=None)) as library:
        job = put(library, (f"{WORD}.zip", zipped({"x.txt": f"Another {WORD}."})))
        put(library, (f"{WORD}.zip", b"of another collection"), collection="other")
    before = run("list", "--json").stdout
    for document in (uploaded, f"{uploaded}!/{WORD}.txt"):
        told = json.loads(run("delete", "--purge", document, "--json", exit_code=1).stdout)["error"]
        assert (told["code"], f"indexer jobs {job} --cancel" in told["hint"]) == ("conflict", True)
    assert run("list", "--json").stdout == before
    assert len(list((home / "blobs").iterdir())) == 2
    run("jobs", str(job), "--cancel")
    assert [path.read_bytes() for path in (home / "blobs").iterdir()] == [b"of another collection"]
    run("delete", "--purge", uploaded)


def test_an_upload_that_no_job_needs_is_looked_through(run, docs, home):
    run("ingest", str(docs))
    (home / "blobs").mkdir(exist_ok=True)
    content = (docs / "secret.txt").read_bytes()
    old, young, harmless = ((home / "blobs" / (digit * 32)) for digit in "123")
    for path in (old, young, harmless):
        path.write_bytes(content)
    harmless.write_bytes(b"a part of something else")
    os.utime(old, (time.time() - 120,) * 2)
    report = searched(run("delete", "--purge", str(docs / "secret.txt"), "--json", exit_code=1))
    there = report["uploads that no job needs"]
    assert (there["searched"], there["removed"], there["left"]) == (3, 1, 1)
    assert "run the purge again" in there["note"]
    assert (old.exists(), young.exists(), harmless.exists()) == (False, True, True)


def test_a_log_that_somebody_reads_is_told(run, docs, home):
    run("ingest", str(docs))
    reader = sqlite3.connect(home / "plumbline.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM chunks").fetchone()
    result = run("delete", "--purge", str(docs / "secret.txt"), "--json", exit_code=1)
    (log,) = [each for each in json.loads(result.stdout)["searched"] if each["left"]]
    assert log["place"] == "the write-ahead log"
    reader.close()
    run("delete", "--purge", str(docs / "0.txt"))
    assert places(home, WORD.encode()) == set()


def test_an_id_of_another_collection_purges_nothing_here(run, tmp_path):
    archive = tmp_path / "x.zip"
    archive.write_bytes(zipped({"one.txt": f"The word is {WORD}."}))
    for name in ("one", "two"):
        run("ingest", str(archive), "-c", name)
    ids = [each["id"] for each in json.loads(run("list", "-c", "two", "--json").stdout)["documents"]]
    before = run("list", "-c", "one", "--json").stdout
    for id_ in [*ids, 99_999]:
        told = run("delete", "--purge", "-c", "one", str(id_), "--json", exit_code=1).output
        assert "unknown_document" in told
    own = str(json.loads(before)["documents"][0]["id"])
    assert "unknown_document" in run("delete", "--purge", "-c", "one", own, "99999", "--json", exit_code=1).output
    assert run("list", "-c", "one", "--json").stdout == before
    assert "2 unchanged" in run("ingest", str(archive), "-c", "one").output


def test_a_collection_that_is_embedded_anew_is_not_purged(run, docs, home):
    from rag.stores.collections.ingest_lock import ReembeddingLock

    run("ingest", str(docs))
    with ReembeddingLock(home, "default"):
        assert "conflict" in run("delete", "--purge", str(docs / "secret.txt"), "--json", exit_code=1).output


def _directories(home: Path) -> list[str]:
    with sqlite3.connect(home / "plumbline.db") as connection:
        return [row[0] for row in connection.execute("SELECT directory FROM index_generations")]
