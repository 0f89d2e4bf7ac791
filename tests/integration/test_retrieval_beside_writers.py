"""A search beside writers: a document that is there all the time is found, old or new."""

from __future__ import annotations

import threading

import pytest

from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.factory import open_library
from rag.retrieval.retriever import Retriever
from rag.stores.source_moves import move_sources
from rag.types import Comparison
from tests.contracts.store_builders import drafts, fingerprint, source

QUESTION = "water pump pressure"


class Writing:
    """A store in which somebody replaces, or deletes, what a search has found before it reads it, ``times`` times."""

    def __init__(self, store, write, times):
        self._store, self._write, self.left = store, write, times

    def __getattr__(self, name):
        return getattr(self._store, name)

    def likenesses(self, *arguments, **named):
        if self.left:
            self.left -= 1
            self._write(self.left)
        return self._store.likenesses(*arguments, **named)


@pytest.fixture
def library(tmp_path):
    with open_library(Settings(home=tmp_path, _env_file=None)) as library:
        yield library


@pytest.fixture
def embedder():
    return HashingEmbedder(name="hashing", dimension=16)


@pytest.fixture
def collection(library, embedder):
    return library.store.ensure_collection("c", fingerprint(embedder=embedder.identity, dimension=16))


@pytest.fixture
def ingest(library, collection, embedder):
    def write(number, uri="/a"):
        text = f"{QUESTION} {number}"
        with library.store.stage(collection, source(uri, text)) as version:
            version.add_text(0, text)
            version.add_chunks(drafts([text]), embedder.embed_passages([text]))
            return version.activate().id

    return write


def retriever(library, embedder, store):
    return Retriever(store=store, embedder_of=lambda _: embedder, vectors=library.vectors, lexical=library.lexical)


def test_what_was_replaced_since_it_was_found_is_found_anew(library, collection, embedder, ingest):
    ingest("first")
    store = Writing(library.store, ingest, times=3)
    found = retriever(library, embedder, store).retrieve(collection, QUESTION, 6)
    assert [passage.chunk.text for passage in found.passages] == [f"{QUESTION} 0"]
    assert store.left == 0


def test_what_was_deleted_since_it_was_found_gives_way_to_the_next_best(library, collection, embedder, ingest):
    gone = [ingest(number, f"/gone/{number}") for number in range(3)]
    ingest("kept", "/kept")

    def delete(_):
        library.store.delete(collection, gone)

    store = Writing(library.store, delete, times=1)
    found = retriever(library, embedder, store).retrieve(collection, QUESTION, 2)
    assert [passage.document.uri for passage in found.passages] == ["/kept"]


@pytest.mark.parametrize("k", [1, 6])
def test_what_was_moved_out_of_the_filter_since_it_was_found_is_left_out(library, collection, embedder, ingest, k):
    first, _ = ingest(QUESTION, "/in/first"), ingest("other words", "/in/second")
    where = Comparison(field="uri", operator="in", value=("/in/first", "/in/second"))
    store = Writing(
        library.store,
        lambda _: move_sources(library.store._database, collection, {first: ("/out/first", 1)}),
        times=1,
    )
    found = retriever(library, embedder, store).retrieve(collection, QUESTION, k, where=where)
    assert [passage.document.uri for passage in found.passages] == ["/in/second"]
    assert store.left == 0


def test_searches_that_race_with_replacements_find_the_document(library, collection, embedder, ingest):
    ingest(0)
    search, begun, ended = retriever(library, embedder, library.store), threading.Event(), threading.Event()

    def replace():
        number = 0
        while begun.wait() and not ended.is_set():  # once a search, at whatever it is at by then
            begun.clear()
            number += 1
            ingest(number)

    writer = threading.Thread(target=replace)
    writer.start()
    counts = []
    try:
        for _ in range(40):
            begun.set()
            counts.append(len(search.retrieve(collection, QUESTION, 6).passages))
    finally:
        ended.set()
        begun.set()
        writer.join()
    assert counts == [1] * 40
