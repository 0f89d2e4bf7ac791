"""Rare terms find, frequent ones weigh. Bounds are set so low here that small stores reach them."""

from __future__ import annotations

import random
from contextlib import closing
from unittest.mock import Mock

import pytest
from sqlalchemy import event, text

from rag.errors import DatabaseDamaged
from rag.retrieval.filters import parse
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text import lexical, postings, term_statistics
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.full_text.query_terms import query_terms
from rag.stores.sqlite.database import Database
from rag.stores.verification.findings import rebuild_full_text
from tests.contracts.store_builders import drafts, fingerprint, ingest, settings_in, source, unit_vectors

COUNT = 40
WORDS = ["alpha", "beta", "gamma", "delta", "omega"]
SHARES = [0.9, 0.6, 0.4, 0.2, 0.05]
QUERIES = [
    "alpha beta gamma delta omega",
    "alpha",
    "alpha beta",
    "omega alpha alpha",
    "gam* alpha",
    '"alpha beta" delta',
    "delta nowhere",
    "every",
    "every alpha omega",
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    database = Database.open(settings_in(tmp_path_factory.mktemp("filled")))
    yield database, fill(SqlDocumentStore(database), "one", COUNT, seed=1)
    database.close()


@pytest.fixture
def few(monkeypatch):
    """Only a handful of chunks are scored for terms that find."""

    def bound(scored, at_most):
        monkeypatch.setattr(lexical, "_SCORED", scored)
        monkeypatch.setattr(lexical, "_SCORED_AT_MOST", at_most)

    return bound


def passages(count, seed):
    """Passages of different lengths in which words are as frequent as their shares, some of them twice."""
    generator = random.Random(seed)  # noqa: S311  # no secret
    made = []
    for number in range(count):
        words = [word for word, share in zip(WORDS, SHARES, strict=True) if generator.random() < share]
        words += generator.choices(["filler", *words], k=generator.randrange(6))
        generator.shuffle(words)
        made.append(" ".join(["every", f"n{number}", *words, ""]))
    return made


def fill(store, name, count, seed):
    collection = store.ensure_collection(name, fingerprint())
    for number, words in enumerate(passages(count, seed)):
        ingest(store, collection, f"/{number}", [words], title="alpha title" if number % 5 == 0 else "")
    return collection


def scores(hits):
    return {hit.chunk_id: pytest.approx(hit.score, abs=1e-4) for hit in hits}


SOME = parse({"field": "uri", "operator": "in", "value": [f"/{number}" for number in range(0, COUNT, 5)]})


@pytest.mark.parametrize("where", [None, SOME], ids=["all", "filtered"])
@pytest.mark.parametrize(("scored", "at_most"), [(0, 0), (3, 8), (12, 24)])
def test_the_same_chunks_with_the_same_scores_are_found_whichever_terms_find(filled, few, scored, at_most, where):
    database, collection = filled
    exact = [FtsIndex(database).search(collection, query, 100, where=where) for query in QUERIES]
    few(scored, at_most)
    for query, expected in zip(QUERIES, exact, strict=True):
        found = FtsIndex(database).search(collection, query, 100, where=where)
        assert {hit.chunk_id: hit.score for hit in found} == scores(expected), query
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


@pytest.mark.parametrize("asking", [0, 10**9], ids=["the best are asked", "all are listed"])
def test_few_that_a_filter_lets_through_are_found_whichever_way(filled, monkeypatch, asking):
    database, collection = filled
    exact = [FtsIndex(database).search(collection, query, 100, where=SOME) for query in QUERIES]
    monkeypatch.setattr(lexical, "_ASKING", asking)
    monkeypatch.setattr(lexical, "matching_chunks", listing := Mock(wraps=lexical.matching_chunks))
    for query, expected in zip(QUERIES, exact, strict=True):
        found = FtsIndex(database).search(collection, query, 3, where=SOME)
        assert [hit.chunk_id for hit in found] == [hit.chunk_id for hit in expected[:3]], query
    assert listing.called == bool(asking)


def by_fts5(database, query):
    """Of all chunks that match, FTS5's own scores."""
    expression = " OR ".join(term.expression for term in query_terms(query))
    table = term_statistics.FULL_TEXT_TABLE
    matching = text(f"SELECT rowid, -bm25({table}, 1, 1, 0) FROM {table} WHERE {table} MATCH :expression")  # noqa: S608
    with database.read() as connection:
        return {row[0]: pytest.approx(row[1]) for row in connection.execute(matching, {"expression": expression})}


@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_those_of_fts5(filled, query):
    database, collection = filled
    found = {hit.chunk_id: hit.score for hit in FtsIndex(database).search(collection, query, 100)}
    assert found
    assert found == by_fts5(database, query)


def test_scores_follow_what_comes_and_goes(database, store):
    """Chunks are as long as one, two and three bytes of FTS5's numbers tell, and longer than is kept of a length."""
    collection, index = store.ensure_collection("one", fingerprint()), FtsIndex(database)
    for number, words in enumerate([1, 100, 130, 20_000, 70_000]):
        ingest(store, collection, f"/{number}", ["alpha " + "filler " * words])
        found = {hit.chunk_id: hit.score for hit in index.search(collection, "alpha filler", 100)}
        if words <= 65_000:
            assert found == by_fts5(database, "alpha filler"), words
    assert len(found) == 5
    with database.write() as connection:
        connection.execute(text("DELETE FROM chunk_terms WHERE chunk_id = 2"))
    assert {hit.chunk_id for hit in index.search(collection, "alpha filler", 100)} == {1, 3, 4, 5}
    assert len(FtsIndex(database).search(collection, "alpha", 2)) == 2


@pytest.mark.parametrize("sizes", [b"", b"\x80", b"\x01\x02\x03\x04", b"\x01\x02\x03"])
def test_damaged_lengths_are_told(database, store, sizes):
    collection = fill(store, "one", 3, seed=1)
    table = f"{term_statistics.FULL_TEXT_TABLE}_docsize"
    with database.write() as connection:
        connection.execute(text(f"UPDATE {table} SET sz = :sizes WHERE id = 2"), {"sizes": sizes})  # noqa: S608
    with pytest.raises(DatabaseDamaged, match="Full text is damaged") as told:
        FtsIndex(database).search(collection, "every", 10)
    assert "indexer verify --repair" in told.value.hint


def test_a_program_that_runs_goes_by_the_lengths_that_were_mended(database, store):
    collection, index = fill(store, "one", 3, seed=1), FtsIndex(database)
    whole = index.search(collection, "every alpha", 10)
    damaged = FtsIndex(database)
    with database.write() as connection:
        table = term_statistics.FULL_TEXT_TABLE
        connection.execute(text(f"UPDATE {table}_docsize SET sz = x'7f0001' WHERE id = 2"))  # noqa: S608
    assert index.search(collection, "every alpha", 10) == whole
    with pytest.raises(DatabaseDamaged, match="not those that it has counted"):
        damaged.search(collection, "every alpha", 10)
    rebuild_full_text(database)
    assert damaged.search(collection, "every alpha", 10) == whole


def test_a_rare_word_decides_and_frequent_ones_order(database, store, few):
    collection = store.ensure_collection("one", fingerprint())
    for number in range(30):
        word = "alpha" if number % 3 == 0 else "beta"
        ingest(store, collection, f"/{number}", [f"{word} and words number{number}"])
    ingest(store, collection, "/rare", ["omega with other words"])
    ingest(store, collection, "/both", ["omega alpha with words"])
    few(3, 3)
    (first, second, *_) = FtsIndex(database).search(collection, "alpha omega", 10)
    found = store.hydrate(collection, [first.chunk_id, second.chunk_id])
    assert [document.uri for _, document in found] == ["/both", "/rare"]


def test_k_chunks_are_found_if_only_frequent_words_match(filled, few):
    database, collection = filled
    few(3, 8)
    index = FtsIndex(database)
    assert len(index.search(collection, "every", 7)) == 7
    hits = index.search(collection, "alpha beta gamma", 5)
    held = SqlDocumentStore(database).hydrate(collection, [hit.chunk_id for hit in hits])
    assert all({"alpha", "beta", "gamma"} <= set(chunk.text.split()) for chunk, _ in held)


@pytest.mark.parametrize("own", [4, 20])
def test_of_several_collections_each_finds_its_own(database, store, few, own):
    others = [fill(store, f"other {number}", 15, seed=number) for number in range(2)]
    collection = fill(store, "mine", own, seed=9)
    mine = set(scores(FtsIndex(database).search(collection, "every", 1000)))
    assert len(mine) == own
    exact = [FtsIndex(database).search(collection, query, 100) for query in QUERIES]
    few(3, 8)
    index = FtsIndex(database)
    for query, expected in zip(QUERIES, exact, strict=True):
        found = index.search(collection, query, 100)
        assert {hit.chunk_id: hit.score for hit in found} == scores(expected), query
        assert set(scores(found)) <= mine
        for other in others:
            assert not {hit.chunk_id for hit in index.search(other, query, 100)} & mine


def test_staged_chunks_take_no_place_of_those_that_count(database, store, few):
    collection = fill(store, "one", 12, seed=4)
    few(3, 8)
    with store.stage(collection, source("/staged")) as version:
        version.add_chunks(drafts(["every omega"] * 1500), unit_vectors(1500, seed=0))  # so many are on disk
        hits = FtsIndex(database).search(collection, "every omega", 12)
    assert len(hits) == 12


def test_counts_of_terms_follow_the_index(database, store, monkeypatch):
    collection = fill(store, "one", 20, seed=5)
    statistics = term_statistics.TermStatistics()
    with database.read() as connection:
        counted = statistics.read(connection)
        assert (counted.statistics.chunks, counted.of('"everi"'), counted.of('"new"')) == (20, 20, 0)
    ingest(store, collection, "/new", ["a new one"])
    with database.read() as connection:
        counted = statistics.read(connection)
        assert (counted.statistics.chunks, counted.of('"everi"'), counted.of('"new"')) == (21, 20, 1)
    monkeypatch.setattr(term_statistics, "_COUNT", term_statistics.counting(5))
    monkeypatch.setattr(term_statistics, "COUNTED", 5)
    with database.read() as connection:
        assert term_statistics.TermStatistics().read(connection).of('"everi"') == 21  # 5 of the first 5 of 21


def test_a_text_as_long_as_the_one_it_replaces_is_counted(database, store):
    """It leaves the number of chunks and of their terms as they were."""
    collection = store.ensure_collection("one", fingerprint())
    ingest(store, collection, "/a", ["alpha beta"])
    ingest(store, collection, "/b", ["alpha gamma"])
    statistics = term_statistics.TermStatistics()
    with database.read() as connection:
        before = statistics.read(connection)
        assert (before.of('"alpha"'), before.of('"delta"')) == (2, 0)
    ingest(store, collection, "/b", ["delta gamma"])
    with database.read() as connection:
        after = statistics.read(connection)
        assert (after.statistics.chunks, after.statistics.average_length) == (2, before.statistics.average_length)
        assert (after.of('"alpha"'), after.of('"delta"')) == (1, 1)


def test_numbers_of_the_averages_record_may_have_several_bytes():
    assert term_statistics.numbers(bytes.fromhex("868D2081FB96088C9A40")) == [100_000, 4_115_208, 200_000]


@pytest.mark.parametrize(("count", "others"), [(40, 200), (200, 40), (40, 40)])
@pytest.mark.parametrize(("length", "listed"), [(0, True), (300, True), (300, False)])
def test_what_other_collections_hold_changes_nothing(tmp_path, count, others, length, listed, monkeypatch):
    if not listed:
        monkeypatch.setattr(lexical._Search, "_is_listed", lambda self, _: not self._small)
    with closing(Database.open(settings_in(tmp_path))) as database:
        store, index = SqlDocumentStore(database), FtsIndex(database)
        collection = fill_evenly(store, "one", count, SHARES, seed=1)
        alone = {query: index.search(collection, query, 50) for query in QUERIES}
        # What is rare in the one is frequent in the other, and chunks are of other lengths.
        fill_evenly(store, "two", others, SHARES[::-1], seed=2, longer=length)
        for query, expected in alone.items():
            found = index.search(collection, query, 50)
            assert [hit.chunk_id for hit in found] == [hit.chunk_id for hit in expected], query
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-4), query
        assert sum(bool(expected) for expected in alone.values()) == len(QUERIES)


