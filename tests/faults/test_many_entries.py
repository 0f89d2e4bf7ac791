"""A folder with so many entries that listing it takes long: it is told how far it is, and an interruption ends it."""

from __future__ import annotations

import os
import pty
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.report import Watcher, counted

# Lists the first entry and is then as slow as a disk that hangs.
PROGRAM = """
import time
from indexer.folders import walking
listed = walking._names
def slow(*arguments):
    for name in listed(*arguments):
        yield name
        print("LISTING", flush=True)
        time.sleep(600)
walking._names = slow
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library
Library._load_embedder = lambda self: HashingEmbedder()
from indexer.cli import main
main()
"""
QUICK = PROGRAM.replace("time.sleep(600)", "pass").replace('print("LISTING", flush=True)', "pass")


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("Water runs down.")
    return folder


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    return {**os.environ, "RAG_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("command", "status"), [(["ingest"], 130), (["sync"], 130), (["sync", "--dry-run"], 130), (["watch"], 0)]
)
def test_one_interruption_ends_the_looking_at_once_and_nothing_is_done(docs, environment, command, status):
    started = [sys.executable, "-c", PROGRAM, *command, str(docs), "--json"]
    with subprocess.Popen(
        started, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "LISTING\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert out == ""
    assert "Stopped while looking for files; nothing was done." in err
    assert "Traceback" not in err
    again = [sys.executable, "-c", QUICK, "jobs", "--json"]
    jobs = subprocess.run(again, env=environment, capture_output=True, text=True, check=True).stdout
    assert '"state": "running"' not in jobs
    assert ('"state": "cancelled"' in jobs) is (command == ["ingest"])


def test_how_many_are_found_is_told_on_a_terminal_while_they_are_looked_for(docs, environment):
    for number in range(2500):
        (docs / f"{number}.md").touch()
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-c", QUICK, "sync", "--dry-run", str(docs)]
    with subprocess.Popen(
        command, env=environment | {"TERM": "xterm"}, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(terminal, 1 << 16):
                shown += part
        except OSError:  # the other end is closed
            pass
        finally:
            os.close(terminal)
    assert process.returncode == 0
    assert b"looking for files" in shown


def test_the_watcher_hears_of_every_thousand():
    heard = []

    class Listening(Watcher):
        def looking(self, sources):
            heard.append(sources)

    assert len(list(counted(range(2500), Listening()))) == 2500
    assert heard == [1000, 2000]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_entries_are_planned_in_a_gigabyte(tmp_path, environment):
    folder = tmp_path / "docs"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for number in range(1_000_000):
        os.close(os.open(f"{number}.txt", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    command = [sys.executable, "-c", QUICK, "sync", "--dry-run", str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        lines = sum(1 for _ in process.stdout)
    assert process.returncode == 0
    assert lines == 1_000_001
    assert max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) < 1 << 20  # KiB
