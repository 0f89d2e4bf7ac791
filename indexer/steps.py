"""The steps that an ingestion goes in: where it waits for vectors, and where others can be looked after."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import Future
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from indexer.embeddings import Embedded

if TYPE_CHECKING:
    from indexer.report import SourceResult
    from rag.protocols import Embedder, StagedVersion
    from rag.quality_types import Quality
    from rag.types import Collection, Document

_Result = TypeVar("_Result")


class Stopped(Exception):
    """An ingestion was asked to stop between two members, or while a page came; it is read again another time."""


class Passages(NamedTuple):
    """Texts that an ingestion is to be given the vectors of; ``last``: it has read all of its source.

    Otherwise the answer is a promise of them, and the ingestion goes on reading.
    """

    texts: list[str]
    embedder: Embedder
    last: bool


class Waiting(NamedTuple):
    """An ingestion goes on with these vectors, when they are there."""

    vectors: Future[Embedded]


class Address(NamedTuple):
    """An ingestion looks up next what is stored at this address; until then others that write there should be done."""

    uri: str


class Soon(NamedTuple):
    """An ingestion is about to read what the embedder will be asked for, unless nothing comes of it."""

    embedder: Embedder


class Ready(NamedTuple):
    """A version that is whole, to be made the active one of its collection when others are, too."""

    version: StagedVersion
    collection: Collection


class Part(NamedTuple):
    """Something that an ingestion holds: it is read, then goes on beside it. It has a result if it is to be told."""

    steps: Steps[SourceResult | None]


class Activated(NamedTuple):
    """What became of it: a document, of this quality beside what was there before."""

    document: Document
    quality: Quality


class Pause(Enum):
    """Where others may go on, but for what the values say."""

    READING = "in the middle of its source: nobody else may begin to read one"
    AGAIN = "about to read its source once more"
    PARTS = "until all of its parts are done with"


Step = Passages | Waiting | Address | Soon | Part | Ready | Pause
Answer: TypeAlias = "Embedded | Future[Embedded] | Activated | BaseException | None"
# Passages, the waiting for their vectors, and versions that are ready are answered with something.
Steps = Generator[Step, Answer, _Result]


def embedded(texts: list[str], embedder: Embedder) -> Steps[Embedded]:
    """The vectors of a source's last texts, from whoever goes through the steps."""
    answer = yield Passages(texts, embedder, last=True)
    if not isinstance(answer, Embedded):
        raise TypeError("the last passages are answered with their vectors")
    return answer


def begun(texts: list[str], embedder: Embedder) -> Steps[Future[Embedded]]:
    """The vectors of texts that are not a source's last, as soon as they are there."""
    answer = yield Passages(texts, embedder, last=False)
    if not isinstance(answer, Future):
        raise TypeError("passages are answered with what their vectors will be in")
    return answer


def arrived(vectors: Future[Embedded]) -> Steps[Embedded]:
    """What ``begun`` has promised."""
    answer = yield Waiting(vectors)
    if not isinstance(answer, Embedded):
        raise TypeError("the waiting for vectors is answered with them")
    return answer


def activated(version: StagedVersion, collection: Collection) -> Steps[Activated]:
    """The document of a version that is whole. Raises as ``StagedVersion.activate`` and ``DocumentStore.qualities``."""
    answer = yield Ready(version, collection)
    if isinstance(answer, BaseException):
        raise answer
    if not isinstance(answer, Activated):
        raise TypeError("a version that is ready is answered with what became of it")
    return answer


class Stopwatch:
    """Goes through steps, and counts the ``seconds`` that are spent on them: not those in which others go on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def next_step(self, steps: Steps[_Result], answer: Answer) -> Step:
        """Raises StopIteration with the result, and what the steps raise."""
        if isinstance(answer, Embedded):
            self.seconds += answer.seconds
        started = time.monotonic()
        try:
            return steps.send(answer)
        finally:
            self.seconds += time.monotonic() - started
