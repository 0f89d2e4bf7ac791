"""Databases that are locked, damaged, or nowhere to be put: a clear error each, and nothing lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from rag.errors import DatabaseBusy, DatabaseDamaged, DataDirectoryUnwritable, DiskFull
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.sqlite.database import Database
from rag.stores.sqlite.errors import storage_error
from rag.stores.verification.findings import verify_database
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest, settings_in
from tests.faults.permissions import heeding_permissions

WRITER = """
import sys
from pathlib import Path
from rag.stores.sqlite.database import Database
from rag.stores.documents import SqlDocumentStore
from tests.contracts.store_builders import fingerprint, ingest, settings_in
store = SqlDocumentStore(Database.open(settings_in(Path(sys.argv[1]))))
collection = store.ensure_collection("c", fingerprint())
for number in range(10_000):
    ingest(store, collection, f"/{number}", [f"text {number}", "more"])
    print(number, flush=True)
"""


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path / "home")


@pytest.fixture
def database_file(settings):
    """A database with a few hundred kilobytes of documents, closed."""
    database = Database.open(settings)
    store = SqlDocumentStore(database)
    ingest(store, store.ensure_collection("c", fingerprint()), "/a", [f"text {n} " * 50 for n in range(500)])
    database.close()
    return database.path


def everything(settings):
    database = Database.open(settings)
    try:
        store = SqlDocumentStore(database)
        collection = store.collection("c")
        store.hydrate(collection, chunk_ids(store, collection))
        FtsIndex(database).search(collection, "text", 10)
    finally:
        database.close()


@pytest.mark.parametrize("place", ["home", "home/deeper"])
def test_a_data_directory_that_is_a_file(tmp_path, place):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(DataDirectoryUnwritable, match=r"home.*RAG_HOME"):
        Database.open(settings_in(tmp_path / place))


def test_a_data_directory_that_takes_no_files():
    with pytest.raises(DataDirectoryUnwritable, match="/proc/self"):
        Database.open(settings_in(Path("/proc/self")))


def test_a_read_only_data_directory(tmp_path):
    tmp_path.chmod(0o500)
    with heeding_permissions(), pytest.raises(DataDirectoryUnwritable, match="Permission denied"):
        Database.open(settings_in(tmp_path))


def test_a_database_that_is_a_directory(settings):
    (settings.home / "plumbline.db").mkdir(parents=True)
    with pytest.raises(DataDirectoryUnwritable, match=r"plumbline\.db"):
        Database.open(settings)


def test_a_database_is_for_its_owner_alone(settings):
    settings.home.mkdir(mode=0o755)
    database = Database.open(settings)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM jobs")
    files = {path.name: oct(path.stat().st_mode & 0o777) for path in settings.home.glob("plumbline.db*")}
    database.close()
    files.pop("plumbline.db.migration.lock", None)
    assert files == dict.fromkeys(("plumbline.db", "plumbline.db-wal", "plumbline.db-shm"), "0o600")


def test_a_file_that_is_no_database(settings):
    settings.home.mkdir()
    (settings.home / "plumbline.db").write_bytes(b"Something else altogether. " * 100)
    with pytest.raises(DatabaseDamaged, match=r"not a database.*backup") as refused:
        Database.open(settings)
    assert "--repair" not in refused.value.hint, "it cannot help there"


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1])
def test_a_truncated_database(settings, database_file, keep):
    size = database_file.stat().st_size
    os.truncate(database_file, int(size * keep))
    with pytest.raises(DatabaseDamaged, match="damaged"):
        everything(settings)


def test_pages_of_noise(settings, database_file):
    data = bytearray(database_file.read_bytes())
    data[4096 * 10 : -4096] = b"\xa5" * (len(data) - 4096 * 11)
    database_file.write_bytes(data)
    with pytest.raises(DatabaseDamaged, match="damaged"):
        everything(settings)


def test_an_emptied_database_is_not_taken_for_a_new_one(settings, database_file):
    (settings.home / "indexes" / "1").mkdir(parents=True)
    os.truncate(database_file, 0)
    with pytest.raises(DatabaseDamaged, match="empty"):
        Database.open(settings)
    database_file.unlink()
    with pytest.raises(DatabaseDamaged, match="is not there") as told:
        Database.open(settings)
    assert f"remove {settings.home / 'indexes'}" in told.value.hint
    shutil.rmtree(settings.home / "indexes")
    Database.open(settings).close()


def test_a_locked_database(settings, database_file):
    database = Database.open(settings, busy_timeout_s=0.05)
    store = SqlDocumentStore(database)
    collection = store.collection("c")
    with closing(sqlite3.connect(database_file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy, match="locked"):
            ingest(store, collection, "/b", ["one"])
        assert len(store.documents(collection)) == 1, "readers do not wait for a writer"
    ingest(store, collection, "/b", ["one"])
    database.close()


def test_a_full_disk(settings, database_file):
    database = Database.open(settings)
    store = SqlDocumentStore(database)
    collection = store.collection("c")
    before = store.documents(collection)
    with database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    limited = database._engine.connect()
    limited.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")  # SQLite's own way to say: no more room
    limited.commit()
    limited.close()  # back to the pool, from where the next transaction takes it
    with pytest.raises(DiskFull, match="full"):
        ingest(store, collection, "/b", ["many words " * 1000] * 100)
    assert store.documents(collection) == before
    database.close()


def test_other_failures_are_storage_errors():
    error = storage_error(sqlite3.OperationalError("no such table: x"), "/db")
    assert error.code == "storage_error"


def test_what_was_acknowledged_survives_a_kill(settings):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(settings.home)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    acknowledged = [int(process.stdout.readline()) for _ in range(25)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split()]
    process.wait(timeout=30)
    process.stdout.close()
    database = Database.open(settings)
    store = SqlDocumentStore(database)
    collection = store.collection("c")
    uris = {document.uri for document in store.documents(collection, limit=100_000)}
    assert {f"/{number}" for number in acknowledged} <= uris
    assert len(uris) <= len(acknowledged) + 1
    assert len(chunk_ids(store, collection)) == 2 * len(uris)
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert list(verify_database(database)) == []
    database.close()
