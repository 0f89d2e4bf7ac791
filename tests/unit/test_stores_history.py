"""What was: versions that are kept, what changed, and where the history ends."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select

from rag.errors import DatabaseBusy, DatabaseDamaged, HistoryGone, InvalidRequest, UnknownDocument
from rag.stores.changes import removed_since
from rag.stores.collections.registry import remove_unused
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.migrations import former
from rag.stores.removal.expiry import Expiry
from rag.stores.sqlite import schema
from rag.stores.sqlite.database import Database
from rag.stores.tables import ChunkRow, DocumentRow, EmbeddingRow, TextRow, VersionRow
from rag.stores.versions import history as history_module
from rag.stores.versions import retirement
from rag.stores.versions.history import History
from rag.types import Span
from rag.version_types import ChangeKind
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest, settings_in

MONTH = timedelta(days=30)


@pytest.fixture
def store(database):
    return SqlDocumentStore(database, retention=MONTH)


@pytest.fixture
def history(database):
    return History(database)


@pytest.fixture
def collection(store):
    return store.ensure_collection("c", fingerprint())


def told(history, collection, **bounds):
    return [(change.kind.value, change.uri) for _, change in history.changes(collection, **bounds)]


def rows(database, *tables):
    with database.read() as connection:
        return [connection.scalar(select(func.count()).select_from(table)) for table in tables]


def set_clock(monkeypatch, moment):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return moment.astimezone(tz)

    for module in (retirement, history_module):
        monkeypatch.setattr(module, "datetime", Clock)


def test_what_happened_to_documents_is_told_in_order(store, history, collection):
    first = ingest(store, collection, "/a", ["one"])
    ingest(store, collection, "/b", ["two"])
    ingest(store, collection, "/a", ["one", "more"], seed=1)
    store.delete(collection, [first.id])
    again = ingest(store, collection, "/a", ["back"], seed=2)
    assert again.id == first.id
    expected = [("added", "/a"), ("added", "/b"), ("replaced", "/a"), ("deleted", "/a"), ("added", "/a")]
    assert told(history, collection) == expected
    changes = [change for _, change in history.changes(collection)]
    versions = history.versions(collection, first.id)
    assert [version.chunk_count for version in versions] == [1, 2, 1]
    assert [version.until is None for version in versions] == [True, False, False]
    assert changes[2].version_id == versions[1].id
    assert changes[2].previous_version_id == versions[2].id
    assert (changes[3].version_id, changes[3].previous_version_id) == (None, versions[1].id)
    assert versions[1].since == versions[2].until == changes[2].at
    assert changes[3].kind is ChangeKind.DELETED


def test_changes_are_had_page_by_page_and_between_times(store, history, collection):
    ids = [ingest(store, collection, f"/{number}", ["text"], seed=number).id for number in range(5)]
    store.delete(collection, ids)  # five changes at one moment
    paged, after = [], None
    while page := history.changes(collection, after=after, limit=3):
        assert len(page) <= 3
        paged += [change for _, change in page]
        after = page[-1][0]
    assert paged == [change for _, change in history.changes(collection)]
    assert len(paged) == 10
    second = datetime.fromisoformat(paged[1].at)
    assert told(history, collection, since=second)[:3] == [("added", "/2"), ("added", "/3"), ("added", "/4")]
    assert told(history, collection, until=second) == [("added", "/0"), ("added", "/1")]
    assert told(history, collection, since=second, until=second) == []
    with pytest.raises(InvalidRequest, match="the beginning is after the end"):
        history.changes(collection, since=second, until=second - timedelta(seconds=1))
    assert told(history, collection, since=second, until=second) == []


def test_a_deleted_document_is_known_by_its_uri_until_it_expires(store, history, collection, database):
    document = ingest(store, collection, "/a", ["one", "two"])
    store.delete(collection, [document.id])
    assert store.document_by_uri(collection, "/a") is None
    assert store.stored_source(collection, "/a") is None
    assert history.document_id(collection, "/a") == document.id
    assert store.status(collection).past_versions == 1
    assert store.expire(collection) == 0
    assert store.expire(collection, older_than=timedelta(seconds=-1)) == 1
    assert history.document_id(collection, "/a") is None
    with pytest.raises(UnknownDocument):
        history.versions(collection, document.id)
    assert rows(database, VersionRow, ChunkRow, EmbeddingRow, TextRow, DocumentRow) == [0] * 5


def test_the_history_begins_where_versions_are_gone(store, history, collection):
    before = datetime.now(UTC)
    ingest(store, collection, "/a", ["one"])
    ingest(store, collection, "/a", ["two"], seed=1)
    ingest(store, collection, "/b", ["three"], seed=2)
    assert store.hydrate(collection, [], as_of=before) == []
    store.expire(collection, older_than=timedelta(seconds=-1))
    begins = history.begins(collection)
    assert told(history, collection) == [("added", "/b")]
    for ask in (
        lambda: store.hydrate(collection, [], as_of=begins - timedelta(microseconds=1)),
        lambda: history.changes(collection, since=before),
    ):
        with pytest.raises(HistoryGone, match="begins at"):
            ask()
    assert store.hydrate(collection, [], as_of=begins) == []


def test_without_retention_the_history_begins_with_the_last_change(database):
    store, history = SqlDocumentStore(database), History(database)
    collection = store.ensure_collection("c", fingerprint())
    ingest(store, collection, "/a", ["one"])
    ingest(store, collection, "/a", ["two"], seed=1)
    (version,) = history.versions(collection, 1)
    assert datetime.fromisoformat(version.since) == history.begins(collection)
    assert rows(database, VersionRow, ChunkRow) == [1, 1]


def test_the_future_is_not_known(store, collection):
    with pytest.raises(InvalidRequest, match="future"):
        store.hydrate(collection, [], as_of=datetime.now(UTC) + timedelta(hours=1))


def test_the_first_and_the_last_moments_of_other_zones_can_be_asked_about(store, history, collection, database):
    ingest(store, collection, "/a", ["one"])
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    last = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    assert not FtsIndex(database).search(collection, "one", 3, as_of=first)
    assert store.hydrate(collection, chunk_ids(store, collection), as_of=first) == []
    assert told(history, collection, since=first, until=last) == [("added", "/a")]
    with pytest.raises(InvalidRequest, match=r"^9999-12-31T23:59:59.999999Z lies in the future"):
        store.hydrate(collection, [], as_of=last)


def test_what_was_while_the_clock_was_ahead_is_not_known_and_the_rest_is(store, history, collection, monkeypatch):
    begun, hour = datetime(2026, 3, 1, tzinfo=UTC), timedelta(hours=1)
    set_clock(monkeypatch, begun)
    ingest(store, collection, "/before", ["before"], seed=1)
    set_clock(monkeypatch, begun + 400 * 24 * hour)
    ingest(store, collection, "/ahead", ["ahead"], seed=2)
    set_clock(monkeypatch, begun + hour)
    ingest(store, collection, "/corrected", ["corrected"], seed=3)
    ids = chunk_ids(store, collection)

    def held(as_of):
        return [document.uri for _, document in store.hydrate(collection, ids, as_of=as_of)]

    set_clock(monkeypatch, begun + 2 * hour)
    assert held(begun) == ["/before"]
    times = [datetime.fromisoformat(change.at) for _, change in history.changes(collection)]
    assert [len(held(time)) for time in times] == [1, 2, 3]
    assert told(history, collection, since=begun + hour) == [("added", "/ahead"), ("added", "/corrected")]
    for after in (timedelta(microseconds=1), hour, 2 * hour, 3 * hour):
        with pytest.raises(HistoryGone, match=r"clock was ahead.*about 2026-03-01T00:00:00Z or before"):
            held(begun + after)
    assert len(store.hydrate(collection, ids)) == 3


def test_chunks_that_expire_are_told_of_a_second_time(store, database, collection):
    """Who reads the past may have kept something of them since they were replaced."""
    document = ingest(store, collection, "/a", ["one", "two"])
    with database.read() as connection:
        ids = set(connection.scalars(select(ChunkRow.id)))
    store.delete(collection, [document.id])
    seq = store.collection("c").seq
    store.expire(collection, older_than=timedelta(seconds=-1))
    with database.read() as connection:
        assert set(removed_since(connection, collection.id, seq).tolist()) == ids


def test_how_long_versions_are_kept_is_the_collections_whatever_a_process_was_told(store, database, collection):
    careless = SqlDocumentStore(database, retention=timedelta(0))
    first = ingest(careless, collection, "/a", ["one"])
    ingest(careless, collection, "/a", ["two"], seed=1)
    careless.delete(collection, [first.id])
    assert careless.expire(collection) == 0
    status = careless.status(collection)
    assert (status.past_versions, status.retention_days) == (2, 30)
    SqlDocumentStore(database, retention=10 * MONTH).ensure_collection("c", fingerprint())
    assert store.status(collection).retention_days == 30


def test_a_collection_that_is_told_to_keep_nothing_does_so_at_once(store, database, collection):
    first = ingest(store, collection, "/a", ["one"])
    store.delete(collection, [first.id])
    store.set_retention(collection, 0)
    assert store.expire(collection) == 1
    store.delete(collection, [ingest(store, collection, "/a", ["two"]).id])
    ingest(store, collection, "/b", ["three"])
    ingest(store, collection, "/b", ["four"], seed=1)
    assert rows(database, VersionRow, ChunkRow) == [1, 1]
    assert store.collection("c").id == collection.id  # its row is whole


def test_a_running_service_lets_versions_expire(store, database, collection):
    store.delete(collection, [ingest(store, collection, "/a", ["one"]).id])
    store.set_retention(collection, 1e-11)
    forgotten, kept = threading.Event(), []
    expiry = Expiry(store, finish_purges=lambda: None, keep_only=kept.append, forget_jobs=forgotten.set, every_s=0.01)
    expiry.start()
    deadline = time.monotonic() + 30
    while rows(database, VersionRow) != [0] and time.monotonic() < deadline:
        time.sleep(0.01)
    expiry.stop()
    assert rows(database, VersionRow, ChunkRow) == [0, 0]
    assert forgotten.is_set()
    assert kept[0] == {collection.id}


def test_a_running_service_lets_go_of_what_is_gone_between_its_expiries(store, collection):
    told, finished, twice = [], [], threading.Semaphore(0)

    def keep_only(ids):
        told.append(ids)
        twice.release()

    expiry = Expiry(
        store,
        finish_purges=lambda: finished.append(1),
        keep_only=keep_only,
        forget_jobs=lambda: None,
        let_go_every_s=0.01,
    )
    expiry.start()
    assert twice.acquire(timeout=30)
    with store._database.write() as connection:
        remove_unused(connection, collection.id)
    seen = len(told)
    while set() not in told[seen:]:
        assert twice.acquire(timeout=30)
    expiry.stop()
    assert finished == [1]


def test_a_collection_that_is_dropped_meanwhile_keeps_no_other_from_expiring(store, database, collection, monkeypatch):
    store.delete(collection, [ingest(store, collection, "/a", ["one"]).id])
    store.set_retention(collection, 1e-11)
    monkeypatch.setattr(store, "collections", lambda: [replace(collection, id=99, name="dropped"), collection])
    passed = threading.Semaphore(0)
    expiry = Expiry(
        store, finish_purges=passed.release, keep_only=lambda _: None, forget_jobs=lambda: None, every_s=0.01
    )
    expiry.start()
    assert all(passed.acquire(timeout=30) for _ in range(2))
    expiry.stop()
    assert rows(database, VersionRow, ChunkRow) == [0, 0]


def test_an_expiry_that_fails_is_tried_again(collection, monkeypatch):
    tried = threading.Semaphore(0)

    class Busy:
        def collections(self):
            tried.release()
            raise DatabaseBusy("Somebody writes.")

    expiry = Expiry(
        Busy(), finish_purges=lambda: None, keep_only=lambda _: None, forget_jobs=lambda: None, every_s=0.01
    )
    expiry.start()
    assert all(tried.acquire(timeout=30) for _ in range(3))
    expiry.stop()


def test_a_clock_that_is_set_back_puts_nothing_out_of_order(store, history, collection, monkeypatch):
    present = datetime.now(UTC)
    for number, moment in enumerate([present, present - timedelta(hours=5), datetime(1970, 1, 1, tzinfo=UTC)]):
        set_clock(monkeypatch, moment)
        ingest(store, collection, "/a", [f"text {number}"], seed=number)
    versions = history.versions(collection, 1)
    times = [datetime.fromisoformat(version.since) for version in reversed(versions)]
    assert times == sorted(set(times))
    assert [version.until for version in versions] == [None, versions[0].since, versions[1].since]
    assert times[0] >= present
    found = [store.source_text(1, Span(start=0, end=100), as_of=time) for time in times]
    assert found == ["text 0", "text 1", "text 2"]
    assert store.expire(collection) == 0


@pytest.mark.parametrize("damaged", [False, True])
def test_collections_of_before_keep_what_the_program_that_migrates_was_told(tmp_path, monkeypatch, damaged):
    settings = settings_in(tmp_path)
    with monkeypatch.context() as older:
        older.setattr(schema, "REVISIONS", schema.REVISIONS[: schema.REVISIONS.index("0021")])
        Database.open(settings).close()
    with closing(sqlite3.connect(tmp_path / "plumbline.db")) as connection, connection:
        connection.execute(
            "INSERT INTO collections (id, name, parser, chunker, embedder, dimension, seq, feed_floor, created_at)"
            " VALUES (1, 'c', 'p', 'k', 'e', 8, 3, 0, '2026-01-01 00:00:00.000000')"
        )
        row = SimpleNamespace(id=1, name="c", parser="p", chunker="k", embedder="e", dimension=8, seq=3, feed_floor=0)
        row.__dict__.update(index_epoch=0, dense_weight=None, changed_at=None, history_floor=None)
        row.created_at = datetime(2026, 1, 1, tzinfo=UTC)
        connection.execute("UPDATE collections SET checksum = ?", [former.collection_checksum(row) + damaged])
    database = Database.open(settings.model_copy(update={"retention_days": 365.0}))
    store = SqlDocumentStore(database, retention=MONTH)
    if damaged:
        with pytest.raises(DatabaseDamaged):
            store.collection("c")
    else:
        assert store.status(store.collection("c")).retention_days == 365
    database.close()


def test_a_database_from_before_knows_its_history_from_then_on(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(schema, "REVISIONS", schema.REVISIONS[: schema.REVISIONS.index("0008")])
        Database.open(settings_in(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "plumbline.db")) as connection:
        connection.executescript(
            """
            INSERT INTO collections (id, name, parser, chunker, embedder, dimension, seq, feed_floor, created_at)
                VALUES (1, 'c', 'p', 'c', 'e', 8, 3, 0, '2026-01-01 00:00:00.000000');
            INSERT INTO documents (id, collection_id, uri) VALUES (1, 1, '/a');
            INSERT INTO document_versions (id, document_id, collection_id, status, title, media_type, sha256, size,
                mtime_ns, parser, chunker, chunk_count, activated_seq, retired_seq, created_at, metadata) VALUES
                (1, 1, 1, 'retired', 't', 'm', 's', 1, 1, 'p', 'c', 0, 1, 2, '2026-01-02 00:00:00.000000', '{}'),
                (2, 1, 1, 'active', 't', 'm', 's', 1, 1, 'p', 'c', 0, 2, NULL, '2026-01-03 00:00:00.000000', '{}');
            """
        )
    database = Database.open(settings_in(tmp_path))
    store, history = SqlDocumentStore(database, retention=MONTH), History(database)
    collection = store.collection("c")
    assert history.begins(collection) == datetime(2026, 1, 3, tzinfo=UTC)
    assert len(history.versions(collection, 1)) == 1
    assert store.discard_abandoned(collection) == 1
    assert rows(database, VersionRow) == [1]
    database.close()
