"""What every full-text index must do, whichever database keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rag.protocols import LexicalIndex
from rag.stores.database import Database
from rag.stores.documents import SqlDocumentStore
from rag.stores.lexical import FtsIndex
from tests.contracts.store_builders import chunk_ids, drafts, fingerprint, ingest, settings_in, source, unit_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    database = Database.open(settings_in(tmp_path / "home"))
    yield database
    database.close()


@pytest.fixture
def store(database):
    return SqlDocumentStore(database)


@pytest.fixture
def index(database):
    return FtsIndex(database)


@pytest.fixture
def collection(store):
    return store.ensure_collection("handbook", fingerprint())


def texts(store, collection, hits):
    return [chunk.text for chunk, _ in store.hydrate(collection, [hit.chunk_id for hit in hits])]


def test_it_satisfies_the_protocol(index):
    assert isinstance(index, LexicalIndex)


def test_the_best_match_comes_first_and_scores_fall(store, index, collection):
    ingest(store, collection, "/a", ["The cache keeps keys and values.", "Keys open doors.", "Nothing of the kind."])
    hits = index.search(collection, "Where are keys and values kept in the cache?", 5)
    assert texts(store, collection, hits)[0] == "The cache keeps keys and values."
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(hit.score > 0 for hit in hits)
    assert len(hits) == 2


def test_k_bounds_the_hits(store, index, collection):
    ingest(store, collection, "/a", ["alpha one", "alpha two", "alpha three"])
    assert len(index.search(collection, "alpha", 2)) == 2


def test_word_forms_and_accents_do_not_matter(store, index, collection):
    ingest(store, collection, "/a", ["Quantized models need less memory in a café."])
    assert index.search(collection, "quantizing MODEL", 5)
    assert index.search(collection, "CAFE", 5)


def test_titles_and_headings_are_searched(store, index, collection):
    ingest(store, collection, "/a", ["It halves the size."], title="Quantization", heading_path=("Costs", "Memory"))
    for query in ("quantization", "costs", "memory"):
        assert index.search(collection, query, 5), query


def test_stop_words_count_only_if_there_is_nothing_else(store, index, collection):
    ingest(store, collection, "/a", ["to be or not to be", "the gradient of the loss"])
    assert texts(store, collection, index.search(collection, "what is the gradient", 5)) == ["the gradient of the loss"]
    assert "to be or not to be" in texts(store, collection, index.search(collection, "to be or not to be", 5))


@pytest.mark.parametrize("query", ["", "   ", "?!", '"', "\x00"])
def test_a_query_without_words_finds_nothing(store, index, collection, query):
    ingest(store, collection, "/a", ["text"])
    assert index.search(collection, query, 5) == []


@pytest.mark.parametrize(
    "query", ['"alpha', "alpha*", "context:alpha", "alpha AND NOT beta", "NEAR(alpha)", "-alpha ^"]
)
def test_search_syntax_is_only_words(store, index, collection, query):
    ingest(store, collection, "/a", ["alpha"])
    assert len(index.search(collection, query, 5)) == 1


def test_only_active_versions_of_the_collection_are_found(store, index, collection):
    other = store.ensure_collection("other", fingerprint())
    ingest(store, other, "/a", ["alpha elsewhere"])
    document = ingest(store, collection, "/a", ["alpha old"])
    with store.stage(collection, source("/b")) as version:
        version.add_chunks(drafts(["alpha staged"]), unit_vectors(1, seed=0))
        assert texts(store, collection, index.search(collection, "alpha", 5)) == ["alpha old"]
    ingest(store, collection, "/a", ["alpha new"])
    assert [hit.chunk_id for hit in index.search(collection, "alpha", 5)] == chunk_ids(store, collection)
    assert index.search(collection, "old", 5) == []
    store.delete(collection, [document.id])
    assert index.search(collection, "alpha", 5) == []
