"""A byte that flips in any stored file: the right answer or a clear error; never a traceback or another passage."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from indexer.cli import main
from rag.errors import DatabaseDamaged, RagError
from rag.factory import open_library
from rag.stores.sqlite.database import Database
from rag.stores.sqlite.write_ahead import require_whole_log
from rag.types import Span
from tests.contracts.store_builders import fingerprint, ingest, settings_in
from tests.faults.flipped_bytes import QUERIES, at_rest, everything, flip, positions, write_history

SEED = 20261125


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The data directory as after a kill, and as the last process leaves it."""
    killed = tmp_path_factory.mktemp("flipped") / "killed"
    write_history(killed)
    rest = killed.with_name("rest")
    shutil.copytree(killed, rest)
    at_rest(rest)
    return {"killed": killed, "rest": rest}


@pytest.fixture(scope="module")
def expected(written, tmp_path_factory):
    copy = tmp_path_factory.mktemp("expected") / "home"
    shutil.copytree(written["rest"], copy)
    found = everything(copy)
    assert len(found["documents"]) == 14
    return found


class Tried:
    """What readers and ``indexer verify`` make of a data directory, each of a copy of its own."""

    def __init__(self, home, work, monkeypatch):
        self.home, self.work = home, work
        monkeypatch.setenv("RAG_HOME", str(work))

    def fresh(self, file, position, mask):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.home, self.work)
        flip(self.work / file, position, mask)

    def verify(self, *arguments):
        result = CliRunner().invoke(main, ["verify", "--json", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code == 0

    def check(self, file, position, mask, expected):
        self.fresh(file, position, mask)
        try:
            found = everything(self.work)
        except RagError:
            found = None
        self.fresh(file, position, mask)
        whole = self.verify()
        if found is None:
            assert not whole, "what no reader can read is not whole"
        elif found != expected:
            assert not whole, "what readers do not see is told"
            self.assert_nothing_false(found, expected)

    def assert_nothing_false(self, found, expected):
        """A broken list of rows may hide some until it is verified; what is shown is as it was."""
        for key in ("documents", "texts", *(f"passages of {query}" for query in QUERIES)):
            assert [each for each in found[key] if each not in expected[key]] == []


@pytest.mark.parametrize(
    ("state", "pattern", "each", "most"),
    [
        ("rest", "indexes/1/*/*", 1, 2),
        ("rest", "plumbline.db", 1, 16),
        ("killed", "plumbline.db-wal", 1, 6),
        pytest.param("rest", "indexes/1/*/*", 4, None, marks=pytest.mark.slow),
        pytest.param("rest", "plumbline.db", 8, None, marks=pytest.mark.slow),
        pytest.param("killed", "plumbline.db", 1, None, marks=pytest.mark.slow),
        pytest.param("killed", "plumbline.db-wal", 8, None, marks=pytest.mark.slow),
        pytest.param("killed", "plumbline.db-shm", 4, None, marks=pytest.mark.slow),
    ],
)
def test_a_flipped_byte_is_told_or_does_no_harm(written, expected, tmp_path, monkeypatch, state, pattern, each, most):
    chance = random.Random(SEED)  # noqa: S311  # for a test
    home = written[state]
    tried = Tried(home, tmp_path / "work", monkeypatch)
    for path in sorted(home.glob(pattern)):
        chosen = list(positions(path, chance, each=each))
        for position in chosen if most is None else chance.sample(chosen, most):
            tried.check(path.relative_to(home), position, chance.randrange(1, 256), expected)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE chunks SET text = replace(text, 'water', 'later')", "A passage of the document '/document-0'"),
        ("UPDATE chunks SET page = page + 1", "A passage"),
        ("UPDATE chunks SET start = start + 1", "A passage"),
        ("UPDATE chunks SET heading_path = replace(heading_path, 'Part', 'Fart')", "A passage"),
        ("UPDATE chunks SET token_count = token_count + 1", "A passage"),
        ("UPDATE chunks SET heading_path = '[\"P'", "a stored value cannot be read"),
        ("UPDATE document_texts SET text = replace(text, 'water', 'later')", "A document's source text"),
        ("DELETE FROM document_texts", "A document's source text"),
        ("UPDATE document_versions SET title = 'Other'", "the document '/document-0'"),
        ("UPDATE document_versions SET metadata = '{\"year\": 1}'", "the document '/document-0'"),
        ("UPDATE document_versions SET created_at = 'yesterday'", "a stored value cannot be read"),
        ("UPDATE document_versions SET status = 'actjve' WHERE status = 'active'", "the document '/document-0'"),
        ("UPDATE documents SET uri = uri || 'x'", "the document '/document-0x'"),
        ("UPDATE collections SET seq = seq + 64", "the collection 'handbook'"),
        ("UPDATE collections SET embedder = 'f' || embedder", "the collection 'handbook'"),
        ("UPDATE collections SET name = 'bandbook'", "the collection 'bandbook'"),
        ("UPDATE embedding_sets SET state = 'live!' WHERE state = 'live'", "embeddings that serve"),
        ("UPDATE chunks SET text = CAST(x'ff' || text AS TEXT)", "Could not decode"),
    ],
)
def test_a_value_that_is_not_as_it_was_written_is_told(written, tmp_path, monkeypatch, statement, says):
    home = tmp_path / "home"
    shutil.copytree(written["rest"], home)
    for folder in (home / "indexes" / "1").iterdir():
        shutil.rmtree(folder)  # so that the embeddings are read too
    monkeypatch.setenv("RAG_HOME", str(home))
    with closing(sqlite3.connect(home / "plumbline.db")) as connection, connection:
        connection.execute(statement)
    with pytest.raises(DatabaseDamaged, match=says) as told:
        everything(home)
    assert told.value.hint
    assert CliRunner().invoke(main, ["verify"]).exit_code == 1


