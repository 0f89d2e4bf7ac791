"""A byte that flips in what is stored of jobs: the job fails and says so, is done as it was meant, or is told."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from indexer.cli import main
from rag.errors import DatabaseDamaged
from rag.factory import open_library
from rag.job_types import JobError, JobFile, JobRequest, JobState, Upload
from tests.contracts.store_builders import settings_in

REQUEST = JobRequest(
    collection="default",
    uploads=(Upload(name="a.txt", uri="upload:a.txt", blob="0" * 32, sha256="ab" * 32, size=9),),
    metadata={"team": "red"},
)
OTHER = JobRequest(collection="default", paths=("/b.txt",))


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path))
    with open_library(settings_in(tmp_path)) as library:
        yield library


def change(library, statement, *values):
    with closing(sqlite3.connect(library.database.path)) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


def run(*arguments):
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit | DatabaseDamaged), result.exception
    return result


def findings(*arguments):
    return json.loads(run("verify", *arguments).stdout)["findings"]


def stored(library, column):
    with closing(sqlite3.connect(library.database.path)) as connection:
        return connection.execute(f"SELECT {column} FROM jobs WHERE id = 1").fetchone()[0]  # noqa: S608


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("column", ["request", "collection", "state", "created_at"])
def test_no_byte_of_a_waiting_job_changes_what_is_done(library, column, every):
    library.jobs.put(REQUEST)
    written = stored(library, column)
    for place in range(0, len(written), every):
        torn = written[:place] + chr(ord(written[place]) ^ 1) + written[place + 1 :]
        change(library, f"UPDATE jobs SET {column} = ? WHERE id = 1", torn)  # noqa: S608
        try:
            job = library.jobs.claim("w")
        except DatabaseDamaged:
            pytest.fail(f"{torn!r} keeps all others from being done")
        if job is not None:
            assert (job.id, job.request) == (1, REQUEST), torn
        elif library.jobs.damaged():
            assert library.jobs.damaged() == [1], torn
        else:
            job = library.jobs.job(1)
            assert (job.state, job.error.code) == (JobState.FAILED, "database_damaged"), torn
        with closing(sqlite3.connect(library.database.path)) as connection, connection:
            connection.execute("DELETE FROM jobs")
        again = library.jobs.put(REQUEST)
        change(library, "UPDATE jobs SET id = 1 WHERE id = ?", again.id)


def test_a_damaged_job_keeps_no_other_from_being_done(library):
    library.jobs.put(REQUEST)
    library.jobs.put(OTHER)
    change(library, "UPDATE jobs SET request = replace(request, 'upload:a', 'upload:b') WHERE id = 1")
    assert library.jobs.claim("w").request == OTHER
    (told,) = [each for each in json.loads(run("jobs").stdout)["jobs"] if each["id"] == 1]
    assert (told["state"], told["error"]["code"]) == ("failed", "database_damaged")
    assert findings() == []


@pytest.mark.parametrize("column", ["request", "state", "error", "finished_at"])
@pytest.mark.parametrize("ended", [True, False])
def test_what_only_readers_of_jobs_meet_is_told_and_repaired(library, column, ended):
    library.jobs.put(REQUEST)
    library.jobs.claim("w")
    if ended:
        file = JobFile(uri="upload:a.txt", outcome="failed")
        library.jobs.record(1, "w", [file])
        library.jobs.finish(1, "w", JobState.FAILED, error=JobError(code="c", message="m"))
    change(library, f"UPDATE jobs SET {column} = '[\"' WHERE id = 1")  # noqa: S608
    with pytest.raises(DatabaseDamaged) as refused:
        library.jobs.job(1)
    assert "indexer verify" in refused.value.hint
    (finding,) = findings()
    assert (finding["area"], finding["repaired"]) == ("jobs", False)
    assert [each["repaired"] for each in findings("--repair")] == [True]
    assert findings() == []
    assert [job.state for job in library.jobs.jobs()] == ([] if ended and column != "state" else [JobState.FAILED])


def test_a_note_of_a_file_that_cannot_be_read_is_told(library):
    library.jobs.put(REQUEST)
    library.jobs.claim("w")
    library.jobs.record(1, "w", [JobFile(uri="upload:a.txt", outcome="ingested", notices=("a notice",))])
    change(library, "UPDATE job_files SET notices = '['")
    with pytest.raises(DatabaseDamaged):
        library.jobs.files(1)
    assert [each["area"] for each in findings()] == ["jobs"]


def test_a_job_of_an_older_program_has_no_checksum(library):
    library.jobs.put(REQUEST)
    request = json.loads(stored(library, "request"))
    del request["crc32"]
    change(library, "UPDATE jobs SET request = ?", json.dumps(request))
    assert library.jobs.claim("w").request == REQUEST
