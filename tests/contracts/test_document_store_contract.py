"""What every document store must do, whichever database keeps it."""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import Engine, event

from rag.errors import Conflict, DatabaseDamaged, EmbedderChanged, InvalidRequest, UnknownCollection
from rag.protocols import DocumentStore
from rag.quality_types import Quality
from rag.source_types import WebFetch
from rag.stores.documents import SqlDocumentStore
from rag.stores.sqlite.database import Database
from rag.types import Comparison, Span
from tests.contracts.store_builders import (
    DIMENSION,
    chunk_ids,
    drafts,
    fingerprint,
    ingest,
    settings_in,
    source,
    staged,
)
from tests.contracts.store_builders import unit_vectors as vectors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlDocumentStore]:
    database = Database.open(settings_in(tmp_path / "home"))
    yield SqlDocumentStore(database)
    database.close()


@pytest.fixture
def kept(tmp_path):
    """One that keeps what was replaced."""
    database = Database.open(settings_in(tmp_path / "kept"))
    yield SqlDocumentStore(database, retention=timedelta(days=30))
    database.close()


@pytest.fixture
def collection(store):
    return store.ensure_collection("handbook", fingerprint())


def test_it_satisfies_the_protocol(store):
    assert isinstance(store, DocumentStore)


def test_a_collection_is_created_once(store, collection):
    assert store.ensure_collection("handbook", fingerprint()) == collection
    assert store.collections() == [collection]
    assert store.collection("handbook") == collection


def test_a_name_longer_than_the_service_takes_is_refused(store):
    assert store.ensure_collection("n" * 200, fingerprint()).name == "n" * 200
    with pytest.raises(InvalidRequest, match="201 characters"):
        store.ensure_collection("n" * 201, fingerprint())


def test_an_unknown_collection_is_named(store):
    with pytest.raises(UnknownCollection, match="'nowhere'"):
        store.collection("nowhere")


def test_no_two_names_of_collections_look_the_same(store):
    composed, apart = "caf\u00e9", "cafe\u0301"
    store.ensure_collection(composed, fingerprint())
    with pytest.raises(Conflict, match="looks the same"):
        store.ensure_collection(apart, fingerprint())
    with pytest.raises(UnknownCollection) as caught:
        store.collection(apart)
    assert "composed otherwise" in caught.value.hint
    assert [each.name for each in store.collections()] == [composed]


def test_a_new_parser_is_noted_and_documents_keep_theirs(store, collection):
    ingest(store, collection, "/a", ["one"])
    changed = store.ensure_collection("handbook", fingerprint(parser="parser-2"))
    assert changed.fingerprint.parser == "parser-2"
    assert store.stored_source(changed, "/a").parser == "parser-1"


@pytest.mark.parametrize("change", [{"embedder": "embedder-2"}, {"dimension": DIMENSION + 1}])
def test_another_embedder_is_refused_once_there_are_embeddings(store, collection, change):
    ingest(store, collection, "/a", ["one"])
    with pytest.raises(EmbedderChanged, match="indexer reembed --collection handbook"):
        store.ensure_collection("handbook", fingerprint(**change))
    assert store.collection("handbook").fingerprint == fingerprint()


def test_an_empty_collection_takes_another_embedder(store, collection):
    assert store.ensure_collection("handbook", fingerprint(embedder="embedder-2")).fingerprint.embedder == "embedder-2"


def test_what_is_stored_comes_back_verbatim(store, collection):
    pieces = ["Ein Satz über Größe. ", "And 😀 another one.\n"]
    document = ingest(store, collection, "/a", pieces, title="Title", heading_path=("Title", "Part"))
    assert (document.uri, document.title, document.chunk_count) == ("/a", "Title", 2)
    found = store.hydrate(collection, chunk_ids(store, collection))
    assert [chunk.text for chunk, _ in found] == pieces
    assert all(owner == document for _, owner in found)
    for chunk, _ in found:
        assert chunk.heading_path == ("Title", "Part")
        assert store.source_text(document.id, chunk.span) == chunk.text


