"""Uploads on their way: from the queue into the store, through cancelling, stopping, failing and dying workers."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from indexer.cli import main
from indexer.commands.interruption import Interruption
from indexer.job_run import JobRun
from indexer.pipeline import IngestPipeline
from indexer.sources import expand
from indexer.spooling import Spool, SpoolFull
from indexer.worker_place import WorkerPlace
from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.erasure import ErasureReport
from rag.errors import DataDirectoryUnwritable, DiskFull, ModelMissing, UnknownModel
from rag.factory import Library, open_library
from rag.job_types import JobFile, JobRequest, JobState, Upload
from rag.stores.collections.ingest_lock import IngestLock
from rag.stores.jobs.queue import JobQueue
from rag.stores.sqlite import database
from tests.unit.mails import zipped


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())
    monkeypatch.setattr("os.nice", lambda _: 0)  # the tests that follow are not to be slow
    with open_library(Settings(_env_file=None)) as library:
        yield library


@pytest.fixture
def work(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["indexer", "worker", "--once", "--json"])
        result = CliRunner().invoke(main, ["worker", "--once", "--json", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    return run


def put(library, *files, collection="default", metadata=None):
    uploads = []
    for name, content in files:
        blob, sha256, size = library.blobs.put(io.BytesIO(content), name=name, max_bytes=1 << 20)
        uploads.append(Upload(name=name, uri=f"upload:{name}", blob=blob, sha256=sha256, size=size))
    return library.jobs.put(JobRequest(collection=collection, uploads=tuple(uploads), metadata=metadata)).id


def blobs(library):
    return list((library.settings.home / "blobs").iterdir())


def test_an_upload_is_taken_in_under_its_own_name(library, work):
    job_id = put(
        library, ("report.md", b"# Rivers\n\nWater runs down.\n"), ("b.txt", b"Lakes."), metadata={"team": "red"}
    )
    assert work() == [
        {"type": "job", "job": job_id, "collection": "default", "state": "succeeded", "outcomes": {"ingested": 2}}
    ]
    documents = library.store.documents(library.store.collection("default"))
    assert [(d.uri, d.title, d.metadata) for d in documents] == [
        ("upload:report.md", "Rivers", {"team": "red"}),
        ("upload:b.txt", "b", {"team": "red"}),
    ]
    files = [file for _, file in library.jobs.files(job_id)]
    assert [(file.uri, file.outcome, file.document_id) for file in files] == [
        (document.uri, "ingested", document.id) for document in documents
    ]
    assert blobs(library) == []
    put(library, ("report.md", b"# Rivers\n\nWater runs up.\n"))
    assert work()[0]["outcomes"] == {"replaced": 1}
    put(library, ("report.md", b"# Rivers\n\nWater runs up.\n"))
    assert work()[0]["outcomes"] == {"unchanged": 1}


def test_how_far_a_job_is_shows_while_a_long_file_is_taken_in(library, work, monkeypatch):
    long = "".join(f"# Part {number}\n\nThe {number}th river runs down to the sea.\n\n" for number in range(3000))
    job_id = put(library, ("short.txt", b"Lakes."), ("long.md", long.encode()))
    monkeypatch.setattr("indexer.job_run._NOTE_S", 0.0)
    told, lines, record = [], [], JobQueue.record

    def recorded(*args, **kwargs):
        asked = record(*args, **kwargs)
        job = library.jobs.job(job_id)
        told.append((job.files_known, sum(job.outcomes.values()), job.chunks))
        lines.append(CliRunner().invoke(main, ["jobs"]).stdout)
        return asked

    monkeypatch.setattr(JobQueue, "record", recorded)
    assert work()[0]["state"] == "succeeded"
    within = {chunks for files, done, chunks in told if files == 2 and done < 2}
    assert len(within) > 5  # of the long file, before it is done
    assert told[-1] == (2, 2, 3001)
    assert any(" of 2 files, " in line and "so far" in line for line in lines)
    assert "so far" not in CliRunner().invoke(main, ["jobs"]).stdout


def test_a_file_that_cannot_be_read_fails_with_its_name_and_reason(library, work):
    job_id = put(library, ("picture.md", bytes(range(256)) * 10))
    assert work()[0]["state"] == "failed"
    job = library.jobs.job(job_id)
    assert job.error.code == "source_binary"
    assert "picture.md" in job.error.message
    assert blobs(library) == []
    mixed = put(library, ("picture.md", bytes(range(256)) * 10), ("b.txt", b"Lakes."))
    assert work()[0]["state"] == "succeeded"
    assert library.jobs.job(mixed).outcomes == {"failed": 1, "ingested": 1}


def test_an_upload_that_was_damaged_while_it_waited_is_not_taken_in(library, work):
    put(library, ("a.txt", b"Water boils at 100 degrees."))
    work()
    job_id = put(library, ("a.txt", b"Water boils at 110 degrees."), ("b.txt", b"Lakes."))
    blob = library.blobs.path(library.jobs.job(job_id).request.uploads[0].blob)
    content = bytearray(blob.read_bytes())
    content[15] ^= 1
    blob.write_bytes(content)
    assert work()[0]["outcomes"] == {"failed": 1, "ingested": 1}
    first = library.jobs.files(job_id)[0][1]
    assert (first.uri, first.error.code) == ("upload:a.txt", "source_damaged")
    assert "a.txt has changed since it was handed over" in first.error.message
    collection = library.store.collection("default")
    texts = [chunk.text for chunk, _ in library.store.hydrate(collection, [1, 2, 3])]
    assert texts == ["Water boils at 100 degrees.", "Lakes."]


def test_an_upload_that_was_deleted_while_it_waited_is_told_as_that(library, work):
    job_id = put(library, ("a.txt", b"Water boils at 100 degrees."))
    library.blobs.path(library.jobs.job(job_id).request.uploads[0].blob).unlink()
    assert work()[0]["state"] == "failed"
    error = library.jobs.job(job_id).error
    assert (error.code, error.message) == (
        "source_not_found",
        "a.txt was handed over and is not in the data directory any more.",
    )


NOT_CONFIRMED = ErasureReport(files=0, removed=0, confirmed=(), unconfirmed=(4711,))


def test_a_job_is_not_done_before_what_it_replaced_is_erased(library, work, monkeypatch):
    monkeypatch.setattr("rag.stores.jobs.queue._FIRST_DELAY", timedelta(0))
    put(library, ("a.txt", b"Water runs down."))
    work()
    asked = []
    erase = Library.erase_deleted

    def unconfirmed_at_first(self):
        asked.append(len(blobs(library)))
        return NOT_CONFIRMED if len(asked) == 1 else erase(self)

    monkeypatch.setattr(Library, "erase_deleted", unconfirmed_at_first)
    job_id = put(library, ("a.txt", b"Water runs up."))
    first, second = work()
    assert (first["state"], second["state"], second["outcomes"]) == ("queued", "succeeded", {"replaced": 1})
    job = library.jobs.job(job_id)
    assert (job.attempts, job.error, asked) == (2, None, [1, 1])
    put(library, ("a.txt", b"Water runs up."))
    work()
    assert len(asked) == 2, "nothing was replaced"


def test_a_job_fails_when_what_it_replaced_is_never_erased(library, work, monkeypatch):
    monkeypatch.setattr("rag.stores.jobs.queue._FIRST_DELAY", timedelta(0))
    put(library, ("a.txt", b"Water runs down."))
    work()
    monkeypatch.setattr(Library, "erase_deleted", lambda _self: NOT_CONFIRMED)
    job_id = put(library, ("a.txt", b"Water runs up."))
    assert [each["state"] for each in work()] == ["queued"] * 4 + ["failed"]
    job = library.jobs.job(job_id)
    assert job.error.code == "erasure_incomplete"
    assert "4711" in job.error.message
    (document,) = library.store.documents(library.store.collection("default"))
    assert document.size == len(b"Water runs up."), "it is taken in all the same"


def test_a_job_whose_collection_is_being_ingested_waits(library, work):
    job_id = put(library, ("a.txt", b"text"))
    after = put(library, ("b.txt", b"text"))
    elsewhere = put(library, ("c.txt", b"text"), collection="other")
    with IngestLock(library.settings.home, "default"):
        assert [(told["job"], told["state"]) for told in work()] == [(job_id, "queued"), (elsewhere, "succeeded")]
    job = library.jobs.job(job_id)
    assert (job.state, job.attempts, job.error.code) == (JobState.QUEUED, 0, "ingest_in_progress")
    assert library.jobs.job(after).not_before is None, "it is not tried for nothing"
    assert len(blobs(library)) == 2


def test_a_cancelled_job_ends_after_the_files_that_are_being_embedded(library, work, monkeypatch):
    job_id = put(library, *[(f"{number}.txt", b"text %d" % number) for number in range(5)])
    record = library.jobs.record.__func__

    def cancel_after(self, job, owner, files, **counts):
        if files:
            self.cancel(job)
        return record(self, job, owner, files, **counts)

    monkeypatch.setattr("indexer.job_run._NOTE_S", 0)
    monkeypatch.setattr("indexer.embedding_group._MOST_SOURCES", 1)
    monkeypatch.setattr("rag.stores.jobs.queue.JobQueue.record", cancel_after)
    (told,) = work()
    assert (told["job"], told["state"]) == (job_id, "cancelled")
    assert told["outcomes"]["ingested"] in {1, 2}
    assert blobs(library) == []


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_job_is_stopped_while_its_files_are_looked_for(library, work, monkeypatch, tmp_path, cancelled):
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("Water.")
    job_id = library.jobs.put(JobRequest(collection="notes", paths=(str(tmp_path),))).id
    asked = []

    def looking(paths):
        for source in expand(paths):
            yield source
            asked.append(source)
            library.jobs.cancel(job_id) if cancelled else stopped.append(True)

    stopped: list[bool] = []
    monkeypatch.setattr("indexer.job_run._NOTE_S", 0)
    monkeypatch.setattr("indexer.web.expansion.expand", looking)
    monkeypatch.setattr(Interruption, "requested", lambda _self: bool(stopped))
    told = work()
    job = library.jobs.job(job_id)
    assert len(asked) == 1
    assert library.store.collections() == []
    if cancelled:
        assert [line["state"] for line in told] == ["cancelled"]
    else:
        assert (job.state, job.attempts, job.error.code) == (JobState.QUEUED, 0, "worker_stopped")


def test_the_job_of_a_worker_that_died_is_done_by_the_next(library, work):
    with WorkerPlace(library.settings.home) as alive:
        job_id = put(library, ("a.txt", b"text"))
        library.jobs.claim(alive.owner)
        assert work() == []
    assert work()[0]["state"] == "succeeded"
    assert library.jobs.job(job_id).attempts == 2


def test_what_an_attempt_before_took_in_is_told_once_and_as_that(library, work, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text(f"The text of {name}")
    # Stands for what the worker stores before it is killed, and for what another job has.
    library.jobs.put(JobRequest(collection="notes", paths=(str(folder / "a.txt"), str(folder / "b.txt"))))
    work()
    with WorkerPlace(library.settings.home) as killed:
        job_id = library.jobs.put(JobRequest(collection="notes", paths=(str(folder),))).id
        library.jobs.claim(killed.owner)
        noted = JobFile(uri=str(folder.resolve() / "a.txt"), outcome="ingested", chunks=1)
        failed = JobFile(uri=str(folder.resolve() / "b.txt"), outcome="failed")
        library.jobs.record(job_id, killed.owner, [noted, failed])
    assert work()[0]["outcomes"] == {"ingested": 2, "unchanged": 1}
    files = {Path(file.uri).name: file.outcome for _, file in library.jobs.files(job_id)}
    assert files == {"a.txt": "ingested", "b.txt": "unchanged", "c.txt": "ingested"}


def test_a_folder_is_work_as_well(library, work, tmp_path):
    folder = Path(tmp_path / "docs")
    folder.mkdir()
    (folder / "a.txt").write_text("text")
    library.jobs.put(JobRequest(collection="notes", paths=(str(folder),)))
    assert work()[0]["outcomes"] == {"ingested": 1}
    again = library.jobs.put(JobRequest(collection="notes", paths=(str(folder),))).id
    assert work()[0]["outcomes"] == {"unchanged": 1}
    assert library.jobs.files(again) == [], "a file that is unchanged needs no row"


class Lock:
    """Another program that writes to the database, and the worker's waits for it: the second time it is done."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.waits: list[float] = []

    def hold(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) == 2:
            self._connection.rollback()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def lock(library, monkeypatch):
    create = database._create_engine
    monkeypatch.setattr(database, "_create_engine", lambda url, _timeout: create(url, 0.01))
    with closing(Lock(library.settings.home / "plumbline.db")) as lock:
        yield lock


