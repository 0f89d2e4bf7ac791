"""Sources that are read and wait to be embedded together: many short texts at once take less time than one by one.

One group is embedded while the next one is read and the one before is stored; none waits for the end of a long source.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeVar

from indexer.embeddings import Embedded, Texts
from indexer.mishaps import is_mishap
from indexer.steps import Activated, Address, Part, Passages, Pause, Ready, Soon, Stopped, Stopwatch, Waiting
from rag.errors import RagError, StorageError
from rag.priority import BEHIND, give_way
from rag.stores.checksums import RowDamaged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from indexer.report import SourceResult
    from indexer.steps import Answer, Step, Steps
    from rag.protocols import DocumentStore, Embedder
    from rag.types import Collection, Document

_Thing = TypeVar("_Thing")
_Done = TypeVar("_Done")

# Passages that keep the processor busy while a group is stored, as few as are worth beginning with where nothing is
# being embedded, and open files.
_ENOUGH_PASSAGES: Final = 128
_SOME_PASSAGES: Final = 32
_MOST_SOURCES: Final = 64
# A document is not searchable while it waits.
_LONGEST_WAIT_S: Final = 1.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Entry:
    """A source under way, or a part ``within`` it, until it has a ``result``.

    ``uris`` are where the whole source was looked for and where it is. ``begun``: some of it is embedded, or being
    embedded. ``parts`` are under way; it waits for them if it is ``joining``, and ``incomplete`` if one was dropped.
    """

    uris: set[str]
    steps: Steps[SourceResult] | Steps[SourceResult | None]
    since: float
    within: _Entry | None = None
    begun: bool = False
    parts: int = 0
    joining: bool = False
    incomplete: bool = False
    result: SourceResult | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)

    def begin(self) -> None:
        self.begun = True
        if self.within is not None:
            self.within.begin()


@dataclass(slots=True, kw_only=True)
class _Batch:
    """What is being embedded."""

    waiting: Sequence[tuple[_Entry, Passages]]
    vectors: Future[Embedded]


class _Thread:
    """Embeds one thing after the other beside everything else. What comes last is known before it is stored."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="embedding", initializer=give_way, initargs=(BEHIND,)
        )
        self._expected: Embedder | None = None
        self._embedder: Embedder | None = None
        self._last: dict[bytes, NDArray[np.float32]] = {}

    def expect(self, embedder: Embedder) -> None:
        """Load it, if it is not yet. Where that fails, so does embedding with it, which says so."""
        if embedder is not self._expected:
            self._expected = embedder
            self._executor.submit(embedder.load)

    def embed(self, texts: Texts) -> Future[Embedded]:
        return self._executor.submit(self._embed, texts)

    def close(self, *, at_once: bool) -> None:
        """Let nothing more begin, and what is under way end; ``at_once``: do not wait for that."""
        self._executor.shutdown(wait=not at_once, cancel_futures=True)

    def _embed(self, texts: Texts) -> Embedded:
        if texts.embedder is not self._embedder:
            self._embedder, self._last = texts.embedder, {}
        found = texts.embed(self._last)
        self._last = dict(zip(found.digests, found.vectors, strict=True))
        return found


