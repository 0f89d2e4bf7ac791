"""Files, folders and data directories that may not be read or written: each its reason, and nothing else harmed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from indexer.cli import main as indexer_main
from rag.cli import main as rag_main
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library
from tests.faults.permissions import heeding_permissions

MAIN = {"indexer": indexer_main, "rag": rag_main}


@pytest.fixture
def indexer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())

    def run(*arguments: str, status: int, home: Path = tmp_path / "home", program: str = "indexer") -> list[dict]:
        monkeypatch.setenv("RAG_HOME", str(home))
        monkeypatch.setattr(sys, "argv", [program, *arguments, "--json"])
        with heeding_permissions():
            done = CliRunner().invoke(MAIN[program], [*arguments, "--json"], catch_exceptions=False)
        assert done.exit_code == status, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def closed(tmp_path):
    """Takes rights away, and gives them back at the end, so that all can be deleted."""
    before = []

    def close(path: Path, mode: int) -> Path:
        before.append((path, path.stat().st_mode))
        path.chmod(mode)
        return path

    yield close
    for path, mode in reversed(before):
        path.chmod(mode)


@pytest.fixture
def docs(tmp_path, closed) -> Path:
    root = tmp_path / "docs"
    for name in ("open/a.txt", "file/a.txt", "hidden/a.txt", "entered/a.txt", "listed/a.txt", "ignoring/a.txt"):
        path = root / name
        path.parent.mkdir(parents=True)
        path.write_text(f"Water of {name} runs down.")
    (root / "ignoring" / ".plumblineignore").write_text("*.log")
    closed(root / "ignoring" / ".plumblineignore", 0)
    closed(root / "file" / "a.txt", 0)
    for name, mode in (("hidden", 0), ("entered", 0o111), ("listed", 0o444)):
        closed(root / name, mode)
    return root


REASONS = {
    "file/a.txt": ("file/a.txt cannot be read: Permission denied.", "Check its permissions."),
    "hidden": ("hidden cannot be read: Permission denied.", "Check its permissions."),
    "entered": ("entered cannot be read: Permission denied.", "Check its permissions."),
    "listed": ("listed cannot be read: Permission denied.", "Check its permissions."),
    "ignoring": (
        "ignoring/.plumblineignore cannot be read: Permission denied.",
        "Correct or delete it; its folder is left as it is.",
    ),
}


def test_what_may_not_be_read_is_named_with_the_reason_and_the_rest_is_taken_in(indexer, docs):
    *files, summary = indexer("ingest", "docs", status=1)
    failed = {
        file["uri"].removeprefix(f"{docs}/"): (file["error"]["message"].removeprefix("docs/"), file["error"]["hint"])
        for file in files
        if file["error"]
    }
    assert failed == REASONS
    assert (summary["ingested"], summary["failed"]) == (1, len(REASONS))


def test_what_was_stored_of_a_folder_that_is_closed_stays(indexer, docs, closed):
    (docs / "more").mkdir()
    (docs / "more" / "b.txt").write_text("Wells are dug.")
    indexer("ingest", "docs", status=1)
    closed(docs / "more", 0)
    *_, summary = indexer("sync", "docs", "--prune", status=1)
    assert (summary["deleted"], summary["unsure"]) == (0, 1)
    (listed,) = indexer("list", status=0)
    assert str(docs / "more" / "b.txt") in {document["uri"] for document in listed["documents"]}


@pytest.mark.parametrize("command", [["ingest", "docs"], ["sync", "docs"], ["status"]])
def test_a_data_directory_that_may_not_be_written_is_told(indexer, docs, closed, tmp_path, command):
    (tmp_path / "home").mkdir()
    closed(tmp_path / "home", 0o500)
    for home in (tmp_path / "home", tmp_path / "home" / "below"):
        *_, told = indexer(*command, status=1, home=home)
        assert told["error"]["code"] == "data_directory_unwritable"
        assert str(home) in told["error"]["message"]


@pytest.mark.parametrize("command", ["status", "list", "verify"])
def test_who_reads_a_copy_that_may_not_be_written_is_told_to_copy_it(indexer, docs, closed, tmp_path, command):
    home = tmp_path / "copy"
    indexer("ingest", "docs/open", status=0, home=home)
    for path in (home, *home.rglob("*")):
        closed(path, 0o500 if path.is_dir() else 0o400)
    *_, told = indexer(command, status=1, home=home)
    assert told["error"]["code"] == "data_directory_unwritable"
    assert "(a mounted copy) is copied" in told["error"]["hint"]


@pytest.mark.parametrize("command", [("rag", "restore"), ("indexer", "import")])
def test_a_file_of_a_collection_that_may_not_be_read_is_told_as_a_document_is(indexer, closed, tmp_path, command):
    program, name = command
    (tmp_path / "file").write_text("{}")
    closed(tmp_path / "file", 0)
    (told,) = indexer(name, "file", status=1, program=program)
    assert told["error"]["code"] == "source_unreadable"
    assert "file cannot be read: Permission denied." in told["error"]["message"]


def test_documents_in_a_folder_that_may_not_be_written_are_taken_in(indexer, docs, closed):
    closed(docs / "open", 0o555)
    *_, summary = indexer("ingest", "docs/open", status=0)
    assert summary["ingested"] == 1
