"""What a filter lets through is found without reading the passages, and brought over whole."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from rag.retrieval.filters import parse
from rag.stores.filtering import matching_chunks
from rag.stores.visibility import visible
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest


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
