"""Every kind of damage is told by ``indexer verify``; what is derived is repaired, and the rest says what to do."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from indexer.cli import main
from rag.factory import open_library
from rag.stores.changes import generations
from rag.stores.checksums import vector_checksum
from rag.stores.collections.ingest_lock import IngestLock
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FULL_TEXT_TABLE, FtsIndex
from rag.stores.index import bases, tuning
from rag.stores.index.generations import writing
from rag.stores.index.vectors import encode
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite import schema
from rag.stores.sqlite.database import Database
from rag.stores.verification import index_files as index_verification
from rag.stores.verification.documents import verify_documents
from rag.stores.writing.staging import SqlStagedVersion
from rag.types import Comparison
from tests.contracts.store_builders import (
    DIMENSION,
    chunk_ids,
    drafts,
    fingerprint,
    ingest,
    settings_in,
    source,
    swap_in,
    unit_vectors,
)

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


def damage(home, statement, *values):
    with closing(sqlite3.connect(home / "plumbline.db")) as connection:
        connection.execute(statement, values)
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
    other = encode(unit_vectors(1, seed=8))[0]
    checksum = vector_checksum(1, 4, other)
    damage(home, "UPDATE embeddings SET vector = ?, checksum = ? WHERE chunk_id = 4", other, checksum)
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
        f"INSERT INTO {FULL_TEXT_TABLE}({FULL_TEXT_TABLE}, rowid, text, context) "  # noqa: S608  # a constant
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


def test_an_emptied_full_text_index_is_made_anew(home, verify):
    damage(home, f"INSERT INTO {FULL_TEXT_TABLE}({FULL_TEXT_TABLE}) VALUES ('delete-all')")  # noqa: S608  # a constant
    assert [finding["area"] for finding in verify(ok=False)] == ["full text"]
    verify("--repair")
    assert verify() == []


STORED = unit_vectors(1, seed=4)[0]


@pytest.mark.parametrize(
    "vector",
    [STORED * 7, STORED * 0.9, STORED * 0, np.full(DIMENSION, np.inf), np.where(STORED[0] == STORED, np.nan, STORED)],
    ids=["long", "short", "zero", "infinite", "NaN"],
)
def test_an_embedding_that_is_not_of_length_1_as_stored_is_told(home, verify, vector):
    value = np.asarray(vector).astype("<f2").tobytes()
    damage(home, "UPDATE embeddings SET vector = ? WHERE chunk_id = 9", value)
    (finding,) = [finding for finding in verify(ok=False) if finding["area"] == "embeddings"]
    assert "/long: 1 embedding of" in finding["message"]
    assert finding in verify("--repair", ok=False)


def test_an_active_chunk_that_is_listed_as_removed_is_told_and_hides_nothing(home, verify):
    database = Database.open(settings_in(home))
    store, vectors = SqlDocumentStore(database), LiveVectors(database, home / "indexes")
    collection = store.collection("handbook")
    (chunk,) = [hit.chunk_id for hit in FtsIndex(database).search(collection, "five", 1)]
    damage(home, "INSERT INTO tombstones VALUES (?, ?, ?)", chunk, collection.id, collection.seq)
    query = unit_vectors(1, seed=5)[0]
    assert chunk in {hit.chunk_id for hit in vectors.search(collection, query, 2000)}
    assert "1 active chunk listed as removed" in verify(ok=False)[0]["message"]
    verify("--repair")
    assert verify() == []
    assert chunk in {hit.chunk_id for hit in vectors.search(collection, query, 2000)}
    store.delete(collection, [store.document_by_uri(collection, "/b").id])
    vectors.close()
    database.close()


@pytest.mark.parametrize(("key", "value", "says"), [("recall_at_10", 0.5, "0.500"), ("count", 77, "77")])
def test_a_manifest_that_tells_of_another_or_a_poor_index_is_found(home, verify, key, value, says):
    manifest = index_files(home)[1].with_name("manifest.json")
    before = manifest.read_bytes()
    manifest.write_text(json.dumps({**json.loads(before), key: value}))
    old, new = (hashlib.sha256(content).hexdigest() for content in (before, manifest.read_bytes()))
    with closing(sqlite3.connect(home / "plumbline.db")) as connection, connection:
        assert connection.execute("UPDATE index_generations SET sha256 = ? WHERE sha256 = ?", (new, old)).rowcount == 1
    (finding,) = verify(ok=False)
    assert (finding["area"], finding["severity"]) == ("index", "damage")
    assert says in finding["message"]
    verify("--repair")
    assert verify() == []


@pytest.fixture
def poor(home, tmp_path, monkeypatch):
    """A collection whose codes tell its embeddings apart badly: few candidates are compared; and what was logged."""
    monkeypatch.setattr(bases, "FLAT_UP_TO", 100)
    monkeypatch.setattr(tuning, "_CANDIDATES", 1)
    monkeypatch.setattr(tuning, "_MOST_CANDIDATES", 1)
    home = tmp_path / "poor"  # in place of the other
    monkeypatch.setenv("RAG_HOME", str(home))
    with open_library(settings_in(home)) as library:
        collection = library.store.ensure_collection("c", fingerprint(dimension=32))
        ingest(library.store, collection, "/a", [f"{number} " for number in range(600)])
        with capture_logs() as logs:
            library.vectors.flush(collection, force=True)
    return home, logs


def test_an_index_that_finds_too_little_is_told_when_it_is_built_and_by_verify(poor, verify):
    """Made anew it would be the same: what verify says must not promise otherwise."""
    home, logs = poor
    (told,) = [entry for entry in logs if "too few" in entry["event"]]
    assert (told["log_level"], told["kind"], told["passages"], told["least"]) == ("warning", "ivf", 600, 0.99)
    assert 0.5 < told["recall_at_10"] < 0.99
    figure = f"{told['recall_at_10']:.3f}"
    before = index_files(home)
    for arguments in ((), ("--repair",)):
        (finding,) = verify(*arguments, ok=False)
        assert (finding["area"], finding["repairable"], finding["repaired"]) == ("index", False, False)
        assert figure in finding["message"]
        assert "reembed" in finding["advice"]
    with open_library(settings_in(home)) as library, capture_logs() as logs:
        library.vectors.rebuild(library.store.collection("c"))
    assert [f"{entry['recall_at_10']:.3f}" for entry in logs if "too few" in entry["event"]] == [figure]
    flip(next(file for file in index_files(home) if file not in before))
    findings = verify(ok=False)
    assert sorted(finding["repairable"] for finding in findings) == [False, True]
    findings = verify("--repair", ok=False)
    assert {finding["repairable"] for finding in findings if not finding["repaired"]} == {False}


def test_an_index_that_is_replaced_while_it_is_verified_is_no_damage(home, monkeypatch):
    database = Database.open(settings_in(home))
    store, vectors = SqlDocumentStore(database), LiveVectors(database, home / "indexes")
    collection = store.collection("handbook")
    load, replaced = index_verification.load_generation, []

    def late(*arguments, **options):
        while len(replaced) < 2:
            ingest(store, collection, f"/new/{len(replaced)}", ["six "], seed=3)
            replaced.append(vectors.flush(collection, force=True))
        return load(*arguments, **options)

    monkeypatch.setattr(index_verification, "load_generation", late)
    assert list(index_verification.verify_index(database, home / "indexes", collection)) == []
    assert replaced == [True, True]
    vectors.close()
    database.close()


def test_a_collection_that_is_embedded_anew_while_it_is_verified_is_no_damage(home):
    database = Database.open(settings_in(home))
    store, indexes = SqlDocumentStore(database), home / "indexes"
    before = store.collection("handbook")
    count = len(chunk_ids(store, before))
    other = fingerprint(embedder="embedder-2", dimension=16)
    swap_in(database, indexes, before, other, unit_vectors(count, seed=7, dimension=16))
    assert list(index_verification.verify_index(database, indexes, before)) == []
    assert list(verify_documents(database, before, lambda _: None)) == []
    database.close()


def leave_directory(home, name="000000000009-dead"):
    left = index_files(home)[0].parent.with_name(name)
    left.mkdir()
    (left / "index.faiss").write_bytes(b"x" * 99)
    return left


@pytest.mark.parametrize("name", ["000000000009-dead", ".unfinished-000000000009-dead"])
def test_an_index_directory_nobody_knows_is_a_leftover(home, verify, name):
    left = leave_directory(home, name)
    (finding,) = verify()
    assert (finding["area"], finding["severity"], finding["repaired"]) == ("index", "leftover", False)
    assert name in finding["message"]
    assert left.exists()
    (finding,) = verify("--repair")
    assert finding["repaired"]
    assert not left.exists()
    assert verify() == []


def test_an_index_directory_that_is_being_written_is_none(home, verify, monkeypatch):
    left = leave_directory(home)

    @contextmanager
    def busy(root, collection_id):
        """The lock is got when the one who had it has pointed to the directory."""
        with writing(root, collection_id):
            damage(
                home,
                "INSERT INTO index_generations (collection_id, directory, seq, count, size, sha256, created_at) "
                "VALUES (?, ?, 0, 0, 0, '', '2026-01-01 00:00:00.000000')",
                collection_id,
                f"{collection_id}/{left.name}",
            )
            yield

    monkeypatch.setattr("rag.stores.removal.leftovers.writing", busy)
    assert verify() == []


def test_a_document_on_its_way_that_has_a_name_is_a_leftover(home, verify):
    (home / "spool").mkdir()
    assert verify() == []
    (home / "spool" / "tmp8a9b0c").write_bytes(b"a member")
    (finding,) = verify()
    assert (finding["area"], finding["severity"], finding["message"]) == (
        "files", "leftover", "spool/tmp8a9b0c is of no use.",
    )  # fmt: skip
    verify("--repair")
    assert list((home / "spool").iterdir()) == []


@pytest.mark.parametrize("status", ["staged", "leaving"])
def test_a_version_nobody_finishes_is_a_leftover(home, verify, status):
    database = Database.open(settings_in(home))
    collection = SqlDocumentStore(database).collection("handbook")
    version = SqlStagedVersion(database, collection, source("/killed"))
    version.add_chunks(drafts([f"{number} " for number in range(1024)]), unit_vectors(1024, seed=4))
    damage(home, "UPDATE document_versions SET status = ? WHERE status = 'staged'", status)
    with IngestLock(home, "handbook"):
        assert verify() == []
    (finding,) = verify()
    assert (finding["area"], finding["severity"]) == ("versions", "leftover")
    assert "1 version of" in finding["message"]
    assert "1024 chunks" in finding["message"]
    assert verify("--repair")[0]["repaired"]
    assert verify() == []
    with database.read() as connection:
        assert not connection.exec_driver_sql("SELECT 1 FROM documents WHERE uri = '/killed'").all()
    database.close()


def test_values_made_anew_reach_the_filters_of_a_running_program(home, verify):
    database = Database.open(settings_in(home))
    store, vectors = SqlDocumentStore(database), LiveVectors(database, home / "indexes")
    collection = store.collection("handbook")
    with store.stage(collection, replace(source("/ours", "six "), metadata={"owner": "ops"})) as version:
        version.add_text(0, "six ")
        version.add_chunks(drafts(["six "]), unit_vectors(1, seed=3))
        version.activate()

    def found():
        ours = Comparison(field="meta.owner", operator="==", value="ops")
        return len(vectors.search(collection, unit_vectors(1, seed=5)[0], 5, where=ours))

    damage(home, "DELETE FROM version_metadata")
    assert found() == 0
    assert "filters compare" in verify(ok=False)[0]["message"]
    verify("--repair")
    assert found() == 1
    before = store.collection("handbook").seq
    damage(home, f"INSERT INTO {FULL_TEXT_TABLE}({FULL_TEXT_TABLE}) VALUES ('delete-all')")  # noqa: S608  # a constant
    verify("--repair")
    assert store.collection("handbook").seq == before, "what no filter compares is no change to them"
    vectors.close()
    database.close()


def refused(home, *arguments):
    """The error of a verification that may change nothing; nothing below ``home`` is changed."""
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    result = CliRunner().invoke(main, ["verify", *arguments], catch_exceptions=False)
    assert result.exit_code == 1
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    return " ".join(result.stderr.split())


def test_without_repair_no_database_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "new"))
    monkeypatch.setattr(sys, "argv", ["indexer", "verify"])
    assert f"There is no database {tmp_path / 'new'}" in refused(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_repair_makes_no_database_either(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "mistyped"))
    assert f"There is no database {tmp_path / 'mistyped'}" in refused(tmp_path, "--repair")
    assert list(tmp_path.iterdir()) == []


def test_where_a_collection_was_looked_for_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "mistyped"))
    monkeypatch.setattr(sys, "argv", ["indexer", "list"])
    told = CliRunner().invoke(main, ["list"], catch_exceptions=False).stderr
    assert f"RAG_HOME is {tmp_path / 'mistyped'}." in " ".join(told.split())


def test_what_was_verified_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path))
    Database.open(settings_in(tmp_path)).close()
    told = CliRunner().invoke(main, ["verify"], catch_exceptions=False).stdout
    assert told == f"{tmp_path}: 0 collections verified: nothing wrong\n"


def test_without_repair_no_database_is_migrated(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["indexer", "verify"])
    with monkeypatch.context() as first:
        first.setattr(schema, "REVISIONS", schema.REVISIONS[:1])
        Database.open(settings_in(tmp_path)).close()
    assert "Run `rag migrate`" in refused(tmp_path)
    assert CliRunner().invoke(main, ["verify", "--repair"], catch_exceptions=False).exit_code == 0
    assert CliRunner().invoke(main, ["verify"], catch_exceptions=False).exit_code == 0


@pytest.mark.parametrize(
    ("statement", "area", "says"),
    [
        (
            "UPDATE document_versions SET chunk_count = 9 WHERE chunk_count = 1",
            "documents",
            "/b: it has 1 chunk, not 9",
        ),
        (
            "UPDATE document_texts SET text = replace(text, 'piece 700 ', 'Piece 700 ')",
            "documents",
            "/long: 1 chunk unlike what the source",
        ),
        ("DELETE FROM embeddings WHERE chunk_id = 9", "embeddings", "/long: 1 chunk without an embedding"),
        ("UPDATE embeddings SET vector = zeroblob(16) WHERE chunk_id = 9", "embeddings", "/long: 1 embedding of"),
        ("UPDATE embeddings SET vector = x'00' WHERE chunk_id = 9", "embeddings", "/long: 1 embedding of"),
        ("DELETE FROM documents WHERE uri = '/b'", "database", "1 reference to rows that are not there"),
    ],
)
def test_rows_that_contradict_each_other_are_told_and_left(home, verify, statement, area, says):
    damage(home, statement)
    findings = [finding for finding in verify(ok=False) if finding["area"] == area]
    assert any(says in finding["message"] for finding in findings)
    assert findings[0]["advice"]
    assert not findings[0]["repairable"]
    assert [f for f in verify("--repair", ok=False) if f["area"] == area] == findings


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_a_broken_page_of_the_database_is_told(home, verify, share):
    with closing(sqlite3.connect(home / "plumbline.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        # Not one that is free, nor the schema, without which no command opens the database.
        used = "SELECT min(pageno) FROM dbstat WHERE pagetype = 'leaf' AND name <> 'sqlite_schema' AND pageno > ?"
        (number,) = connection.execute(used, (int(share * pages),)).fetchone()
    file = home / "plumbline.db"
    data = bytearray(file.read_bytes())
    page = 4096 * (number - 1)
    data[page : page + 16] = bytes([0xFF]) * 16
    file.write_bytes(data)
    findings = verify("--repair", ok=False)
    assert {finding["area"] for finding in findings} == {"database"}
    assert "Restore a backup" in findings[0]["advice"]
    told = CliRunner().invoke(main, ["verify"], catch_exceptions=False).stdout.splitlines()
    assert told[-1].startswith(f"{home}: 0 collections verified: ")


@pytest.mark.parametrize("change", ["embedder = 'other@1'", "created_at = 'yesterday'", "name = CAST(x'80' AS TEXT)"])
@pytest.mark.parametrize("arguments", [(), ("--repair",), ("-c", "empty"), ("-c", "handbook")])
def test_a_collection_that_is_not_as_it_was_written_is_told_beside_the_others(home, verify, change, arguments):
    index_files(home)[0].unlink()
    damage(home, f"UPDATE collections SET {change} WHERE name = 'empty'")  # noqa: S608
    findings = verify(*arguments, ok=False)
    told = next(finding for finding in findings if finding["area"] == "collection")
    assert any(words in told["message"] for words in ("not as it was written", "cannot be read", "is damaged"))
    assert (told["advice"], told["repairable"]) == ("Restore a backup.", False)
    assert ("index" in {finding["area"] for finding in findings}) == ("empty" not in arguments)
    result = CliRunner().invoke(main, ["verify", *arguments], catch_exceptions=False)
    verified = "0 collections" if "empty" in arguments else "1 collection"
    assert f"{home}: {verified} verified: " in result.stdout


def test_an_embedding_that_is_missing_is_one_finding_with_what_clears_it(home, verify):
    damage(home, "DELETE FROM embeddings WHERE chunk_id = 9")
    index_files(home)[0].unlink()
    findings = verify(ok=False)
    assert [finding["area"] for finding in findings] == ["embeddings", "index"], "the file that is gone is told of, too"
    assert {finding["advice"] for finding in findings} == {"Run `indexer reembed --collection handbook`."}
    assert verify("--repair", ok=False) == findings


def test_many_findings_of_one_cause_are_counted_for_people_and_listed_for_programs(home, verify):
    database = Database.open(settings_in(home))
    store = SqlDocumentStore(database)
    for number in range(15):
        ingest(store, store.collection("empty"), f"/{number}", [f"text {number} "], seed=number)
    database.close()
    damage(home, "UPDATE chunks SET text = 'other' WHERE text LIKE 'text %'")
    assert len(verify("-c", "empty", ok=False)) > 15
    told = CliRunner().invoke(main, ["verify", "-c", "empty"], catch_exceptions=False).stdout.splitlines()
    assert len(told) < 15
    assert "more, which --json lists" in told[10]
    assert told[11] == "  Delete the document with --purge and ingest it again."


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