class EmbeddingGroup:
    """Takes sources in and tells their results in the order in which they came; stored they may be in another.

    Once ``stop`` says so, those of which nothing is embedded nor being embedded are ``dropped``: left as if they had
    not been read. It is asked wherever a source comes to wait, and before anything is embedded. So is what is left when
    the group is, which waits for what is being embedded unless an interruption ended it.

    The parts of a source wait as sources do and are told before it. A source is dropped with any of its parts, which
    takes back none of the others.

    What the steps of any of them raise is raised by ``take`` and ``settle``. Each source's ``seconds`` are those that
    were spent on it and its parts.
    """

    def __init__(self, store: DocumentStore, tell: Callable[[SourceResult], None], *, stop: Callable[[], bool]) -> None:
        self.dropped = 0
        self._store = store
        self._tell = tell
        self._stop = stop
        self._entries: deque[_Entry] = deque()  # those not told yet
        self._waiting: list[tuple[_Entry, Passages]] = []
        self._again: deque[_Entry] = deque()  # those that are to be read once more when nobody else is being read
        self._ready: list[tuple[_Entry, Ready]] = []  # those that are to become documents together
        self._batch: _Batch | None = None
        self._thread = _Thread()

    def take(self, uri: str, steps: Steps[SourceResult]) -> None:
        """Go on with a source until it is done with or only waits for vectors."""
        entry = _Entry(uris=set(), steps=steps, since=time.monotonic())
        self._hold(entry, uri)
        self._entries.append(entry)
        self._advance(entry, None)
        self._read_again()
        self._go_on()

    def settle(self) -> None:
        """Embed what waits, and end each of these sources, or drop them."""
        while self._ready or self._again or self._waiting or self._batch is not None:
            self._activate()
            self._read_again()
            self._embed_what_waits()
        self._tell_first()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.close(at_once=isinstance(error, KeyboardInterrupt))
        while self._entries:
            self._entries.popleft().steps.close()

    def _is_due(self) -> bool:
        if not self._waiting:
            return False
        first, _ = self._waiting[0]
        idle = self._batch is None or self._batch.vectors.done()
        enough = _SOME_PASSAGES if idle else _ENOUGH_PASSAGES
        return (
            len(self._waiting) >= _MOST_SOURCES
            or sum(len(passages.texts) for _, passages in self._waiting) >= enough
            or time.monotonic() - first.since >= _LONGEST_WAIT_S
        )

    def _tell_first(self) -> None:
        while self._entries and (result := self._entries[0].result) is not None:
            self._tell(replace(result, seconds=self._entries.popleft().watch.seconds))

    def _hold(self, entry: _Entry, uri: str) -> None:
        """See to it that no other source is under way at this address: it may hold what it did when that was read."""
        if any(uri in each.uris and each.result is None and each is not entry for each in self._entries):
            self.settle()
        entry.uris.add(uri)

    def _go_on(self) -> None:
        """Begin to embed what is due, or end what is embedded."""
        self._activate()
        if self._is_due():
            self._embed_what_waits()
        elif self._batch is not None and self._batch.vectors.done():
            self._end(self._batch)
        self._tell_first()

    def _look_after_others(self) -> None:
        """Go on with what does not hold up the source that is being read."""
        if self._batch is None or self._batch.vectors.done():
            self._go_on()

    def _read_again(self) -> None:
        while self._again:
            self._advance(self._again.popleft(), None)

    def _advance(self, entry: _Entry, answer: Answer) -> None:
        """Go on with a source as far as it goes."""
        while (step := self._next_step(entry, answer)) is not None:
            answer = None
            if step is Pause.AGAIN:
                entry.begun = False
            if entry.incomplete or (not entry.begun and self._stop()):
                self._drop(entry)
                return
            if self._waits(entry, step):
                return
            if isinstance(step, Passages | Waiting):
                answer = self._vectors(entry, step)
            elif isinstance(step, Address):
                self._hold(entry, step.uri)
            elif isinstance(step, Soon):
                self._thread.expect(step.embedder)
            elif isinstance(step, Part):
                self._take_part(entry, step)
            elif step is Pause.READING:
                self._look_after_others()

    def _waits(self, entry: _Entry, step: Step) -> bool:
        """Whether it goes on another time."""
        if isinstance(step, Ready):
            self._ready.append((entry, step))
        elif isinstance(step, Passages) and step.last:
            self._waiting.append((entry, step))
        elif step is Pause.AGAIN:
            self._again.append(entry)
        elif step is Pause.PARTS and entry.parts:
            entry.joining = True
        else:
            return False
        return True

    def _take_part(self, whole: _Entry, part: Part) -> None:
        entry = _Entry(uris=whole.uris, steps=part.steps, since=time.monotonic(), within=whole)
        self._entries.insert(self._entries.index(whole), entry)
        whole.parts += 1
        self._advance(entry, None)
        self._go_on()

    def _vectors(self, entry: _Entry, step: Passages | Waiting) -> Embedded | Future[Embedded]:
        if isinstance(step, Waiting):
            return step.vectors.result()
        entry.begin()
        return self._thread.embed(Texts(step.texts, store=self._store, embedder=step.embedder))

    def _next_step(self, entry: _Entry, answer: Answer) -> Step | None:
        """None: it has come to its result, or is dropped."""
        try:
            return entry.watch.next_step(entry.steps, answer)
        except StopIteration as ended:
            entry.result = ended.value
            if entry.result is None:
                self._entries.remove(entry)
            self._leave(entry)
            return None
        except Stopped:
            self._drop(entry)
            return None

    def _embed_what_waits(self) -> None:
        """Begin to embed what waits, and meanwhile end what was embedded before."""
        before, texts = self._batch, self._texts()
        if before is not None:
            wait((before.vectors,))  # handed over before that, more would be embedded after it is asked to stop
        if texts is not None and self._stop():
            for entry, _ in self._waiting:
                if not entry.begun:
                    self._drop(entry)
            texts = self._texts()
        self._batch = None if texts is None else self._begin(texts)
        if before is not None:
            self._end(before)

    def _texts(self) -> Texts | None:
        """Those of all that wait for the same embedder, and with them what is stored already."""
        if not self._waiting:
            return None
        embedder = self._waiting[0][1].embedder  # another, if the collection was embedded anew meanwhile
        texts = [text for _, passages in self._waiting if passages.embedder is embedder for text in passages.texts]
        return Texts(texts, store=self._store, embedder=embedder)

    def _begin(self, texts: Texts) -> _Batch:
        together = [each for each in self._waiting if each[1].embedder is texts.embedder]
        self._waiting = [each for each in self._waiting if each[1].embedder is not texts.embedder]
        for entry, _ in together:
            entry.begin()
        return _Batch(waiting=together, vectors=self._thread.embed(texts))

    def _drop(self, entry: _Entry) -> None:
        entry.steps.close()
        self._waiting = [each for each in self._waiting if each[0] is not entry]
        self._entries.remove(entry)
        if entry.within is None:
            self.dropped += 1
        else:
            entry.within.incomplete = True
        self._leave(entry)
        self._tell_first()

    def _leave(self, entry: _Entry) -> None:
        """Go on with the whole if it waits for this part, the last one."""
        whole = entry.within
        if whole is None:
            return
        whole.parts -= 1
        whole.watch.seconds += entry.watch.seconds
        if whole.joining and not whole.parts:
            whole.joining = False
            if whole.incomplete:
                self._drop(whole)
            else:
                self._advance(whole, None)

    def _end(self, batch: _Batch) -> None:
        """Give each source of the batch its vectors."""
        if batch is self._batch:
            self._batch = None
        vectors, digests, seconds = batch.vectors.result()
        start = 0
        for entry, passages in batch.waiting:
            end = start + len(passages.texts)
            share = seconds * len(passages.texts) / len(digests)
            self._advance(entry, Embedded(vectors[start:end], digests[start:end], share))
            start = end
        self._activate()
        self._tell_first()

    def _activate(self) -> None:
        """Make documents of what is ready, of all at once: each by itself takes twice as long."""
        ready, self._ready = self._ready, []
        started = time.monotonic()
        answers = self._activated([each for _, each in ready])
        share = (time.monotonic() - started) / max(1, len(ready))
        for (entry, _), answer in zip(ready, answers, strict=True):
            entry.watch.seconds += share
            self._advance(entry, answer)

    def _activated(self, ready: Sequence[Ready]) -> Sequence[Activated | BaseException]:
        found = _of_each(ready, self._stored)
        documents = [each for each in found if not isinstance(each, BaseException)]
        counted = iter(_of_each(documents, partial(self._counted, ready[0].collection)) if ready else ())
        return [each if isinstance(each, BaseException) else next(counted) for each in found]

    def _stored(self, ready: Sequence[Ready]) -> list[Document]:
        return self._store.activate([each.version for each in ready])

    def _counted(self, collection: Collection, documents: Sequence[Document]) -> list[Activated]:
        qualities = self._store.qualities(collection, [each.id for each in documents], as_they_came=True)
        return [Activated(*each) for each in zip(documents, qualities, strict=True)]


def _of_each(
    things: Sequence[_Thing], do: Callable[[Sequence[_Thing]], Sequence[_Done]]
) -> Sequence[_Done | BaseException]:
    """What comes of them together; or where an error may be one's alone, of each by itself."""
    if not things:
        return ()
    try:
        return do(things)
    except BaseException as error:
        if not (isinstance(error, RagError) or is_mishap(error)):
            raise
        if len(things) == 1:
            return (error,)
        if isinstance(error, StorageError) and not isinstance(error, RowDamaged):
            raise  # it is said of all, and each of them would wait as long for a database that is busy
    return [done for each in things for done in _of_each([each], do)]
