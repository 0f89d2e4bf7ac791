"""SQLite leaves bytes of rows in the unused part of pages they were moved from: a purge is not done before they go."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from rag.factory import open_library
from rag.stores.collection_rows import being_purged
from tests.contracts.store_builders import fingerprint, ingest, settings_in

if TYPE_CHECKING:
    from pathlib import Path

MOST_SEEDS = 500  # of SQLite 3.40, the fifteenth leaves something


def moved_about(path: Path, seed: int) -> list[bytes]:
    """Add and delete rows of many sizes anywhere in a table; returns what was deleted and is still in the file."""
    chance = random.Random(seed)  # noqa: S311  # for a test
    there, gone = set(), set()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("DROP TABLE IF EXISTS moved")
        connection.execute("CREATE TABLE moved (id INTEGER PRIMARY KEY, content TEXT) WITHOUT ROWID")
        for _ in range(60):
            new = {chance.randrange(3000) for _ in range(chance.randrange(60))} - there - gone
            connection.execute("BEGIN")
            for number in sorted(new, key=lambda _: chance.random()):
                row = (number, word(seed, number).decode() + "-" * chance.randrange(5, 60))
                connection.execute("INSERT INTO moved VALUES (?, ?)", row)
            connection.execute("COMMIT")
            there |= new
            start = chance.randrange(3000)
            old = {number for number in there if number in range(start, start + 600) and chance.random() < 0.8}
            connection.execute("BEGIN")
            connection.executemany("DELETE FROM moved WHERE id = ?", [(number,) for number in sorted(old)])
            connection.execute("COMMIT")
            there -= old
            gone |= old
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    return [word(seed, number) for number in gone if word(seed, number) in content]


def word(seed: int, number: int) -> bytes:
    return b"<row %d of %d>" % (number, seed)


@pytest.fixture
def home(tmp_path):
    """A library with a document, and a database file in which bytes of deleted rows are left."""
    with open_library(settings_in(tmp_path)) as library:
        ingest(library.store, library.store.ensure_collection("c", fingerprint()), "/secret", ["One. ", "Two. "])
    return tmp_path


@pytest.fixture
def left(home):
    found = (moved_about(home / "plumbline.db", seed) for seed in range(MOST_SEEDS))
    return next(some for some in found if some)


def purged(home):
    """Purge the document; returns what the report says is left, and whether somebody is to finish it."""
    with open_library(settings_in(home)) as library:
        collection = library.store.collection("c")
        document = library.store.document_by_uri(collection, "/secret")
        report = library.purge(collection, [document.id])
        with library.database.read() as connection:
            return {each.place: each.note for each in report if each.left}, bool(being_purged(connection))


def finished(home):
    with open_library(settings_in(home)) as library:
        library.finish_purges()
        with library.database.read() as connection:
            return not being_purged(connection)


def has_any(home, words):
    return any(each in path.read_bytes() for path in home.rglob("*.db*") for each in words)


def test_bytes_in_the_unused_part_of_pages_go_with_a_purge(home, left):
    assert has_any(home, left)
    assert purged(home) == ({}, False)
    assert not has_any(home, left)


def test_without_room_to_write_the_file_anew_the_purge_says_so_and_is_finished_later(home, left, monkeypatch):
    usage = shutil.disk_usage(home)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 17))
        places, unfinished = purged(home)
        assert not finished(home)
    assert places.keys() == {"the database file"}
    assert "free space" in places["the database file"]
    assert unfinished
    assert has_any(home, left)
    assert finished(home)
    assert not has_any(home, left)


def test_beside_a_writer_the_purge_is_finished_later(home, left, monkeypatch):
    monkeypatch.setattr("rag.stores.sqlite.database._BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr("rag.stores.sqlite.database._READERS_END_S", 0.1)
    monkeypatch.setattr("rag.stores.live_vectors.LiveVectors.forget_former", writing_from_now_on(home, writers := []))
    places, unfinished = purged(home)
    assert "the database file" in places
    assert unfinished
    writers.pop().close()
    monkeypatch.undo()
    assert finished(home)
    assert not has_any(home, left)


def writing_from_now_on(home, writers):
    """Instead of the last step before the file is written anew: somebody begins to write, and does not end."""

    def begin(*_):
        writers.append(sqlite3.connect(home / "plumbline.db", isolation_level=None))
        writers[0].execute("BEGIN IMMEDIATE")
        return 0

    return begin
