"""What every full-text index must do, whichever database keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rag.protocols import LexicalIndex
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.sqlite.database import Database
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


LANGUAGES = {
    "en": "The contract may be terminated by either party with three months' notice.",
    "de": "Der Vertrag kann von jeder der Parteien mit einer Frist von drei Monaten gekündigt werden.",
    "fr": "Le locataire doit payer les réparations des fenêtres cassées pendant la location.",
    "ru": "Сотрудники получают тридцать дней отпуска в каждом календарном году.",
    "ar": "يحصل الموظفون على ثلاثين يوما من الإجازة في كل سنة.",
    "hi": "कर्मचारियों को हर साल तीस दिन की छुट्टियाँ मिलती हैं।",
    "zh": "員工每年享有三十天的年假,未休完的假期可以順延。",
    "ja": "データベースの索引は毎晩再構築されます。",
    "ko": "데이터베이스의 색인은 매일 밤 다시 만들어집니다.",
    "th": "พนักงานมีสิทธิลาพักร้อนสามสิบวันต่อปี",
}


@pytest.fixture
def library(store, collection):
    for language, text in LANGUAGES.items():
        ingest(store, collection, f"/{language}", [text])
    return collection


@pytest.mark.parametrize(
    ("language", "query"),
    [
        ("en", "terminating contracts"),
        ("de", "Kündigung von Verträgen"),
        ("de", "vertrage"),
        ("fr", "réparer une fenêtre cassée"),
        ("ru", "отпуск сотрудника"),
        ("ar", "إجازة الموظف"),
        ("hi", "छुट्टी कितने दिन"),
        ("zh", "年假有幾天?"),
        ("zh", "休"),
        ("zh", "延"),  # the last character of a run
        ("ja", "索引の再構築"),
        ("ko", "데이터베이스 색인"),
        ("th", "ลาพักร้อนกี่วัน"),
    ],
)
def test_every_language_finds_its_passage(store, index, library, language, query):
    hits = index.search(library, query, 1)
    assert texts(store, library, hits) == [LANGUAGES[language]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('"three months"', ["en"]),
        ('"months three"', []),
        ('"三十天的年假"', ["zh"]),
        ('"年假三十天"', []),
        ('"的年假,未休完"', ["zh"]),
        ('"데이터베이스의 색인은"', ["ko"]),
        ('"休"', ["zh"]),
        ("कर्मचा*", ["hi"]),
        ("termin*", ["en"]),
        ("terminat*", ["en"]),
        ("Vertr*", ["de"]),
        ("сотруд*", ["ru"]),
        ("zzz*", []),
        ('"three mon*"', ["en"]),
        ('"two mon*"', []),
        ('"mon* notice"', []),
        ('"Frist von drei Monat*"', ["de"]),
        ('"der Vertr*"', ["de"]),
    ],
)
def test_phrases_and_beginnings(store, index, library, query, found):
    hits = index.search(library, query, 10)
    assert texts(store, library, hits) == [LANGUAGES[language] for language in found]


def test_the_beginning_of_a_word_finds_it_though_its_stem_ends_before(store, index, collection):
    ingest(store, collection, "/dogs", ["A fast running dog.", "Nothing moves."])
    for query in ["runn*", "runnin*", '"fast runn*"', '"a fast runni*"']:
        assert texts(store, collection, index.search(collection, query, 5)) == ["A fast running dog."], query


def test_identifiers_are_found_whole_and_in_part(store, index, collection):
    wanted = ["Error E-4021: the disk is full.", "Call open_file(path) first.", "Write to help@example.org."]
    ingest(
        store, collection, "/codes", [*wanted, "E numbers stand for additives; 4021 of them are known.", "Files open."]
    )
    for query, text in zip(["E-4021", "open_file", "help@example.org"], wanted, strict=True):
        assert texts(store, collection, index.search(collection, query, 1)) == [text]
    assert wanted[0] in texts(store, collection, index.search(collection, "4021", 5))
