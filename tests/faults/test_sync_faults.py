"""A sync that is killed or interrupted in the middle: what is missing is done by the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.embedding_group import _MOST_SOURCES

pytestmark = pytest.mark.timeout(300)

FILES = 12
PROGRAM = """
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library
Library._load_embedder = lambda self: HashingEmbedder()
from indexer.cli import main
main()
"""


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"old-{number}.txt").write_text(f"Water of the river number {number} runs down.\n")
    return folder


@pytest.fixture
def program(tmp_path):
    def start(*arguments: object) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments), "--json"],
            env={**os.environ, "RAG_HOME": str(tmp_path / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def lines_of(process: subprocess.Popen, status: int = 0) -> list[dict]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, out + err
    return [json.loads(line) for line in out.splitlines()]


def interrupt(process: subprocess.Popen, number: int, after_files: int) -> list[dict]:
    """Signal it when it has told of so many files; what it told in all."""
    told = []
    while sum(line["type"] == "file" for line in told) < after_files:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        told.append(json.loads(line))
    process.send_signal(number)
    return told


def change(docs: Path) -> None:
    for number in range(FILES):
        path = docs / f"old-{number}.txt"
        if number % 4 == 0:
            path.rename(docs / f"new-{number}.txt")
        elif number % 4 == 1:
            path.write_text(f"Water of the lake number {number} stands still.\n")
        elif number % 4 == 2:
            path.unlink()
        (docs / f"more-{number}.txt").write_text(f"A well number {number} is dug.\n")


def test_a_sync_that_is_killed_is_finished_by_the_next(program, docs):
    lines_of(program("sync", docs))
    change(docs)
    for after_files in (1, 2, 4):
        for number in range(3 * FILES):  # more than one group, whatever the one before has stored
            (docs / f"further-{after_files}-{number}.txt").write_text(f"Spring {after_files} {number} wells up.\n")
        process = program("sync", docs, "--prune")
        interrupt(process, signal.SIGKILL, after_files)
        process.communicate(timeout=60)
    lines_of(program("sync", docs, "--prune"))
    (listed,) = lines_of(program("list"))
    stored = {document["uri"]: document["title"] for document in listed["documents"]}
    assert stored == {str(path): path.stem for path in docs.iterdir()}
    assert lines_of(program("verify"))[0]["ok"]
    *_, summary = lines_of(program("sync", docs, "--prune"))
    assert summary["unchanged"] == len(stored)
    assert summary["ingested"] + summary["replaced"] + summary["moved"] + summary["deleted"] == 0


def test_ctrl_c_finishes_the_files_that_are_begun_and_deletes_nothing_more(program, docs):
    lines_of(program("sync", docs))
    change(docs)
    for number in range(3 * _MOST_SOURCES):
        (docs / f"more-{number}.txt").write_text(f"Water of the lake number {number} stands.\n")
    process = program("sync", docs, "--prune")
    interrupt(process, signal.SIGINT, 1)
    out, err = process.communicate(timeout=120)
    summary = json.loads(out.splitlines()[-1])
    assert process.returncode == 1, out + err
    assert summary["skipped"] > 0
    assert summary["deleted"] == 0
    *_, summary = lines_of(program("sync", docs, "--prune"))
    assert (summary["skipped"], summary["deleted"]) == (0, FILES // 4)
