"""A process that changes a collection in every way there is, until it is killed. It writes down what it is about to do
and what has been acknowledged, a line each, so that the test knows what must be there afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.stores import embedding_sets, reembedding
from rag.stores.database import Database
from rag.stores.documents import SqlDocumentStore
from rag.stores.ingest_lock import IngestLock
from rag.stores.language import language_of
from rag.stores.live_vectors import LiveVectors
from rag.stores.vectors import encode
from tests.contracts.store_builders import DIMENSION, drafts, fingerprint, settings_in, source

if TYPE_CHECKING:
    from collections.abc import Callable

    from rag.types import Collection

language_of("")  # loaded once by the fork server, for a process that lives for .3 s has no time for it

COLLECTION = "killed"
URIS = [f"/document-{number}" for number in range(8)]
EMBEDDERS = ("embedder-1", "embedder-2")
SPILLED = 1100  # so many chunks do not fit into one transaction
LEADING = "abcdefghijklmnop"


def pieces(uri: str, version: int, count: int) -> list[str]:
    return [f"{uri} version{version} piece{number}. " for number in range(count)]


def vector(embedder: str, text: str) -> np.ndarray:
    """What the embedder makes of a text: any process computes the same."""
    seed = int.from_bytes(hashlib.sha256(f"{embedder} {text}".encode()).digest()[:8], "little")
    row = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return row / np.linalg.norm(row)


def vectors(embedder: str, texts: list[str]) -> np.ndarray:
    return np.array([vector(embedder, text) for text in texts], np.float32).reshape(-1, DIMENSION)


class Writer:
    def __init__(self, home: Path, log: int, seed: int) -> None:
        self.home = home
        self.log = log
        self.random = random.Random(seed)  # noqa: S311  # for a test
        self.database = Database.open(settings_in(home))
        self.store = SqlDocumentStore(self.database)
        self.index = LiveVectors(self.database, home / "indexes")

    def say(self, **line: object) -> None:
        os.write(self.log, json.dumps(line).encode() + b"\n")

    @property
    def collection(self) -> Collection:
        return self.store.collection(COLLECTION)

    def run(self) -> None:
        with IngestLock(self.home, COLLECTION):
            if not self.store.collections():
                self.store.ensure_collection(COLLECTION, fingerprint(embedder=EMBEDDERS[0]))
            self.store.discard_abandoned(self.collection)
            self.say(ready=True)
            operations: list[Callable[[], None]] = [self.ingest, self.ingest, self.delete, self.flush]
            rare: list[Callable[[], None]] = [self.ingest_long, self.embed_anew, self.rebuild, self.search]
            while True:
                self.random.choice(operations if self.random.random() < 0.7 else rare)()

    def ingest(self, count: int | None = None) -> None:
        uri, version = self.random.choice(URIS), self.random.getrandbits(40)
        texts = pieces(uri, version, self.random.randrange(1, 30) if count is None else count)
        self.say(intent="ingest", uri=uri, version=version, count=len(texts))
        collection = self.collection
        with self.store.stage(collection, source(uri, str(version))) as staged:
            staged.add_text(0, "".join(texts))
            staged.add_chunks(drafts(texts), vectors(collection.fingerprint.embedder, texts))
            staged.activate()
        self.say(done=True)

    def ingest_long(self) -> None:
        self.ingest(SPILLED)

    def delete(self) -> None:
        uri = self.random.choice(URIS)
        document = self.store.document_by_uri(self.collection, uri)
        if document is not None:
            self.say(intent="delete", uri=uri)
            self.store.delete(self.collection, [document.id])
            self.say(done=True)

    def flush(self) -> None:
        self.index.flush(self.collection, force=True)

    def rebuild(self) -> None:
        self.index.rebuild(self.collection)

    def search(self) -> None:
        collection = self.collection
        self.index.search(collection, vector(collection.fingerprint.embedder, "anything"), 10)

    def embed_anew(self) -> None:
        """Every step of a re-embedding in its order; a process that comes after goes on where this one is killed."""
        collection = self.collection
        embedder = EMBEDDERS[collection.fingerprint.embedder == EMBEDDERS[0]]
        self.say(intent="embed", embedder=embedder)
        embedding_sets.delete_dropped(self.database, collection)
        target = embedding_sets.begin(self.database, collection, embedder, DIMENSION)
        inputs = self.store.embedding_inputs(collection, lacking=target)
        while batch := list(islice(inputs, 100)):
            values = encode(vectors(embedder, [item.text for item in batch]))
            embedding_sets.add(self.database, target, [item.chunk_id for item in batch], values, too_long=0)
        indexes = self.home / "indexes"
        reembedding.remove_unfinished(indexes, collection)
        seen = reembedding.complete_at(self.database, collection, target)
        index = reembedding.build_index(self.database, indexes, collection, target)
        if index is None or seen is None:
            raise AssertionError("nobody else writes")
        reembedding.swap(self.database, indexes, collection, target, index, seen=seen)
        self.say(done=True)


def write_until_killed(home: str, log: str, seed: int) -> None:
    """The process's whole life."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        Writer(Path(home), descriptor, seed).run()
    except BaseException as error:
        os.write(descriptor, json.dumps({"failed": repr(error)}).encode() + b"\n")
        raise
