"""Damage that no reader notices is found by a running service, which is kept from nothing meanwhile."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
from collections import Counter
from contextlib import closing

import pytest

from rag.errors import StorageError
from rag.factory import open_library
from rag.stores.full_text import check as full_text_check
from rag.stores.full_text.check import full_text_agrees
from rag.stores.full_text.lexical import FULL_TEXT_TABLE
from rag.stores.sqlite.database import Database
from rag.stores.verification.inspection import Inspection
from tests.contracts.store_builders import fingerprint, ingest, settings_in
from tests.faults.flipped_bytes import flip

WORDS = "water pump pressure holiday notice period valve manual contract employee summer winter filter engine".split()
SEED = 20261126
FLIPS = 60


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    home = tmp_path_factory.mktemp("inspected") / "home"
    chance = random.Random(SEED)  # noqa: S311  # for a test
    with open_library(settings_in(home)) as library:
        collection = library.store.ensure_collection("c", fingerprint())
        for number in range(40):
            texts = [f"{' '.join(chance.choices(WORDS, k=30))} only{number}x{piece}. " for piece in range(5)]
            ingest(library.store, collection, f"/{number}", texts, seed=number)
        library.store.delete(collection, [library.store.document_by_uri(collection, "/7").id])
        library.vectors.flush(collection, force=True)
    return home


@pytest.fixture
def home(written, tmp_path):
    shutil.copytree(written, tmp_path / "home")
    return tmp_path / "home"


def inspected(home):
    database = Database.open(settings_in(home))
    try:
        return Inspection(database, home / "indexes").inspect().problems
    finally:
        database.close()


def found(home):
    """What each word finds, and how well; ``None`` where that is an error."""
    with open_library(settings_in(home)) as library:
        collection = library.store.collection("c")
        asked = [*WORDS, *(f"only{number}x{number % 5}" for number in range(40))]
        return [[(hit.chunk_id, hit.score) for hit in library.lexical.search(collection, word, 500)] for word in asked]


def test_what_is_whole_has_no_problems(home):
    assert inspected(home) == ()


@pytest.mark.parametrize("flips", [FLIPS, pytest.param(400, marks=pytest.mark.slow)])
def test_whatever_changes_an_answer_of_full_text_is_found(home, flips):
    """Bytes of its own tables: what a search silently answers otherwise, the inspection tells."""
    chance, expected = random.Random(SEED), found(home)  # noqa: S311  # for a test
    path, outcomes = home / "plumbline.db", Counter()
    values = []
    with closing(sqlite3.connect(path)) as connection:
        for table, column in (("data", "block"), ("docsize", "sz")):
            rows = connection.execute(f"SELECT id, {column} FROM {FULL_TEXT_TABLE}_{table}")  # noqa: S608
            values += [(table, column, *row) for row in rows]
    for table, column, row_id, value in chance.choices(values, [len(value) for *_, value in values], k=flips):
        damaged = bytearray(value)
        damaged[chance.randrange(len(value))] ^= chance.randrange(1, 256)
        _write(path, table, column, row_id, bytes(damaged))
        try:
            outcome = "the same" if found(home) == expected else "another answer"
        except StorageError:
            outcome = "an error"
        outcomes[outcome] += 1
        if outcome == "another answer":
            outcomes["told"] += bool(inspected(home))
        _write(path, table, column, row_id, value)
    assert outcomes["another answer"] > flips / 10, "searches alone do not notice it"
    assert outcomes["told"] == outcomes["another answer"]


def _write(path, table, column, row_id, value):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {FULL_TEXT_TABLE}_{table} SET {column} = ? WHERE id = ?", [value, row_id])  # noqa: S608


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE chunk_terms_fts_docsize SET sz = x'0102' WHERE id = 3", "full-text index does not agree"),
        ("DELETE FROM chunk_terms_fts_docsize WHERE id = 3", "full-text index does not agree"),
        ("DROP TRIGGER chunk_terms_update; UPDATE chunk_terms SET text = 'other' WHERE chunk_id = 3", "full-text"),
    ],
)
def test_full_text_that_does_not_agree_is_told(home, statement, says):
    with closing(sqlite3.connect(home / "plumbline.db")) as connection:
        connection.executescript(statement)
    (problem,) = inspected(home)
    assert says in problem
    assert "indexer verify --repair" in problem


def test_an_index_that_lacks_a_row_is_told(home):
    path = home / "plumbline.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE INDEX whole ON chunks (ordinal) WHERE id <> 3")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = 'CREATE INDEX whole ON chunks (ordinal)' WHERE name = 'whole'"
        )
    (problem,) = inspected(home)
    assert "The database is damaged" in problem


def test_an_index_file_that_changed_is_told(home):
    (file,) = home.glob("indexes/1/*/index.faiss")
    flip(file, file.stat().st_size - 9, 1)
    (problem,) = inspected(home)
    assert problem.startswith("c: The index files in")


def test_others_write_meanwhile_and_nothing_is_left_of_the_copy(home):
    done = []

    class Connection(sqlite3.Connection):
        def execute(self, statement, *parameters):
            if statement == full_text_check._CHECK:
                with open_library(settings_in(home)) as library:
                    collection = library.store.collection("c")
                    done.append(ingest(library.store, collection, "/new", ["a new text"]))
            return super().execute(statement, *parameters)

    before = {path.name for path in home.iterdir()}
    with closing(sqlite3.connect(home / "plumbline.db", isolation_level=None, factory=Connection)) as connection:
        assert full_text_check.copied_full_text_agrees(connection)
        assert connection.execute("SELECT count(*) FROM sqlite_temp_schema").fetchone() == (0,)
    assert done
    assert full_text_agrees(home / "plumbline.db")
    assert {path.name for path in home.iterdir()} - before <= {"plumbline.db-wal", "plumbline.db-shm"}


def test_a_service_says_what_was_found(home):
    with closing(sqlite3.connect(home / "plumbline.db")) as connection, connection:
        connection.execute("DELETE FROM chunk_terms_fts_docsize WHERE id = 3")
    with open_library(settings_in(home)) as library:
        assert [check for check in library.readiness() if check.name == "stored data"] == []
        library.maintain()
        ended = threading.Event()
        for _ in range(600):
            if library.inspected is not None or ended.wait(0.1):
                break
        (check,) = [check for check in library.readiness() if check.name == "stored data"]
        assert not check.ok
        assert "verify --repair" in check.detail


def test_stopping_does_not_wait_for_the_end(home, monkeypatch):
    """It is interrupted in the middle of SQLite's own work."""
    database = Database.open(settings_in(home))
    inspection = Inspection(database, home / "indexes")
    begun = threading.Event()

    def endless(connection):
        begun.set()
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT sum(i) FROM n"
        ).fetchall()

    monkeypatch.setattr("rag.stores.verification.inspection.copied_full_text_agrees", endless)
    inspection.start()
    assert begun.wait(60)
    inspection.stop()
    assert inspection.last is None
    database.close()
