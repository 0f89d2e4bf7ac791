"""Every command that writes, each with a folder to do it in; for tests that end it at any of its writes."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.reembedding import Reembedding
from rag.embedding.fake import HashingEmbedder
from rag.factory import open_library
from rag.job_types import JobRequest, Upload
from rag.stores.embeddings import embedding_sets
from rag.stores.full_text.lexical import FULL_TEXT_TABLE
from rag.stores.sqlite import schema
from rag.stores.sqlite.database import Database
from tests.contracts.store_builders import settings_in
from tests.faults.backups import backed_up
from tests.faults.stored_state import state_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.full_disk import Ended, FullDisk
    from tests.faults.stored_state import State

PAGE = "/page"
MOMENT = 3  # writes until there is room again


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, and what is changed in the folder before it. ``makes``: the file that is whole, or as it was;
    ``reads``: a command that refuses it unless it is whole. ``then`` does what the command has queued.

    One that ``goes_on`` tells of a full disk, and does what is left when there is room again.
    """

    command: tuple[str, ...]
    before: Callable[[Path], None] = lambda _: None
    options: dict[str, object] = field(default_factory=dict)
    makes: str | None = None
    reads: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    json: bool = True
    goes_on: bool = False


def no_home(folder: Path) -> None:
    shutil.rmtree(folder / "home")


def other_documents(folder: Path) -> None:
    (folder / "docs" / "b.txt").write_text("LAKES\n\nWater stands still, they say.\n")
    (folder / "docs" / "c.txt").write_text("SEAS\n\nSalt is in them.\n")


def changed_tree(folder: Path) -> None:
    """Something of each kind: changed, new, moved, gone."""
    other_documents(folder)
    (folder / "docs" / "long.txt").rename(folder / "docs" / "longer.txt")
    (folder / "docs" / "a.md").unlink()


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


def tuned(folder: Path) -> None:
    with open_library(settings_in(folder / "home")) as library:
        library.store.set_dense_weight(library.store.collection("default"), 0.7)


def old_home(folder: Path) -> None:
    no_home(folder)
    known = schema.REVISIONS
    try:
        schema.REVISIONS = known[:1]
        Database.open(settings_in(folder / "home")).close()
    finally:
        schema.REVISIONS = known


def embedded_anew(folder: Path) -> None:
    made = HashingEmbedder(name="second", dimension=16)
    with open_library(settings_in(folder / "home")) as library:
        collection = library.store.collection("default")
        target = embedding_sets.begin(library.database, collection, made.identity, made.dimension)
        report = Reembedding(library, collection, target, embedder=lambda: made).run(force=True)
        assert report.outcome == "swapped"