def test_stored_source_tells_whether_a_file_changed(store, collection):
    assert store.stored_source(collection, "/a") is None
    document = ingest(store, collection, "/a", ["one"])
    known = store.stored_source(collection, "/a")
    record = source("/a", "one")
    assert (known.document_id, known.sha256, known.size, known.mtime_ns) == (
        document.id,
        record.sha256,
        record.size,
        record.mtime_ns,
    )
    assert (known.parser, known.chunker) == ("parser-1", "chunker-1")


def test_what_a_server_said_is_kept_with_the_version_and_is_no_change(store, collection):
    fetch = WebFetch(etag='"1"', last_modified="", lastmod="2026-01-31", fetched_at="2026-02-01T00:00:00+00:00")
    document = ingest(store, collection, "https://h.example/", ["one"])
    seq = store.collection(collection.name).seq
    store.note_fetch(collection, document.id, fetch)
    assert store.stored_source(collection, "https://h.example/").web == fetch
    assert store.collection(collection.name).seq == seq
    assert store.document(collection, document.id) == document
    ingest(store, collection, "https://h.example/", ["two"])
    assert store.stored_source(collection, "https://h.example/").web is None


def test_members_belong_to_their_container_and_go_with_it(store, collection):
    names = ["/a", "/a!/x", "/a!/in!/y", "/a!x", "/A!/x", "/b!/x", "/a!", "/a!0"]
    made = {name: ingest(store, collection, name, [f"text of {name}"]) for name in names}
    assert [document.uri for document in store.members(collection, "/a")] == ["/a!/x", "/a!/in!/y"]
    assert [document.uri for document in store.members(collection, "/a!/in")] == ["/a!/in!/y"]
    assert store.delete(collection, [made["/a"].id]) == 3
    assert [document.uri for document in store.documents(collection)] == ["/a!x", "/A!/x", "/b!/x", "/a!", "/a!0"]


def test_a_container_may_be_without_text_and_tells_what_failed_in_it(store, collection):
    with store.stage(collection, source("/a.zip", "")) as version:
        version.count_failed(2)
        document = version.activate()
    assert document.chunk_count == 0
    assert store.stored_source(collection, "/a.zip").members_failed == 2
    ingest(store, collection, "/b", ["one"])
    assert store.stored_source(collection, "/b").members_failed == 0


def test_a_container_tells_which_of_its_members_are_gone(store, collection):
    made = [ingest(store, collection, uri, [uri]).id for uri in ("/a.zip!/x", "/a.zip!/in!/y", "/a.zip0", "/b")]
    with store.stage(collection, source("/a.zip", "")) as version:
        version.activate()
    assert store.stored_source(collection, "/a.zip").members_gone == 0
    store.delete(collection, made[1:])
    assert store.stored_source(collection, "/a.zip").members_gone == 1
    store.delete(collection, made[:1])
    assert store.stored_source(collection, "/a.zip").members_gone == 2


def test_nothing_is_seen_before_activation(store, collection):
    before = store.collection("handbook")
    with store.stage(collection, source("/a", "one")) as version:
        version.add_text(0, "one")
        version.add_chunks(drafts(["one"]), vectors(1, seed=0))
        assert store.documents(collection) == []
        assert store.stored_source(collection, "/a") is None
        assert chunk_ids(store, collection) == []
        assert store.collection("handbook") == before
        version.activate()
    assert store.collection("handbook").seq > before.seq
    assert len(store.documents(collection)) == 1


def test_leaving_without_activation_discards(store, collection):
    with store.stage(collection, source("/a", "one")) as version:
        version.add_chunks(drafts(["one"]), vectors(1, seed=0))
    with pytest.raises(ValueError, match="do not"), store.stage(collection, source("/b", "two")) as version:
        version.add_chunks(drafts(["two"]), vectors(2, seed=0))
    assert store.documents(collection) == []
    assert store.discard_abandoned(collection) == 0


def test_a_version_cannot_be_written_after_activation(store, collection):
    with store.stage(collection, source("/a", "one")) as version:
        version.activate()
        with pytest.raises(ValueError, match="stage a new one"):
            version.add_text(0, "more")


