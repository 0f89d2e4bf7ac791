"""``kill -9`` at random moments: what was acknowledged is there, what was deleted is gone, and nobody has to help."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import re
import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from indexer.cli import main
from rag.erasure import DeletionFollower
from rag.factory import open_library
from rag.inference.kv.stored_states import stored_states
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.index.vectors import decode, encode
from rag.stores.live_vectors import LiveVectors
from rag.stores.scratch import scratch
from rag.stores.sqlite.database import Database
from rag.stores.versions.history import History
from tests.contracts.store_builders import DIMENSION, settings_in
from tests.faults.backups import restored
from tests.faults.killed_writer import (
    CHUNKERS,
    COLLECTION,
    EMBEDDERS,
    SPILLED,
    URIS,
    cut,
    vector,
    write_until_killed,
)

if TYPE_CHECKING:
    from pathlib import Path

# However slow the machine is: after so many lines of its log, and a while later, a process is killed.
MOST_LINES = 6
LONGEST_REST_S = 0.2
READY_WITHIN_S = 60


class Expected:
    """What the acknowledged changes have left: for each uri its version and number of chunks, or nothing."""

    def __init__(self) -> None:
        self.versions: dict[str, tuple[int, int] | None] = dict.fromkeys(URIS)
        self.embedder, self.chunker = EMBEDDERS[0], CHUNKERS[0]
        self.acknowledged = 0
        self.past: dict[str, list[tuple[int, int]]] = {uri: [] for uri in URIS}  # all versions that may be kept
        self.purged: list[tuple[str, int, int]] = []  # of which nothing must be left anywhere
        self.backups: list[tuple[str, Expected]] = []  # not looked at yet, and what is in them
        self.kinds: Counter[str] = Counter()

    def read(self, log: Path) -> dict[str, object] | None:
        """Take in what a process wrote down; returns what it was in the middle of, which may have happened or not."""
        pending = None
        for written in log.read_text().splitlines():
            line = json.loads(written)
            assert "failed" not in line, line
            if "seen" in line:
                self.kinds[line["seen"]] += 1
            elif "intent" in line:
                pending = line
            elif pending is not None:
                self.apply(pending)
                self.acknowledged += 1
                pending = None
        return pending

    def apply(self, change: dict[str, object]) -> None:
        self.kinds[change["intent"]] += 1
        if change["intent"] == "embed":
            self.kinds["cut"] += change["chunker"] != self.chunker
            self.embedder, self.chunker = change["embedder"], change["chunker"]
        elif change["intent"] == "backup":
            self.backups.append((change["name"], self.copy()))
        elif change["intent"] == "purge":
            uri = change["uri"]
            self.versions[uri] = None
            self.purged += [(uri, *version) for version in self.past[uri]]
            self.past[uri] = []
        elif change["intent"] != "expire":
            if "version" in change:
                self.past[change["uri"]].append((change["version"], change["count"]))
            self.versions[change["uri"]] = (change["version"], change["count"]) if "version" in change else None

    def copy(self) -> Expected:
        copied = Expected()
        copied.versions, copied.embedder, copied.chunker = dict(self.versions), self.embedder, self.chunker
        copied.purged = list(self.purged)
        return copied


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_whatever_is_killed_nothing_acknowledged_is_lost(kills, tmp_path):
    home = tmp_path / "home"
    chance = random.Random(20261124)  # noqa: S311  # for a test
    context = multiprocessing.get_context("forkserver")  # the modules are loaded once, not for each process
    context.set_forkserver_preload(["tests.faults.killed_writer"])
    expected = Expected()
    for number in range(kills):
        log = tmp_path / f"{number}.log"
        process = context.Process(target=write_until_killed, args=(str(home), str(log), number))
        process.start()
        try:
            wait_for_lines(log, process, 1 + chance.randrange(MOST_LINES))
            time.sleep(chance.uniform(0, LONGEST_REST_S))  # the random point; nothing is asserted about time
        finally:
            process.kill()
            process.join()
        pending = expected.read(log)
        assert_forgotten(home, expected, pending)
        assert_purged(home, expected)  # as the kill leaves it
        check(home, expected, pending)
        check_model_state(home, expected)
        check_backups(tmp_path, expected)
        leave_nothing(home, tmp_path / "backups", number)
    assert expected.acknowledged > 0.5 * kills  # they lived long enough to do something
    if kills >= 100:
        written = {"ingest", "delete", "embed", "cut", "backup", "purge", "expire"}
        assert expected.kinds.keys() == written | {"compaction", "flat", "ivf", "state"}


def wait_for_lines(log, process, count):
    deadline = time.monotonic() + READY_WITHIN_S
    while not log.exists() or log.read_bytes().count(b"\n") < count:
        assert process.is_alive(), log.read_text() if log.exists() else "it wrote nothing"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def check(home, expected, pending):
    """Open the data directory as the next start does, and compare everything that can be read."""
    database = Database.open(settings_in(home))
    store, vectors, lexical = SqlDocumentStore(database), LiveVectors(database, home / "indexes"), FtsIndex(database)
    try:
        collection = store.collection(COLLECTION)
        if (generation := store.status(collection).generation) is not None:
            expected.kinds[generation.kind] += 1
        settle(expected, pending, store, collection, database)
        assert (collection.fingerprint.embedder, collection.fingerprint.chunker) == (
            expected.embedder,
            expected.chunker,
        )
        chunks = {
            uri: cut(uri, *version, expected.chunker)
            for uri, version in expected.versions.items()
            if version is not None
        }
        texts = {chunk.text for each in chunks.values() for chunk in each}
        listed = {document.uri: document for document in store.documents(collection)}
        assert {uri: document.chunk_count for uri, document in listed.items()} == {
            uri: len(each) for uri, each in chunks.items()
        }
        question = vector(expected.embedder, "question")
        hits = vectors.search(collection, question, len(URIS) * SPILLED)
        found = {
            chunk.text: hit.score
            for (chunk, _), hit in zip(store.hydrate(collection, [hit.chunk_id for hit in hits]), hits, strict=True)
        }
        assert found.keys() == texts
        for text in list(found)[:50]:
            stored = decode(encode(vector(expected.embedder, text)[None]), DIMENSION)[0]
            # An index of lists rounds once more, which changes something where there are so few dimensions.
            assert found[text] == pytest.approx(float(stored @ question), abs=1e-3)
        worded = lexical.search(collection, "version", len(URIS) * SPILLED)
        assert not worded  # the word stands there only with a number behind it
        for uri, version in expected.versions.items():
            if version is not None:
                worded = lexical.search(collection, f"version{version[0]}", 2 * SPILLED)
                assert len(worded) == len(chunks[uri]), uri
    finally:
        vectors.close()
        database.close()


def assert_purged(home, expected):
    """Neither the words nor the vectors are in any file; full text may keep the end of a word alone."""
    needles = [str(version)[-8:].encode() for _, version, _ in expected.purged]
    for uri, version, count in expected.purged:
        texts = [chunk.text for chunker in CHUNKERS for chunk in cut(uri, version, count, chunker)[:3]]
        vectors = [vector(embedder, text) for embedder in EMBEDDERS for text in texts]
        stored = encode(np.array(vectors))
        needles += [*stored, *(row.tobytes() for row in decode(stored, DIMENSION))]
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [needle for needle in needles if needle in content] == [], path


def assert_forgotten(home, expected, pending):
    """Stored model state is of what is there alone, beside what the process was in the middle of deleting."""
    allowed = {version[0] for version in expected.versions.values() if version is not None}
    if pending is not None and "version" in pending:
        allowed.add(pending["version"])
    for path in (home / "kv").glob("*/*"):
        assert versions_in(path) <= allowed, path


def check_model_state(home, expected):
    """The next service removes what belongs to nothing that is there, and that alone."""
    with open_library(settings_in(home)) as library:
        collection = library.store.collection(COLLECTION)
        there = frozenset(item.chunk_id for item in library.store.embedding_inputs(collection))
        kept = {state.path for state in stored_states(home / "kv") if state.depends_only_on(there)}
        DeletionFollower(library.database, home / "kv").close()
    left = {state.path for state in stored_states(home / "kv")}
    assert left >= kept
    assert_forgotten(home, expected, None)
    expected.kinds["state"] += len(left)


def versions_in(path):
    return {int(digits) for digits in re.findall(rb"version(\d+) ", path.read_bytes())}


def check_backups(directory, expected):
    """What has its name is whole: it is restored, and holds what there was when it was made."""
    for name, held in expected.backups:
        restored(directory / "restored", directory / "backups" / name)
        check(directory / "restored", held, None)
        shutil.rmtree(directory / "restored")
        (directory / "backups" / name).unlink()
    expected.backups.clear()


def leave_nothing(home, backups, number):
    """Whatever a kill left is told and removed, and nothing is wrong. Not each time, for it takes long."""
    if number % 5:
        return
    for arguments in (["--repair"], []):
        result = CliRunner().invoke(main, ["verify", "--json", *arguments], env={"RAG_HOME": str(home)})
        report = json.loads(result.stdout)
        assert report["ok"], report
        assert [finding for finding in report["findings"] if not finding["repaired"]] == []
    assert not list((home / "indexes" / "building").glob("*"))
    with scratch(backups):  # as the next backup does
        assert len(list(backups.iterdir())) == 1
    assert list(backups.iterdir()) == []


def settle(expected, pending, store, collection, database):
    """Whether the change in the middle of which the process died has happened: all of it, or nothing."""
    if pending is None:
        return
    if pending["intent"] == "expire":
        happened = True  # nobody who reads the present can tell
    elif pending["intent"] == "purge":  # its first commit takes the document from everybody
        happened = History(database).document_id(collection, pending["uri"]) is None
    elif pending["intent"] == "backup":
        happened = (database.path.parent.with_name("backups") / pending["name"]).exists()
    elif pending["intent"] == "embed":
        now = (collection.fingerprint.embedder, collection.fingerprint.chunker)
        happened = now == (pending["embedder"], pending["chunker"])
    else:
        document = store.document_by_uri(collection, pending["uri"])
        now = None if document is None else document.sha256
        happened = now == (sha256_of(pending["version"]) if "version" in pending else None)
    if happened:
        expected.apply(pending)
        if pending["intent"] == "purge":
            with open_library(settings_in(database.path.parent)) as library:
                library.finish_purges()  # as the next program does
            assert_purged(database.path.parent, expected)


def sha256_of(version):
    return hashlib.sha256(str(version).encode()).hexdigest()
