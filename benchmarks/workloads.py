"""Prompts to measure with: text nobody has read before, users, and retrieved passages."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag.evaluation.dataset import load_dataset
from rag.generation.prompts import answer_prompt
from rag.model_types import Prompt, Segment, SegmentKind
from rag.types import Chunk, Document, Passage, Scores, Span

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_PLACES = "Harlow Minster Oakby Selwick Torrane Valmere Wexcombe Brantley Corfield Dunmoor Eastholm Fenwick".split()
_THINGS = "bridge lighthouse granary tramway observatory quarry harbour weir foundry library mill aqueduct".split()
_DEEDS = "rebuilt surveyed sold flooded painted leased extended mapped closed reopened insured photographed".split()
_PEOPLE = (
    "a surveyor",
    "two masons",
    "the county clerk",
    "a retired pilot",
    "the ferry company",
    "an order of nuns",
    "a glazier",
)
_PASSAGE_TOKENS = (100, 220)  # what counts as "about 150"


class Writer:
    """Writes text about invented places. The same seed writes the same, another one has hardly a phrase in common."""

    def __init__(self, count_tokens: Callable[[str], int], seed: int | str) -> None:
        self._count = count_tokens
        self._random = random.Random(str(seed))  # noqa: S311 - not for secrets

    def name(self) -> str:
        """A title such as passages have."""
        pick = self._random.choice
        return f"The {pick(_THINGS)} of {pick(_PLACES)}, {self._random.randint(1700, 1999)}"

    def text(self, tokens: int) -> str:
        """At least ``tokens`` tokens, at most a sentence more."""
        sentences: list[str] = []
        while self._count(" ".join(sentences)) < tokens:
            sentences.append(self._sentence())
        return " ".join(sentences)

    def word(self) -> str:
        return "".join(self._random.choice(part) for part in ("bdfgklmnprstvz", "aeiou", "lmnrst", "aeiou"))

    def _sentence(self) -> str:
        pick, number = self._random.choice, self._random.randint
        what, who, deed = f"the {pick(_THINGS)} of {pick(_PLACES)}", pick(_PEOPLE), pick(_DEEDS)
        return pick(
            (
                f"In {number(1700, 1999)} {what} was {deed} by {who}.",
                f"{who.capitalize()} {deed} {what} for {number(11, 99)} pounds and {number(2, 19)} pence.",
                f"Near {pick(_PLACES)}, {number(3, 80)} miles from {what}, a {self.word()} {pick(_THINGS)} was {deed}.",
                f"Of {number(100, 999)} letters about {what}, {number(2, 90)} name {who}.",
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Passages of about 150 tokens and questions to ask about them."""

    source: str
    passages: tuple[Passage, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a retriever would hand on: passages in the order of their ranking. ``seen`` of them came up before."""

    question: str
    passages: tuple[Passage, ...]
    seen: int


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Ask for real passages."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="an evaluation folder (docs/evaluation.md) whose corpus and queries are used; invented ones without it",
    )


def library(data: Path | None, count_tokens: Callable[[str], int], *, seed: int, invented: int = 160) -> Library:
    """Passages of 100 to 220 tokens of an evaluation folder, or ``invented`` ones of 150."""
    if data is not None:
        dataset = load_dataset(data)
        low, high = _PASSAGE_TOKENS
        entries = [entry for entry in dataset.corpus if low <= count_tokens(entry.text) <= high]
        passages = tuple(_passage(i, entry.title, entry.text) for i, entry in enumerate(entries))
        questions = [query.text for query in dataset.queries]
        random.Random(seed).shuffle(questions)  # noqa: S311 - not for secrets
        return Library(source=data.name, passages=passages, questions=tuple(questions))
    writer = Writer(count_tokens, f"library {seed}")
    passages = tuple(_passage(i, writer.name(), writer.text(140)) for i in range(invented))
    asked = [f"What became of {writer.name().lower()}, and who had it changed?" for _ in range(invented)]
    return Library(source="invented", passages=passages, questions=tuple(asked))


def retrieval_prompt(request: Request) -> Prompt:
    """The product's own prompt."""
    return answer_prompt(request.question, request.passages)


def instructed(prompt: Prompt, instruction: str) -> Prompt:
    """The same passages with another task in the place of the question."""
    *before, question = prompt.segments
    return Prompt(segments=(*before, replace(question, text=instruction)))


def bare_prompt(text: str) -> Prompt:
    """A user's message, nothing before it."""
    return Prompt(segments=(Segment(kind=SegmentKind.QUESTION, text=text),))


def prefixed_prompt(prefix: str, text: str) -> Prompt:
    """Instructions and a user's message."""
    return Prompt(segments=(Segment(kind=SegmentKind.PREFIX, text=prefix), *bare_prompt(text).segments))


def _passage(number: int, title: str, text: str) -> Passage:
    return Passage(
        chunk=Chunk(
            id=number,
            document_id=number,
            ordinal=0,
            text=text,
            span=Span(start=0, end=len(text)),
            page=None,
            heading_path=(),
            token_count=0,
        ),
        document=Document(
            id=number,
            collection="benchmark",
            uri=f"benchmark:{number}",
            title=title,
            media_type="text/plain",
            sha256="",
            size=len(text.encode()),
            chunk_count=1,
            updated_at="2000-01-01T00:00:00Z",
        ),
        scores=Scores(),
    )
