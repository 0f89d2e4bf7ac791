"""Every kind of damage is told by ``indexer verify``; what is derived is repaired, and the rest says what to do."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing

import pytest
from click.testing import CliRunner

from indexer.cli import main
from rag.stores.changes import generations
from rag.stores.database import Database
from rag.stores.documents import SqlDocumentStore
from rag.stores.lexical import FtsIndex
from rag.stores.live_vectors import LiveVectors
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest, settings_in, unit_vectors

LONG = [f"piece {number} of a text that is longer than a stored part of it. " for number in range(1500)]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Two generations, changes after them, a replaced document and one of several stored parts."""
    home = tmp_path / "home"
    monkeypatch.setenv("RAG_HOME", str(home))
    database = Database.open(settings_in(home))
    store, vectors = SqlDocumentStore(database), LiveVectors(database, home / "indexes")
    collection = store.ensure_collection("handbook", fingerprint())
    ingest(store, collection, "/a", ["one ", "two "])
    ingest(store, collection, "/long", LONG)
    vectors.flush(collection, force=True)
    ingest(store, collection, "/a", ["three ", "four "], seed=1)
    vectors.flush(collection, force=True)
    ingest(store, collection, "/b", ["five "], seed=2)
    store.delete(collection, [store.document_by_uri(collection, "/a").id])
    store.ensure_collection("empty", fingerprint())
    vectors.close()
    database.close()
    return home


@pytest.fixture
def verify(home, monkeypatch):
    def run(*arguments, ok=True):
        monkeypatch.setattr(sys, "argv", ["indexer", "verify", *arguments])
        result = CliRunner().invoke(main, ["verify", "--json", *arguments], catch_exceptions=False)
        report = json.loads(result.stdout)
        assert (result.exit_code, report["ok"]) == (0 if ok else 1, ok), report
        return report["findings"]

    return run


def damage(home, *statements):
    with closing(sqlite3.connect(home / "plumbline.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def index_files(home):
    return sorted((home / "indexes").glob("*/*/index.faiss"))


def test_what_is_whole_has_no_findings(verify):
    assert verify() == []
    assert verify("--repair") == []


def flip(path):
    data = bytearray(path.read_bytes())
    data[-9] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("harm", [flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_damaged_index_file_is_made_anew(home, verify, harm, which):
    harm(index_files(home)[which])
    before = {path: path.read_bytes() for path in index_files(home)}
    (finding,) = verify(ok=False)
    assert (finding["area"], finding["repairable"], finding["repaired"]) == ("index", True, False)
    assert {path: path.read_bytes() for path in index_files(home)} == before
    (finding,) = verify("--repair")
    assert finding["repaired"]
    assert verify() == []


def test_an_index_file_with_other_vectors_is_found_though_its_checksum_is_right(home, verify):
    damage(home, "UPDATE embeddings SET vector = (SELECT vector FROM embeddings WHERE chunk_id = 3) WHERE chunk_id = 4")
    findings = verify(ok=False)
    assert {finding["area"] for finding in findings} == {"index"}
    assert "other vectors" in findings[0]["message"]
    verify("--repair")
    assert verify() == []


def test_an_index_file_that_lacks_chunks_is_found(home, verify):
    damage(home, "DELETE FROM tombstones WHERE chunk_id IN (SELECT max(chunk_id) FROM tombstones)")
    findings = verify(ok=False)
    assert "holds 1 that are gone" in findings[0]["message"]
    verify("--repair")
    assert verify() == []


def test_full_text_that_lacks_a_chunk_is_made_anew(home, verify):
    damage(
        home,
        "INSERT INTO chunks_fts(chunks_fts, rowid, text, context) "
        "SELECT 'delete', id, text, context FROM chunks WHERE text = 'five '",
    )
    (finding,) = verify(ok=False)
    assert (finding["area"], finding["repairable"]) == ("full text", True)
    verify("--repair")
    assert verify() == []
    database = Database.open(settings_in(home))
    collection = SqlDocumentStore(database).collection("handbook")
    assert len(FtsIndex(database).search(collection, "five", 5)) == 1
    database.close()


@pytest.mark.parametrize(
    ("statement", "area", "says"),
    [
        (
            "UPDATE document_versions SET chunk_count = 9 WHERE chunk_count = 1",
            "documents",
            "/b: it has 1 chunks, not 9",
        ),
        (
            "UPDATE document_texts SET text = replace(text, 'piece 700 ', 'Piece 700 ')",
            "documents",
            "/long: 1 chunks are not what the source",
        ),
        ("DELETE FROM embeddings WHERE chunk_id = 9", "embeddings", "/long: 1 chunks have no embedding"),
        ("UPDATE embeddings SET vector = zeroblob(16) WHERE chunk_id = 9", "embeddings", "/long: 1 embeddings"),
        ("UPDATE embeddings SET vector = x'00' WHERE chunk_id = 9", "embeddings", "/long: 1 embeddings"),
        ("DELETE FROM documents WHERE uri = '/b'", "database", "1 rows refer to rows that are not there"),
    ],
)
def test_rows_that_contradict_each_other_are_told_and_left(home, verify, statement, area, says):
    damage(home, statement)
    findings = [finding for finding in verify(ok=False) if finding["area"] == area]
    assert says in findings[0]["message"]
    assert findings[0]["advice"]
    assert not findings[0]["repairable"]
    assert [f for f in verify("--repair", ok=False) if f["area"] == area] == findings


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_a_broken_page_of_the_database_is_told(home, verify, share):
    with closing(sqlite3.connect(home / "plumbline.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file = home / "plumbline.db"
    data = bytearray(file.read_bytes())
    page = int(share * len(data)) // 4096 * 4096
    data[page : page + 16] = bytes([0xFF]) * 16
    file.write_bytes(data)
    findings = verify("--repair", ok=False)
    assert {finding["area"] for finding in findings} == {"database"}
    assert "Restore a backup" in findings[0]["advice"]


def test_one_collection_can_be_asked_for(home, verify):
    index_files(home)[0].unlink()
    assert verify("-c", "empty") == []
    assert len(verify("-c", "handbook", ok=False)) == 1


def test_a_running_process_goes_on_after_the_repair(home, verify):
    database = Database.open(settings_in(home))
    store, vectors = SqlDocumentStore(database), LiveVectors(database, home / "indexes")
    collection = store.collection("handbook")
    query = unit_vectors(1, seed=5)[0]
    before = vectors.search(collection, query, 2000)
    index_files(home)[1].unlink()
    verify("--repair")
    after = vectors.search(collection, query, 2000)
    assert {hit.chunk_id for hit in after} == {hit.chunk_id for hit in before}
    assert [hit.score for hit in after] == pytest.approx([hit.score for hit in before], abs=1e-5)
    ingest(store, collection, "/new", ["six "], seed=9)
    assert {hit.chunk_id for hit in vectors.search(collection, query, 2000)} == set(chunk_ids(store, collection))
    with database.read() as connection:
        assert len(generations(connection, collection.id)) == 2
    vectors.close()
    database.close()
