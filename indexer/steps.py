"""The steps that an ingestion goes in: where it waits for vectors, and where others can be looked after."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from indexer.embeddings import Embedded
    from rag.protocols import Embedder

_Result = TypeVar("_Result")


class Stopped(Exception):
    """An ingestion was asked to stop between two members; their container is read again another time."""


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


class Pause(Enum):
    """Where others may go on, but for what the values say."""

    READING = "in the middle of its source: nobody else may begin to read one"
    AGAIN = "about to read its source once more"


Step = Passages | Waiting | Address | Pause
Answer: TypeAlias = "Embedded | Future[Embedded] | None"
# Only passages and the waiting for their vectors are answered with something.
Steps = Generator[Step, Answer, _Result]


def embedded(texts: list[str], embedder: Embedder) -> Steps[Embedded]:
    """The vectors of a source's last texts, from whoever goes through the steps."""
    answer = yield Passages(texts, embedder, last=True)
    if not isinstance(answer, tuple):
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
    if not isinstance(answer, tuple):
        raise TypeError("the waiting for vectors is answered with them")
    return answer


class Stopwatch:
    """Goes through steps, and counts the ``seconds`` that are spent on them: not those in which others go on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def next_step(self, steps: Steps[_Result], answer: Answer) -> Step:
        """Raises StopIteration with the result, and what the steps raise."""
        if isinstance(answer, tuple):
            self.seconds += answer.seconds
        started = time.monotonic()
        try:
            return steps.send(answer)
        finally:
            self.seconds += time.monotonic() - started

    def over(self, steps: Steps[_Result]) -> Steps[_Result]:
        """The same steps."""
        answer: Answer = None
        with closing(steps):
            while True:
                try:
                    step = self.next_step(steps, answer)
                except StopIteration as ended:
                    result: _Result = ended.value
                    return result
                answer = yield step
