"""Sources that are read and wait to be embedded together: many short texts at once take less time than one by one.

One group is embedded while the next one is read and the one before is stored.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from indexer.embeddings import Embedded, Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from indexer.ingestion import Passages, Steps
    from indexer.report import SourceResult
    from rag.protocols import DocumentStore, Embedder

# Passages that keep the processor busy (docs/lab-log.md), and open files.
_ENOUGH_PASSAGES: Final = 128
_MOST_SOURCES: Final = 64
# A document is not searchable while it waits.
_LONGEST_WAIT_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class _Entry:
    """A source under way, until it has a ``result``."""

    uri: str
    steps: Steps[SourceResult]
    since: float
    result: SourceResult | None = None
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Batch:
    """What is being embedded. ``vectors`` comes with the seconds that it took."""

    waiting: Sequence[tuple[_Entry, Passages]]
    embedder: Embedder
    vectors: Future[tuple[Embedded, float]]

    def known_to(self, embedder: Embedder) -> dict[bytes, NDArray[np.float32]]:
        """The vectors by their digest, if they are this embedder's; waits for them."""
        (vectors, digests), _ = self.vectors.result()
        return dict(zip(digests, vectors, strict=True)) if embedder is self.embedder else {}


class EmbeddingGroup:
    """Takes sources in and tells their results in the order in which they came.

    Each source's ``seconds`` are those that were spent on it.
    """

    def __init__(self, store: DocumentStore, tell: Callable[[SourceResult], None]) -> None:
        self._store = store
        self._tell = tell
        self._entries: deque[_Entry] = deque()  # those not told yet
        self._waiting: dict[str, tuple[_Entry, Passages]] = {}
        self._batch: _Batch | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedding")

    def take(self, uri: str, steps: Steps[SourceResult]) -> None:
        """Go on with a source until it is done with or only waits for vectors; what ``steps`` raises is raised."""
        if any(uri == entry.uri and entry.result is None for entry in self._entries):
            self.settle()  # the source may hold what it did when it was read before
        entry = _Entry(uri=uri, steps=steps, since=time.monotonic())
        self._advance(entry, None)
        self._entries.append(entry)
        if self._is_due():
            self._embed_what_waits()
        elif self._batch is not None and self._batch.vectors.done():
            self._end(self._batch)
        self._tell_first()

    def settle(self) -> None:
        """Embed what waits, and end each of these sources."""
        while self._waiting or self._batch is not None:
            self._embed_what_waits()

    def close(self) -> None:
        """Leave what waits as if it had not been read."""
        self._thread.shutdown(cancel_futures=True)
        while self._entries:
            self._entries.popleft().steps.close()

    def _is_due(self) -> bool:
        if not self._waiting:
            return False
        waiting = self._waiting.values()
        first, _ = next(iter(waiting))
        return (
            len(waiting) >= _MOST_SOURCES
            or sum(len(passages.texts) for _, passages in waiting) >= _ENOUGH_PASSAGES
            or time.monotonic() - first.since >= _LONGEST_WAIT_S
        )

    def _tell_first(self) -> None:
        while self._entries and (result := self._entries[0].result) is not None:
            self._tell(replace(result, seconds=self._entries.popleft().seconds))

    def _advance(self, entry: _Entry, vectors: Embedded | None) -> None:
        started = time.monotonic()
        try:
            # A generator is begun by sending it nothing.
            passages = next(entry.steps) if vectors is None else entry.steps.send(vectors)
            while not passages.last:
                texts = Texts(passages.texts, store=self._store, embedder=passages.embedder)
                passages = entry.steps.send(texts.embed())
            self._waiting[entry.uri] = (entry, passages)
        except StopIteration as ended:
            entry.result = ended.value
        finally:
            entry.seconds += time.monotonic() - started

    def _embed_what_waits(self) -> None:
        """Begin to embed what waits, and meanwhile end what was embedded before."""
        before, self._batch = self._batch, None
        if self._waiting:
            waiting = list(self._waiting.values())
            embedder = waiting[0][1].embedder  # another, if the collection was embedded anew meanwhile
            together = [each for each in waiting if each[1].embedder is embedder]
            texts = [text for _, passages in together for text in passages.texts]
            not_stored = {} if before is None else before.known_to(embedder)
            embedding = Texts(texts, store=self._store, embedder=embedder, also_known=not_stored)
            for entry, _ in together:
                del self._waiting[entry.uri]
            self._batch = _Batch(waiting=together, embedder=embedder, vectors=self._thread.submit(_timed, embedding))
        if before is not None:
            self._end(before)

    def _end(self, batch: _Batch) -> None:
        """Give each source of the batch its vectors."""
        if batch is self._batch:
            self._batch = None
        (vectors, digests), seconds = batch.vectors.result()
        start = 0
        for entry, passages in batch.waiting:
            end = start + len(passages.texts)
            entry.seconds += seconds * len(passages.texts) / len(digests)
            self._advance(entry, Embedded(vectors[start:end], digests[start:end]))
            self._tell_first()
            start = end


def _timed(texts: Texts) -> tuple[Embedded, float]:
    started = time.monotonic()
    return texts.embed(), time.monotonic() - started
