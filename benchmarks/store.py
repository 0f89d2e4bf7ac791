"""A store of many passages: what search costs beside its index, when others see a document, and how soon it starts.

The store is filled through the code that ingestion uses, with windows of real documents, no two of which say the same,
and real-shaped vectors; the vector of a question is given, so embedding it is in no figure. The index is searched at
the depth of hybrid retrieval.

    python -m benchmarks.store [EMBEDDER] [--data DIR] [--passages N] [--json FILE]
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import embeddings
from benchmarks.options import Options, Size
from benchmarks.report import Report
from benchmarks.store_steps import NAME, NEW, add, library_in
from rag.embedding.bi_encoder import BiEncoder
from rag.types import Fingerprint

if TYPE_CHECKING:
    import argparse


_CACHE = Path("build/benchmarks")
_CHUNKS_PER_DOCUMENT = 50


def main() -> None:
    parser = Options("store", __doc__, kind="embedder")
    parser.add_argument("--data", type=Path, metavar="DIR", help="an evaluation folder, or one with such folders")
    parser.size("--passages", Size(full=100_000, quick=2000), "passages in the store")
    parser.size("--texts", Size(full=40_000, quick=2000), "different ones, which are embedded")
    parser.size("--questions", Size(full=300, quick=30), "real questions to search with")
    options = parser.read()
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
    with library_in(options.work) as library:
        fingerprint = Fingerprint(parser=NAME, chunker=NAME, embedder=NAME, dimension=int(vectors.shape[1]))
        collection = library.store.ensure_collection(NAME, fingerprint)
        uses: Counter[int] = Counter()
        for start in range(0, options.passages, _CHUNKS_PER_DOCUMENT):
            rows = vectors[start : start + _CHUNKS_PER_DOCUMENT]
            chosen = []
            for row in generator.integers(0, len(texts), len(rows)):
                chosen.append(_varied(texts[row], uses[row]))
                uses[row] += 1
            add(library, collection, f"/documents/{start}", chosen, np.asarray(rows))
        filled = time.monotonic() - began
        library.vectors.flush(collection, force=True)
        size = library.database.size_bytes()
    return {"fill_s": filled, "index_s": time.monotonic() - began - filled, "database_mib": size / 2**20}


def _varied(text: str, use: int) -> str:
    """The text as it is the first time; later with a word in each of its sentences, for copies are shown once."""
    return re.sub(r"((?:\S+\s+){4})", rf"\1again{use} ", text) if use else text


def _step(options: argparse.Namespace, step: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.store_steps", step, str(options.work)]
    # Installed modules are compiled; those of a checkout would otherwise be at each start, where that is not kept.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)  # noqa: S603  # itself


def _started(options: argparse.Namespace) -> float:
    began = time.monotonic()
    return float(json.loads(_step(options, "start").communicate()[0])["ready"]) - began


def _seen(options: argparse.Namespace) -> list[float]:
    """From a document's acknowledgement to the end of the first search of another process that finds it, in seconds."""
    vectors = np.random.default_rng(options.seed).standard_normal((NEW, _dimension(options)))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    np.save(options.work / "new.npy", vectors)
    waiting = _step(options, "wait")
    assert waiting.stdin is not None  # noqa: S101  # both are pipes
    assert waiting.stdout is not None  # noqa: S101
    latencies = []
    with library_in(options.work) as library:
        collection = library.store.collection(NAME)
        for number in range(NEW):
            waiting.stdout.readline()  # it searches, and has not found it
            committed = add(library, collection, f"/new/{number}", ["a new text"], vectors[number : number + 1])
            latencies.append(float(waiting.stdout.readline()) - committed)
    waiting.communicate()
    return latencies


def _dimension(options: argparse.Namespace) -> int:
    return int(np.load(options.work / "queries.npy", mmap_mode="r").shape[1])


if __name__ == "__main__":
    main()
