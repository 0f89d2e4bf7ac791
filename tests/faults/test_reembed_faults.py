"""A re-embedding that is killed at any moment, or finds the disk full: the old vectors serve, the next run goes on."""

from __future__ import annotations

import multiprocessing
import random
import time

import pytest
from sqlalchemy import event

from indexer.reembedding import Reembedding
from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.errors import DiskFull
from rag.factory import Library, open_library
from rag.stores.embeddings import embedding_sets, reembedding
from rag.stores.index.vectors import encode
from rag.stores.tables import SetState
from rag.stores.verification.index_files import verify_index
from tests.contracts.store_builders import drafts, fingerprint, source

CHUNKS = 900
OLD = HashingEmbedder()
NEW = HashingEmbedder(name="other", dimension=32)
LONGEST_LIFE_S = 0.6


def run(library: Library):
    library.embedder_of = lambda each: OLD if each.fingerprint.embedder == OLD.identity else NEW
    collection = library.store.collection("handbook")
    embedding_sets.delete_dropped(library.database, collection)
    target = embedding_sets.begin(library.database, collection, NEW.identity, NEW.dimension)
    return Reembedding(library, collection, target, embedder=lambda: NEW).run()


def run_until_killed(home: str) -> None:
    run(open_library(Settings(home=home, _env_file=None)))


def ingest(library: Library, uri: str, texts: list[str], embedder: HashingEmbedder = OLD) -> None:
    collection = library.store.collection("handbook")
    with library.store.stage(collection, source(uri, "".join(texts))) as version:
        version.add_text(0, "".join(texts))
        version.add_chunks(drafts(texts), embedder.embed_passages(texts))
        version.activate()


@pytest.fixture
def home(tmp_path):
    with open_library(Settings(home=tmp_path / "home", _env_file=None)) as library:
        made = fingerprint(embedder=OLD.identity, dimension=OLD.dimension)
        library.store.ensure_collection("handbook", made)
        ingest(library, "/a", [f"passage {number} of waters{number % 97}. " for number in range(CHUNKS)])
    return tmp_path / "home"


def assert_new_and_whole(library: Library) -> None:
    """The same as an uninterrupted run leaves, to the last bit."""
    collection = library.store.collection("handbook")
    assert (collection.fingerprint.embedder, collection.fingerprint.dimension) == (NEW.identity, NEW.dimension)
    inputs = list(library.store.embedding_inputs(collection))
    assert len(inputs) == CHUNKS
    expected = dict(
        zip([item.chunk_id for item in inputs], encode(NEW.embed_passages([i.text for i in inputs])), strict=True)
    )
    with library.database.read() as connection:
        live = embedding_sets.find(connection, collection, SetState.LIVE)
        rows = connection.exec_driver_sql("SELECT chunk_id, vector FROM embeddings WHERE set_id = ?", (live.id,)).all()
    assert dict(map(tuple, rows)) == expected
    assert list(verify_index(library.database, library.index_directory, collection)) == []
    hits = library.vectors.search(collection, NEW.embed_query(inputs[5].text), 3)
    assert hits[0].chunk_id == inputs[5].chunk_id


@pytest.mark.parametrize("kills", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_again_and_again_it_gets_there(home, kills):
    chance = random.Random(20261124)  # noqa: S311  # for a test
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.test_reembed_faults"])
    for _ in range(kills):
        process = context.Process(target=run_until_killed, args=(str(home),))
        process.start()
        time.sleep(chance.uniform(0, LONGEST_LIFE_S))  # the random point; nothing is asserted about time
        process.kill()
        process.join()
        with open_library(Settings(home=home, _env_file=None)) as library:
            collection = library.store.collection("handbook")
            serving = OLD if collection.fingerprint.embedder == OLD.identity else NEW
            hits = library.vectors.search(collection, serving.embed_query("passage 7 of waters7. "), CHUNKS)
            assert len(hits) == CHUNKS
            assert reembedding.wrong_vectors(library.database, collection) == 0
    with open_library(Settings(home=home, _env_file=None)) as library:
        run(library)
        assert_new_and_whole(library)


def test_a_full_disk_leaves_the_old_vectors_serving(home):
    with open_library(Settings(home=home, _env_file=None)) as library:
        with library.database.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

        @event.listens_for(library.database._engine, "begin")
        def limit(connection):
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}")  # SQLite's own way to say: no more room

        with pytest.raises(DiskFull):
            run(library)
        collection = library.store.collection("handbook")
        assert collection.fingerprint.embedder == OLD.identity
        assert len(library.vectors.search(collection, OLD.embed_query("passage"), CHUNKS)) == CHUNKS
    with open_library(Settings(home=home, _env_file=None)) as library:
        run(library)
        assert_new_and_whole(library)


@pytest.mark.parametrize("failing", ["write_generation", "move_generation"])
def test_no_room_for_the_index(home, monkeypatch, failing):
    def refuse(*_args, **_fields):
        raise DiskFull("no room")

    with open_library(Settings(home=home, _env_file=None)) as library:
        with monkeypatch.context() as full:
            full.setattr(reembedding, failing, refuse)
            with pytest.raises(DiskFull):
                run(library)
        assert library.store.collection("handbook").fingerprint.embedder == OLD.identity
        assert run(library).embedded == 0  # what was embedded is kept
        assert_new_and_whole(library)