def with_uploads(folder: Path) -> None:
    """One is an archive, whose members are spooled."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("wells.txt", "WELLS\n\nWater is drawn.\n")
        written.writestr("springs.md", "# Springs\n\nWater wells up.\n")
    waiting = {"water.zip": archive.getvalue(), "rain.txt": b"RAIN\n\nWater falls.\n", "a.txt": b"Water is wet.\n"}
    with open_library(settings_in(folder / "home")) as library:
        for files in (("water.zip", "rain.txt"), ("a.txt",)):
            uploads = []
            for name in files:
                blob, sha256, size = library.blobs.put(io.BytesIO(waiting[name]), name=name, max_bytes=1 << 20)
                uploads.append(Upload(name=name, uri=f"upload:{name}", blob=blob, sha256=sha256, size=size))
            library.jobs.put(JobRequest(collection="default", uploads=tuple(uploads)))


def with_a_large_file(folder: Path) -> None:
    """More than a form keeps in memory."""
    (folder / "large.html").write_text(f"<p>Water, water, everywhere.</p><!-- {'nothing ' * 200_000} -->")


def with_uploads_kept(folder: Path) -> None:
    with_uploads(folder)
    backed_up(folder / "home", folder / "kept.zip", force=True)
    no_home(folder)


CASES = {
    "first ingest": Case(command=("indexer", "ingest", "docs"), before=no_home),
    "ingest": Case(command=("indexer", "ingest", "docs"), before=other_documents),
    "sync": Case(command=("indexer", "sync", "docs", "--prune"), before=changed_tree),
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
    "reembed of other chunks": Case(command=("indexer", "reembed", "--chunk-tokens", "100")),
    "reembed and back": Case(command=("indexer", "reembed", "--rollback"), before=embedded_anew),
    "reembed and forget": Case(command=("indexer", "reembed", "--forget-previous"), before=embedded_anew),
    "retain": Case(command=("indexer", "retain", "0"), before=with_a_past),
    "tune": Case(command=("rag", "tune", "--reset"), before=tuned),
    "page": Case(command=("indexer", "ingest", PAGE)),
    "upload": Case(command=("upload", "large.html"), before=with_a_large_file, then=("indexer", "worker", "--once")),
    "queue": Case(
        command=("indexer", "ingest", "docs", "--queue"), before=other_documents, then=("indexer", "worker", "--once")
    ),
    "worker": Case(command=("indexer", "worker", "--once"), before=with_uploads, goes_on=True),
    "watch": Case(
        command=("indexer", "watch", "docs", "--prune"),
        before=changed_tree,
        options={"looks": MOMENT + 2},  # each of these writes may cost it a look
        goes_on=True,
    ),
    "backup of uploads": Case(
        command=("rag", "backup", "kept.zip", "--force"),
        before=with_uploads,
        makes="kept.zip",
        reads=("rag", "restore", "kept.zip", "--force"),
    ),
    "restore of uploads": Case(
        command=("rag", "restore", "kept.zip"), before=with_uploads_kept, then=("indexer", "worker", "--once")
    ),
}


class Attempt:
    """A case with its folder, which is brought back to how it was before each time."""

    def __init__(self, case: Case, folder: Path, disk: FullDisk, kept: Path, site: str) -> None:
        self.case, self._folder, self._disk, self._kept, self._site = case, folder, disk, kept, site
        shutil.copytree(folder, kept / "untouched")
        case.before(folder)
        shutil.copytree(folder, kept / "before")
        self.home = folder / "home"
        self.before = None if case.before is damaged_home else state_of(self.home)  # not all of it can be found

    def again(self, **full: object) -> Ended:
        command = [self._site + part if part == PAGE else part for part in self.case.command]
        return self._run(*command, **full, **self.case.options)

    def undisturbed(self, **full: object) -> tuple[Ended, State]:
        """How it ends by itself, and what there is then."""
        ended = self.again(**full)
        assert ended.status == 0, ended
        assert ended.calls > 10
        self.then()
        return ended, state_of(self.home)

    def then(self) -> None:
        """Have done what was queued."""
        if self.case.then:
            ended = self._run(*self.case.then)
            assert ended.status == 0, ended

    def _run(self, *command: str, **options: object) -> Ended:
        as_json = ("--json",) if self.case.json else ()
        return self._disk.run(self._folder, *command, *as_json, **options)

    def restart(self, name: str = "before") -> None:
        shutil.rmtree(self._folder)
        shutil.copytree(self._kept / name, self._folder)

    def made(self) -> bytes:
        return (self._folder / self.case.makes).read_bytes() if self.case.makes else b""

    def reads(self, made: bytes) -> Ended:
        (self._folder / self.case.makes).write_bytes(made)
        return self._disk.run(self._folder, *self.case.reads, "--json")

    def verify(self) -> Ended:
        return self._disk.run(self._folder, "indexer", "verify", "--json")


def assert_done_again(attempt: Attempt, after: State, point: int) -> None:
    """Whatever ended the command: the same command does what is left, and all is as if nothing had been."""
    assert attempt.verify().code in (None, "database_outdated"), point
    last = attempt.again()
    assert last.status == 0 or last.code in ("unknown_document", "unknown_collection", "conflict"), (point, last)
    attempt.then()
    assert state_of(attempt.home) == after, point
    assert json.loads(attempt.verify().stdout)["ok"], point
