"""A filtered search returns the best of what the filter lets through: nothing else, and never fewer than there are."""

from __future__ import annotations

import hashlib
import tempfile
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.retrieval.filters import FIELDS, parse
from rag.retrieval.retriever import Retriever
from rag.source_types import SourceRecord
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.index import bases
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite.database import Database
from rag.stores.versions import retirement
from rag.types import ChunkDraft, Span
from tests.contracts.store_builders import fingerprint, settings_in, unit_vectors

DOCUMENTS, CHUNKS = 12, 5
MEDIA_TYPES = ["text/plain", "text/html", "application/pdf"]
QUERY = unit_vectors(1, seed=77)[0]
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
TITLES = ["", "Acme", "acme", "Zoë"]
ZONES = [UTC, None, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-11))]
MANY = 60  # documents of the shelf whose base is in lists


def decomposed(text):
    return unicodedata.normalize("NFD", text)


def digest_of(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def time_of(change):
    """Of the n-th change of the collection that is searched."""
    return BEGUN + timedelta(hours=change)


class Clock(datetime):
    """An hour goes by at each look."""

    looks = 0

    @classmethod
    def now(cls, tz=None):
        cls.looks += 1
        return time_of(cls.looks).astimezone(tz)


def texts(field, values):
    plain = st.fixed_dictionaries(
        {"field": st.just(field), "operator": st.sampled_from(["==", "!="]), "value": values | st.none()}
    )
    ordered = st.fixed_dictionaries(
        {"field": st.just(field), "operator": st.sampled_from([">", ">=", "<", "<="]), "value": values}
    )
    listed = st.fixed_dictionaries(
        {
            "field": st.just(field),
            "operator": st.sampled_from(["in", "not in"]),
            "value": st.lists(values | st.none(), max_size=3),
        }
    )
    return plain | ordered | listed


def written(time, zone):
    """In a zone of its own; without one it is of UTC."""
    return (time.astimezone(zone) if zone else time.replace(tzinfo=None)).isoformat()


def unordered(condition):
    return condition["operator"] in {"==", "!=", "in", "not in"}


VALUES = {
    "document_id": st.integers(1, DOCUMENTS + 1),
    "uri": st.sampled_from([f"/{number:02d}" for number in range(DOCUMENTS + 1)]),
    "title": st.sampled_from([*TITLES, *map(decomposed, TITLES), "B"]),
    "media_type": st.sampled_from(MEDIA_TYPES),
    "sha256": st.integers(0, DOCUMENTS).map(digest_of),
    "size": st.integers(0, DOCUMENTS),
    "updated_at": st.builds(written, st.integers(0, DOCUMENTS + 3).map(time_of), st.sampled_from(ZONES)),
    "page": st.integers(0, CHUNKS),
    "ordinal": st.integers(0, CHUNKS),
    "token_count": st.integers(0, 6),
    "meta.year": st.integers(2018, 2026) | st.sampled_from(["2020", 2020.5, 2**53, 2**53 - 1, -0.0]),
    "meta.team": st.sampled_from(["red", "grün", decomposed("grün"), 7]),
}
COMPARISONS = st.one_of(
    *(texts(field, values) for field, values in VALUES.items()),
    texts("meta.public", st.just(value=True) | st.just(value=1)).filter(unordered),
)
METADATA = [
    {},
    {"year": 2019, "team": "red", "public": True},
    {"year": 2020, "team": decomposed("grün")},
    {"year": 2020.5, "public": False},
    {"year": "2020", "team": 7, "public": 1},
    {"year": 2**53, "team": "", "public": False},
    {"year": 0, "team": 7.0},
]
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.fixed_dictionaries(
        {"operator": st.sampled_from(["AND", "OR", "NOT"]), "conditions": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


def lets_through(condition, row):
    """The meaning of a filter, written down a second time."""
    operator = condition["operator"]
    if operator in {"AND", "OR", "NOT"}:
        parts = [lets_through(part, row) for part in condition["conditions"]]
        return {"AND": all(parts), "OR": any(parts), "NOT": not all(parts)}[operator]
    have, want = row.get(condition["field"]), condition["value"]
    if condition["field"] == "updated_at":
        want = [each and moment(each) for each in want] if isinstance(want, list) else want and moment(want)
    if operator in {"==", "!="}:
        return same(have, want) == (operator == "==")
    if operator in {"in", "not in"}:
        return any(same(have, each) for each in want) == (operator == "in")
    if have is None or kind(have) != kind(want):
        return False
    return {">": have > want, ">=": have >= want, "<": have < want, "<=": have <= want}[operator]


def moment(text):
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def kind(value):
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def same(one, other):
    if isinstance(one, str) and isinstance(other, str):
        return decomposed(one) == decomposed(other)
    return kind(one) == kind(other) and one == other


class Given:
    """An embedder to which every question is the same."""

    def embed_query(self, _text):
        return QUERY


class Shelf:
    """Two collections of which one is searched; a part of it is in a generation, a part has come later, a part gone."""

    def __init__(self, home: Path, documents: int = DOCUMENTS, chunks: int = CHUNKS) -> None:
        self.chunks = chunks
        self.database = Database.open(settings_in(home))
        self.store = SqlDocumentStore(self.database)
        self.vectors = LiveVectors(self.database, home / "indexes")
        self.lexical = FtsIndex(self.database)
        self.retriever = Retriever(
            store=self.store, embedder_of=lambda _: Given(), vectors=self.vectors, lexical=self.lexical
        )
        self.collection = self.store.ensure_collection("searched", fingerprint())
        other = self.store.ensure_collection("other", fingerprint())
        for number in range(documents):
            self.add(self.collection, number)
            if number < DOCUMENTS:
                self.add(other, number)
            if number == documents // 2:
                self.vectors.flush(self.collection, force=True)
        self.add(self.collection, 1)  # replaced
        self.store.delete(self.collection, [self.store.document_by_uri(self.collection, "/02").id])
        self.rows = self.read()

    def add(self, collection, number):
        pieces = [f"word of {number} {ordinal} " for ordinal in range(self.chunks)]
        record = SourceRecord(
            uri=f"/{number:02d}",
            title=TITLES[number % len(TITLES)],
            media_type=MEDIA_TYPES[number % 3],
            sha256=digest_of(number),
            size=number,
            mtime_ns=1,
            metadata=METADATA[number % len(METADATA)],
        )
        with self.store.stage(collection, record) as version:
            version.add_text(0, "".join(pieces))
            spans = np.cumsum([0, *map(len, pieces)]).tolist()
            version.add_chunks(
                [
                    ChunkDraft(
                        ordinal=ordinal,
                        text=piece,
                        span=Span(start=spans[ordinal], end=spans[ordinal + 1]),
                        page=ordinal if ordinal and number % 2 else None,
                        heading_path=(),
                        token_count=(number + ordinal) % 6,
                    )
                    for ordinal, piece in enumerate(pieces)
                ],
                unit_vectors(self.chunks, seed=number),
            )
            version.activate()

    def read(self):
        ids = [item.chunk_id for item in self.store.embedding_inputs(self.collection)]
        return {
            chunk.id: {
                "page": chunk.page,
                "ordinal": chunk.ordinal,
                "size": document.size,
                "media_type": document.media_type,
                "uri": document.uri,
                "document_id": document.id,
                "title": document.title,
                "sha256": document.sha256,
                "token_count": chunk.token_count,
                "updated_at": datetime.fromisoformat(document.updated_at),
                **{f"meta.{key}": value for key, value in document.metadata.items()},
            }
            for chunk, document in self.store.hydrate(self.collection, ids)
        }


@pytest.fixture(scope="module")
def shelf():
    yield from made()


@pytest.fixture(scope="module")
def lists():
    """Its base is in lists of codes; there are fewer chunks than the legs look deep."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bases, "FLAT_UP_TO", 100)
        yield from made(MANY, chunks=8)


def made(documents=DOCUMENTS, chunks=CHUNKS):
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patched:
        patched.setattr(Clock, "looks", 0)
        patched.setattr(retirement, "datetime", Clock)
        shelf = Shelf(Path(home), documents, chunks)
        yield shelf
        shelf.vectors.close()
        shelf.database.close()


@given(condition=FILTERS, k=st.integers(1, 70))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_both_legs_agree_with_brute_force(shelf, condition, k):
    expected = {chunk_id for chunk_id, row in shelf.rows.items() if lets_through(condition, row)}
    where = parse(condition)
    everything = [hit.chunk_id for hit in shelf.vectors.search(shelf.collection, QUERY, 1000)]
    dense = [hit.chunk_id for hit in shelf.vectors.search(shelf.collection, QUERY, k, where=where)]
    assert dense == [chunk_id for chunk_id in everything if chunk_id in expected][:k]
    matched = [hit.chunk_id for hit in shelf.lexical.search(shelf.collection, "word", 1000)]
    assert set(matched) == set(shelf.rows)
    lexical = [hit.chunk_id for hit in shelf.lexical.search(shelf.collection, "word", k, where=where)]
    assert lexical == [chunk_id for chunk_id in matched if chunk_id in expected][:k]


@given(condition=FILTERS, k=st.integers(1, 70))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_hybrid_retrieval_returns_what_passes_and_all_of_it(shelf, condition, k):
    expected = {chunk_id for chunk_id, row in shelf.rows.items() if lets_through(condition, row)}
    found = shelf.retriever.retrieve(shelf.collection, "word", k, where=parse(condition))
    ids = [passage.chunk.id for passage in found.passages]
    assert set(ids) <= expected
    assert len(ids) == len(set(ids)) == min(k, len(expected))
    assert found.nothing_to_search == found.filtered_out == (not expected)


def test_in_an_empty_collection_it_is_not_the_filter_that_leaves_nothing(shelf):
    empty = shelf.store.ensure_collection("empty", shelf.collection.fingerprint)
    found = shelf.retriever.retrieve(empty, "word", 5, where=parse({"field": "page", "operator": "==", "value": 7}))
    assert (found.nothing_to_search, found.filtered_out) == (True, False)


def test_a_question_that_the_filter_leaves_nothing_to_is_embedded_once(shelf, monkeypatch):
    asked = []
    monkeypatch.setattr(Given, "embed_query", lambda _self, text: asked.append(text) or QUERY)
    where = parse({"field": "page", "operator": "==", "value": -1})
    assert shelf.retriever.retrieve(shelf.collection, "word", 5, where=where).filtered_out
    assert asked == ["word"]


@given(condition=FILTERS)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_base_in_lists_misses_nothing_that_passes(lists, condition):
    index = lists.store.index(lists.collection)
    assert index.kind == "ivf"
    assert len(lists.rows) > index.count > 200
    expected = {chunk_id for chunk_id, row in lists.rows.items() if lets_through(condition, row)}
    where = parse(condition)
    dense = [hit.chunk_id for hit in lists.vectors.search(lists.collection, QUERY, 1000, where=where)]
    assert (len(dense), set(dense)) == (len(expected), expected)
    nearest = lists.vectors.search(lists.collection, QUERY, 10, where=where)
    assert len(nearest) == min(10, len(expected))
    assert {hit.chunk_id for hit in nearest} <= expected
    hybrid = lists.retriever.retrieve(lists.collection, "word", 100, where=where).passages
    assert len(hybrid) == min(100, len(expected))
    assert {passage.chunk.id for passage in hybrid} <= expected


def widest(field, operator, filler):
    """200 comparisons with 10,000 values, nested as deep as is allowed: nothing larger is a filter."""
    values = [*filler, None, True, 2020.5, "red"] if field.startswith("meta.") else [*filler, None]
    listed = {"field": field, "operator": "in", "value": (values * 50)[:50]}
    inner = {"operator": operator, "conditions": [listed] * 186}
    for _ in range(14):
        inner = {"operator": operator, "conditions": [inner, listed]}
    return inner


# What is nested how, and what is compared, do not depend on each other: negations of each field, and every operator.
@pytest.mark.parametrize(
    ("field", "filler", "operator"),
    [
        ("meta.year", [*range(20), *map(str, range(26))], "NOT"),
        ("meta.team", ["\u00ea\u0323"] * 46, "NOT"),
        *(("page", range(49), operator) for operator in ("AND", "OR", "NOT")),
    ],
)
def test_the_largest_filters_that_are_allowed_can_be_run(shelf, operator, field, filler):
    where = widest(field, operator, filler)
    expected = {chunk_id for chunk_id, row in shelf.rows.items() if lets_through(where, row)}
    read = parse(where)
    ids = list(shelf.rows)
    now = datetime.now(UTC)
    for as_of in (None, now):
        dense = shelf.vectors.search(shelf.collection, QUERY, 1000, where=read, as_of=as_of)
        assert {hit.chunk_id for hit in dense} == expected
        lexical = shelf.lexical.search(shelf.collection, "word", 1000, where=read, as_of=as_of)
        assert {hit.chunk_id for hit in lexical} == expected
        beside = shelf.store.neighbours(shelf.collection, ids, 2, where=read, as_of=as_of)
        assert {chunk.id for stretch in beside for chunk in stretch.chunks} == expected
        copies = shelf.store.copies(shelf.collection, ids[0], where=read, as_of=as_of)
        assert {chunk.id for chunk, _ in copies} <= expected


@pytest.mark.parametrize("value", [list(range(1000)), [*map(str, range(2018, 3018))], [None] * 1000, []])
def test_a_list_may_be_as_long_as_is_allowed(shelf, value):
    for operator in ("in", "not in"):
        listed = {"field": "meta.year", "operator": operator, "value": value}
        expected = {chunk_id for chunk_id, row in shelf.rows.items() if lets_through(listed, row)}
        found = shelf.vectors.search(shelf.collection, QUERY, 1000, where=parse(listed))
        assert {hit.chunk_id for hit in found} == expected


def test_every_field_is_drawn():
    assert VALUES.keys() >= FIELDS.keys()


def test_filters_with_true_and_with_one_are_told_apart(shelf):
    found = [
        {
            hit.chunk_id
            for hit in shelf.vectors.search(
                shelf.collection,
                QUERY,
                1000,
                where=parse({"field": "meta.public", "operator": "==", "value": value}),
            )
        }
        for value in (True, 1, 1.0)
    ]
    assert found[0]
    assert found[1] == found[2] != found[0]


def test_what_a_filter_lets_through_follows_the_collection(tmp_path):
    shelf = Shelf(tmp_path)
    where = parse({"field": "uri", "operator": "in", "value": ["/03", "/20"]})
    assert len(shelf.vectors.search(shelf.collection, QUERY, 100, where=where)) == CHUNKS
    shelf.add(shelf.collection, 20)
    assert len(shelf.vectors.search(shelf.collection, QUERY, 100, where=where)) == 2 * CHUNKS
    shelf.store.delete(shelf.collection, [shelf.store.document_by_uri(shelf.collection, "/03").id])
    found = shelf.vectors.search(shelf.collection, QUERY, 100, where=where)
    assert {document.uri for _, document in shelf.store.hydrate(shelf.collection, [h.chunk_id for h in found])} == {
        "/20"
    }
    shelf.vectors.close()
    shelf.database.close()
