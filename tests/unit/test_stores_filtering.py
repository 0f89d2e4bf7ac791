"""What a filter lets through is found without reading the passages, and brought over whole."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from rag.retrieval.filters import parse
from rag.stores.documents import SqlDocumentStore
from rag.stores.filtering import matching_chunks
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite import database as store_database
from rag.stores.sqlite.database import Database
from rag.stores.visibility import visible
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest, unit_vectors


@pytest.mark.parametrize("field", ["page", "token_count", "ordinal", "size", "media_type"])
def test_no_row_of_chunks_is_read(database, store, field):
    collection = store.ensure_collection("c", fingerprint())
    ingest(store, collection, "/a", ["one", "two"])
    where = parse({"field": field, "operator": "!=", "value": "x" if field == "media_type" else 1})
    asked = []
    with database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
        matching_chunks(connection, collection.id, where, visible())
        ((statement, values),) = asked
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    (of_chunks,) = [step for step in plan if " chunks " in step]
    assert "USING COVERING INDEX" in of_chunks


def test_all_are_found_or_none(database, store):
    collection = store.ensure_collection("c", fingerprint())
    with database.read() as connection:
        assert matching_chunks(connection, collection.id, None, visible()).tolist() == []
    ingest(store, collection, "/b", ["one"] * 700)
    ingest(store, collection, "/a", ["two"])
    with database.read() as connection:
        found = matching_chunks(connection, collection.id, None, visible())
        none = matching_chunks(
            connection, collection.id, parse({"field": "page", "operator": "==", "value": 1}), visible()
        )
    assert found.tolist() == chunk_ids(store, collection)
    assert (str(found.dtype), len(found), str(none.dtype), len(none)) == ("int64", 701, "int64", 0)


def test_however_many_filters_are_asked_what_is_remembered_of_them_is_bounded(database, store, tmp_path, monkeypatch):
    monkeypatch.setattr(store_database, "_FILTERED_STATEMENTS", 8)
    database = Database(database._engine, database.path)
    store, lexical = SqlDocumentStore(database), FtsIndex(database)
    vectors = LiveVectors(database, tmp_path / "indexes")
    collection = store.ensure_collection("c", fingerprint())
    ingest(store, collection, "/a", ["one two", "one three"])
    ids, now, query = chunk_ids(store, collection), datetime.now(UTC), unit_vectors(1, seed=1)[0]

    def ask(where):
        for as_of in (None, now):
            assert len(vectors.search(collection, query, 5, where=where, as_of=as_of)) == 2
            assert len(lexical.search(collection, "one", 5, where=where, as_of=as_of)) == 2
            assert len(store.hydrate(collection, ids, where=where, as_of=as_of)) == 2
            assert len(store.likenesses(collection, ids, where=where, as_of=as_of, passages=True)) == 2
            assert len(store.copies(collection, ids[0], where=where, as_of=as_of)) == 1
            assert len(store.neighbours(collection, ids[:1], 1, where=where, as_of=as_of)) == 1

    ask(None)
    others = len(database._engine._compiled_cache)
    for count in range(1, 12):
        alike = {"field": "size", "operator": ">=", "value": 0}
        ask(parse({"operator": "AND", "conditions": [alike] * count}))
    assert len(database._engine._compiled_cache) <= others + 2
    assert len(database._of_filters) <= 12  # and half as many again, when they are looked through
