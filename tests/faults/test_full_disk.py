"""The disk fills up at any write of any command: a clear error, nothing lost, and later nobody has to help."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rag.factory import open_library
from rag.stores import schema
from rag.stores.database import Database
from rag.stores.full_text.lexical import FULL_TEXT_TABLE
from tests.contracts.store_builders import settings_in
from tests.faults.full_disk import FullDisk, full_disk
from tests.faults.stored_state import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.full_disk import Ended
    from tests.faults.stored_state import State

QUICK = 4  # points of each command in the fast suite
PARTS = 8  # of every point, each a test of its own: some have 500 of them, and each point takes a second


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, and what is changed in the folder before it. ``makes``: the file that is whole, or as it was;
    ``reads``: a command that refuses it unless it is whole.
    """

    command: tuple[str, ...]
    before: Callable[[Path], None] = lambda _: None
    options: dict[str, object] = field(default_factory=dict)
    makes: str | None = None
    reads: tuple[str, ...] = ()
    json: bool = True


def no_home(folder: Path) -> None:
    shutil.rmtree(folder / "home")


def other_documents(folder: Path) -> None:
    (folder / "docs" / "b.txt").write_text("LAKES\n\nWater stands still, they say.\n")
    (folder / "docs" / "c.txt").write_text("SEAS\n\nSalt is in them.\n")


def damaged_home(folder: Path) -> None:
    (index,) = (folder / "home" / "indexes").glob("*/*/index.faiss")
    index.write_bytes(index.read_bytes()[:-9])
    with closing(sqlite3.connect(folder / "home" / "plumbline.db")) as connection:
        connection.execute(f"INSERT INTO {FULL_TEXT_TABLE}({FULL_TEXT_TABLE}) VALUES ('delete-all')")  # noqa: S608
        connection.commit()


def with_a_past(folder: Path) -> None:
    with open_library(settings_in(folder / "home")) as library:
        collection = library.store.collection("default")
        gone = [each.id for each in library.store.documents(collection) if each.uri.endswith("long.txt")]
        library.store.delete(collection, gone)
        assert library.store.status(collection).past_versions == 1


def with_two_indexes(folder: Path) -> None:
    with open_library(settings_in(folder / "home")) as library:
        library.vectors.rebuild(library.store.collection("default"))


def old_home(folder: Path) -> None:
    no_home(folder)
    known = schema.REVISIONS
    try:
        schema.REVISIONS = known[:1]
        Database.open(settings_in(folder / "home")).close()
    finally:
        schema.REVISIONS = known


