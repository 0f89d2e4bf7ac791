"""A filtered search returns the best of what the filter lets through: nothing else, and never fewer than there are."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.retrieval.filters import parse
from rag.stores.database import Database
from rag.stores.documents import SqlDocumentStore
from rag.stores.lexical import FtsIndex
from rag.stores.live_vectors import LiveVectors
from rag.types import ChunkDraft, SourceRecord, Span
from tests.contracts.store_builders import fingerprint, settings_in, unit_vectors

DOCUMENTS, CHUNKS = 12, 5
MEDIA_TYPES = ["text/plain", "text/html", "application/pdf"]
QUERY = unit_vectors(1, seed=77)[0]


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


def unordered(condition):
    return condition["operator"] in {"==", "!=", "in", "not in"}


COMPARISONS = st.one_of(
    texts("page", st.integers(0, CHUNKS)),
    texts("ordinal", st.integers(0, CHUNKS)),
    texts("size", st.integers(0, DOCUMENTS)),
    texts("media_type", st.sampled_from(MEDIA_TYPES)),
    texts("uri", st.sampled_from([f"/{number:02d}" for number in range(DOCUMENTS + 1)])),
    texts("meta.year", st.integers(2018, 2026) | st.sampled_from(["2020", 2020.5])),
    texts("meta.team", st.sampled_from(["red", "blue", 7])),
    texts("meta.public", st.just(value=True) | st.just(value=1)).filter(unordered),
    texts("document_id", st.integers(1, DOCUMENTS + 1)),
)
METADATA = [
    {},
    {"year": 2019, "team": "red", "public": True},
    {"year": 2020, "team": "blue"},
    {"year": 2020.5, "public": False},
    {"year": "2020", "team": 7, "public": 1},
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
    if operator in {"==", "!="}:
        return same(have, want) == (operator == "==")
    if operator in {"in", "not in"}:
        return any(same(have, each) for each in want) == (operator == "in")
    if have is None or kind(have) != kind(want):
        return False
    return {">": have > want, ">=": have >= want, "<": have < want, "<=": have <= want}[operator]


def kind(value):
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def same(one, other):
    return kind(one) == kind(other) and one == other


class Shelf:
    """Two collections of which one is searched; a part of it is in a generation, a part has come later, a part gone."""

    def __init__(self, home: Path) -> None:
        self.database = Database.open(settings_in(home))
        self.store = SqlDocumentStore(self.database)
        self.vectors = LiveVectors(self.database, home / "indexes")
        self.lexical = FtsIndex(self.database)
        self.collection = self.store.ensure_collection("searched", fingerprint())
        other = self.store.ensure_collection("other", fingerprint())
        for number in range(DOCUMENTS):
            self.add(self.collection, number)
            self.add(other, number)
            if number == DOCUMENTS // 2:
                self.vectors.flush(self.collection, force=True)
        self.add(self.collection, 1)  # replaced
        self.store.delete(self.collection, [self.store.document_by_uri(self.collection, "/02").id])
        self.rows = self.read()

    def add(self, collection, number):
        pieces = [f"word of {number} {ordinal} " for ordinal in range(CHUNKS)]
        record = SourceRecord(
            uri=f"/{number:02d}",
            title="",
            media_type=MEDIA_TYPES[number % 3],
            sha256="",
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
                        token_count=3,
                    )
                    for ordinal, piece in enumerate(pieces)
                ],
                unit_vectors(CHUNKS, seed=number),
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
                **{f"meta.{key}": value for key, value in document.metadata.items()},
            }
            for chunk, document in self.store.hydrate(self.collection, ids)
        }


@pytest.fixture(scope="module")
def shelf():
    with tempfile.TemporaryDirectory() as home:
        made = Shelf(Path(home))
        yield made
        made.vectors.close()
        made.database.close()


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