def fill_evenly(store, name, count, shares, *, seed, longer=0):
    chance = random.Random(seed)  # noqa: S311  # for a test
    collection = store.ensure_collection(name, fingerprint())
    for number in range(count):
        words = [word for word, share in zip(WORDS, shares, strict=True) if chance.random() < share]
        padded = ["every", *words, *["filler"] * (chance.randrange(9) + longer)]
        ingest(store, collection, f"/{number}", [" ".join(padded)], seed=number)
    return collection


@pytest.fixture
def read(monkeypatch):
    """The words whose lists are read from the index."""
    words = []
    read = postings._read
    monkeypatch.setattr(postings, "_read", lambda connection, asked: words.extend(asked) or read(connection, asked))
    return words


def test_lists_are_read_once_until_the_index_changes(database, store, read):
    collection, index = fill(store, "one", 20, seed=5), FtsIndex(database)
    found = index.search(collection, "alpha omega", 50)
    assert (index.search(collection, "omega alpha", 50), sorted(read)) == (found, ["alpha", "omega"])
    assert index.search(collection, "omega beta", 50) == FtsIndex(database).search(collection, "omega beta", 50)
    assert sorted(read) == ["alpha", "beta", "beta", "omega", "omega"]
    ingest(store, collection, "/new", ["a new omega"])
    assert index.search(collection, "omega", 50) == FtsIndex(database).search(collection, "omega", 50)
    del read[:]
    rebuild_full_text(database)  # of the same chunks: what was read before may have been damaged
    index.search(collection, "omega", 50)
    assert read == ["omega"]