def test_a_new_version_replaces_the_old_one_whole(store, collection):
    first = ingest(store, collection, "/a", ["old one", "old two"])
    old = chunk_ids(store, collection)
    second = ingest(store, collection, "/a", ["new"], title="New title")
    assert second.id == first.id
    assert second.title == "New title"
    assert store.documents(collection) == [second]
    assert store.hydrate(collection, old) == []
    assert store.source_text(second.id, Span(start=0, end=100)) == "new"


def test_chunk_ids_are_never_used_again(store, collection):
    document = ingest(store, collection, "/a", ["one", "two"])
    before = chunk_ids(store, collection)
    store.delete(collection, [document.id])
    ingest(store, collection, "/a", ["one", "two"])
    assert min(chunk_ids(store, collection)) > max(before)


def test_delete_counts_what_was_active(store, collection):
    kept, gone = ingest(store, collection, "/a", ["one"]), ingest(store, collection, "/b", ["two"])
    before = store.collection("handbook").seq
    assert store.delete(collection, [gone.id, gone.id, 4711]) == 1
    assert store.delete(collection, [gone.id]) == 0
    assert store.documents(collection) == [kept]
    assert store.collection("handbook").seq == before + 1


def test_a_document_of_another_collection_is_out_of_reach(store, collection):
    other = store.ensure_collection("other", fingerprint())
    document = ingest(store, other, "/a", ["one"])
    ids = chunk_ids(store, other)
    assert store.delete(collection, [document.id]) == 0
    assert store.hydrate(collection, ids) == []
    assert store.documents(other) == [document]


def test_documents_are_listed_page_by_page(store, collection):
    made = [ingest(store, collection, f"/{number}", ["text"]) for number in range(5)]
    first = store.documents(collection, limit=2)
    assert first == made[:2]
    assert store.documents(collection, limit=10, after=first[-1].id) == made[2:]


def test_hydrate_keeps_the_order_asked_and_leaves_out_what_is_gone(store, collection):
    ingest(store, collection, "/a", ["one", "two", "three"])
    a, b, c = chunk_ids(store, collection)
    assert [chunk.id for chunk, _ in store.hydrate(collection, [c, 999, a, b])] == [c, a, b]
    assert store.hydrate(collection, []) == []


def ordinals(found):
    return [[chunk.ordinal for chunk in stretch.chunks] for stretch in found]


def test_neighbours_are_stretches_of_the_hits_own_versions(store, collection):
    pieces = [f"piece {number}. " for number in range(10)]
    document = ingest(store, collection, "/a", pieces)
    ingest(store, collection, "/b", ["another."])
    ids = chunk_ids(store, collection)
    found = store.neighbours(collection, [ids[10], ids[1], ids[2], ids[7]], 1)
    assert ordinals(found) == [[0, 1, 2, 3], [6, 7, 8], [0]]
    for stretch in found:
        hydrated = store.hydrate(collection, [chunk.id for chunk in stretch.chunks])
        assert list(stretch.chunks) == [chunk for chunk, _ in hydrated]
        assert stretch.text == "".join(chunk.text for chunk in stretch.chunks)
        assert all(stretch.slice(chunk.span) == chunk.text for chunk in stretch.chunks)
    assert {chunk.document_id for chunk in found[0].chunks} == {document.id}
    assert ordinals(store.neighbours(collection, [ids[5]], 0)) == [[5]]
    assert store.neighbours(collection, [], 5) == []


def test_a_long_text_is_read_where_the_neighbours_stand(store, collection):
    pieces = [f"{number} " + "x" * 30_000 for number in range(8)]
    ingest(store, collection, "/a", pieces)
    (found,) = store.neighbours(collection, [chunk_ids(store, collection)[5]], 1)
    assert found.text == "".join(pieces[4:7])


def test_neighbours_that_a_filter_leaves_out_are_none(store, collection):
    ingest(store, collection, "/a", ["one ", "two ", "three ", "four "])
    ids = chunk_ids(store, collection)
    found = store.neighbours(collection, [ids[1]], 5, where=Comparison(field="ordinal", operator="!=", value=2))
    assert ordinals(found) == [[0, 1], [3]]


