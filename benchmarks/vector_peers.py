"""hnswlib and usearch for ``benchmarks.vector_index``: builds or searches one index, and prints JSON.

Runs by itself in the peers' environment, which has none of Plumbline in it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_M, _EF_BUILD = 16, 200  # hnswlib's own example values; usearch's defaults are 16 and 128
_LADDER = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_SLICE = 20_000
_SAME_SCORE = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("hnswlib", "usearch"))
    parser.add_argument("step", choices=("build", "search"))
    parser.add_argument("directory", type=Path, help="with vectors.npy, queries.npy and last_scores.npy")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--recall", type=float, default=0.99)
    options = parser.parse_args()
    index = (Hnswlib if options.library == "hnswlib" else Usearch)(options.directory)
    if options.step == "build":
        vectors = np.load(options.directory / "vectors.npy", mmap_mode="r")
        began = time.monotonic()
        index.build(vectors, options.threads)
        print(json.dumps({"build_s": time.monotonic() - began, "file_mib": index.path.stat().st_size / 2**20}))
    else:
        print(json.dumps(searched(index, options.directory, options.recall)))


class Hnswlib:
    """Hierarchical graph over float32 vectors."""

    def __init__(self, directory: Path) -> None:
        import hnswlib

        self.library: Any = hnswlib
        self.path = directory / "hnswlib.bin"

    def build(self, vectors: NDArray[np.float32], threads: int) -> None:
        index = self.library.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), ef_construction=_EF_BUILD, M=_M, random_seed=0)
        for start in range(0, len(vectors), _SLICE):
            index.add_items(np.array(vectors[start : start + _SLICE]), num_threads=threads)
        index.save_index(str(self.path))

    def load(self, dimension: int) -> None:
        self.index = self.library.Index(space="ip", dim=dimension)
        self.index.load_index(str(self.path))
        self.index.set_num_threads(1)

    def set_effort(self, effort: int) -> None:
        self.index.set_ef(effort)

    def search(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.index.knn_query(query, k=10, num_threads=1)[0][0]
        return found


class Usearch:
    """The same graph over float16 vectors."""

    def __init__(self, directory: Path) -> None:
        import usearch.index

        self.library: Any = usearch.index
        self.path = directory / "usearch.bin"

    def build(self, vectors: NDArray[np.float32], threads: int) -> None:
        index = self.library.Index(ndim=vectors.shape[1], metric="ip", dtype="f16")
        for start in range(0, len(vectors), _SLICE):
            part = np.array(vectors[start : start + _SLICE])
            index.add(np.arange(start, start + len(part)), part, threads=threads)
        index.save(str(self.path))

    def load(self, dimension: int) -> None:
        self.index = self.library.Index(ndim=dimension, metric="ip", dtype="f16")
        self.index.load(str(self.path))

    def set_effort(self, effort: int) -> None:
        self.index.expansion_search = effort

    def search(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.index.search(query, 10, threads=1).keys
        return found


def searched(index: Hnswlib | Usearch, directory: Path, wanted: float) -> dict[str, float]:
    """The least effort that reaches the recall; the most where none does."""
    queries, last = np.load(directory / "queries.npy"), np.load(directory / "last_scores.npy")
    before = resident_mib()
    began = time.monotonic()
    index.load(queries.shape[1])
    index.search(queries[0])
    load_s = time.monotonic() - began
    rows = {}
    for effort in _LADDER:
        index.set_effort(effort)
        times: list[float] = []
        found: list[NDArray[np.int64]] = []
        for query in queries:
            began = time.perf_counter()
            keys = index.search(query)
            times.append(time.perf_counter() - began)
            found.append(keys)
        resident = resident_mib() - before
        rows = {
            "recall": recall(directory, queries, last, found),
            "median_ms": 1000 * float(np.median(times)),
            "p95_ms": 1000 * float(np.percentile(times, 95)),
            "effort": effort,
            "resident_mib": resident,
            "load_s": load_s,
        }
        if rows["recall"] >= wanted:
            break
    return rows


def recall(
    directory: Path, queries: NDArray[np.float32], last: NDArray[np.float32], found: Sequence[NDArray[np.int64]]
) -> float:
    vectors = np.load(directory / "vectors.npy", mmap_mode="r")  # after the memory was read
    hits = sum(
        int(np.sum(vectors[np.sort(keys.astype(np.int64))] @ query >= score - _SAME_SCORE))
        for query, score, keys in zip(queries, last, found, strict=True)
    )
    return hits / (10 * len(queries))


def resident_mib() -> float:
    """Of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the kernel does not say how much memory this process has")


if __name__ == "__main__":
    main()
