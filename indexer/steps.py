"""The steps that an ingestion goes in: where it waits for vectors, and where others can be looked after."""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from indexer.embeddings import Embedded
    from rag.protocols import Embedder

_Result = TypeVar("_Result")


class Passages(NamedTuple):
    """Texts that an ingestion is to be given the vectors of; ``last``: it has read all of its source."""

    texts: list[str]
    embedder: Embedder
    last: bool


class Address(NamedTuple):
    """An ingestion looks up next what is stored at this address; until then others that write there should be done."""

    uri: str


class Pause(Enum):
    """Where others may go on, but for what the values say."""

    READING = "in the middle of its source: nobody else may begin to read one"
    AGAIN = "about to read its source once more"


Step = Passages | Address | Pause
# Only passages are answered with something.
Steps = Generator[Step, "Embedded | None", _Result]


def embedded(texts: list[str], embedder: Embedder, *, last: bool) -> Steps[Embedded]:
    """The vectors of texts, from whoever goes through the steps."""
    answer = yield Passages(texts, embedder, last)
    if answer is None:
        raise TypeError("passages are answered with their vectors")
    return answer