def test_what_is_gone_or_of_another_collection_has_no_neighbours(store, collection):
    other = store.ensure_collection("other", fingerprint())
    ingest(store, other, "/a", ["one", "two"])
    foreign = chunk_ids(store, other)
    ingest(store, collection, "/a", ["one", "two"])
    old = chunk_ids(store, collection)
    ingest(store, collection, "/a", ["one", "three"])
    assert store.neighbours(collection, [*foreign, *old, 4711], 1) == []


def test_neighbours_of_the_past_are_those_of_then(kept):
    collection = kept.ensure_collection("handbook", fingerprint())
    ingest(kept, collection, "/a", ["one ", "two "])
    old = chunk_ids(kept, collection)
    then = datetime.now(UTC)
    time.sleep(0.01)
    ingest(kept, collection, "/a", ["one ", "three "])
    assert kept.neighbours(collection, old, 1) == []
    (found,) = kept.neighbours(collection, old[:1], 1, as_of=then)
    assert found.text == "one two "
    new = chunk_ids(kept, collection)
    assert kept.neighbours(collection, new, 1, as_of=then) == []
    with pytest.raises(InvalidRequest, match="future"):
        kept.neighbours(collection, new, 1, as_of=datetime.now(UTC) + timedelta(hours=1))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE chunks SET text = 'twa ' WHERE ordinal = 1",
        "UPDATE document_texts SET text = 'one twa three '",
        "DELETE FROM document_texts",
        "UPDATE document_versions SET title = 'another'",
    ],
)
def test_damaged_neighbours_are_refused(store, collection, damage):
    ingest(store, collection, "/a", ["one ", "two ", "three "])
    ids = chunk_ids(store, collection)
    with store._database.write() as connection:
        connection.exec_driver_sql(damage)
    with pytest.raises(DatabaseDamaged, match="not as it was written"):
        store.neighbours(collection, ids[:1], 1)


@pytest.mark.parametrize("asked", [(0, 1 << 30), (0, 80_000), (99_000, 99_010), (65_000, 66_000)])
def test_a_source_text_without_its_end_is_refused(store, collection, asked):
    """Not cut where what is left of it ends."""
    piece = "a piece of a text that is longer than a stored part of it"
    document = ingest(store, collection, "/a", [f"{piece} {number:05} " for number in range(1600)])
    span = Span(start=asked[0], end=asked[1])
    assert store.source_text(document.id, span)
    with store._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM document_texts WHERE start > 0")
    assert store.source_text(document.id, Span(start=0, end=65_000)).startswith(piece)
    with pytest.raises(DatabaseDamaged, match="not as it was written"):
        store.source_text(document.id, span)


@pytest.mark.parametrize(
    "bad", [np.zeros((1, DIMENSION), np.float32), np.full((1, DIMENSION), np.nan, np.float32), vectors(2, seed=0)]
)
def test_vectors_no_search_could_find_are_refused(store, collection, bad):
    with store.stage(collection, source("/a")) as version, pytest.raises(ValueError, match=r"vector|embedding"):
        version.add_chunks(drafts(["one"]), bad)


def test_text_pieces_must_join(store, collection):
    with store.stage(collection, source("/a")) as version:
        version.add_text(0, "abc")
        with pytest.raises(ValueError, match="ends at 3"):
            version.add_text(4, "d")


def test_a_dense_weight_is_kept_and_can_be_taken_back(store, collection):
    assert collection.dense_weight is None
    assert store.set_dense_weight(collection, 0.7) == store.collection("handbook")
    assert store.collection("handbook").dense_weight == 0.7
    assert store.status(collection).collection.dense_weight == 0.7
    assert store.set_dense_weight(collection, None).dense_weight is None


@pytest.mark.parametrize("weight", [0, 1, -0.1, 1.5, float("nan")])
def test_a_dense_weight_leaves_both_legs_a_share(store, collection, weight):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        store.set_dense_weight(collection, weight)


