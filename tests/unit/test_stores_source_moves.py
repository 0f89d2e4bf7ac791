"""Documents below a folder, and documents that have moved."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rag.stores.documents import SqlDocumentStore
from rag.stores.source_moves import move_sources, retime_sources, sources_at, sources_below
from rag.stores.versions.history import History
from rag.types import Comparison
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest, unit_vectors


@pytest.fixture
def store(database):
    return SqlDocumentStore(database, retention=timedelta(days=1))


@pytest.fixture
def collection(store):
    return store.ensure_collection("c", fingerprint())


def test_documents_below_a_folder_and_nothing_beside_it(database, store, collection):
    for number, uri in enumerate(["/d/a", "/d/e/b", "/d0", "/d", "/da/x", "/d/z.zip", "/d/z.zip!/in/it", "/D/a"]):
        ingest(store, collection, uri, ["text"], seed=number)
    other = store.ensure_collection("other", fingerprint())
    ingest(store, other, "/d/other", ["text"])
    for folder in ("/d", "/d/"):
        assert [source.uri for source in sources_below(database, collection, folder)] == ["/d/a", "/d/e/b", "/d/z.zip"]
    assert len(sources_below(database, collection, "/")) == 7


def test_folders_whose_names_end_as_the_mark_of_members_begins_hold_documents(database, store, collection):
    files = ["/d!/a.zip", "/d!/b", "/d!/e!/c"]
    members = ["/d!/a.zip!/in", "/d!/a.zip!/in.zip", "/d!/a.zip!/in.zip!/it"]
    for number, uri in enumerate([*members, *files]):
        ingest(store, collection, uri, ["text"], seed=number)
    assert [source.uri for source in sources_below(database, collection, "/d!")] == files
    assert [source.uri for source in sources_at(database, collection, "/d!/e!")] == ["/d!/e!/c"]
    store.delete(collection, [store.stored_source(collection, "/d!/a.zip").document_id])
    assert [source.uri for source in sources_below(database, collection, "/")] == files[1:]


def test_what_another_parser_made_is_not_current(database, store, collection):
    ingest(store, collection, "/d/a", ["text"])
    changed = store.ensure_collection("c", fingerprint(parser="parser-2"))
    (source,) = sources_below(database, changed, "/d")
    assert not source.current


def test_a_document_that_moved_is_the_same_document(tmp_path, database, store, collection):
    from rag.stores.live_vectors import LiveVectors

    document = ingest(store, collection, "/d/a.zip", ["text"])
    ingest(store, collection, "/d/a.zip!/inner", ["inner"], seed=1)
    ingest(store, collection, "/d/a.zipped", ["beside"], seed=2)
    chunks = chunk_ids(store, collection)
    vectors = LiveVectors(database, tmp_path / "indexes")
    where = Comparison(field="uri", operator="==", value="/e/b.zip")
    assert vectors.search(collection, unit_vectors(1, seed=1)[0], 3, where=where) == []
    assert move_sources(database, collection, {document.id: ("/e/b.zip", 77)}) == {document.id}
    moved = store.collection("c")
    assert [d.uri for d in store.documents(moved)] == ["/e/b.zip", "/e/b.zip!/inner", "/d/a.zipped"]
    assert chunk_ids(store, moved) == chunks
    assert store.stored_source(moved, "/e/b.zip").mtime_ns == 77
    assert len(vectors.search(moved, unit_vectors(1, seed=1)[0], 3, where=where)) == 1
    assert len(History(database).versions(moved, document.id)) == 1


def test_an_address_that_is_taken_is_left_to_its_owner(database, store, collection):
    first = ingest(store, collection, "/d/a", ["text"])
    second = ingest(store, collection, "/d/b", ["other"], seed=1)
    store.delete(collection, [second.id])  # its past is kept
    third = ingest(store, collection, "/d/c", ["third"], seed=2)
    moved = move_sources(database, collection, {first.id: ("/d/b", 1), third.id: ("/d/d", 1), 999: ("/d/e", 1)})
    assert moved == {third.id}
    assert [d.uri for d in store.documents(collection)] == ["/d/a", "/d/d"]


def test_nothing_moved_is_no_change(database, store, collection):
    ingest(store, collection, "/d/a", ["text"])
    seq = store.collection("c").seq
    assert move_sources(database, collection, {}) == set()
    assert store.collection("c").seq == seq


def test_a_document_and_all_below_its_address(database, store, collection):
    for number, uri in enumerate(["/d/a", "/d/a/b", "/d/ab", "/d/a.zip"]):
        ingest(store, collection, uri, ["text"], seed=number)
    assert [source.uri for source in sources_at(database, collection, "/d/a")] == ["/d/a", "/d/a/b"]


def test_one_that_is_outdated_by_its_move_is_read_anew(database, store, collection):
    first = ingest(store, collection, "/d/a", ["text"])
    second = ingest(store, collection, "/d/b", ["other"], seed=1)
    moves = {first.id: ("/d/c", 1), second.id: ("/d/d", 1)}
    move_sources(database, collection, moves, outdated={first.id})
    known = {source.uri: source.current for source in sources_below(database, store.collection("c"), "/d")}
    assert known == {"/d/c": False, "/d/d": True}
    assert store.document_by_uri(collection, "/d/c").id == first.id  # whose checksum is of what it is now


def test_a_time_alone_is_noted_without_a_change_of_the_collection(database, store, collection):
    ingest(store, collection, "/d/a", ["text"])
    seq = store.collection("c").seq
    retime_sources(database, collection, {"/d/a": 42, "/d/gone": 1})
    assert store.stored_source(collection, "/d/a").mtime_ns == 42
    assert store.collection("c").seq == seq
