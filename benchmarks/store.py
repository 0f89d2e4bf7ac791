"""A store of many passages: what search costs beside its index, when others see a document, and how soon it starts.

The store is filled through the code that ingestion uses, with windows of real documents, no two of which say the same,
and real-shaped vectors; the vector of a question is given, so embedding it is in no figure. The index is searched at
the depth of hybrid retrieval.

    python -m benchmarks.store [EMBEDDER] [--data DIR] [--passages N] [--json FILE]
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import embeddings
from benchmarks.memory import resident
from benchmarks.options import Options, Size
from benchmarks.report import Report
from rag.config import Settings
from rag.embedding.bi_encoder import BiEncoder
from rag.factory import Library
from rag.pipeline import PipelineOptions, RagPipeline
from rag.retrieval.retriever import Retriever
from rag.source_types import SourceRecord
from rag.stores.database import Database
from rag.types import ChunkDraft, Fingerprint, Span

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from rag.ranking import Ranking
    from rag.types import Collection

_CACHE = Path("build/benchmarks")
_CHUNKS_PER_DOCUMENT = 50
_NAME = "benchmark"
_SEEN = 20  # documents that another process waits for
_EVERYWHERE = "documents"  # a word that every passage stands under


def main() -> None:
    parser = Options("store", __doc__, kind="embedder")
    parser.add_argument("--data", type=Path, metavar="DIR", help="an evaluation folder, or one with such folders")
    parser.add_argument("--step", choices=("search", "wait", "start", "flush"), help="(of the processes it starts)")
    parser.add_argument("--work", type=Path, help="(of the processes it starts) where files lie")
    parser.size("--passages", Size(full=100_000, quick=2000), "passages in the store")
    parser.size("--texts", Size(full=40_000, quick=2000), "different ones, which are embedded")
    parser.size("--questions", Size(full=300, quick=30), "real questions to search with")
    options = parser.read()
    if options.step is not None:
        {"search": _search, "wait": _wait, "start": _start, "flush": _flush}[options.step](options.work)
        return
    report = Report("store", options)
    with tempfile.TemporaryDirectory(prefix="plumbline-store-") as work:
        options.work = Path(work)
        report.add("fill", **_fill(options))
        for _ in range(3):
            report.add("start", ready_s=_started(options))
        report.add("search", **json.loads(_step(options, "search").communicate()[0]))
        for latency in _seen(options):
            report.add("another process", seen_ms=1000 * latency)
        report.add("flush", **json.loads(_step(options, "flush").communicate()[0]))
    report.figure(
        "search() beside embedding and index, median", report.median("search", "overhead_ms"), " ms", at_most=1.5
    )
    report.figure(
        "a commit is found by another process, median", report.median("another process", "seen_ms"), " ms", at_most=50
    )
    report.figure("process start to first result", report.median("start", "ready_s"), " s", at_most=3.0)
    report.finish()


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


def _library(work: Path) -> Library:
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


def _fill(options: argparse.Namespace) -> dict[str, float]:
    model = BiEncoder(options.model.path, name=options.model.name, sha256=options.model.sha256, threads=options.threads)
    folders = list(embeddings.folders_in(options.data)) if options.data else []
    texts, questions = embeddings.texts(folders, passages=options.texts, questions=options.questions, seed=options.seed)
    real, queries = (embeddings.embedded(model, each, _CACHE) for each in (texts, questions))
    vectors = embeddings.multiplied(real, options.passages, options.work / "vectors.npy", seed=options.seed)
    np.save(options.work / "queries.npy", queries)
    (options.work / "questions.json").write_text(json.dumps(questions))
    generator = np.random.default_rng(options.seed)
    began = time.monotonic()
    with _library(options.work) as library:
        fingerprint = Fingerprint(parser=_NAME, chunker=_NAME, embedder=_NAME, dimension=int(vectors.shape[1]))
        collection = library.store.ensure_collection(_NAME, fingerprint)
        uses: Counter[int] = Counter()
        for start in range(0, options.passages, _CHUNKS_PER_DOCUMENT):
            rows = vectors[start : start + _CHUNKS_PER_DOCUMENT]
            chosen = []
            for row in generator.integers(0, len(texts), len(rows)):
                chosen.append(_varied(texts[row], uses[row]))
                uses[row] += 1
            _add(library, collection, f"/documents/{start}", chosen, np.asarray(rows))
        filled = time.monotonic() - began
        library.vectors.flush(collection, force=True)
        size = library.database.size_bytes()
    return {"fill_s": filled, "index_s": time.monotonic() - began - filled, "database_mib": size / 2**20}


def _varied(text: str, use: int) -> str:
    """The text as it is the first time; later with a word in each of its sentences, for copies are shown once."""
    return re.sub(r"((?:\S+\s+){4})", rf"\1again{use} ", text) if use else text


def _add(library: Library, collection: Collection, uri: str, texts: list[str], vectors: NDArray[np.float32]) -> float:
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


def _step(options: argparse.Namespace, step: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.store",
        options.model.name,
        "--step",
        step,
        "--work",
        str(options.work),
    ]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  # itself


def _search(work: Path) -> None:
    questions, queries = json.loads((work / "questions.json").read_text()), np.load(work / "queries.npy")
    rows = []
    with _library(work) as library:
        pipeline, dense, lexical = _pipeline(library, questions, queries)

        async def ask() -> None:
            for question in (*questions[:5], *questions):  # the first are to warm up
                found = await pipeline.search(question, collection=_NAME)
                timings = found.timings
                total, embed = timings.total_ms or 0.0, timings.embed_ms or 0.0
                # The legs run at the same time: the longer one is what is waited for.
                rows.append((total - embed - max(dense.ms, lexical.ms), dense.ms, lexical.ms, total - embed))

        asyncio.run(ask())  # one loop, as a service has: starting one for each search would be measured too
        collection, frequent = library.store.collection(_NAME), []
        for _ in range(11):
            began = time.perf_counter()
            library.lexical.search(collection, _EVERYWHERE, 500)
            frequent.append(1000 * (time.perf_counter() - began))
    overhead, dense_ms, lexical_ms, whole = (float(np.median(column)) for column in zip(*rows[5:], strict=True))
    legs = {"dense_ms": dense_ms, "lexical_ms": lexical_ms, "frequent_word_ms": float(np.median(frequent))}
    print(json.dumps({"overhead_ms": overhead, **legs, "search_ms": whole}))


def _flush(work: Path) -> None:
    """Write a generation after few changes: its lists and codes are kept, but all of its files are written."""
    with _library(work) as library:
        collection = library.store.collection(_NAME)
        library.vectors.search(collection, np.load(work / "queries.npy")[0], 1)
        began = time.monotonic()
        library.vectors.flush(collection, force=True)
        print(json.dumps({"flush_s": time.monotonic() - began, **resident(os.getpid())}))


def _start(work: Path) -> None:
    with _library(work) as library:
        questions = json.loads((work / "questions.json").read_text())
        pipeline, *_ = _pipeline(library, questions, np.load(work / "queries.npy"))
        found = asyncio.run(pipeline.search(questions[0], collection=_NAME))
        print(json.dumps({"ready": time.monotonic(), "found": len(found.passages)}), flush=True)


def _started(options: argparse.Namespace) -> float:
    began = time.monotonic()
    return float(json.loads(_step(options, "start").communicate()[0])["ready"]) - began


def _seen(options: argparse.Namespace) -> list[float]:
    """From a document's acknowledgement to the end of the first search of another process that finds it, in seconds."""
    vectors = np.random.default_rng(options.seed).standard_normal((_SEEN, _dimension(options)))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    np.save(options.work / "new.npy", vectors)
    waiting = _step(options, "wait")
    assert waiting.stdin is not None  # noqa: S101  # both are pipes
    assert waiting.stdout is not None  # noqa: S101
    latencies = []
    with _library(options.work) as library:
        collection = library.store.collection(_NAME)
        for number in range(_SEEN):
            waiting.stdout.readline()  # it searches, and has not found it
            committed = _add(library, collection, f"/new/{number}", ["a new text"], vectors[number : number + 1])
            latencies.append(float(waiting.stdout.readline()) - committed)
    waiting.communicate()
    return latencies


def _wait(work: Path) -> None:
    with _library(work) as library:
        wordless = ["?" * (number + 1) for number in range(_SEEN)]  # or passages with the same words might rank first
        pipeline, *_ = _pipeline(library, wordless, np.load(work / "new.npy"))
        for number in range(_SEEN):
            waits = False
            while True:
                found = asyncio.run(pipeline.search(wordless[number], collection=_NAME))
                if any(passage.document.uri == f"/new/{number}" for passage in found.passages):
                    break
                if not waits:
                    print("waits", flush=True)
                    waits = True
            print(time.monotonic(), flush=True)


def _dimension(options: argparse.Namespace) -> int:
    return int(np.load(options.work / "queries.npy", mmap_mode="r").shape[1])


if __name__ == "__main__":
    main()
