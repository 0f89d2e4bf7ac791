"""Many small collections in one store: what each takes on disk and in memory, and how soon it answers.

Vectors and words are drawn by chance, for nothing here depends on what they say; the embedder gives the dimension.

    python -m benchmarks.many_collections [EMBEDDER] [--collections N] [--passages N] [--json FILE]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from benchmarks.memory import resident
from benchmarks.options import Options, Size
from benchmarks.report import Report
from rag.config import Settings
from rag.factory import Library
from rag.source_types import SourceRecord
from rag.stores.sqlite.database import Database
from rag.types import ChunkDraft, Fingerprint, Span

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rag.types import Collection

_NAME = "benchmark"
_DIMENSION = 384
_DOCUMENTS = 4  # in each collection
_WORDS, _LENGTH = 20_000, 120
_AGAIN = 200  # collections that are searched and ingested into one by one

_P = ParamSpec("_P")


def main() -> None:
    parser = Options("many_collections", __doc__, kind="embedder")
    parser.add_argument("--step", choices=("search", "status"), help="(of the processes it starts)")
    parser.add_argument("--work", type=Path, help="(of the processes it starts) where files lie")
    parser.add_argument("--ram-mib", type=int, metavar="N", help="RAG_INDEX_RAM_BYTES of the searching process, in MiB")
    parser.size("--collections", Size(full=1000, quick=20), "collections in the store")
    parser.size("--passages", Size(full=100, quick=40), "passages in each of them")
    options = parser.read()
    if options.step is not None:
        print(json.dumps({"search": _search, "status": _status}[options.step](options)))
        return
    report = Report("many_collections", options)
    with tempfile.TemporaryDirectory(prefix="plumbline-collections-") as work:
        options.work = Path(work)
        report.add("fill", **_fill(options))
        report.add("search", **_step(options, "search"))
        report.add("status", **_step(options, "status"))
    report.figure("a collection on disk", report.median("fill", "disk_kib"), " KiB")
    report.figure("dense search that opens it, median", report.median("search", "dense_first_ms"), " ms", at_most=20)
    report.figure("full-text search of one, median", report.median("search", "lexical_ms"), " ms", at_most=10)
    report.figure("indexer status", report.median("status", "status_s"), " s", at_most=3)
    report.finish()


def _library(options: argparse.Namespace) -> Library:
    more: dict[str, Any] = {"index_ram_bytes": options.ram_mib << 20} if options.ram_mib else {}
    settings = Settings(home=options.work / "home", _env_file=None, **more)  # pydantic-settings takes it
    return Library(settings, Database.open(settings))


def _fill(options: argparse.Namespace) -> dict[str, float]:
    chance = np.random.default_rng(options.seed)
    words = np.array([f"{chr(97 + number % 26)}{number:x}word" for number in range(_WORDS)])
    frequencies = 1 / np.arange(1, _WORDS + 1)
    frequencies /= frequencies.sum()
    began = time.monotonic()
    with _library(options) as library:
        made = Fingerprint(parser=_NAME, chunker=_NAME, embedder=_NAME, dimension=_DIMENSION)
        for number in range(options.collections):
            collection = library.store.ensure_collection(f"collection-{number:04}", made)
            each = options.passages // _DOCUMENTS
            for document in range(_DOCUMENTS):
                texts = [" ".join(chance.choice(words, _LENGTH, p=frequencies)) for _ in range(each)]
                _add(library, collection, f"/{number}/{document}", texts, _vectors(chance, each))
            library.vectors.flush(collection)  # as an ingest does at its end
    took = time.monotonic() - began
    files = [path.stat().st_size for path in (options.work / "home").rglob("*") if path.is_file()]
    return {
        "fill_s": took,
        "disk_kib": sum(files) / 1024 / options.collections,
        "files": float(len(files)),
    }


def _vectors(chance: np.random.Generator, count: int) -> NDArray[np.float32]:
    drawn = chance.standard_normal((count, _DIMENSION)).astype(np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def _add(library: Library, collection: Collection, uri: str, texts: list[str], vectors: NDArray[np.float32]) -> None:
    source = SourceRecord(uri=uri, title=uri, media_type="text/plain", sha256=f"{0:064x}", size=1, mtime_ns=0)
    drafts, offset = [], 0
    with library.store.stage(collection, source) as version:
        for ordinal, text in enumerate(texts):
            version.add_text(offset, f"{text}\n")
            span = Span(start=offset, end=offset + len(text))
            draft = ChunkDraft(ordinal=ordinal, text=text, span=span, page=None, heading_path=(), token_count=1)
            drafts.append(draft)
            offset = span.end + 1
        version.add_chunks(drafts, vectors)
        version.activate()


def _search(options: argparse.Namespace) -> dict[str, float]:
    chance = np.random.default_rng(options.seed + 1)
    row: dict[str, float] = {}
    with _library(options) as library:
        collections = library.store.collections()
        query = _vectors(chance, 1)[0]
        library.vectors.search(collections[0], query, 10)  # loads FAISS
        before = resident(os.getpid())["resident_mib"]
        first = [_ms(library.vectors.search, each, query, 10) for each in collections[1:]]
        row["all_open_mib"] = resident(os.getpid())["resident_mib"] - before
        row["descriptors"] = float(len(list(Path("/proc/self/fd").iterdir())))
        row["maps"] = float(len(Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()))
        row["dense_first_ms"], row["dense_first_p95_ms"] = np.median(first), np.percentile(first, 95)
        some = [collections[number] for number in chance.integers(0, len(collections), _AGAIN)]
        row["dense_next_ms"] = float(np.median([_ms(library.vectors.search, each, query, 10) for each in some]))
        asked = "a0word q10word c2b6word"  # a frequent one, one of the middle, a rare one
        row["lexical_ms"] = float(np.median([_ms(library.lexical.search, each, asked, 10) for each in some]))
        text = ["a new text of a few words"]
        row["ingest_ms"] = float(
            np.median([_ms(_add, library, each, "/new", text, _vectors(chance, 1)) for each in some])
        )
    return {key: float(value) for key, value in row.items()}


def _ms(do: Callable[_P, object], *given: _P.args, **named: _P.kwargs) -> float:
    began = time.perf_counter()
    do(*given, **named)
    return 1000 * (time.perf_counter() - began)


def _status(options: argparse.Namespace) -> dict[str, float]:
    environment = {**os.environ, "RAG_HOME": str(options.work / "home")}
    row = {}
    for name, arguments in (("status", ["status"]), ("list", ["list", "-c", "collection-0001"])):
        command = [sys.executable, "-m", "indexer.cli", *arguments]
        began = time.monotonic()
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603  # our own
        row[f"{name}_s"] = time.monotonic() - began
    return row


def _step(options: argparse.Namespace, step: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.many_collections", options.model.name, "--step", step]
    command += ["--work", str(options.work), "--seed", str(options.seed)]
    command += ["--ram-mib", str(options.ram_mib)] if options.ram_mib else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  # itself
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    row: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return row


if __name__ == "__main__":
    main()
