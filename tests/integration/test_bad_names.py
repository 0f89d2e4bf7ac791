"""File names that no terminal, database or line of text is made for: each is taken in or refused, and none is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rag.embedding.fake import HashingEmbedder
from rag.factory import Library
from tests.integration.programs import indexer

TAKEN = [
    "new\nline.txt",
    "carriage\rreturn.txt",
    "tab\t.txt",
    "escape\x1b]0;owned\x07\x1b[2J.txt",
    "c1\x9b2J.txt",
    "order\u202etxt.exe",
    "separator\u2028.txt",
    "--help",
    "-rf.txt",
    " .txt",
    "[bold red]markup[/].txt",
    "percent%41.txt",
    "bang!",
    "quote'\".txt",
    "back\\slash.txt",
    "http:x.txt",
    "u\u0308nf.txt",
    "\u00fcnf.txt",
    ("lake " * 51)[:251] + ".txt",
    "folder\nerror: all is lost/a.txt",
]
REFUSED = [b"\xff.txt", b"\xfe.txt", b"half\xed\xa0\x80.txt", b"folder\xff/a.txt"]
# What would end a line, move the cursor, or turn the order of what follows.
STEERING = set("\x1b\x07\x9b\r\t\u2028\u202e")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())

    return indexer(monkeypatch)


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    for number, name in enumerate([*map(os.fsencode, TAKEN), *REFUSED]):
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"River number {number} carries water to the sea.\n")
    return folder


def test_every_name_is_taken_in_or_refused_by_its_own_name(run, docs):
    *files, summary = map(json.loads, run("ingest", "docs", "--json", exit_code=1).stdout.strip().split("\n"))
    assert (summary["ingested"], summary["failed"]) == (len(TAKEN), len(REFUSED))
    taken = {file["uri"] for file in files if file["error"] is None}
    assert taken == {f"{docs}/{name}" for name in TAKEN}
    refused = {file["uri"]: file["error"]["code"] for file in files if file["error"]}
    names = ["\\xff.txt", "\\xfe.txt", "half\\xed\\xa0\\x80.txt", "folder\\xff/a.txt"]
    assert refused == dict.fromkeys((f"{docs}/{name}" for name in names), "source_unreadable")


def test_no_name_ends_its_line_or_steers_a_terminal(run, docs):
    planned = run("sync", "docs", "--dry-run", exit_code=1).stdout
    told = run("ingest", "docs", exit_code=1).stderr
    for name in TAKEN:
        (docs / name).write_bytes(b"")
    failed = run("ingest", "docs", exit_code=1).stderr
    listed, jobs = run("list").stdout, run("jobs", "1").stdout
    for text in (planned, told, failed, listed, jobs):
        assert not STEERING & set(text), text
        assert not [line for line in text.split("\n") if line.startswith(("line.txt", "error: all is lost"))]
    assert failed.count("error[source_empty]") == len(TAKEN)
    assert len(planned.splitlines()) == len(TAKEN) + len(REFUSED) + 1


def test_names_of_a_command_line_that_are_no_utf8_break_no_command(run, docs):
    bad = os.fsdecode(os.fsencode(docs) + b"/\xfe.txt")
    folder = os.fsdecode(os.fsencode(docs) + b"/folder\xff")
    failed, summary = map(json.loads, run("ingest", bad, "--json", exit_code=1).stdout.splitlines())
    assert (failed["uri"], summary["failed"]) == (f"{docs}/\\xfe.txt", 1)
    for arguments in (["ingest", "--queue", bad], ["sync", folder], ["sync", folder, "--dry-run"], ["watch", folder]):
        (error,) = map(json.loads, run(*arguments, "--json", exit_code=1).stdout.splitlines())
        assert error["error"]["code"] == "invalid_request", arguments
        assert "not valid UTF-8" in error["error"]["message"]
        assert "not valid UTF-8" in run(*arguments, exit_code=1).stderr
    (jobs,) = map(json.loads, run("jobs", "--json").stdout.splitlines())
    assert [job["uris"] for job in jobs["jobs"]] == [[f"{docs}/\\xfe.txt"]]


@pytest.mark.parametrize("command", ["ingest", "sync", "watch"])
def test_an_empty_name_is_not_the_working_directory(run, docs, command):
    assert "empty" in run(command, "", exit_code=2).stderr
