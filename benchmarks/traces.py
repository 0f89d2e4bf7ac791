"""Traces: what a retriever hands on, question after question, when a given share of it was retrieved before."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.workloads import Request
from rag.catalog import Catalog
from rag.config import load_settings
from rag.embedding.bi_encoder import BiEncoder
from rag.embedding.context import contextual_text
from rag.errors import RagError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.workloads import Library
    from rag.protocols import Embedder
    from rag.types import Passage

_CANDIDATES = 16  # questions that might be asked next: enough to find one near the share, few enough to be by chance


def load_embedder() -> Embedder:
    """The settings' embedder, as the product loads it; its network only with the first text.

    Raises:
        SystemExit: it is not installed, or cannot be read.
    """
    settings = load_settings()
    try:
        model = Catalog.load(settings).resolve(settings.embedder, kind="embedder")
        return BiEncoder(model.path, name=model.name, sha256=model.sha256, threads=settings.threads)
    except RagError as error:
        raise SystemExit(f"{error} {error.hint or ''}") from error


def retrieved_trace(
    library: Library, embedder: Embedder, *, requests: int, passages: int, repeat_share: float, seed: int
) -> list[Request]:
    """Questions with the passages most similar to them, most similar first.

    Which question comes next: of 16 drawn by chance from those not yet asked, the one whose passages bring the share
    retrieved before (of all requests but the first) nearest to ``repeat_share``, among equals the one drawn first.
    Nothing else is looked at: neither which of its passages repeat, nor with which others or in what order. A library
    with few passages for its questions gives a larger share than was asked for, as all of them come up in the end.

    Raises:
        SystemExit: the library has too few passages or questions.
    """
    if len(library.passages) < passages or len(library.questions) < requests:
        raise SystemExit(
            f"{library.source} has too few passages or questions for {requests} requests of {passages}: it has "
            f"{len(library.passages)} and {len(library.questions)}"
        )
    vectors = embedder.embed_passages([_embedded_text(passage) for passage in library.passages])

    @cache
    def found(question: int) -> tuple[int, ...]:
        return _nearest(vectors, embedder.embed_query(library.questions[question]), passages)

    chance = random.Random(f"retrieved trace {seed}")  # noqa: S311 - not for secrets
    unasked = list(range(len(library.questions)))
    retrieved: set[int] = set()
    made: list[Request] = []
    repeated = 0
    while len(made) < requests:
        candidates = chance.sample(unasked, min(_CANDIDATES, len(unasked))) if made else [chance.choice(unasked)]
        # The same number of passages whatever is chosen: the nearest count is the nearest share.
        wanted = repeat_share * passages * len(made) - repeated
        seen = {question: len(retrieved.intersection(found(question))) for question in candidates}
        chosen = min(candidates, key=lambda question: abs(seen[question] - wanted))
        unasked.remove(chosen)
        ranking = tuple(library.passages[i] for i in found(chosen))
        made.append(Request(question=library.questions[chosen], passages=ranking, seen=seen[chosen]))
        repeated += seen[chosen]
        retrieved.update(found(chosen))
    return made


def independent_trace(
    library: Library, *, requests: int, passages: int, repeat_share: float, seed: int
) -> list[Request]:
    """Requests of which, from the second on, ``repeat_share`` of the passages were retrieved before.

    Which ones come up again is drawn by how often they did already, so that popularity follows a power law (Simon, On
    a class of skew distribution functions, Biometrika 42, 1955), and each by itself: what was retrieved together comes
    up together again by chance only. The rest are new. Ranking puts them in any order.

    Raises:
        SystemExit: the library has too few passages.
    """
    chance = random.Random(f"trace {seed}")  # noqa: S311 - not for secrets
    unused = list(library.passages)
    chance.shuffle(unused)
    drawn: list[Passage] = []  # once for every time it was retrieved
    made, owed = [], 0.0
    for number in range(requests):
        owed += repeat_share * passages if drawn else 0.0
        known: list[Passage] = []
        while len(known) < round(owed):
            candidate = chance.choice(drawn)
            if candidate not in known:
                known.append(candidate)
        owed -= len(known)
        new = [unused.pop() for _ in range(passages - len(known)) if unused]
        if len(new) + len(known) < passages:
            raise SystemExit(f"{library.source} has too few passages for {requests} requests of {passages}")
        chosen = known + new
        chance.shuffle(chosen)
        drawn += chosen
        question = library.questions[number % len(library.questions)]
        made.append(Request(question=question, passages=tuple(chosen), seen=len(known)))
    return made


def repeated_share(requests: Sequence[Request]) -> float:
    """Of the passages of all requests but the first, how many had come up before."""
    later = requests[1:]
    return sum(request.seen for request in later) / sum(len(request.passages) for request in later)


def _embedded_text(passage: Passage) -> str:
    return contextual_text(passage.document.title, passage.chunk.heading_path, passage.chunk.text)


def _nearest(vectors: NDArray[np.float32], query: NDArray[np.float32], number: int) -> tuple[int, ...]:
    """Rows with the highest cosine, highest first, among equals the first: vectors are of unit length."""
    return tuple(int(i) for i in np.argsort(-(vectors @ query), kind="stable")[:number])
