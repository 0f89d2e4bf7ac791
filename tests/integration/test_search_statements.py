"""What a search asks the database beside its two indexes: a further statement costs as much as fusing two rankings."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import event

from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.factory import open_library
from rag.pipeline import PipelineOptions, RagPipeline
from rag.retrieval.retriever import Retriever
from tests.contracts.store_builders import drafts, fingerprint, source

QUESTION = "water pump pressure"
TEXTS = [f"The {part} of the water pump is checked at its own pressure." for part in ("inlet", "valve", "seal")]


class Known:
    """An index that has answered before."""

    def __init__(self, found):
        self._found = found

    def search(self, *_, **__):
        return self._found


@pytest.fixture
def library(tmp_path):
    with open_library(Settings(home=tmp_path, _env_file=None)) as library:
        yield library


@pytest.fixture
def ingest(library):
    embedder = HashingEmbedder(name="hashing", dimension=16)
    collection = library.store.ensure_collection("c", fingerprint(embedder=embedder.identity, dimension=16))

    def write(uri, text):
        with library.store.stage(collection, source(uri, text)) as version:
            version.add_text(0, text)
            version.add_chunks(drafts([text]), embedder.embed_passages([text]))
            version.activate()

    return write


@pytest.fixture
def asked(library):
    """Search for k passages beside indexes that know their answer; what was found, transactions and statements."""
    embedder = HashingEmbedder(name="hashing", dimension=16)

    def search(k):
        collection, vector = library.store.collection("c"), embedder.embed_query(QUESTION)
        retriever = Retriever(
            store=library.store,
            embedder_of=lambda _: embedder,
            vectors=Known(library.vectors.search(collection, vector, 500)),
            lexical=Known(library.lexical.search(collection, QUESTION, 500)),
        )
        options = PipelineOptions(top_k=6, min_dense_score=0.0, min_answerability=0.0, max_answer_tokens=64)
        pipeline = RagPipeline(
            store=library.store,
            retriever=lambda: retriever,
            generator=lambda: pytest.fail("no model is asked"),
            options=options,
        )
        begun, statements = [], []
        reader = library.database._engine
        event.listen(reader, "begin", begun.append)
        event.listen(reader, "before_cursor_execute", lambda *call: statements.append(call[2]))
        found = asyncio.run(pipeline.search(QUESTION, collection="c", k=k)).passages
        return found, len(begun), len(statements)

    return search


@pytest.mark.parametrize("k", [2, 6])
def test_a_search_asks_for_its_collection_and_once_for_all_it_shows(ingest, asked, k):
    for number, text in enumerate(TEXTS):
        ingest(f"/{number}", text)
    found, transactions, statements = asked(k)
    assert len(found) == min(k, len(TEXTS))
    assert (transactions, statements) == (2, 2)


def test_what_others_say_too_is_asked_for_by_itself(ingest, asked):
    for number, text in enumerate([*TEXTS, TEXTS[0]]):
        ingest(f"/{number}", text)
    found, transactions, statements = asked(6)
    assert len(found) == len(TEXTS)
    assert [len(passage.also_in) for passage in found if passage.chunk.text == TEXTS[0]] == [1]
    assert (transactions, statements) == (3, 5)  # once more, for the chunk, those like it, and those like it in part
