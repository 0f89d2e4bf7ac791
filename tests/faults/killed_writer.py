"""A process that changes a collection in every way there is, until it is killed. It writes down what it is about to do
and what has been acknowledged, a line each, so that the test knows what must be there afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.chunking.chunker import CHUNKER_VERSION, chunk_blocks
from indexer.chunking.outlines import outline_of
from indexer.chunking.sizes import limit_of, sized, tokens_in
from indexer.parsers.blocks import Block
from indexer.recutting import recut
from indexer.reembedding import Reembedding
from rag.errors import Conflict
from rag.factory import open_library
from rag.stores.collections.ingest_lock import IngestLock, ReembeddingLock
from rag.stores.embeddings import embedding_sets
from rag.stores.full_text.language import language_of
from rag.stores.index.vectors import encode
from rag.stores.tables import SetState
from tests.contracts.store_builders import DIMENSION, fingerprint, settings_in, source
from tests.faults.backups import backed_up
from tests.faults.killed_service import Service, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.types import ChunkDraft, Collection

# Loaded once by the fork server, for a process that lives for half a second has no time for it.
language_of("")
for name in ("rag.stores.live_vectors", "rag.stores.documents", "rag.stores.archives.backup", "faiss"):
    import_module(name)

COLLECTION = "killed"
URIS = [f"/document-{number}" for number in range(8)]
EMBEDDERS = ("embedder-1", "embedder-2")
CHUNKERS = (sized(CHUNKER_VERSION, 5), sized(CHUNKER_VERSION, 9))  # a piece is a chunk, or two are
SPILLED = 1100  # so many chunks do not fit into one transaction


def pieces(uri: str, version: int, count: int) -> list[str]:
    return [f"{uri} version{version} piece{number}. " for number in range(count)]


@lru_cache
def cut(uri: str, version: int, count: int, chunker: str) -> tuple[ChunkDraft, ...]:
    """The chunks of a document: any process makes the same."""
    return tuple(chunks_of(pieces(uri, version, count), chunker))


def chunks_of(texts: list[str], chunker: str) -> list[ChunkDraft]:
    tokens = tokens_in(chunker)
    size = {"target": tokens, "limit": limit_of(tokens)}
    most = KnownEmbedder.max_tokens
    return list(chunk_blocks(blocks_in(texts), count_tokens=count_words, max_tokens=most, **size))


def blocks_in(texts: list[str]) -> list[Block]:
    return [Block(text=text) for text in texts]


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def vector(embedder: str, text: str) -> np.ndarray:
    """What the embedder makes of a text: any process computes the same."""
    seed = int.from_bytes(hashlib.sha256(f"{embedder} {text}".encode()).digest()[:8], "little")
    row = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return row / np.linalg.norm(row)


def vectors(embedder: str, texts: list[str]) -> np.ndarray:
    return np.array([vector(embedder, text) for text in texts], np.float32).reshape(-1, DIMENSION)


class KnownEmbedder:
    """An ``Embedder`` whose vectors the test can make too."""

    dimension = DIMENSION
    max_tokens = 512
    loaded = True

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def load(self) -> None:
        """There is nothing to load."""

    def count_tokens(self, texts: list[str]) -> list[int]:
        return count_words(texts)

    def embed_passages(self, texts: list[str]) -> np.ndarray:
        return vectors(self.identity, texts)

    def embed_query(self, text: str) -> np.ndarray:
        return vector(self.identity, text)


class Writer:
    def __init__(self, home: Path, log: int, seed: int) -> None:
        self.home = home
        self.log = log
        self.random = random.Random(seed)  # noqa: S311  # for a test
        prepare(seed)
        self.library = open_library(settings_in(home))
        self.library.embedder_of = lambda each: KnownEmbedder(each.fingerprint.embedder)
        self.database = self.library.database
        self.store = self.library.store
        self.index = self.library.vectors
        self.backups = home.with_name("backups")
        self.backups.mkdir(exist_ok=True)
        self.service = Service(self.library, COLLECTION, vector, self.say)

    def say(self, **line: object) -> None:
        os.write(self.log, json.dumps(line).encode() + b"\n")

    @property
    def collection(self) -> Collection:
        return self.store.collection(COLLECTION)

    def run(self) -> None:
        with IngestLock(self.home, COLLECTION):
            if not self.store.collections():
                self.store.ensure_collection(COLLECTION, fingerprint(embedder=EMBEDDERS[0], chunker=CHUNKERS[0]))
            self.library.finish_purges()
            self.store.discard_abandoned(self.collection)
            self.service.start()
            self.say(ready=True)
            operations: list[Callable[[], None]] = [self.ingest, self.ingest, self.delete, self.flush]
            rare: list[Callable[[], None]] = [
                self.ingest_long,
                self.embed_anew,
                self.cut_anew,
                self.cut_anew,
                self.cancel,
                self.cancel_cut,
                self.go_back,
                self.go_back,
                self.forget,
                self.back_up,
                self.back_up,
                self.rebuild,
                self.search,
                self.purge,
                self.purge,
                self.expire,
            ]
            while True:
                self.random.choice(operations if self.random.random() < 0.7 else rare)()
                self.service.ask()

    def forget_deleted(self) -> None:
        """As every command does that has deleted or replaced something, before it says so."""
        problem = self.library.erase_deleted().problem
        if problem is not None:
            raise problem

    def ingest(self, count: int | None = None) -> None:
        uri, version = self.random.choice(URIS), self.random.getrandbits(40)
        texts = pieces(uri, version, self.random.randrange(1, 30) if count is None else count)
        self.say(intent="ingest", uri=uri, version=version, count=len(texts))
        collection = self.collection
        with self.store.stage(collection, source(uri, str(version))) as staged:
            staged.add_text(0, "".join(texts), outline=outline_of(blocks_in(texts)))
            chunks = cut(uri, version, len(texts), collection.fingerprint.chunker)
            embedded = vectors(collection.fingerprint.embedder, [chunk.text for chunk in chunks])
            staged.add_chunks(chunks, embedded)
            staged.activate()
        self.forget_deleted()
        self.say(done=True)

    def ingest_long(self) -> None:
        self.ingest(SPILLED)

    def delete(self) -> None:
        uri = self.random.choice(URIS)
        document = self.store.document_by_uri(self.collection, uri)
        if document is not None:
            self.say(intent="delete", uri=uri)
            self.store.delete(self.collection, [document.id])
            self.forget_deleted()
            self.say(done=True)

    def purge(self) -> None:
        """As ``indexer delete --purge`` does, of a document that is there or was there."""
        uri = self.random.choice(URIS)
        document_id = self.library.history.document_id(self.collection, uri)
        if document_id is not None:
            self.say(intent="purge", uri=uri)
            left = [place for place in self.library.purge(self.collection, [document_id]) if place.left]
            if left:
                raise AssertionError(left)
            self.say(done=True)

    def expire(self) -> None:
        """As ``indexer prune --older-than 0`` does."""
        self.say(intent="expire")
        self.store.expire(self.collection, older_than=timedelta(0))
        self.forget_deleted()
        self.say(done=True)

    def flush(self) -> None:
        self.index.flush(self.collection, force=True)

    def rebuild(self) -> None:
        self.index.rebuild(self.collection)

    def search(self) -> None:
        collection = self.collection
        self.index.search(collection, vector(collection.fingerprint.embedder, "anything"), 10)

    def embed_anew(self) -> None:
        """As ``indexer reembed`` does; a process that comes after goes on where this one is killed."""
        collection = self.collection
        embedder = self.other(collection)
        with ReembeddingLock(self.home, COLLECTION):
            embedding_sets.delete_dropped(self.database, collection)
            self.swap_in(self.begun(collection, embedder), sampled=True)

    def cut_anew(self) -> None:
        """As ``indexer reembed --chunk-tokens`` does."""
        collection = self.collection
        with ReembeddingLock(self.home, COLLECTION):
            embedding_sets.delete_dropped(self.database, collection)
            embedder = self.random.choice(EMBEDDERS)
            self.swap_in(self.begun(collection, embedder, self.other_chunker(collection)), sampled=True)

    def go_back(self) -> None:
        collection = self.collection
        with ReembeddingLock(self.home, COLLECTION):
            embedding_sets.delete_dropped(self.database, collection)
            with self.database.read() as connection:
                target = embedding_sets.find(connection, collection, SetState.PREVIOUS)
            if target is not None:
                self.swap_in(target, sampled=False)

    def swap_in(self, target: EmbeddingSet, *, sampled: bool) -> None:
        chunker = target.chunker or self.collection.fingerprint.chunker
        self.say(intent="embed", embedder=target.embedder, chunker=chunker)
        made = KnownEmbedder(target.embedder)
        # By force: sample queries find their passages by chance only.
        report = Reembedding(self.library, self.collection, target, embedder=lambda: made).run(
            sampled=sampled, force=True
        )
        if report.outcome != "swapped":
            raise AssertionError(report)
        self.forget_deleted()
        self.say(done=True)

    def cancel(self) -> None:
        """Half of a set, and away with it."""
        collection = self.collection
        target = self.begun(collection, self.other(collection))
        some = list(islice(self.store.embedding_inputs(collection, lacking=target), 100))
        values = encode(vectors(target.embedder, [item.text for item in some]))
        embedding_sets.add(self.database, target, [item.chunk_id for item in some], values, too_long=0)
        embedding_sets.drop(self.database, collection, SetState.BUILDING)

    def cancel_cut(self) -> None:
        """Some of the documents cut, and away with that."""
        collection = self.collection

        def stop() -> None:
            if self.random.random() < 0.5:
                raise InterruptedError

        with ReembeddingLock(self.home, COLLECTION):
            target = self.begun(collection, EMBEDDERS[0], self.other_chunker(collection))
            with contextlib.suppress(InterruptedError):
                embedder = KnownEmbedder(EMBEDDERS[0])
                for _ in recut(self.library, target, embedder, progress=lambda *_: None, go_on=stop):
                    pass
            embedding_sets.drop(self.database, collection, SetState.BUILDING)

    def begun(self, collection: Collection, embedder: str, chunker: str | None = None) -> EmbeddingSet:
        try:
            return embedding_sets.begin(self.database, collection, embedder, DIMENSION, chunker=chunker)
        except Conflict:  # a killed run was at something else; as the error says, cancel that
            embedding_sets.drop(self.database, collection, SetState.BUILDING)
            return embedding_sets.begin(self.database, collection, embedder, DIMENSION, chunker=chunker)

    def forget(self) -> None:
        embedding_sets.drop(self.database, self.collection, SetState.PREVIOUS)

    def other(self, collection: Collection) -> str:
        return EMBEDDERS[collection.fingerprint.embedder == EMBEDDERS[0]]

    def other_chunker(self, collection: Collection) -> str:
        return CHUNKERS[collection.fingerprint.chunker == CHUNKERS[0]]

    def back_up(self) -> None:
        name = f"{self.random.getrandbits(60):015x}.zip"
        self.say(intent="backup", name=name)
        backed_up(self.home, self.backups / name)
        self.say(done=True)


def write_until_killed(home: str, log: str, seed: int) -> None:
    """The process's whole life."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        Writer(Path(home), descriptor, seed).run()
    except BaseException as error:
        os.write(descriptor, json.dumps({"failed": repr(error)}).encode() + b"\n")
        raise
