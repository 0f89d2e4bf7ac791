"""What a question costs while documents are taken in beside it: a service is asked when idle, and beside a worker.

In turns, on the same service: searches and answers over HTTP with nothing else running, then the same while `indexer
worker` (with ``--by ingest``, `indexer ingest`), in a session of its own as in another terminal, embeds documents that
the service has not seen, into the collection that is searched. Answers are asked of another one, to which nothing
comes, for with other passages they are other answers. Latencies are the client's.

    python -m benchmarks.beside [EMBEDDER] --data DIR [--by worker|ingest] [--answers N] [--json FILE]
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np

from benchmarks.options import Options, Size
from benchmarks.peers import running
from benchmarks.report import Report
from rag.evaluation.dataset import load_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rag.evaluation.dataset import Dataset

_PROGRAMS = Path(sys.executable).parent
_BEGUN_S = 120.0
_POLL_S = 0.1
_UNCHANGED = "unchanged"


def main() -> None:
    parser = Options("beside", __doc__, kind="embedder")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="an evaluation folder")
    parser.add_argument("--by", choices=("worker", "ingest"), default="worker", help="who takes documents in")
    parser.size("--stored", Size(full=1000, quick=20), "documents that are there before")
    parser.size("--searches", Size(full=100, quick=5), "searches of a block")
    parser.size("--answers", Size(full=12, quick=0), "answers of a block")
    parser.size("--rounds", Size(full=5, quick=1), "rounds, each an idle block and one beside a worker")
    options = parser.read()
    report = Report("beside", options)
    dataset = load_dataset(options.data)
    asked = [query.text for query in dataset.queries]
    with tempfile.TemporaryDirectory(prefix="plumbline-beside-") as directory:
        work = Path(directory)
        os.environ["RAG_HOME"] = str(work / "home")
        os.environ["RAG_EMBEDDER"] = options.model.name
        stored = _folder(work / "stored", dataset, 0, options.stored)
        for collection in ("default", _UNCHANGED):
            command = [str(_PROGRAMS / "indexer"), "ingest", str(stored), "-c", collection]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # this program
        with (
            running([str(_PROGRAMS / "rag"), "serve"], ready="/ready") as (_, port),
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=None, trust_env=False) as client,
        ):
            _block(client, asked[: options.searches], asked[: options.answers])  # to warm up
            for number in range(options.rounds):
                report.add("idle", **_block(client, asked[: options.searches], asked[: options.answers]))
                first = options.stored + number * (len(dataset.corpus) - options.stored) // options.rounds
                last = options.stored + (number + 1) * (len(dataset.corpus) - options.stored) // options.rounds
                unseen = _folder(work / f"unseen-{number}", dataset, first, last)
                with _worker_at(client, unseen) if options.by == "worker" else _ingest_of(unseen):
                    report.add("beside", **_block(client, asked[: options.searches], asked[: options.answers]))
    for key, target in (("search_ms", 1.3), ("search_p95_ms", None), ("answer_ms", 1.3)):
        if report.values("idle", key):
            ratio = report.median("beside", key) / report.median("idle", key)
            report.figure(f"{key}, beside {options.by} / idle", ratio, at_most=target)
    report.finish()


def _folder(directory: Path, dataset: Dataset, first: int, last: int) -> Path:
    directory.mkdir()
    for number, entry in enumerate(dataset.corpus[first:last], start=first):
        (directory / f"{number:06}.md").write_text(f"# {entry.title}\n\n{entry.text}\n", encoding="utf-8")
    return directory


def _block(client: httpx2.Client, searches: Sequence[str], questions: Sequence[str]) -> dict[str, float]:
    times = [_timed(client, "/v1/search", {"query": text}) for text in searches]
    row = {"search_ms": float(np.median(times)), "search_p95_ms": float(np.percentile(times, 95))}
    if questions:
        asked = [{"question": text, "collection": _UNCHANGED} for text in questions]
        row["answer_ms"] = float(np.median([_timed(client, "/v1/query", body) for body in asked]))
    return row


def _timed(client: httpx2.Client, path: str, body: dict[str, str]) -> float:
    began = time.perf_counter()
    client.post(path, json=body).raise_for_status()
    return 1000 * (time.perf_counter() - began)


@contextmanager
def _worker_at(client: httpx2.Client, folder: Path) -> Iterator[None]:
    """A worker that is in the middle of a folder, and still is when the block ends; then it stops."""
    command = [str(_PROGRAMS / "indexer"), "ingest", "--queue", "--json", str(folder)]
    queued = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # this program
    job = f"/v1/jobs/{json.loads(queued.stdout)['job']}"
    worker = subprocess.Popen(  # noqa: S603  # this program
        [_PROGRAMS / "indexer", "worker", "--once"], stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + _BEGUN_S
        while not client.get(job).json()["outcomes"]:
            if time.monotonic() > deadline or worker.poll() is not None:
                raise SystemExit("the worker did not begin")
            time.sleep(_POLL_S)
        yield
        if worker.poll() is not None:
            raise SystemExit("the worker was done before the block was: ask less, or give it more documents")
        client.delete(job).raise_for_status()
        worker.wait(_BEGUN_S)
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


@contextmanager
def _ingest_of(folder: Path) -> Iterator[None]:
    """An ingest that is in the middle of a folder, and still is when the block ends; then it stops."""
    command, log = [str(_PROGRAMS / "indexer"), "ingest", "--json", str(folder)], folder.with_suffix(".log")
    with log.open("w") as written:
        ingest = subprocess.Popen(command, stdout=written, start_new_session=True)  # noqa: S603  # this program
    try:
        deadline = time.monotonic() + _BEGUN_S
        while not any(json.loads(line)["type"] == "file" for line in log.read_text().splitlines()):
            if time.monotonic() > deadline or ingest.poll() is not None:
                raise SystemExit("the ingest did not begin")
            time.sleep(_POLL_S)
        yield
        if ingest.poll() is not None:
            raise SystemExit("the ingest was done before the block was: ask less, or give it more documents")
        ingest.send_signal(signal.SIGINT)
        ingest.wait(_BEGUN_S)
    finally:
        if ingest.poll() is None:
            ingest.kill()
            ingest.wait()


if __name__ == "__main__":
    main()
