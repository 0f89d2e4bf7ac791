"""``indexer list``: page by page, in lines that are whole and stand below each other."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from indexer.cli import main
from indexer.commands import inventory
from rag.factory import open_library
from rag.stores.documents import SqlDocumentStore
from tests.contracts.store_builders import fingerprint, ingest, settings_in

NAMES = ["/a", "/ß", "/日本", "/[bold]", "/long" + "er" * 40]


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path))
    monkeypatch.setattr(inventory, "_PAGE", 2)
    with open_library(settings_in(tmp_path)) as library:
        yield library


@pytest.fixture
def listed(library):
    collection = library.store.ensure_collection("default", fingerprint())
    for number, uri in enumerate(NAMES):
        ingest(library.store, collection, uri, ["text. "] * (number + 1))

    return lambda *options: CliRunner().invoke(main, ["list", *options], catch_exceptions=False)


def test_every_document_has_a_line_below_the_heading_and_nothing_is_cut(listed):
    heading, *lines = listed().stdout.splitlines()
    assert heading.split() == ["id", "title", "language", "chunks", "of", "these", "bytes", "updated", "source"]
    assert [line.split()[-1] for line in lines] == NAMES
    assert [line.split()[1] for line in lines] == ["1", "2", "3", "4", "5"]
    ends = [line.index(" 20", 3) for line in (heading.replace("updated", "20"), *lines)]
    assert len(set(ends)) == 1


def test_one_object_holds_the_pages(listed, library):
    (line,) = listed("--json").stdout.splitlines()
    told = json.loads(line)
    assert json.dumps(told, ensure_ascii=False) == line
    assert [each["uri"] for each in told["documents"]] == NAMES
    assert told["documents"][1]["quality"] == {"duplicates": 2, "near_duplicates": 0, "boilerplate": 0, "flaws": {}}


def test_a_page_is_out_before_the_next_is_read(listed, monkeypatch):
    events = []
    documents, echo = SqlDocumentStore.documents, inventory.click.echo
    monkeypatch.setattr(
        SqlDocumentStore, "documents", lambda *args, **named: events.append("read") or documents(*args, **named)
    )
    monkeypatch.setattr(inventory.click, "echo", lambda line: events.append("line") or echo(line))
    listed()
    assert events == ["read", "line", "line", "line", "read", "line", "line", "read", "line", "read"]


@pytest.mark.usefixtures("listed")
def test_what_does_not_fit_a_terminal_is_folded(monkeypatch):
    monkeypatch.setattr(inventory.sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "dumb")
    inventory.list_documents.callback("default", False)
    lines = "".join(terminal.written).splitlines()
    assert lines[0].split()[0] == "id"
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("id") for line in lines) == 1
    assert "日" in "".join(terminal.written)


class Terminal:
    encoding = "utf-8"

    def __init__(self):
        self.written = []

    def isatty(self):
        return True

    def write(self, text):
        self.written.append(text)
        return len(text)

    def flush(self):
        pass


def test_an_empty_collection_is_told(library):
    library.store.ensure_collection("default", fingerprint())
    told = CliRunner().invoke(main, ["list"], catch_exceptions=False).stdout
    assert told == "The collection 'default' is empty.\n"
