"""When a file that could not be taken in is tried again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from indexer.folders.failing import FailingFiles
from indexer.folders.mirror import FoundFile
from indexer.report import SourceFailure
from indexer.spooling import SpoolFull
from rag.errors import ParserTimeout, SourceDamaged, SourceTooLarge, SourceUnreadable
from tests.unit.clocks import Clock

FILE = FoundFile(path=Path("/docs/a.zip"), uri="/docs/a.zip", size=1, mtime_ns=2, ctime_ns=3)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def failing(clock):
    return FailingFiles(clock)


def failures(error, uri=FILE.uri):
    return [SourceFailure.of(uri, error)]


@pytest.mark.parametrize("changes", [{"size": 9}, {"mtime_ns": 9}, {"ctime_ns": 9}])
def test_what_was_done_to_a_file_counts_and_why_it_is_looked_at_does_not(failing, changes):
    assert not failing.waits(FILE)
    failing.note([FILE], failures(SourceDamaged("torn")))
    assert failing.waits(replace(FILE, reason="it was written to"))
    assert not failing.waits(replace(FILE, **changes))


@pytest.mark.parametrize("folder", ["/docs", "/docs!", "/a.zip!/b!"])
@pytest.mark.parametrize("member", ["", "!/inner.txt", "!/in.zip!/deep.txt"])
def test_a_failure_in_a_container_is_the_containers_whatever_its_folder_is_called(failing, folder, member):
    file = replace(FILE, uri=f"{folder}/a.zip")
    failing.note([file], failures(SourceDamaged("torn"), file.uri + member))
    assert failing.waits(file)


@pytest.mark.parametrize("error", [SourceDamaged("torn"), SourceTooLarge("huge")])
def test_a_cause_that_lies_in_the_file_stays(failing, clock, error):
    failing.note([FILE], failures(error))
    clock.now = 1e9
    assert failing.waits(FILE)


@pytest.mark.parametrize("error", [ParserTimeout("slow"), SpoolFull("full"), SourceUnreadable("an error of the disk")])
def test_a_cause_that_may_pass_is_tried_again_each_time_after_twice_as_long(failing, clock, error):
    pauses = []
    for _ in range(12):
        failing.note([FILE], failures(error, f"{FILE.uri}!/inner.txt"))
        begun = clock.now
        while failing.waits(FILE):
            clock.now += 60
        pauses.append(clock.now - begun)
    assert pauses[:3] == [300, 600, 1200]
    assert pauses[-1] == 86_400


def test_what_went_well_is_forgotten(failing, clock):
    failing.note([FILE], failures(SourceDamaged("torn")))
    failing.note([FILE], [])
    assert not failing.waits(FILE)
