"""With ``--json`` standard output has objects alone, a line each, of the fields that docs/cli.md names."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from api import job_schemas, schemas
from indexer.cli import main as indexer
from rag.cli import main as rag
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")
ROWS = {
    command: fields
    for commands, fields in re.findall(r"^\| (`(?:rag|indexer) [^|]+) \| (.+) \|$", PAGE, re.MULTILINE)
    for command in re.findall(r"`([^`]+)`", commands)
}
COUNTS = {"documents", "chunks", "past_versions", "retention_days", "history_begins", "quality"}


def fields_of(*shapes: type[msgspec.Struct]) -> set[str]:
    return {field.name for shape in shapes for field in msgspec.structs.fields(shape)}


# What the page leaves to that of the service.
AS_THE_SERVICE = {
    "indexer changes": fields_of(schemas.DocumentChange),
    "indexer jobs": fields_of(job_schemas.Job),
    "rag restore": set(re.findall("`([a-z_]+)`", ROWS["rag backup"])),
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAG_EMBEDDER", "hashing")
    monkeypatch.setattr(Library, "_open_embedder", lambda self, name: HashingEmbedder())
    monkeypatch.setattr("os.nice", lambda _: 0)  # the tests that follow are not to be slow
    monkeypatch.chdir(tmp_path)

    def run(program: str, *arguments: str) -> list[dict]:
        monkeypatch.setattr(sys, "argv", [program, *arguments, "--json"])
        result = CliRunner().invoke({"rag": rag, "indexer": indexer}[program], [*arguments, "--json"])
        assert result.exit_code == 0, result.output
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        command = f"{program} {arguments[0]}"
        row = next(row for key, row in ROWS.items() if f"{command} {arguments[1] if arguments[1:] else ''}" == key
                   or command == key)  # fmt: skip
        named = set(re.findall("`([a-z_]+)`", row)) | AS_THE_SERVICE.get(command, set())
        operations = (DOCS / "operations.md").read_text(encoding="utf-8")
        for line in lines:
            assert "type" in line or line.keys() <= named, (command, line.keys() - named)
            assert "type" not in line or f"`{line['type']}`" in row + operations, (command, line["type"])
        return lines

    return run


def test_every_command_that_prints_json_is_in_the_table() -> None:
    def found(name: str, command: click.Command) -> set[str]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            each = ((child, command.get_command(context, child)) for child in command.list_commands(context))
            return {path for child, of in each if of for path in found(f"{name} {child}", of)}
        return {name} if any(parameter.name == "as_json" for parameter in command.params) else set()

    commands = found("rag", rag) | found("indexer", indexer)
    assert {"rag eval" if name.startswith("rag eval") else name for name in commands} == ROWS.keys()


def test_the_fields_are_those_that_are_told(run, tmp_path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("rivers", "lakes", "falls"):
        (docs / f"{name}.txt").write_text(f"Water of the {name} runs down.\n")
    river = str(docs / "rivers.txt")
    assert [line["type"] for line in run("indexer", "ingest", str(docs))] == ["file", "file", "file", "summary"]
    assert [line["type"] for line in run("indexer", "ingest", river, "--queue")] == ["job"]
    assert [line["state"] for line in run("indexer", "worker", "--once")] == ["succeeded"]
    (docs / "lakes.txt").rename(docs / "sea.txt")
    (docs / "falls.txt").write_text("Water of the falls stands.\n")
    run("indexer", "sync", str(docs), "--dry-run")
    run("indexer", "sync", str(docs))
    (state,) = run("indexer", "status")[0]["collections"]
    assert state.keys() == fields_of(schemas.Collection) | COUNTS
    (listed,) = run("indexer", "list")
    assert {frozenset(each) for each in listed["documents"]} == {frozenset(fields_of(schemas.DocumentDetails))}
    (found,) = run("rag", "search", "water")
    assert found.keys() == fields_of(schemas.SearchResponse)
    (job,) = run("indexer", "jobs", "1")
    assert job.keys() == fields_of(job_schemas.Job) | {"files"}
    times = [state["history_begins"], listed["documents"][0]["updated_at"], job["created_at"]]
    times += [change["at"] for change in run("indexer", "changes")]
    times += [run("rag", "backup", "first.zip")[0]["created"], run("indexer", "prune")[0]["history_begins"]]
    assert all(time.endswith("Z") for time in times)
    for arguments in (
        ["indexer", "jobs"],
        ["indexer", "history", river],
        ["indexer", "retain", "7"],
        ["indexer", "rebuild"],
        ["indexer", "rebuild"],
        ["indexer", "rollback"],
        ["indexer", "reembed"],
        ["indexer", "reembed", "--status"],
        ["indexer", "reembed", "--cancel"],
        ["indexer", "export", "out.jsonl"],
        ["indexer", "import", "out.jsonl", "-c", "other"],
        ["indexer", "rename", "other", "another"],
        ["indexer", "drop", "another"],
        ["indexer", "delete", river],
        ["indexer", "prune", "--older-than", "0"],
        ["indexer", "delete", "--purge", str(docs / "sea.txt")],
        ["indexer", "verify"],
        ["rag", "backup", "out.zip"],
        ["rag", "restore", "out.zip", "--force"],
        ["rag", "models", "list"],
    ):
        assert run(*arguments)