def findings(*arguments):
    result = CliRunner().invoke(main, ["verify", "--json", *arguments], catch_exceptions=False)
    return json.loads(result.stdout)["findings"]


@pytest.mark.parametrize(
    ("statement", "area"),
    [
        ("UPDATE chunk_terms SET text = replace(text, 'water', 'later')", "full text"),
        ("DELETE FROM chunk_terms WHERE chunk_id = 1", "full text"),
        ("DELETE FROM collection_languages", "full text"),
        ("UPDATE version_metadata SET number = number + 1 WHERE number IS NOT NULL", "documents"),
        ("DELETE FROM version_metadata WHERE key = 'owner'", "documents"),
    ],
)
def test_what_follows_from_other_rows_is_made_anew(written, expected, tmp_path, monkeypatch, statement, area):
    home = tmp_path / "home"
    shutil.copytree(written["rest"], home)
    monkeypatch.setenv("RAG_HOME", str(home))
    with closing(sqlite3.connect(home / "plumbline.db")) as connection, connection:
        connection.execute(statement)
    assert {finding["area"] for finding in findings()} == {area}
    assert all(finding["repaired"] for finding in findings("--repair"))
    assert findings() == []
    found = everything(home)
    # Other values of filters are a change: programs that run have to ask again.
    ((_, before),), ((_, after),) = expected["collections"], found["collections"]
    assert (after > before) == (area == "documents")
    assert {**found, "collections": ()} == {**expected, "collections": ()}


@pytest.mark.parametrize("with_index", [True, False])
def test_a_log_that_a_kill_cut_off_is_no_damage(written, tmp_path, with_index):
    """Every length that a log can have been cut to while its last frames were written, and before them."""
    home = tmp_path / "home"
    shutil.copytree(written["killed"], home)
    log, index = home / "plumbline.db-wal", home / "plumbline.db-shm"
    content = log.read_bytes()
    if not with_index:
        index.unlink()
    require_whole_log(home / "plumbline.db")
    log.write_bytes(content + content[32 : 32 + 2000])  # the beginning of one more frame
    require_whole_log(home / "plumbline.db")
    log.write_bytes(content + content[32 : 32 + 4120])  # a whole one whose checksum does not follow
    require_whole_log(home / "plumbline.db")
    log.write_bytes(content[:-10])
    if with_index:  # the last of these frames was acknowledged
        with pytest.raises(DatabaseDamaged, match="can no longer be read"):
            require_whole_log(home / "plumbline.db")
    else:
        require_whole_log(home / "plumbline.db")
    log.write_bytes(b"")
    require_whole_log(home / "plumbline.db")


@pytest.fixture(scope="module")
def with_a_past(tmp_path_factory):
    """A document replaced and one deleted, both kept for questions about the past; and a moment at which both were."""
    home = tmp_path_factory.mktemp("past") / "home"
    with open_library(settings_in(home)) as library:
        collection = library.store.ensure_collection("handbook", fingerprint())
        for uri in ("/replaced", "/deleted", "/stays"):
            ingest(library.store, collection, uri, [f"{uri} as it was. "])
        moment = datetime.now(UTC)
        ingest(library.store, collection, "/replaced", ["as it is. "])
        library.store.delete(collection, [library.store.document_by_uri(collection, "/deleted").id])
    return home, moment


TENURES = [
    ("created_at", "'2026-01-01 00:00:00.000000'", "replaced"),
    ("created_at", "'2999-01-01 00:00:00.000000'", "stays"),
    ("created_at", "CAST(x'ff' || created_at AS TEXT)", "deleted"),
    ("retired_at", "'2000-01-01 00:00:00.000000'", "deleted"),
    ("retired_at", "NULL", "replaced"),
    ("retired_at", "created_at", "stays"),
    ("retired_at", "CAST(substr(retired_at, 1, 3) || x'b2' || substr(retired_at, 5) AS TEXT)", "deleted"),
    ("retired_seq", "retired_seq + 1", "replaced"),
    ("activated_seq", "activated_seq + 1", "stays"),
    ("tenure_checksum", "tenure_checksum + 1", "stays"),
]


