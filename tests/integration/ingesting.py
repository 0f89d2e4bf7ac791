"""A library over a temporary directory with the fake embedder, for tests of ingestion."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.parsers.registry import PARSERS
from indexer.parsing.isolation import IsolatedParsers
from indexer.pipeline import IngestPipeline
from indexer.report import Watcher
from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.stores.documents import SqlDocumentStore
from rag.stores.sqlite.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from indexer.report import IngestReport, SourceResult
    from rag.types import Chunk, Document


@dataclass(kw_only=True)
class Ingesting:
    store: SqlDocumentStore
    embedder: HashingEmbedder
    parsers: IsolatedParsers
    max_file_bytes: int = 1 << 30
    max_members: int = 10_000

    def ingest(self, *paths: Path, collection: str = "default", watcher: Watcher | None = None) -> IngestReport:
        pipeline = IngestPipeline(
            store=self.store,
            embedder_for=lambda _collection: self.embedder,
            parsers=self.parsers,
            max_file_bytes=self.max_file_bytes,
            max_members=self.max_members,
        )
        return pipeline.ingest(paths, collection=collection, watcher=watcher)

    def documents(self, collection: str = "default") -> list[Document]:
        return self.store.documents(self.store.collection(collection), limit=10_000)

    def chunks(self, collection: str = "default") -> list[tuple[Chunk, Document]]:
        target = self.store.collection(collection)
        return self.store.hydrate(target, [item.chunk_id for item in self.store.embedding_inputs(target)])


class StopsAfter(Watcher):
    """Asks to stop when so many sources are done with."""

    def __init__(self, finished: int) -> None:
        self.left = finished

    def finished(self, _result: SourceResult) -> None:
        self.left -= 1

    def stop(self) -> bool:
        return self.left <= 0


@contextmanager
def ingesting(
    home: Path,
    *,
    parsers: Mapping[str, str] = PARSERS,
    embedder: HashingEmbedder | None = None,
    timeout_s: float = 60,
    memory_bytes: int = 2 << 30,
) -> Iterator[Ingesting]:
    database = Database.open(Settings(home=home, _env_file=None))
    try:
        with IsolatedParsers(timeout_s=timeout_s, memory_bytes=memory_bytes, parsers=parsers) as running:
            yield Ingesting(store=SqlDocumentStore(database), embedder=embedder or HashingEmbedder(), parsers=running)
    finally:
        database.close()
