"""A version's chunks on their way into it: some are embedded while the next are read and those before written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from indexer.steps import arrived, begun, embedded
from rag.embedding.context import contextual_text

if TYPE_CHECKING:
    from concurrent.futures import Future

    from indexer.embeddings import Embedded
    from indexer.report import Watcher
    from indexer.steps import Steps
    from rag.protocols import Embedder, StagedVersion
    from rag.types import ChunkDraft

# Chunks embedded and handed to the store at a time: enough for the embedder to sort by length, little to hold. Fewer
# where it has nothing else to do.
_FLUSH_CHUNKS: Final = 256
_SOME_CHUNKS: Final = 64


class _Begun(NamedTuple):
    chunks: list[ChunkDraft]
    vectors: Future[Embedded]


class Filling:
    """Takes a version's chunks in their order. ``title`` is embedded with each of them."""

    def __init__(self, version: StagedVersion, *, title: str, embedder: Embedder, watcher: Watcher) -> None:
        self._version = version
        self._title = title
        self._embedder = embedder
        self._watcher = watcher
        self._batch: list[ChunkDraft] = []
        self._begun: _Begun | None = None
        self.count = 0  # of those that are written

    def add(self, chunk: ChunkDraft) -> Steps[None]:
        self._batch.append(chunk)
        idle = self._begun is None or self._begun.vectors.done()
        if len(self._batch) >= (_SOME_CHUNKS if idle else _FLUSH_CHUNKS):
            yield from self._begin()

    def end(self) -> Steps[None]:
        """Nothing more comes."""
        if self._begun is not None:
            self._write(self._begun.chunks, (yield from arrived(self._begun.vectors)))
        if self._batch:
            self._write(self._batch, (yield from embedded(self._texts(), self._embedder)))

    def _begin(self) -> Steps[None]:
        vectors = yield from begun(self._texts(), self._embedder)
        if self._begun is not None:
            self._write(self._begun.chunks, (yield from arrived(self._begun.vectors)))
        self._begun = _Begun(self._batch, vectors)
        self._batch = []

    def _texts(self) -> list[str]:
        return [contextual_text(self._title, chunk.heading_path, chunk.text) for chunk in self._batch]

    def _write(self, chunks: list[ChunkDraft], found: Embedded) -> None:
        self._version.add_chunks(chunks, found.vectors, digests=found.digests)
        self.count += len(chunks)
        self._watcher.embedded(len(chunks))
