"""Torn, changed and missing index files: said loudly, rebuilt from SQL, and nothing else is lost."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from rag.errors import DatabaseBusy, DatabaseDamaged, DataDirectoryUnwritable, StorageError
from rag.stores.changes import added_since, generations
from rag.stores.documents import SqlDocumentStore
from rag.stores.index import generations as generations_on_disk
from rag.stores.index.generations import load_generation, write_generation
from rag.stores.index.vector_rows import ArrayRows
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite.database import Database
from rag.types import Comparison
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest, settings_in, unit_vectors

QUERY = unit_vectors(1, seed=9)[0]


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def database(home):
    database = Database.open(settings_in(home), busy_timeout_s=0.05)
    yield database
    database.close()


@pytest.fixture
def store(database):
    return SqlDocumentStore(database)


@pytest.fixture
def collection(database, store, home):
    """A collection with a generation of five vectors and two changes after it."""
    collection = store.ensure_collection("handbook", fingerprint())
    ingest(store, collection, "/a", ["one", "two", "three", "four"])
    gone = ingest(store, collection, "/b", ["five"])
    vectors = LiveVectors(database, home / "indexes")
    vectors.flush(collection, force=True)
    store.delete(collection, [gone.id])
    ingest(store, collection, "/c", ["six"])
    return collection


def current(database, collection):
    with database.read() as connection:
        return generations(connection, collection.id)[0]


def flip_a_byte(directory):
    path = directory / "index.faiss"
    data = bytearray(path.read_bytes())
    data[-9] ^= 0x40  # inside the vectors: FAISS itself would not notice
    path.write_bytes(data)


def cut_short(directory):
    path = directory / "index.faiss"
    path.write_bytes(path.read_bytes()[:60])


def spoil_manifest(directory):
    (directory / "manifest.json").write_text("{")


def change_manifest(**changes):
    def change(directory):
        path = directory / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        cut_short,
        spoil_manifest,
        shutil.rmtree,
        change_manifest(format_version=99),
        change_manifest(embedder="another"),
        change_manifest(sha256="0" * 64),
    ],
    ids=["flipped", "cut", "manifest", "missing", "format", "embedder", "checksum"],
)
def test_a_damaged_generation_is_rebuilt(database, store, collection, home, damage):
    before = current(database, collection)
    damage(home / "indexes" / before.directory)
    vectors = LiveVectors(database, home / "indexes")
    with capture_logs() as logs:
        hits = vectors.search(collection, QUERY, 10)
    assert {hit.chunk_id for hit in hits} == set(chunk_ids(store, collection))
    assert [entry["log_level"] for entry in logs] == ["error", "warning"]
    assert before.directory.split("/")[1] in logs[0]["error"]
    assert current(database, collection).directory != before.directory
    with capture_logs() as logs:
        assert LiveVectors(database, home / "indexes").search(collection, QUERY, 10) == hits
    assert logs == []


def test_without_any_index_files_everything_is_served(database, store, collection, home):
    shutil.rmtree(home / "indexes")
    vectors = LiveVectors(database, home / "indexes")
    assert {hit.chunk_id for hit in vectors.search(collection, QUERY, 10)} == set(chunk_ids(store, collection))


def test_an_index_directory_that_cannot_be_written_stops_no_search(database, store, collection, home):
    shutil.rmtree(home / "indexes")
    (home / "indexes").write_text("a file")
    vectors = LiveVectors(database, home / "indexes")
    with capture_logs() as logs:
        assert {hit.chunk_id for hit in vectors.search(collection, QUERY, 10)} == set(chunk_ids(store, collection))
    assert [entry["log_level"] for entry in logs] == ["error", "error"]
    with pytest.raises(DataDirectoryUnwritable):
        vectors.flush(collection, force=True)


def test_what_a_crashed_flush_left_is_removed(database, store, collection, home):
    vectors = LiveVectors(database, home / "indexes")
    parent = home / "indexes" / str(collection.id)
    (parent / ".unfinished-000000000009-deadbeef").mkdir()
    (parent / "000000000009-deadbeef").mkdir()  # renamed, but SQL never came to point to it
    vectors.flush(collection, force=True)
    assert len(list(parent.iterdir())) == 2
    assert not [path for path in parent.iterdir() if "deadbeef" in path.name]


def test_files_that_fit_are_removed_where_the_database_has_no_more_room(database, store, collection, home):
    vectors = LiveVectors(database, home / "indexes")
    before = current(database, collection)
    expected = scores(vectors.search(collection, QUERY, 10))

    @event.listens_for(database._engine, "commit")
    def refuse(_):
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(StorageError, match="disk is full"):
        vectors.flush(collection, force=True)
    event.remove(database._engine, "commit", refuse)
    assert [path.name for path in (home / "indexes" / str(collection.id)).iterdir()] == [before.directory.split("/")[1]]
    assert scores(vectors.search(collection, QUERY, 10)) == pytest.approx(expected, abs=1e-5)
    assert vectors.flush(collection, force=True)


def test_files_whose_name_does_not_reach_the_disk_are_removed(database, collection, home, monkeypatch):
    before = current(database, collection)
    parent = home / "indexes" / str(collection.id)
    sync = generations_on_disk._sync

    def refuse(path):
        if path == parent:
            raise OSError(errno.EIO, "Input/output error")
        sync(path)

    monkeypatch.setattr(generations_on_disk, "_sync", refuse)
    with pytest.raises(DataDirectoryUnwritable):
        write_generation(
            home / "indexes",
            collection.id,
            ArrayRows(np.arange(3), unit_vectors(3, seed=1)),
            embedder="embedder-1",
            seq=9,
        )
    assert [path.name for path in parent.iterdir()] == [before.directory.split("/")[1]]


def scores(hits):
    """By id: equal vectors come in either order."""
    return {hit.chunk_id: hit.score for hit in hits}


def test_a_flush_that_finds_the_database_locked_can_be_tried_again(database, store, collection, home):
    vectors = LiveVectors(database, home / "indexes")
    expected = pytest.approx(scores(vectors.search(collection, QUERY, 10)), abs=1e-5)
    before = current(database, collection)
    parent = home / "indexes" / str(collection.id)
    for _ in range(3):  # as a service tries again every minute
        with database.write(), pytest.raises(DatabaseBusy):
            vectors.flush(collection, force=True)
        assert [path.name for path in parent.iterdir()] == [before.directory.split("/")[1]]
    assert scores(vectors.search(collection, QUERY, 10)) == expected
    assert current(database, collection) == before
    assert vectors.flush(collection, force=True)
    assert scores(vectors.search(collection, QUERY, 10)) == expected


def test_a_database_restored_from_a_backup_is_followed_back(database, store, collection, home):
    vectors = LiveVectors(database, home / "indexes")
    vectors.search(collection, QUERY, 10)
    copy = home.parent / "copy.db"
    with closing(sqlite3.connect(database.path)) as live, closing(sqlite3.connect(copy)) as backup:
        live.backup(backup)
        ingest(store, collection, "/d", ["seven"])
        assert len(vectors.search(collection, QUERY, 10)) == 6
        backup.backup(live)
    assert {hit.chunk_id for hit in vectors.search(collection, QUERY, 10)} == set(chunk_ids(store, collection))
    assert len(chunk_ids(store, collection)) == 5


@pytest.mark.parametrize("use", ["search", "filtered search", "flush"])
def test_whoever_meets_a_damaged_file_first_has_it_made_anew(database, store, collection, home, use):
    before = current(database, collection)
    flip_a_byte(home / "indexes" / before.directory)
    vectors = LiveVectors(database, home / "indexes")
    if use == "flush":
        assert vectors.flush(collection) is True  # though little has changed
    else:
        where = Comparison(field="ordinal", operator=">=", value=0) if use == "filtered search" else None
        found = {hit.chunk_id for hit in vectors.search(collection, QUERY, 9, where=where)}
        assert found == set(chunk_ids(store, collection))
    after = current(database, collection)
    assert after.directory != before.directory
    load_generation(home / "indexes", after.directory, sha256=after.sha256, embedder=fingerprint().embedder)
    assert vectors.flush(collection) is False


def test_where_the_newest_generation_is_damaged_the_one_before_serves(database, collection, store, home, monkeypatch):
    LiveVectors(database, home / "indexes").flush(collection, force=True)
    ingest(store, collection, "/d", ["seven"])
    with database.read() as connection:
        newest, former = generations(connection, collection.id)
    flip_a_byte(home / "indexes" / newest.directory)
    expected = set(chunk_ids(store, collection))

    def since(connection, collection_id, seq, dimension, **named):
        assert seq == former.seq, "what the former holds is not read from the database"
        return added_since(connection, collection_id, seq, dimension, **named)

    monkeypatch.setattr("rag.stores.live_vectors.added_since", since)
    vectors = LiveVectors(database, home / "indexes")
    assert {hit.chunk_id for hit in vectors.search(collection, QUERY, 20)} == expected
    mended = current(database, collection)
    assert mended.id > newest.id > former.id, "one that is whole is written in its place"
    load_generation(home / "indexes", mended.directory, sha256=mended.sha256, embedder="embedder-1")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tombstones SET chunk_id = 2",
        "UPDATE tombstones SET chunk_id = chunk_id + 1024",
        "UPDATE tombstones SET seq = 1",
        "UPDATE tombstones SET collection_id = 5",
        "UPDATE document_versions SET activated_seq = 1 WHERE title = 'last'",
    ],
)
def test_a_damaged_list_of_changes_hides_nothing(database, collection, store, home, damage):
    ingest(store, collection, "/d", ["seven"], title="last")
    expected = set(chunk_ids(store, collection))
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        assert connection.execute(damage).rowcount >= 1
    with capture_logs() as logs:
        found = LiveVectors(database, home / "indexes").search(collection, QUERY, 20)
    assert {hit.chunk_id for hit in found} == expected
    assert "the list of changes does not lead to the active passages" in {entry["event"] for entry in logs}
    with capture_logs() as logs:
        again = LiveVectors(database, home / "indexes").search(collection, QUERY, 20)
    assert {hit.chunk_id for hit in again} == expected
    assert logs == [], "the index that was written in its place needs nothing of the damaged list"


def test_a_missing_embedding_is_told_with_what_makes_it_anew(database, collection, store, home):
    shutil.rmtree(home / "indexes")
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("DELETE FROM embeddings WHERE chunk_id = 2")
    with pytest.raises(DatabaseDamaged, match="1 stored passage without an embedding") as caught:
        LiveVectors(database, home / "indexes").search(collection, QUERY, 20)
    assert "indexer reembed" in caught.value.hint