def test_an_idle_worker_outlives_a_locked_database(library, lock, monkeypatch):
    job_id = put(library, ("a.txt", b"text"))

    class Waiting(Interruption):
        def wait(self, seconds):
            lock.wait(seconds)
            self._requested = library.jobs.job(job_id).state.ended

    def claimed_late(place):
        lock.hold()
        return enter(place)

    enter = WorkerPlace.__enter__
    monkeypatch.setattr(WorkerPlace, "__enter__", claimed_late)
    monkeypatch.setattr("indexer.commands.worker.Interruption", Waiting)
    monkeypatch.setattr(Library, "forget_jobs", lambda _self: None)
    monkeypatch.setattr(Library, "finish_purges", lambda _self: None)
    result = CliRunner().invoke(main, ["worker", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["state"] == "succeeded"
    assert lock.waits == [0.5, 1.0, 0.5]
    # A service's log says that it runs, what keeps parsers in, and what it does before it is done.
    assert re.search(r"worker started .*parsers='?can change .*network", result.stderr)
    assert "job begun" in result.stderr


def test_a_worker_that_ends_with_its_work_does_not_wait_for_a_locked_database(library, lock, monkeypatch):
    monkeypatch.setattr(Library, "forget_jobs", lambda _self: None)
    monkeypatch.setattr(Library, "finish_purges", lambda _self: lock.hold())
    monkeypatch.setattr(sys, "argv", ["indexer", "worker", "--once", "--json"])
    result = CliRunner().invoke(main, ["worker", "--once", "--json"])
    assert (result.exit_code != 0, lock.waits) == (True, [])
    assert isinstance(result.exception, database.DatabaseBusy) or "database_busy" in result.output


def test_a_job_that_meets_a_locked_database_is_put_back_when_it_can_be(library, lock, work, monkeypatch):
    monkeypatch.setattr("rag.stores.jobs.queue._FIRST_DELAY", timedelta(0))
    monkeypatch.setattr("indexer.worker._UNTIL_THEN", timedelta(0))
    monkeypatch.setattr(Interruption, "wait", lambda _self, seconds: lock.wait(seconds))
    begun = []

    def locked(_run, uri):
        begun.append(uri)
        if len(begun) == 1:
            lock.hold()

    monkeypatch.setattr(JobRun, "started", locked)
    job_id = put(library, ("a.txt", b"text"))
    first, second = work()
    assert (first["state"], second["state"], second["outcomes"]) == ("queued", "succeeded", {"ingested": 1})
    assert (library.jobs.job(job_id).attempts, lock.waits) == (2, [1.0, 2.0])


@pytest.mark.parametrize(
    ("where", "error"),
    [("the store", DiskFull), ("the spool", SpoolFull), ("the store", ModelMissing), ("the store", UnknownModel)],
)
def test_an_upload_is_not_given_up_however_long_the_disk_is_full_or_the_model_missing(
    library, work, monkeypatch, where, error
):
    monkeypatch.setattr("rag.stores.jobs.queue._FIRST_DELAY", timedelta(0))
    monkeypatch.setattr("indexer.worker._UNTIL_THEN", timedelta(0))
    full = [error("full")] * 12
    begin = IngestPipeline.ingest_sources if where == "the store" else Spool.file

    def filling(*arguments, **named):
        if full:
            raise full.pop()
        return begin(*arguments, **named)

    owner = IngestPipeline if where == "the store" else Spool
    monkeypatch.setattr(owner, begin.__name__, filling)
    job_id = put(library, ("a.zip", zipped({"in.txt": b"Lakes."})))
    told = work()
    assert {each["state"] for each in told[:-1]} == {"queued"}
    assert (len(told), told[-1]["state"], told[-1]["outcomes"]) == (13, "succeeded", {"ingested": 2})
    assert library.jobs.job(job_id).attempts == 2
    assert blobs(library) == []


def test_the_end_of_a_job_and_its_files_are_noted_when_they_can_be(library, lock, work, monkeypatch):
    monkeypatch.setattr("indexer.job_run._NOTE_S", 0)
    monkeypatch.setattr(Interruption, "wait", lambda _self, seconds: lock.wait(seconds))
    finished = JobRun.finished

    def locked(run, result):
        lock.hold()
        finished(run, result)

    monkeypatch.setattr(JobRun, "finished", locked)
    monkeypatch.setattr("indexer.worker.Worker._settle", lambda *_arguments, **_options: None)
    job_id = put(library, ("a.txt", b"text"))
    assert [each["state"] for each in work()] == ["succeeded"]
    assert ([file.uri for _, file in library.jobs.files(job_id)], lock.waits) == (["upload:a.txt"], [1.0, 2.0])
    assert blobs(library) == []


def test_a_place_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "locks").write_text("a file where the folder belongs")
    with pytest.raises(DataDirectoryUnwritable, match="cannot be written"), WorkerPlace(tmp_path):
        pass


def test_a_job_of_which_nothing_is_taken_in_makes_no_collection(library, work, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "out").symlink_to("/etc/hostname")
    (tmp_path / "folder" / "empty.txt").touch()
    job_id = library.jobs.put(JobRequest(collection="new", paths=(str(tmp_path / "folder"),))).id
    assert work()[0]["outcomes"] == {"failed": 1, "left_out": 1}
    assert (library.jobs.job(job_id).state, library.jobs.job(job_id).attempts) == (JobState.FAILED, 1)
    assert library.store.collections() == []
