"""The queue: who gets a job, for how long, and what becomes of one that nobody finishes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, update
from sqlalchemy.engine import Engine

from rag.errors import JobLost, UnknownJob
from rag.job_types import JobError, JobFile, JobRequest, JobState, Upload
from rag.quality_types import Quality
from rag.stores.jobs.queue import LEASE, JobQueue
from rag.stores.jobs.tables import JobFileRow

REQUEST = JobRequest(
    collection="c",
    uploads=(Upload(name="a.md", uri="upload:a.md", blob="ab/cd", sha256="0" * 64, size=3),),
    paths=("/srv/docs",),
    metadata={"team": "red", "year": 2024},
)
OTHER = replace(REQUEST, uploads=(replace(REQUEST.uploads[0], uri="upload:b.md"),))
BUSY = JobError(code="database_busy", message="Somebody writes.", hint="Wait.")


class Clock:
    def __init__(self):
        self.time = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self):
        return self.time

    def passes(self, duration):
        self.time += duration


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(database, clock):
    return JobQueue(database, now=clock)


def test_a_job_goes_from_hand_to_hand_once(queue):
    put = queue.put(REQUEST)
    assert (put.state, put.request, put.attempts) == (JobState.QUEUED, REQUEST, 0)
    job = queue.claim("one")
    assert (job.id, job.state, job.attempts) == (put.id, JobState.RUNNING, 1)
    assert queue.claim("two") is None
    done = queue.finish(job.id, "one", JobState.SUCCEEDED)
    assert (done.state, done.error) == (JobState.SUCCEEDED, None)
    assert done.finished_at == "2026-01-31T12:00:00Z"
    assert queue.claim("two") is None


def test_the_oldest_comes_first_and_of_many_workers_each_gets_another(queue):
    ids = [queue.put(replace(REQUEST, collection=f"c{number}")).id for number in range(8)]
    assert queue.claim("first").id == ids[0]
    with ThreadPoolExecutor(7) as pool:
        claimed = list(pool.map(queue.claim, [f"worker {number}" for number in range(7)]))
    assert sorted(job.id for job in claimed) == ids[1:]
    assert queue.claim("late") is None


def test_of_a_collection_one_job_is_done_at_a_time(queue, clock):
    first, second = queue.put(REQUEST).id, queue.put(OTHER).id
    elsewhere = queue.put(replace(REQUEST, collection="d")).id
    assert queue.claim("one").id == first
    assert queue.claim("two").id == elsewhere
    assert queue.claim("three") is None
    assert queue.job(second).not_before is None
    queue.finish(first, "one", JobState.SUCCEEDED)
    assert queue.claim("one", busy=["c"]) is None  # by a program of which the queue does not know
    assert queue.claim("one").id == second
    clock.passes(2 * LEASE)
    assert queue.claim("four").id == second


def test_of_two_uploads_to_one_address_the_later_stays(queue, clock):
    first, second = queue.put(REQUEST).id, queue.put(REQUEST).id
    other = queue.put(OTHER).id
    assert queue.claim("one").id == first
    queue.put_back(first, "one", BUSY)
    assert queue.claim("two").id == other
    queue.finish(other, "two", JobState.SUCCEEDED)
    assert queue.claim("three") is None
    clock.passes(timedelta(seconds=5))
    assert queue.claim("one").id == first
    queue.finish(first, "one", JobState.SUCCEEDED)
    assert queue.claim("four").id == second


def test_who_says_nothing_loses_the_job(queue, clock):
    job_id = queue.put(REQUEST).id
    queue.claim("one")
    clock.passes(LEASE * 0.9)
    assert queue.renew(job_id, "one") is False
    clock.passes(LEASE * 0.9)
    assert queue.claim("two") is None
    clock.passes(LEASE)
    taken = queue.claim("two")
    assert (taken.id, taken.attempts) == (job_id, 2)
    for lost in (
        lambda: queue.renew(job_id, "one"),
        lambda: queue.record(job_id, "one", []),
        lambda: queue.finish(job_id, "one", JobState.SUCCEEDED),
        lambda: queue.put_back(job_id, "one", BUSY),
    ):
        with pytest.raises(JobLost):
            lost()
    assert queue.job(job_id).state is JobState.RUNNING


def test_the_job_of_a_worker_that_is_known_to_have_ended_is_taken_at_once(queue, clock):
    job_id = queue.put(REQUEST, owner="dead").id
    assert queue.job(job_id).state is JobState.RUNNING
    assert queue.claim("two") is None
    clock.passes(-timedelta(hours=9))  # a clock that was set back makes a lease long
    assert queue.claim("two", gone=lambda owner: owner == "dead").id == job_id


def test_a_clock_that_is_set_back_makes_no_wait_longer(queue, clock):
    waiting, held = queue.put(REQUEST).id, queue.put(replace(OTHER, collection="d")).id
    queue.claim("one")
    queue.put_back(waiting, "one", BUSY)
    assert queue.claim("silent").id == held
    clock.passes(-timedelta(days=400))
    assert queue.claim("two").id == waiting, "it was to be tried again in a few seconds"
    assert queue.claim("three") is None, "its worker may live"
    clock.passes(LEASE / 2)
    assert queue.claim("three") is None
    clock.passes(LEASE)
    assert {queue.claim("three").id, queue.claim("three").id} == {waiting, held}


def test_a_worker_that_lives_keeps_its_job_when_the_clock_is_set_back(queue, clock):
    job_id = queue.put(REQUEST).id
    queue.claim("one")
    clock.passes(-timedelta(days=400))
    for _ in range(5):
        assert queue.claim("two") is None
        clock.passes(LEASE / 3)
        queue.renew(job_id, "one")
    assert queue.finish(job_id, "one", JobState.SUCCEEDED).state is JobState.SUCCEEDED


def test_a_job_that_kills_its_workers_fails_in_the_end(queue):
    job_id = queue.put(REQUEST).id
    for _ in range(5):
        assert queue.claim("w", gone=lambda _: True).id == job_id
    assert queue.claim("w", gone=lambda _: True) is None
    job = queue.job(job_id)
    assert (job.state, job.error.code) == (JobState.FAILED, "worker_died")


def test_what_failed_is_tried_again_later_and_later(queue, clock):
    job_id = queue.put(REQUEST).id
    delays = []
    for attempt in range(1, 5):
        running = queue.claim("w")
        assert (running.attempts, running.error) == (attempt, None)
        waiting = queue.put_back(job_id, "w", BUSY)
        assert (waiting.state, waiting.error) == (JobState.QUEUED, BUSY)
        assert queue.claim("w") is None
        delays.append(datetime.fromisoformat(waiting.not_before) - clock())
        clock.passes(delays[-1])
    assert delays == [timedelta(seconds=5 * 2**number) for number in range(4)]
    queue.claim("w")
    assert queue.put_back(job_id, "w", BUSY).state is JobState.FAILED


def test_what_could_not_be_begun_is_no_attempt(queue, clock):
    job_id = queue.put(REQUEST).id
    for _ in range(20):
        assert queue.claim("w").attempts == 1
        queue.put_back(job_id, "w", BUSY, counts=False)
        clock.passes(timedelta(seconds=5))


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_by_its_worker(queue, clock):
    waiting, running = queue.put(REQUEST).id, queue.put(REQUEST).id
    assert queue.cancel(waiting).state is JobState.CANCELLED
    assert queue.claim("w").id == running
    assert queue.cancel(running).state is JobState.RUNNING
    assert queue.renew(running, "w") is True
    assert queue.finish(running, "w", JobState.CANCELLED).state is JobState.CANCELLED
    assert queue.cancel(running).state is JobState.CANCELLED
    again = queue.put(REQUEST).id
    queue.claim("w")
    queue.cancel(again)
    assert queue.put_back(again, "w", BUSY).state is JobState.CANCELLED
    lost = queue.put(REQUEST).id
    queue.claim("w")
    queue.cancel(lost)
    clock.passes(LEASE * 2)
    assert queue.claim("w") is None
    assert queue.job(lost).state is JobState.CANCELLED


def test_files_are_noted_as_they_come_and_the_last_try_counts(queue):
    job_id = queue.put(REQUEST).id
    queue.claim("w")
    failed = JobFile(uri="/a", outcome="failed", error=BUSY)
    fine = JobFile(uri="/a", outcome="ingested", document_id=7, chunks=3, seconds=0.5, notices=("a note",))
    queue.record(job_id, "w", [failed, JobFile(uri="/b", outcome="unchanged", document_id=8)])
    assert queue.job(job_id).outcomes == {"failed": 1, "unchanged": 1}
    queue.record(job_id, "w", [fine])
    assert [file for _, file in queue.files(job_id)] == [JobFile(uri="/b", outcome="unchanged", document_id=8), fine]
    assert queue.job(job_id).outcomes == {"ingested": 1, "unchanged": 1}
    first = queue.files(job_id, limit=1)
    assert [file.uri for _, file in queue.files(job_id, after=first[0][0])] == ["/a"]


def test_files_are_noted_by_as_many_statements_as_one_is(queue):
    job_id = queue.put(REQUEST).id
    queue.claim("w")
    tries = [JobFile(uri=f"/{number % 50}", outcome="ingested", chunks=number) for number in range(100)]

    def statements(files):
        asked = []

        def note(*call):
            asked.append(call[2])

        event.listen(Engine, "before_cursor_execute", note)
        try:
            queue.record(job_id, "w", files)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        return len(asked)

    assert statements(tries) == statements(tries[:1])
    noted = {file.uri: file.chunks for _, file in queue.files(job_id)}
    assert noted == {f"/{number}": number + 50 for number in range(1, 50)} | {"/0": 0}


def test_what_was_noted_before_near_duplicates_were_counted_is_read(queue, database):
    job_id = queue.put(REQUEST).id
    queue.claim("w")
    counted = JobFile(uri="/a", outcome="ingested", chunks=3, quality=Quality(duplicates=1, near_duplicates=2))
    queue.record(job_id, "w", [counted])
    assert [file for _, file in queue.files(job_id)] == [counted]
    with database.write() as connection:
        before = {"duplicates": 1, "boilerplate": 0, "flaws": {}}
        connection.execute(update(JobFileRow).values(quality=before))
    assert [file.quality for _, file in queue.files(job_id)] == [Quality(duplicates=1)]


def test_jobs_are_listed_newest_first_and_forgotten_when_they_are_old(queue, clock, database):
    ids = [queue.put(REQUEST).id for _ in range(3)]
    other = queue.put(JobRequest(collection="other")).id
    assert [job.id for job in queue.jobs(limit=2)] == [other, ids[2]]
    assert [job.id for job in queue.jobs(collection="c", before=ids[2])] == [ids[1], ids[0]]
    queue.claim("w")
    queue.record(ids[0], "w", [JobFile(uri="/a", outcome="ingested")])
    queue.finish(ids[0], "w", JobState.SUCCEEDED)
    clock.passes(timedelta(days=2))
    assert queue.forget(timedelta(days=3)) == 0
    assert queue.forget(timedelta(days=1)) == 1
    with pytest.raises(UnknownJob):
        queue.job(ids[0])
    assert queue.files(ids[0]) == []
    assert queue.job(ids[1]).state is JobState.QUEUED


def test_uploads_are_needed_until_their_job_has_ended(queue):
    job_id = queue.put(REQUEST).id
    assert queue.blobs() == {"ab/cd"}
    queue.claim("w")
    assert queue.blobs() == {"ab/cd"}
    queue.finish(job_id, "w", JobState.FAILED, error=BUSY)
    assert queue.blobs() == set()


def test_a_command_that_was_killed_has_failed_and_is_not_done_by_others(queue, clock):
    own = queue.put(replace(REQUEST, foreground=True), owner="command")
    assert (own.state, own.attempts, own.request.foreground) == (JobState.RUNNING, 1, True)
    queue.take_back(gone=lambda owner: owner == "another")
    assert queue.job(own.id).state is JobState.RUNNING
    queue.take_back(gone=lambda owner: owner == "command")
    ended = queue.job(own.id)
    assert (ended.state, ended.error.code) == (JobState.FAILED, "worker_died")
    assert queue.claim("w") is None


def test_a_command_goes_on_after_the_machine_slept(queue, clock):
    own = queue.put(replace(REQUEST, foreground=True), owner="command").id
    clock.passes(LEASE * 100)
    queue.take_back(gone=lambda owner: owner == "another")
    assert queue.claim("w", gone=lambda owner: owner == "another") is None
    assert not queue.renew(own, "command")
    clock.passes(LEASE * 100)
    queue.take_back(gone=lambda owner: owner == "command")
    assert queue.job(own).error.code == "worker_died"


def test_unchanged_files_are_counted_and_need_no_rows(queue):
    job_id = queue.put(REQUEST, owner="w").id
    file = JobFile(uri="/srv/docs/a", outcome="ingested", chunks=2)
    assert queue.record(job_id, "w", [file], unchanged=7) is False
    queue.cancel(job_id)
    assert queue.record(job_id, "w", [], unchanged=9) is True
    assert queue.job(job_id).outcomes == {"ingested": 1, "unchanged": 9}


def test_how_far_an_attempt_is_is_told_and_begins_anew_with_the_next(queue):
    job_id = queue.put(JobRequest(collection="c", paths=("/docs",))).id
    assert queue.claim("w").files_known is None
    queue.record(job_id, "w", [], files_known=60, chunks=1200)
    job = queue.job(job_id)
    assert (job.files_known, job.chunks) == (60, 1200)
    queue.put_back(job_id, "w", JobError(code="disk_full", message="Full."), after=timedelta(0))
    again = queue.claim("w")
    assert (again.id, again.files_known, again.chunks) == (job_id, None, 0)
