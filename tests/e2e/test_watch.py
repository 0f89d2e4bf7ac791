"""``indexer watch`` as people run it: each thing that happens in a folder is waited for in what it tells."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)

PATIENCE_S = 120


class Watching:
    """A running ``indexer watch`` and the objects it has told and nobody has asked for."""

    def __init__(self, home: Path, models: Path, folder: Path, *arguments: str) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAG_", "PIP_"))},
            "RAG_HOME": str(home),
            "RAG_MODELS_DIR": str(models),
        }
        self.folder = folder
        self.told: queue.Queue[dict] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "indexer.cli", "watch", str(folder), "--json", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.told.put(json.loads(line))

    def until(self, kind: str, **values: object) -> dict:
        """The next object of this type with these values; others before it are let pass."""
        passed = []
        while True:
            try:
                told = self.told.get(timeout=PATIENCE_S)
            except queue.Empty:
                pytest.fail(f"no {kind} {values} after {passed}")
            if told["type"] == kind and all(told[key] == value for key, value in values.items()):
                return told
            passed.append(told)

    def until_unreadable(self) -> None:
        assert self.until("file", outcome="failed")["error"]["code"] == "source_unreadable"

    def file(self, name: str) -> str:
        return str(self.folder.resolve() / name)

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE_S) == 0, self.process.stderr.read()

    def documents(self) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-m", "indexer.cli", "list", "--json"],
            env=self.environment,
            capture_output=True,
            check=True,
        )
        return {Path(document["uri"]).name for document in json.loads(done.stdout)["documents"]}


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "first.txt").write_text("Water runs down the river.\n")
    return folder


def write_badly_named(folder: Path) -> None:
    """A file whose name is not UTF-8, which the library that tells of changes cannot tell."""
    (folder / os.fsdecode(b"q\xff.txt")).write_text("Water.\n")


@pytest.fixture
def watching(tmp_path, folder, models_dir, embedder_path):
    started = []

    def start(*arguments: str) -> Watching:
        started.append(Watching(tmp_path / "home", models_dir, folder, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def test_what_happens_in_a_folder_happens_in_the_collection(watching, folder, tmp_path):
    watch = watching("--prune")
    watch.until("file", uri=watch.file("first.txt"), outcome="ingested")
    watch.until("watching")
    write_badly_named(folder)
    watch.until_unreadable()

    (folder / "second.txt").write_text("A lake stands still.\n")
    second = watch.until("file", uri=watch.file("second.txt"), outcome="ingested")

    (folder / ".second.txt.tmp").write_text("A lake stands still in its basin.\n")  # as editors save
    (folder / ".second.txt.tmp").replace(folder / "second.txt")
    watch.until("file", uri=watch.file("second.txt"), outcome="replaced")

    (folder / "deep").mkdir()
    (folder / "second.txt").rename(folder / "deep" / "second.txt")
    moved = watch.until("moved", uri=watch.file("deep/second.txt"))
    assert moved["document_id"] == second["document_id"]

    (folder / "first.txt").unlink()
    watch.until("deleted", uri=watch.file("first.txt"))

    for number in range(600):  # more than are asked for one by one
        (folder / "deep" / f"{number}.tmp").touch()
        (folder / "deep" / f"{number}.tmp").unlink()
    (folder / "after.txt").write_text("The burst is over.\n")
    watch.until("file", uri=watch.file("after.txt"), outcome="ingested")

    away = tmp_path / "away"
    folder.rename(away)
    watch.until("waiting")
    shutil.copytree(away, folder)
    (folder / "back.txt").write_text("The disk is there again.\n")
    watch.until("file", uri=watch.file("back.txt"), outcome="ingested")
    watch.end(signal.SIGTERM)
    assert watch.documents() == {"second.txt", "after.txt", "back.txt"}


def test_without_prune_deletions_are_told_and_by_polling_changes_are_found_too(watching, folder):
    watch = watching("--poll")
    assert "polling" in watch.until("watching")["message"]
    (folder / "second.txt").write_text("A lake stands still.\n")
    watch.until("file", uri=watch.file("second.txt"), outcome="ingested")
    write_badly_named(folder)
    watch.until_unreadable()
    (folder / "first.txt").unlink()
    watch.until("gone", uri=watch.file("first.txt"))
    watch.end(signal.SIGINT)
    assert watch.documents() == {"first.txt", "second.txt"}


def test_a_folder_that_is_not_there_at_first_is_an_error(watching, folder):
    shutil.rmtree(folder)
    watch = watching()
    assert watch.process.wait(PATIENCE_S) == 1
