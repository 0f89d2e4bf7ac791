"""The processes that ``benchmarks.store`` measures, which import what a program that searches does, and no more.

Started as ``python -m benchmarks.store_steps search|wait|start|flush DIR``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rag.config import Settings
from rag.factory import Library
from rag.pipeline import PipelineOptions, RagPipeline
from rag.retrieval.retriever import Retriever
from rag.source_types import SourceRecord
from rag.stores.sqlite.database import Database
from rag.types import ChunkDraft, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from rag.ranking import Ranking
    from rag.types import Collection

NAME: Final = "benchmark"
NEW: Final = 20  # documents that another process waits for
_EVERYWHERE: Final = "documents"  # a word that every passage stands under


class _Given:
    """An embedder that knows the vectors of some questions."""

    def __init__(self, questions: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self._vectors: dict[str, NDArray[np.float32]] = dict(zip(map(str.strip, questions), vectors, strict=True))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self._vectors[text]


class _Timed:
    """A leg of the search, and how long it took the last time, in milliseconds."""

    def __init__(self, search: Callable[..., Ranking]) -> None:
        self._search = search
        self.ms = 0.0

    def search(self, *arguments: Any, **named: Any) -> Ranking:  # noqa: ANN401  # handed on
        began = time.perf_counter()
        found = self._search(*arguments, **named)
        self.ms = 1000 * (time.perf_counter() - began)
        return found


def library_in(work: Path) -> Library:
    settings = Settings(home=work / "home", _env_file=None)  # pydantic-settings takes it
    return Library(settings, Database.open(settings))


def _pipeline(
    library: Library, questions: Sequence[str], vectors: NDArray[np.float32]
) -> tuple[RagPipeline, _Timed, _Timed]:
    dense, lexical = _Timed(library.vectors.search), _Timed(library.lexical.search)
    given: Any = _Given(questions, vectors)
    retriever = Retriever(store=library.store, embedder_of=lambda _: given, vectors=dense, lexical=lexical)
    options = PipelineOptions(top_k=6, min_dense_score=0.0, min_answerability=0.0, max_answer_tokens=64)

    def none() -> Any:  # noqa: ANN401
        raise AssertionError("searching needs no generator")

    pipeline = RagPipeline(store=library.store, retriever=lambda: retriever, generator=none, options=options)
    return pipeline, dense, lexical


def add(library: Library, collection: Collection, uri: str, texts: list[str], vectors: NDArray[np.float32]) -> float:
    """Take in a document; returns when it was acknowledged, by the clock that all processes share."""
    source = SourceRecord(
        uri=uri,
        title=uri,
        media_type="text/plain",
        sha256=hashlib.sha256(uri.encode()).hexdigest(),
        size=sum(map(len, texts)),
        mtime_ns=0,
    )
    drafts, offset = [], 0
    with library.store.stage(collection, source) as version:
        for ordinal, text in enumerate(texts):
            version.add_text(offset, f"{text}\n")
            span = Span(start=offset, end=offset + len(text))
            drafts.append(
                ChunkDraft(
                    ordinal=ordinal, text=text, span=span, page=None, heading_path=(), token_count=len(text) // 4
                )
            )
            offset = span.end + 1
        version.add_chunks(drafts, vectors)
        version.activate()
    return time.monotonic()


def _search(work: Path) -> None:
    questions, queries = json.loads((work / "questions.json").read_text()), np.load(work / "queries.npy")
    rows = []
    with library_in(work) as library:
        pipeline, dense, lexical = _pipeline(library, questions, queries)

        async def ask() -> None:
            for question in (*questions[:5], *questions):  # the first are to warm up
                found = await pipeline.search(question, collection=NAME)
                timings = found.timings
                total, embed = timings.total_ms or 0.0, timings.embed_ms or 0.0
                # The legs run at the same time: the longer one is what is waited for.
                rows.append((total - embed - max(dense.ms, lexical.ms), dense.ms, lexical.ms, total - embed))

        asyncio.run(ask())  # one loop, as a service has: starting one for each search would be measured too
        collection, frequent = library.store.collection(NAME), []
        for _ in range(11):
            began = time.perf_counter()
            library.lexical.search(collection, _EVERYWHERE, 500)
            frequent.append(1000 * (time.perf_counter() - began))
    overhead, dense_ms, lexical_ms, whole = (float(np.median(column)) for column in zip(*rows[5:], strict=True))
    legs = {"dense_ms": dense_ms, "lexical_ms": lexical_ms, "frequent_word_ms": float(np.median(frequent))}
    print(json.dumps({"overhead_ms": overhead, **legs, "search_ms": whole}))


def _flush(work: Path) -> None:
    """Write a generation after few changes: its lists and codes are kept, but all of its files are written."""
    from benchmarks.memory import resident  # which loads much that no search does

    with library_in(work) as library:
        collection = library.store.collection(NAME)
        library.vectors.search(collection, np.load(work / "queries.npy")[0], 1)
        began = time.monotonic()
        library.vectors.flush(collection, force=True)
        print(json.dumps({"flush_s": time.monotonic() - began, **resident(os.getpid())}))


def _start(work: Path) -> None:
    with library_in(work) as library:
        questions = json.loads((work / "questions.json").read_text())
        pipeline, *_ = _pipeline(library, questions, np.load(work / "queries.npy"))
        found = asyncio.run(pipeline.search(questions[0], collection=NAME))
        print(json.dumps({"ready": time.monotonic(), "found": len(found.passages)}), flush=True)


def _wait(work: Path) -> None:
    with library_in(work) as library:
        wordless = ["?" * (number + 1) for number in range(NEW)]  # or passages with the same words might rank first
        pipeline, *_ = _pipeline(library, wordless, np.load(work / "new.npy"))
        for number in range(NEW):
            waits = False
            while True:
                found = asyncio.run(pipeline.search(wordless[number], collection=NAME))
                if any(passage.document.uri == f"/new/{number}" for passage in found.passages):
                    break
                if not waits:
                    print("waits", flush=True)
                    waits = True
            print(time.monotonic(), flush=True)


if __name__ == "__main__":
    {"search": _search, "wait": _wait, "start": _start, "flush": _flush}[sys.argv[1]](Path(sys.argv[2]))
