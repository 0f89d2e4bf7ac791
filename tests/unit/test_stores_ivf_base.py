"""Inverted lists of codes: they find what exact search finds, among all rows and among some."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

from rag.stores.documents import SqlDocumentStore
from rag.stores.index import bases, ivf_base
from rag.stores.index.recall import recall, sample
from rag.stores.index.tuning import Tuning
from rag.stores.index.vector_rows import ArrayRows, MergedRows
from rag.stores.index.vectors import decode, encode
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite.database import Database
from tests.contracts.store_builders import chunk_ids, drafts, fingerprint, settings_in, source, unit_vectors

DIMENSION = 32
COUNT = 6000


@pytest.fixture(scope="module")
def rows():
    """Vectors in clusters, as those of texts are; the ids have gaps."""
    generator = np.random.default_rng(1)
    centres = generator.standard_normal((60, DIMENSION))
    vectors = centres[generator.integers(0, 60, COUNT)] + 0.6 * generator.standard_normal((COUNT, DIMENSION))
    return ArrayRows(np.arange(COUNT) * 3 + 2**40, decode(encode(vectors.astype(np.float32)), DIMENSION))


@pytest.fixture(scope="module")
def written(rows, tmp_path_factory):
    directory = tmp_path_factory.mktemp("ivf")
    ivf_base.write(rows, directory, sample(rows))
    return directory


@pytest.fixture
def base(written):
    return ivf_base.load(written)


@pytest.fixture(scope="module")
def queries(rows):
    generator = np.random.default_rng(7)
    queries = rows.vectors[generator.integers(0, COUNT, 100)] + 0.1 * generator.standard_normal((100, DIMENSION))
    return (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)


def share_found(rows, queries, search, allowed):
    found = 0
    for query in queries:
        exact = np.sort(rows.vectors[allowed] @ query)[-10:]
        numbers, scores = search(query)
        assert set(numbers) <= set(allowed)
        assert scores == pytest.approx(rows.vectors[numbers] @ query, abs=1e-6)
        assert len(scores) == len(exact)
        found += int(np.sum(scores >= exact[0] - 1e-6))
    return found / (10 * len(queries))


def test_it_finds_what_exact_search_finds(rows, base, queries):
    everything = np.arange(COUNT)
    search = lambda query: base.search(query, 10, skip=None, among=None)  # noqa: E731
    assert share_found(rows, queries, search, everything) >= 0.99
    assert base.tuning.probes < base._index.nlist  # else it is a slow exact search


def test_a_query_within_a_cluster_looks_through_fewer_lists_than_one_between_clusters(rows, base, monkeypatch):
    looked_through = []
    found = base._candidates

    def candidates(vector, wanted, lists, *others):
        looked_through.append(len(lists))
        return found(vector, wanted, lists, *others)

    monkeypatch.setattr(base, "_candidates", candidates)
    between = rows.vectors[:50] + rows.vectors[50:100]
    between /= np.linalg.norm(between, axis=1, keepdims=True)
    for query in (*rows.vectors[:50], *between):
        base.search(query, 10, skip=None, among=None)
    assert len(looked_through) == 100
    assert np.median(looked_through[:50]) < np.median(looked_through[50:]) / 2
    assert max(looked_through[:50]) < base._index.nlist


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9])
def test_among_some_rows_it_finds_what_exact_search_finds(rows, base, queries, share):
    allowed = np.sort(np.random.default_rng(3).choice(COUNT, max(10, int(COUNT * share)), replace=False))
    assert share_found(rows, queries, lambda query: base.search(query, 10, skip=None, among=allowed), allowed) >= 0.99


@pytest.mark.parametrize("as_gone", [False, True])
@pytest.mark.parametrize(
    ("first", "last"), [(20, COUNT), (100, COUNT), (1000, COUNT), (COUNT // 2, COUNT), (600, 1200)]
)
def test_where_the_nearest_do_not_count_it_finds_the_best_of_the_rest(rows, base, queries, first, last, as_gone):
    found = []
    for query in queries:
        ranked = np.argsort(-(rows.vectors @ query))
        allowed = np.sort(ranked[first:last])
        gone = np.setdiff1d(np.arange(COUNT), allowed)
        left_out = {"skip": base.leaving_out(gone), "among": None} if as_gone else {"skip": None, "among": allowed}
        search = lambda query, left_out=left_out: base.search(query, 10, **left_out)  # noqa: E731
        found.append(share_found(rows, query[np.newaxis], search, allowed))
    assert np.mean(found) >= 0.99


def test_everything_can_be_asked_for(base, queries):
    numbers, scores = base.search(queries[0], COUNT, skip=None, among=None)
    assert sorted(numbers) == list(range(COUNT))
    assert np.all(np.diff(scores) <= 0)


def test_the_vectors_are_those_that_were_stored(rows, base):
    some = np.array([5, 4, 5999, 0])
    assert np.array_equal(base.take(some), rows.vectors[some])
    assert np.array_equal(base.take(np.arange(100, 200)), rows.vectors[100:200])
    assert base.take(np.empty(0, np.intp)).shape == (0, DIMENSION)


def test_recall_is_measured_and_tuned_for(rows, base):
    measured = sample(rows)
    assert recall(base, measured) >= 0.99
    blind = ivf_base.IvfBase(base._index, base.ids, base._vectors, Tuning(probes=1, candidates=10))
    assert recall(blind, measured) < 0.9


def test_its_file_is_closed_with_it(written):
    base = ivf_base.load(written)
    descriptor = base._vectors._file
    os.fstat(descriptor)
    del base
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize("name", ["index.faiss", "ids.npy", "vectors.f16", "search.json"])
def test_a_broken_file_is_told(written, tmp_path, name):
    for file in written.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: -5 if file.name == name else None])
    with pytest.raises((ValueError, OSError)):
        ivf_base.load(tmp_path)


def test_kinds_by_size():
    assert bases.kind_for(100, 384) == bases.kind_for(50_000, 384) == "flat"
    assert bases.kind_for(1_000_000, 384) == "ivf"
    assert bases.kind_for(1_000_000, 383) == "flat"  # its dimensions cannot be paired


def test_a_collection_grows_into_the_large_kind_and_shrinks_back(tmp_path, monkeypatch):
    monkeypatch.setattr(bases, "FLAT_UP_TO", 100)
    database = Database.open(settings_in(tmp_path))
    store = SqlDocumentStore(database)
    mine, others = (LiveVectors(database, tmp_path / "indexes") for _ in range(2))
    collection = store.ensure_collection("c", fingerprint())
    kinds = []
    query = unit_vectors(1, seed=50)[0]
    for number, count in enumerate((90, 60, 40)):
        with store.stage(collection, source(f"/{number}")) as version:
            texts = [f"{number} {i}" for i in range(count)]
            version.add_text(0, "".join(texts))
            version.add_chunks(drafts(texts), unit_vectors(count, seed=number))
            version.activate()
        mine.flush(collection, force=True)
        kinds.append(mine.open_indexes.of(collection.id).index._snapshot.base.kind)
    store.delete(collection, [store.document_by_uri(collection, "/0").id])
    for vectors in (mine, others):
        assert {hit.chunk_id for hit in vectors.search(collection, query, 1000)} == set(chunk_ids(store, collection))
    mine.flush(collection, force=True)
    kinds.append(mine.open_indexes.of(collection.id).index._snapshot.base.kind)
    assert kinds == ["flat", "ivf", "ivf", "flat"]
    for vectors in (mine, others):
        assert {hit.chunk_id for hit in vectors.search(collection, query, 1000)} == set(chunk_ids(store, collection))
        vectors.close()
    database.close()


def test_a_base_that_grew_keeps_its_lists_and_codes_and_finds_as_much(rows, queries, written, tmp_path, monkeypatch):
    first = ArrayRows(rows.ids[: COUNT - 1000], rows.vectors[: COUNT - 1000])
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    ivf_base.write(first, tmp_path / "first", sample(first))
    before = ivf_base.load(tmp_path / "first")
    kept = np.arange(500, len(first.ids))  # some went, too
    new = np.arange(1000)[::-1]
    grown = MergedRows(before, kept, rows.ids[COUNT - 1000 :], rows.vectors[COUNT - 1000 :], new)
    monkeypatch.setattr(ivf_base, "_trained", None)
    ivf_base.write(grown, tmp_path / "second", sample(grown))
    base = ivf_base.load(tmp_path / "second")
    assert (base.tuning.trained, base.tuning.since, base.count) == (COUNT - 1000, 1000, COUNT - 500)
    assert np.array_equal(base.ids, rows.ids[500:])
    assert np.array_equal(base.take(np.arange(base.count)), grown.take(np.arange(base.count)))
    assert recall(base, sample(grown)) >= 0.99

    def search(query):
        found, scores = base.search(query, 10, skip=None, among=None)
        return found + 500, scores

    assert share_found(rows, queries, search, np.arange(500, COUNT)) >= 0.97


def test_a_base_that_has_changed_too_much_is_trained_anew(rows, tmp_path):
    first = ArrayRows(rows.ids[:3000], rows.vectors[:3000])
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    ivf_base.write(first, tmp_path / "first", sample(first))
    before = ivf_base.load(tmp_path / "first")
    grown = MergedRows(before, np.arange(3000), rows.ids[3000:5000], rows.vectors[3000:5000], np.arange(2000))
    ivf_base.write(grown, tmp_path / "second", sample(grown))
    tuning = ivf_base.load(tmp_path / "second").tuning
    assert (tuning.trained, tuning.since) == (5000, 0)
