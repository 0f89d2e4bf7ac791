"""A million vectors searched on one core: recall, time, memory and build time beside hnswlib and usearch.

Every side builds and then searches in a process of its own. Peers search with the least effort that finds as many of
the true neighbours as Plumbline's index. Resident memory is what loading and searching adds to the process.

    python -m benchmarks.vector_index [EMBEDDER] [--data DIR] [--peer-python PATH] [--rows N] [--json FILE]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import embeddings, vector_peers
from benchmarks.options import Options, Size
from benchmarks.report import Report
from rag.embedding.bi_encoder import BiEncoder
from rag.stores.index.faiss_index import FaissIndex
from rag.stores.index.generations import load_generation, write_generation
from rag.stores.index.vector_rows import ArrayRows

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from rag.stores.index.bases import Base

_CACHE = Path("build/benchmarks")
_PEERS = ("hnswlib", "usearch")
_SELECTIVITIES = (0.001, 0.01, 0.1, 0.5)
_NEAREST = (100, 2000)  # rows left out of each question's search
_FEW_QUESTIONS = 50
_SAME_SCORE = 1e-5
_EMBEDDER = "benchmark"


def main() -> None:
    parser = Options("vector_index", __doc__, kind="embedder")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="an evaluation folder, or one with such folders; else Python's manual"
    )
    parser.add_argument("--peer-python", type=Path, metavar="PATH", help="a Python that has hnswlib and usearch")
    parser.add_argument("--step", choices=("build", "search"), help="(of the processes it starts)")
    parser.add_argument("--work", type=Path, help="(of the processes it starts) where files lie")
    parser.size("--rows", Size(full=1_000_000, quick=60_000), "vectors")
    parser.size("--passages", Size(full=40_000, quick=2000), "real passages that are embedded")
    parser.size("--questions", Size(full=1000, quick=200), "real questions to search with")
    options = parser.read()
    if options.step is not None:
        print(json.dumps(_build(options) if options.step == "build" else _search(options)))
        return
    report = Report("vector_index", options)
    with tempfile.TemporaryDirectory(prefix="plumbline-vectors-") as work:
        options.work = Path(work)
        _prepare(options)
        ours = {**_own(options, "build"), **_own(options, "search")}
        report.add("plumbline", **ours)
        for library in _PEERS if options.peer_python else ():
            built = _peer(options, library, "build")
            report.add(library, **built, **_peer(options, library, "search", recall=ours["recall"]))
    float32_mib = options.rows * options.dimension * 4 / 2**20
    report.figure("recall@10 against exact search", ours["recall"], at_least=0.99)
    report.figure("median search", ours["median_ms"], " ms", at_most=2.0)
    report.figure("resident / float32 vectors", ours["resident_mib"] / float32_mib, at_most=1 / 3)
    report.figure("open files and search once", ours["load_s"], " s", at_most=3.0)
    for share in _SELECTIVITIES:
        report.figure(f"recall@10 within {share:.1%}", ours[_filtered(share)], at_least=0.99)
    for rows in _NEAREST:
        report.figure(f"recall@10 without the {rows:,} nearest", ours[_without(rows)], at_least=0.99)
        report.figure(f"recall@10 with the {rows:,} nearest deleted", ours[_deleted(rows)], at_least=0.99)
    for library in _PEERS if options.peer_python else ():
        report.figure(f"build time, {library} / ours", report.median(library, "build_s") / ours["build_s"])
        report.figure(f"median search, {library} / ours", report.median(library, "median_ms") / ours["median_ms"])
        report.figure(f"resident, {library} / ours", report.median(library, "resident_mib") / ours["resident_mib"])
    report.finish()


def _prepare(options: argparse.Namespace) -> None:
    model = BiEncoder(options.model.path, name=options.model.name, sha256=options.model.sha256, threads=options.threads)
    folders = list(embeddings.folders_in(options.data)) if options.data else []
    passages, questions = embeddings.texts(
        folders, passages=options.passages, questions=options.questions, seed=options.seed
    )
    real = embeddings.embedded(model, passages, _CACHE)
    queries = embeddings.embedded(model, questions, _CACHE)
    vectors = embeddings.multiplied(real, options.rows, options.work / "vectors.npy", seed=options.seed)
    options.dimension = vectors.shape[1]
    np.save(options.work / "queries.npy", queries)
    np.save(options.work / "last_scores.npy", embeddings.nearest(vectors, queries, 10))
    print(f"{len(passages)} passages, {len(questions)} questions, {options.rows} vectors", flush=True)


def _own(options: argparse.Namespace, step: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.vector_index", options.model.name, "--step", step]
    command += ["--work", str(options.work), "--threads", str(options.threads), "--seed", str(options.seed)]
    return _output(command)


def _peer(options: argparse.Namespace, library: str, step: str, *, recall: float = 0.0) -> dict[str, float]:
    command = [str(options.peer_python), vector_peers.__file__, library, step, str(options.work)]
    return _output([*command, "--threads", str(options.threads), "--recall", str(recall)])


def _output(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - itself, or as the user said
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    row: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return row


def _build(options: argparse.Namespace) -> dict[str, float]:
    vectors = np.load(options.work / "vectors.npy", mmap_mode="r")
    rows = ArrayRows(np.arange(len(vectors), dtype=np.int64), vectors)
    began = time.monotonic()
    written = write_generation(options.work, 1, rows, embedder=_EMBEDDER, seq=1)
    took = time.monotonic() - began
    (options.work / "generation.json").write_text(json.dumps([written.directory, written.sha256]))
    # The mapped source is counted in it, as far as its pages are in memory.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"build_s": took, "file_mib": written.manifest.size / 2**20, "build_peak_mib": peak}


def _search(options: argparse.Namespace) -> dict[str, float]:
    queries, last = (np.load(options.work / f"{name}.npy") for name in ("queries", "last_scores"))
    directory, sha256 = json.loads((options.work / "generation.json").read_text())
    before = vector_peers.resident_mib()
    began = time.monotonic()
    generation = load_generation(options.work, directory, sha256=sha256, embedder=_EMBEDDER)
    index = FaissIndex(queries.shape[1], base=generation.base)
    index.search(queries[0], 10)
    load_s = time.monotonic() - began
    times, found = [], 0
    for query, score in zip(queries, last, strict=True):
        began = time.perf_counter()
        hits = index.search(query, 10)
        times.append(time.perf_counter() - began)
        found += sum(hit.score >= score - _SAME_SCORE for hit in hits)
    row: dict[str, Any] = {
        "recall": found / (10 * len(queries)),
        "median_ms": 1000 * float(np.median(times)),
        "p95_ms": 1000 * float(np.percentile(times, 95)),
        "resident_mib": vector_peers.resident_mib() - before,
        "load_s": load_s,
        "recall_at_build": generation.manifest.recall_at_10,
    }
    vectors = np.load(options.work / "vectors.npy", mmap_mode="r")
    row |= _search_filtered(index, vectors, queries[:200], seed=options.seed)
    return row | _search_without_nearest(generation.base, vectors, queries[:_FEW_QUESTIONS])


def _search_filtered(
    index: FaissIndex, vectors: NDArray[np.float32], queries: NDArray[np.float32], *, seed: int
) -> dict[str, float]:
    row = {}
    for share in _SELECTIVITIES:
        chosen = np.random.default_rng(seed).choice(len(vectors), int(share * len(vectors)), replace=False)
        allowed = np.sort(chosen)
        last = embeddings.nearest(vectors, queries, 10, allowed)
        times, found = [], 0
        for query, score in zip(queries, last, strict=True):
            began = time.perf_counter()
            hits = index.search(query, 10, among=allowed)
            times.append(time.perf_counter() - began)
            found += sum(hit.score >= score - _SAME_SCORE for hit in hits)
        row[_filtered(share)] = found / (10 * len(queries))
        row[f"{_filtered(share)}_ms"] = 1000 * float(np.median(times))
    return row


def _search_without_nearest(base: Base, vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> dict[str, float]:
    """What is found where just those do not count that the index would look at: as a filter, and as deletions."""
    row: dict[str, float] = {}
    for rows in _NEAREST:
        times, found = [], {_without(rows): 0, _deleted(rows): 0}
        for query in queries:
            scores = vectors @ query
            ranked = np.argpartition(-scores, rows + 10)[: rows + 10]
            ranked = ranked[np.argsort(-scores[ranked], kind="stable")]
            gone, least = np.sort(ranked[:rows]), scores[ranked[-1]] - _SAME_SCORE
            index = FaissIndex(queries.shape[1], base=base)
            allowed = np.delete(np.arange(len(vectors), dtype=np.int64), gone)
            began = time.perf_counter()
            hits = index.search(query, 10, among=allowed)
            times.append(time.perf_counter() - began)
            found[_without(rows)] += sum(hit.score >= least for hit in hits)
            index.delete(gone)
            found[_deleted(rows)] += sum(hit.score >= least for hit in index.search(query, 10))
        row |= {name: count / (10 * len(queries)) for name, count in found.items()}
        row[f"{_without(rows)}_ms"] = 1000 * float(np.median(times))
    return row


def _filtered(share: float) -> str:
    return f"recall_in_{share:.1%}"


def _without(rows: int) -> str:
    return f"recall_without_{rows}"


def _deleted(rows: int) -> str:
    return f"recall_deleted_{rows}"


if __name__ == "__main__":
    main()
