"""Sources that are read and wait to be embedded together: many short texts at once take less time than one by one."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from indexer.embeddings import Embedded, embed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


class EmbeddingGroup:
    """Takes sources in and tells their results in the order in which they came.

    Each source's ``seconds`` are those that were spent on it.
    """

    def __init__(self, store: DocumentStore, tell: Callable[[SourceResult], None]) -> None:
        self._store = store
        self._tell = tell
        self._entries: deque[_Entry] = deque()  # those not told yet
        self._waiting: dict[str, tuple[_Entry, Passages]] = {}

    def take(self, uri: str, steps: Steps[SourceResult]) -> None:
        """Go on with a source until it is done with or only waits for vectors; what ``steps`` raises is raised."""
        if uri in self._waiting:  # it may hold what it did when it was read before
            self.settle()
        entry = _Entry(uri=uri, steps=steps, since=time.monotonic())
        self._advance(entry, None)
        self._entries.append(entry)
        if self._is_due():
            self.settle()
        self._tell_first()

    def settle(self) -> None:
        """Embed what waits, and end each of these sources."""
        while self._waiting:
            waiting = list(self._waiting.values())
            embedder = waiting[0][1].embedder  # another, if the collection was embedded anew meanwhile
            together = [each for each in waiting if each[1].embedder is embedder]
            for (entry, _), vectors in zip(together, self._embedded(together, embedder), strict=True):
                del self._waiting[entry.uri]
                self._advance(entry, vectors)
                self._tell_first()

    def close(self) -> None:
        """Leave what waits as if it had not been read."""
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
                passages = entry.steps.send(embed(passages.texts, store=self._store, embedder=passages.embedder))
            self._waiting[entry.uri] = (entry, passages)
        except StopIteration as ended:
            entry.result = ended.value
        finally:
            entry.seconds += time.monotonic() - started

    def _embedded(self, waiting: Sequence[tuple[_Entry, Passages]], embedder: Embedder) -> list[Embedded]:
        """The vectors of each entry's passages."""
        started = time.monotonic()
        texts = [text for _, passages in waiting for text in passages.texts]
        vectors, digests = embed(texts, store=self._store, embedder=embedder)
        a_text = (time.monotonic() - started) / len(texts)
        found, start = [], 0
        for entry, passages in waiting:
            end = start + len(passages.texts)
            found.append(Embedded(vectors[start:end], digests[start:end]))
            entry.seconds += a_text * len(passages.texts)
            start = end
        return found