def test_a_dense_weight_outlives_a_new_parser_but_not_a_new_embedder(store, collection):
    store.set_dense_weight(collection, 0.7)
    assert store.ensure_collection("handbook", fingerprint(parser="parser-2")).dense_weight == 0.7
    assert store.ensure_collection("handbook", fingerprint(embedder="embedder-2")).dense_weight is None
    with pytest.raises(EmbedderChanged, match="embedded anew meanwhile"):
        store.set_dense_weight(collection, 0.7)


def _ids_of(store, collection, *documents):
    found = store.hydrate(collection, chunk_ids(store, collection))
    return [[chunk.id for chunk, owner in found if owner == each] for each in documents]


def test_many_documents_are_deleted_with_their_members_by_few_statements(store, collection):
    archives = [ingest(store, collection, f"/{number}.zip", [f"Archive {number}. "]) for number in range(60)]
    for number in range(0, 60, 20):
        ingest(store, collection, f"/{number}.zip!/inner", ["A member. "])
        ingest(store, collection, f"/{number}.zip.txt", ["No member. "])
    other = store.ensure_collection("other", fingerprint())
    elsewhere = ingest(store, other, "/z.zip", ["Of another collection. "])
    ingest(store, other, "/z.zip!/inner", ["Its member. "])
    asked: list[str] = []

    def note(*call):
        asked.append(call[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert store.delete(collection, [*(each.id for each in archives), elsewhere.id]) == 63
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert [each.uri for each in store.documents(collection)] == [f"/{number}.zip.txt" for number in range(0, 60, 20)]
    assert len(store.documents(other)) == 2
    assert len(asked) < 60


BODY = "The pump runs at 40 bar. It is checked each morning by the shift that leaves. Nobody opens it while it runs. "


def test_chunks_that_say_the_same_find_each_other(store, collection):
    first = ingest(store, collection, "/a", [BODY, "Something else. "])
    second = ingest(store, collection, "/b", [BODY.upper()])
    other = ingest(store, collection, "/c", [BODY.replace("40", "41")])
    (one, alone), (copy,), (different,) = _ids_of(store, collection, first, second, other)
    known = store.likenesses(collection, [one, alone, copy, different, 999])
    assert known[one].whole == known[copy].whole != known[different].whole
    assert [known[each].shared for each in (one, copy, alone)] == [True, True, False]
    assert 999 not in known
    assert [chunk.id for chunk, _ in store.copies(collection, one)] == [one, copy]
    assert [owner.uri for _, owner in store.copies(collection, copy)] == ["/b", "/a"]
    assert [chunk.id for chunk, _ in store.copies(collection, different)] == [different]


def test_passages_that_stand_alone_are_read_with_what_is_known_of_them(store, collection):
    encoded = base64.b64encode(hashlib.sha512(b"key").digest() * 8).decode()
    gone = ingest(store, collection, "/gone", ["Nobody says this any more. "])
    first = ingest(store, collection, "/a", [BODY, "Something else. ", encoded])
    second = ingest(store, collection, "/b", [BODY])
    (left,), (shared, alone, flawed), (copy,) = _ids_of(store, collection, gone, first, second)
    store.delete(collection, [gone.id])
    asked = [left, shared, alone, flawed, copy]
    known = store.likenesses(collection, asked, passages=True)
    assert {each: likeness.passage is not None for each, likeness in known.items()} == {
        shared: False,
        alone: True,
        flawed: False,
        copy: False,
    }
    assert [known[alone].passage] == store.hydrate(collection, [alone])
    without = store.likenesses(collection, asked)
    assert {each: replace(likeness, passage=None) for each, likeness in known.items()} == without


def test_the_chunk_that_says_most_comes_first(store, collection):
    ingest(store, collection, "/a", [BODY])
    ingest(store, collection, "/b", [BODY + "Ask first."])
    shorter, longer = chunk_ids(store, collection)
    assert [chunk.id for chunk, _ in store.copies(collection, shorter)] == [longer, shorter]
    assert [chunk.id for chunk, _ in store.copies(collection, longer)] == [longer, shorter]


def test_copies_are_of_the_collection_and_of_what_the_filter_lets_through(store, collection):
    other = store.ensure_collection("other", fingerprint())
    ingest(store, other, "/z", [BODY])
    for uri in ("/a", "/b", "/c"):
        ingest(store, collection, uri, [BODY])
    first = chunk_ids(store, collection)[0]
    assert [owner.uri for _, owner in store.copies(collection, first)] == ["/a", "/b", "/c"]
    where = Comparison(field="uri", operator="!=", value="/b")
    assert [owner.uri for _, owner in store.copies(collection, first, where=where)] == ["/a", "/c"]
    assert store.copies(collection, first, where=Comparison(field="uri", operator="==", value="/b")) == []


def test_a_copy_that_is_deleted_leaves_the_others(store, collection):
    gone = ingest(store, collection, "/a", [BODY])
    ingest(store, collection, "/b", [BODY])
    first, second = chunk_ids(store, collection)
    store.delete(collection, [gone.id])
    assert store.copies(collection, first) == []
    assert [chunk.id for chunk, _ in store.copies(collection, second)] == [second]
    known = store.likenesses(collection, [first, second])
    assert first not in known
    assert not known[second].shared


def test_what_another_collection_says_is_not_shared(store, collection):
    ingest(store, store.ensure_collection("other", fingerprint()), "/z", [BODY])
    ingest(store, collection, "/a", [BODY])
    (mine,) = chunk_ids(store, collection)
    assert not store.likenesses(collection, [mine])[mine].shared


def test_a_passage_that_stands_everywhere_has_a_list_that_ends(store, collection):
    ingest(store, collection, "/many", [BODY] * 60)
    first = chunk_ids(store, collection)[0]
    assert len(store.copies(collection, first)) == 21


def test_what_others_say_too_is_counted(store, collection):
    first = ingest(store, collection, "/0", [BODY, "Something else. ", BODY])
    assert store.qualities(collection, [first.id]) == [Quality()]  # twice in one document is no duplicate
    for number in range(1, 9):
        ingest(store, collection, f"/{number}", [BODY, f"Number {number}. "])
    assert store.qualities(collection, [first.id]) == [Quality(duplicates=2)]
    last = ingest(store, collection, "/9", [BODY.upper()])
    assert store.qualities(collection, [last.id]) == [Quality(duplicates=1, boilerplate=1)]
    assert store.qualities(collection, [first.id]) == [Quality(duplicates=2, boilerplate=2)]
    assert store.quality(collection) == Quality(duplicates=11, boilerplate=11)
    store.delete(collection, [last.id])
    assert store.qualities(collection, [last.id]) == [Quality()]
    assert store.quality(collection) == Quality(duplicates=10)


def test_what_nearly_says_what_others_say_is_counted(kept):
    collection = kept.ensure_collection("handbook", fingerprint())
    ingest(kept, kept.ensure_collection("other", fingerprint()), "/z", [BODY])
    gone = ingest(kept, collection, "/gone", [f"Today: {BODY}"])
    ingest(kept, collection, "/replaced", [f"{BODY}Ask him. "])
    ingest(kept, collection, "/replaced", ["What it says now. "])
    first = ingest(kept, collection, "/a", [BODY, "Something else. ", f"{BODY}Again. "])
    kept.delete(collection, [gone.id])
    assert kept.qualities(collection, [first.id]) == [Quality()]  # not within a document, not beside what has left
    longer = ingest(kept, collection, "/b", [f"{BODY}Ask first. ", "Another thing. "])
    figure = ingest(kept, collection, "/c", [BODY.replace("40", "41")])
    sentence = ingest(
        kept, collection, "/d", ["It is checked each morning by the shift that leaves. And then it is not. "]
    )
    half = ingest(kept, collection, "/e", [f"{BODY}{'What follows is half of it, and more. ' * 2}"])
    ids = [document.id for document in (first, longer, figure, sentence, half)]
    assert kept.qualities(collection, ids) == [
        Quality(near_duplicates=1), Quality(near_duplicates=1), Quality(), Quality(), Quality(),
    ]  # fmt: skip
    before = kept.qualities(collection, ids, as_they_came=True)
    assert before == [Quality(), Quality(near_duplicates=1), Quality(), Quality(), Quality()]
    copy = ingest(kept, collection, "/f", [BODY])
    assert kept.qualities(collection, [copy.id, first.id]) == [
        Quality(duplicates=1),
        Quality(duplicates=1, near_duplicates=1),
    ]
    assert kept.quality(collection) == Quality(duplicates=2)


def test_documents_that_came_together_are_compared_in_their_order(store, collection):
    before = ingest(store, collection, "/before", ["Number one. "])
    texts = ["Number one. ", BODY, BODY.upper(), f"{BODY}And more. "]
    documents = store.activate([staged(store, collection, f"/{number}", [text]) for number, text in enumerate(texts)])
    ids = [document.id for document in (before, *documents)]
    near = Quality(near_duplicates=1)
    assert store.qualities(collection, ids, as_they_came=True) == [
        Quality(), Quality(duplicates=1), Quality(), Quality(duplicates=1), near,
    ]  # fmt: skip
    assert store.qualities(collection, ids) == [*[Quality(duplicates=1)] * 4, near]
    assert store.qualities(collection, []) == []


def test_a_file_that_lies_in_many_places_is_no_boilerplate(store, collection):
    for number in range(12):
        document = ingest(store, collection, f"/{number}", [BODY])
    assert store.qualities(collection, [document.id]) == [Quality(duplicates=1)]
    assert store.quality(collection) == Quality(duplicates=12)


def test_what_is_no_text_is_told_and_left_out_of_searches(store, collection):
    encoded = base64.b64encode(hashlib.sha512(b"key").digest() * 8).decode()
    document = ingest(store, collection, "/key", ["A text. ", encoded])
    text, key = chunk_ids(store, collection)
    assert [store.likenesses(collection, [text, key])[each].flaw for each in (text, key)] == [None, "encoded"]
    assert store.qualities(collection, [document.id]) == [Quality(flaws={"encoded": 1})]
    assert store.quality(collection) == Quality(flaws={"encoded": 1})


def test_versions_are_activated_together_in_one_change(kept):
    collection = kept.ensure_collection("handbook", fingerprint())
    replaced = ingest(kept, collection, "/1", ["old"])
    seq = kept.collection("handbook").seq
    documents = kept.activate([staged(kept, collection, f"/{number}", ["new ", f"{number}"]) for number in range(3)])
    assert [(document.uri, document.chunk_count) for document in documents] == [("/0", 2), ("/1", 2), ("/2", 2)]
    assert documents[1].id == replaced.id
    assert sorted(kept.documents(collection), key=lambda document: document.uri) == documents
    assert kept.collection("handbook").seq == seq + 1
    assert kept.status(collection).past_versions == 1
    texts = {(document.uri, chunk.text) for chunk, document in kept.hydrate(collection, chunk_ids(kept, collection))}
    assert texts == {(f"/{number}", text) for number in range(3) for text in ("new ", f"{number}")}
    for number, document in enumerate(documents):
        assert kept.source_text(document.id, Span(start=0, end=99)) == f"new {number}"
    assert kept.activate([]) == []


def test_versions_are_activated_together_or_none_is(store, collection):
    stale = replace(collection, fingerprint=fingerprint(embedder="embedder-0"))
    versions = [staged(store, collection, "/a", ["one"]), staged(store, stale, "/b", ["two"])]
    with pytest.raises(EmbedderChanged, match="/b"):
        store.activate(versions)
    assert store.documents(collection) == []
    assert store.activate(versions[:1]) == store.documents(collection)


def test_two_versions_of_one_document_are_not_activated_together(store, collection):
    with pytest.raises(ValueError, match="of a document each"):
        store.activate([staged(store, collection, "/a", [text]) for text in ("one", "two")])
    other = store.ensure_collection("other", fingerprint())
    with pytest.raises(ValueError, match="of one collection"):
        store.activate([staged(store, each, f"/{each.name}", ["one"]) for each in (collection, other)])


def test_a_version_of_another_store_is_refused(store):
    with pytest.raises(TypeError, match="not object"):
        store.activate([object()])