def test_lists_that_were_asked_for_last_are_held(database, store, read):
    fill(store, "one", 20, seed=5)
    size = postings._BESIDE_ARRAYS + 5 * 20
    lists, state = postings.Lists(2 * size), term_statistics.TermStatistics()
    with database.read() as connection:
        state = state.read(connection).state
        for word in ("alpha", "beta", "alpha", "gamma", "alpha", "beta"):
            assert len(lists.of(connection, state, [word])[word].ids), word
    assert read == ["alpha", "beta", "gamma", "beta"]
    assert lists._bytes == sum(map(postings._bytes, lists._held.values())) <= 2 * size


def test_a_list_that_was_read_at_another_moment_is_not_held(database, store, monkeypatch):
    fill(store, "one", 5, seed=5)
    lists, read, states = postings.Lists(), postings._read, ["before", "after"]

    def meanwhile(connection, words):
        if len(states) > 1:
            states.pop(0)
            lists.of(connection, states[0], ["beta"])  # of another thread
        return read(connection, words)

    monkeypatch.setattr(postings, "_read", meanwhile)
    with database.read() as connection:
        assert set(lists.of(connection, states[0], ["alpha"])) == {"alpha"}
    assert set(lists._held) == {"beta"}


def test_a_query_of_very_many_words_beside_another_collection(tmp_path):
    with closing(Database.open(settings_in(tmp_path))) as database:
        store, lexical = SqlDocumentStore(database), FtsIndex(database)
        collections = [store.ensure_collection(name, fingerprint()) for name in ("one", "two")]
        for collection in collections:
            ingest(store, collection, "/a", ["word17 stands here", "and word651 there"])
        found = lexical.search(collections[0], " ".join(f"word{number}" for number in range(700)), 10)
        assert len(found) == 2


def test_a_term_is_counted_to_the_end_once(filled, monkeypatch):
    monkeypatch.setattr(term_statistics, "COUNTED", 3)
    monkeypatch.setattr(term_statistics, "_COUNT", term_statistics.counting(3))
    database, _ = filled
    statistics, counted = term_statistics.TermStatistics(), []
    (term,) = query_terms("every")
    with database.read() as connection:

        def note(_connection, _cursor, statement, *_):
            counted.append(statement)

        event.listen(database._engine, "before_cursor_execute", note)
        try:
            rows = [statistics.read(connection).exactly(term.expression) for _ in range(3)]
        finally:
            event.remove(database._engine, "before_cursor_execute", note)
    assert rows == [COUNT] * 3
    assert sum(statement.startswith("SELECT count(*) FROM chunk_terms_fts") for statement in counted) == 1