CASES = {
    "first ingest": Case(command=("indexer", "ingest", "docs"), before=no_home),
    "ingest": Case(command=("indexer", "ingest", "docs"), before=other_documents),
    "sync": Case(command=("indexer", "sync", "docs", "--prune"), before=other_documents),
    "delete": Case(command=("indexer", "delete", "docs/long.txt")),
    "purge": Case(command=("indexer", "delete", "--purge", "docs/long.txt")),
    "purge of the past": Case(command=("indexer", "delete", "--purge", "docs/long.txt"), before=with_a_past),
    "drop": Case(command=("indexer", "drop", "default", "--purge"), before=with_a_past),
    "rename": Case(command=("indexer", "rename", "default", "kept")),
    "prune": Case(command=("indexer", "prune", "--older-than", "0"), before=with_a_past),
    "rollback": Case(command=("indexer", "rollback"), before=with_two_indexes),
    "rebuild": Case(command=("indexer", "rebuild")),
    "rebuild with lists": Case(command=("indexer", "rebuild"), options={"flat_up_to": 20}),
    "reembed": Case(command=("indexer", "reembed"), options={"embedder": "second"}),
    "repair": Case(command=("indexer", "verify", "--repair"), before=damaged_home),
    "backup": Case(
        command=("rag", "backup", "kept.zip", "--force"),
        before=other_documents,
        makes="kept.zip",
        reads=("rag", "restore", "kept.zip", "--force"),
    ),
    "restore": Case(command=("rag", "restore", "kept.zip"), before=no_home),
    "restore over": Case(command=("rag", "restore", "kept.zip", "--force")),
    "export": Case(
        command=("indexer", "export", "kept.jsonl", "--force"),
        makes="kept.jsonl",
        reads=("indexer", "import", "kept.jsonl", "-c", "again"),
    ),
    "export of a table": Case(
        command=("indexer", "export", "kept.parquet", "--force"),
        makes="kept.parquet",
        reads=("indexer", "import", "kept.parquet", "-c", "again"),
    ),
    "import": Case(command=("indexer", "import", "kept.jsonl", "-c", "other")),
    "migrate": Case(command=("rag", "migrate"), before=old_home, json=False),
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[FullDisk]:
    with full_disk(tmp_path_factory.mktemp("scratch")) as disk:
        yield disk


@pytest.fixture(scope="module")
def folder(tmp_path_factory, disk) -> Path:
    """Documents, a data directory with an index of them, and what was backed up and exported."""
    folder = tmp_path_factory.mktemp("folder")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Rivers\n\nWater runs down.\n\n## Speed\n\nIt is slow in the plain.\n")
    (docs / "b.txt").write_text("LAKES\n\nWater stands.\n")
    (docs / "long.txt").write_text("\n\n".join(f"Line {n} of water. " * 60 for n in range(30)))
    for command in (
        ("indexer", "ingest", "docs"),
        ("indexer", "rebuild"),  # so small a collection has an index file only if it is asked for
        ("rag", "backup", "kept.zip"),
        ("indexer", "export", "kept.jsonl"),
        ("indexer", "export", "kept.parquet"),
    ):
        assert disk.run(folder, *command, "--json").status == 0
    return folder


class Attempt:
    """A case with its folder, which is brought back to how it was before each time."""

    def __init__(self, case: Case, folder: Path, disk: FullDisk, kept: Path) -> None:
        self._case, self._folder, self._disk, self._kept = case, folder, disk, kept
        shutil.copytree(folder, kept / "untouched")
        case.before(folder)
        shutil.copytree(folder, kept / "before")
        self.home = folder / "home"
        self.before = None if case.before is damaged_home else state_of(self.home)  # not all of it can be found

    def again(self, full_from: int = -1) -> Ended:
        command = (*self._case.command, "--json") if self._case.json else self._case.command
        return self._disk.run(self._folder, *command, full_from=full_from, **self._case.options)

    def restart(self, name: str = "before") -> None:
        shutil.rmtree(self._folder)
        shutil.copytree(self._kept / name, self._folder)

    def made(self) -> bytes:
        return (self._folder / self._case.makes).read_bytes() if self._case.makes else b""

    def reads(self, made: bytes) -> Ended:
        (self._folder / self._case.makes).write_bytes(made)
        return self._disk.run(self._folder, *self._case.reads, "--json")

    def verify(self) -> Ended:
        return self._disk.run(self._folder, "indexer", "verify", "--json")


@pytest.fixture(params=CASES)
def attempt(request, folder, disk, tmp_path) -> Iterator[Attempt]:
    attempt = Attempt(CASES[request.param], folder, disk, tmp_path)
    yield attempt
    attempt.restart("untouched")


def points(calls: int, part: int | None) -> list[int]:
    return list(range(calls))[part::PARTS] if part is not None else some_of(calls)


def some_of(calls: int) -> list[int]:
    return sorted({calls * n // QUICK + n % 3 for n in range(QUICK)})


EVERY = [pytest.param(part, marks=pytest.mark.slow, id=f"every-{part + 1}of{PARTS}") for part in range(PARTS)]


@pytest.mark.timeout(1800)  # of a part, on a busy machine; a command that hangs is ended long before
@pytest.mark.parametrize("part", [pytest.param(None, id="some"), *EVERY])
def test_a_disk_that_fills_up_at_any_write(attempt, part):
    before, whole = attempt.before, attempt.made()
    undisturbed = attempt.again()
    assert undisturbed.status == 0, undisturbed
    assert undisturbed.calls > 10
    after = state_of(attempt.home)
    for point in points(undisturbed.calls, part):
        attempt.restart()
        ended = attempt.again(full_from=point)
        assert_told(ended, point)
        if before is not None:
            assert_kept(ended, before, state_of(attempt.home), after)
        made = attempt.made()
        assert attempt.verify().code in (None, "database_outdated")
        last = attempt.again()
        assert last.status == 0 or last.code in ("unknown_document", "unknown_collection", "conflict"), last
        assert state_of(attempt.home) == after, point
        assert json.loads(attempt.verify().stdout)["ok"], point
        if made != whole:  # it was in its place when the disk refused to keep the folder's entry
            assert attempt.reads(made).status == 0, point


def test_a_command_that_does_not_end_spoils_no_other(disk, folder, tmp_path):
    """Its answer, were it to come, would be taken for that to the next question."""
    copied = shutil.copytree(folder, tmp_path / "folder")
    with pytest.raises(TimeoutError, match="watch"):
        disk.run(copied, "indexer", "watch", "docs", within_s=0)
    listed = disk.run(copied, "indexer", "list", "--json")
    assert listed.status == 0
    assert {each["uri"] for each in json.loads(listed.stdout)["documents"]} == {
        uri for _, uri in state_of(copied / "home")
    }


def assert_told(ended: Ended, point: int) -> None:
    """That the disk is full, what was given up and what to do: no traceback, and no other reason."""
    assert ended.status in (0, 1), (point, ended)
    assert "Traceback" not in ended.stderr, (point, ended)
    if ended.status:
        assert ended.code == "disk_full", (point, ended)
        assert "Free some space" in ended.stdout + ended.stderr, (point, ended)


def assert_kept(ended: Ended, before: State, now: State, after: State) -> None:
    """Every document is as it was before or as it should be after; what was acknowledged is."""
    if ended.status == 0:
        assert now == after
    for key in {*before, *after, *now}:
        assert now.get(key) in (before.get(key), after.get(key)), key
    for line in ended.stdout.splitlines():
        told = json.loads(line) if line.startswith("{") else {}
        if told.get("outcome") in ("ingested", "replaced"):
            assert now["default", told["uri"]] == after["default", told["uri"]]