@pytest.mark.parametrize(("column", "value", "document"), TENURES)
def test_when_a_version_was_there_is_as_it_was_written_or_told(
    with_a_past, tmp_path, monkeypatch, column, value, document
):
    """Also of a row that the damage takes out of the answer, which no reader would read."""
    written, moment = with_a_past
    home = tmp_path / "home"
    shutil.copytree(written, home)
    monkeypatch.setenv("RAG_HOME", str(home))
    assert findings() == []
    chosen = "document_id = (SELECT id FROM documents WHERE uri = '/' || ?)"
    with closing(sqlite3.connect(home / "plumbline.db")) as connection, connection:
        (row,) = connection.execute(f"SELECT min(id) FROM document_versions WHERE {chosen}", [document]).fetchone()  # noqa: S608
        connection.execute(f"UPDATE document_versions SET {column} = {value} WHERE id = ?", [row])  # noqa: S608
    with open_library(settings_in(home)) as library:
        collection, store, history = library.store.collection("handbook"), library.store, library.history
        (document_id,) = [each for each in (1, 2, 3) if history.document_id(collection, f"/{document}") == each]
        everyone = [
            lambda: store.hydrate(collection, [], as_of=moment),
            lambda: store.source_text(document_id, Span(start=0, end=9), as_of=moment),
            lambda: history.versions(collection, document_id),
            lambda: history.changes(collection),
            lambda: history.changes(collection, since=moment),
            lambda: store.expire(collection, older_than=timedelta(0)),
        ]
        for read in everyone:
            with pytest.raises(DatabaseDamaged) as told:
                read()
            assert told.value.hint
        kept = {"deleted", "replaced"} & {document}
        assert store.status(collection).past_versions == len(kept), "all others have expired, and it has not"
    assert {finding["message"].partition(":")[0] for finding in findings()} == {f"/{document}"}
    result = CliRunner().invoke(main, ["delete", "--purge", "-c", "handbook", f"/{document}"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert findings() == []


def test_a_damaged_log_is_set_aside_when_asked(written, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(written["killed"], home)
    monkeypatch.setenv("RAG_HOME", str(home))
    log = home / "plumbline.db-wal"
    content = log.read_bytes()
    flip(log, log.stat().st_size - 100, 1)
    damaged = log.read_bytes()
    with pytest.raises(DatabaseDamaged, match=r"write-ahead log .* is damaged.*verify --repair"):
        Database.open(settings_in(home))
    assert log.read_bytes() == damaged
    (finding, *_) = findings("--repair")
    assert finding["repaired"]
    (kept,) = home.glob("plumbline.db-wal.damaged-*")
    assert kept.read_bytes() == damaged
    assert kept.name in finding["message"]
    assert len(damaged) == len(content)
    assert findings() == []
    assert len(everything(home)["documents"]) >= 13


def test_a_holder_of_a_lock_whose_name_is_damaged_is_no_traceback(written, tmp_path):
    from rag.errors import IngestInProgress
    from rag.stores.collections.ingest_lock import IngestLock

    with IngestLock(tmp_path, "c"):
        (pid,) = (tmp_path / "locks").glob("*.pid")
        pid.write_bytes(b"\xff\xfe12")
        with pytest.raises(IngestInProgress), IngestLock(tmp_path, "c"):
            pass


@pytest.mark.parametrize(("status", "document"), [("retired", "stays"), ("active", "deleted")])
def test_a_status_that_contradicts_the_end_is_told(with_a_past, tmp_path, monkeypatch, status, document):
    written, moment = with_a_past
    home = tmp_path / "home"
    shutil.copytree(written, home)
    monkeypatch.setenv("RAG_HOME", str(home))
    chosen = "document_id = (SELECT id FROM documents WHERE uri = '/' || ?)"
    with closing(sqlite3.connect(home / "plumbline.db")) as connection, connection:
        connection.execute(f"UPDATE document_versions SET status = ? WHERE {chosen}", [status, document])  # noqa: S608
    with open_library(settings_in(home)) as library:
        collection = library.store.collection("handbook")
        for read in (
            lambda: library.history.changes(collection),
            lambda: library.store.hydrate(collection, [], as_of=moment),
        ):
            with pytest.raises(DatabaseDamaged, match=f"/{document}"):
                read()
    told = {finding["message"].partition(":")[0] for finding in findings() if finding["area"] == "documents"}
    assert told == {f"/{document}"}


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE document_versions SET title = 'Other' WHERE document_id = 1", "/document-0"),
        ("UPDATE documents SET uri = '/dxcument-0' WHERE id = 1", "1"),
        ("UPDATE chunks SET text = replace(text, 'water', 'later') WHERE version_id = 1", "/document-0"),
        ("UPDATE document_versions SET status = 'actjve' WHERE document_id = 1", "/document-0"),
    ],
)
def test_a_damaged_document_can_be_deleted(written, expected, tmp_path, monkeypatch, statement, named):
    home = tmp_path / "home"
    shutil.copytree(written["rest"], home)
    monkeypatch.setenv("RAG_HOME", str(home))
    with closing(sqlite3.connect(home / "plumbline.db")) as connection, connection:
        connection.execute(statement)
    assert "Delete the document with --purge and ingest it again." in {finding["advice"] for finding in findings()}
    result = CliRunner().invoke(main, ["delete", "--purge", "-c", "handbook", named], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert findings() == []
    assert everything(home)["documents"] == [each for each in expected["documents"] if each.id != 1]
