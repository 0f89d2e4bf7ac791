"""Taking in very much: whether speed and memory stay what they were at the beginning.

Documents are drawn from the passages of an evaluation folder, again and again: a text whose embedding is stored is not
embedded again, so after the first thousands what is measured is everything but the model (parsing, chunking, rows, full
text, the index file at the end), which is the part that could grow. ``--fresh`` makes every passage a new text.

The memory that is held against the target is the highest there was at any moment, the building of the index file
included, less what loading the embedder adds to a process that has its libraries already.

    python -m benchmarks.growth [EMBEDDER] --data DIR [--passages N] [--fresh] [--json FILE]
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.memory import resident
from benchmarks.options import Options, Size
from benchmarks.report import Report
from rag.evaluation.dataset import load_dataset

if TYPE_CHECKING:
    import argparse

    from rag.catalog import ResolvedModel

_PROGRAM = Path(sys.executable).with_name("indexer")
_SECTIONS = 50  # of a document at most, a passage each
_LOOK_S = 0.5


def main() -> None:
    parser = Options("growth", __doc__, kind="embedder")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="an evaluation folder")
    parser.add_argument("--fresh", action="store_true", help="no text twice: all of it is embedded")
    parser.size("--passages", Size(full=200_000, quick=200), "passages to take in")
    parser.size("--texts", Size(full=2_000, quick=20), "different texts")
    options = parser.read()
    report = Report("growth", options)
    with tempfile.TemporaryDirectory(prefix="plumbline-growth-") as directory:
        work = Path(directory)
        os.environ["RAG_HOME"] = str(work / "home")
        os.environ["RAG_EMBEDDER"] = options.model.name
        folder = _documents(work / "documents", options)
        rates, memory, whole = _taken_in(folder)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        model_mib = alone.submit(_added_by, options.model, options.threads).result()
    for rate in rates:
        report.add("each tenth", passages_per_s=rate)
    for mib in memory:
        report.add("memory, each tenth", resident_mib=mib)
    report.add("whole run", **whole, model_mib=model_mib)
    # The first tenth loads the model and embeds the texts that all others repeat.
    report.figure("rate of the last tenth / the third", rates[-1] / rates[2], at_least=0.9)
    report.figure("resident memory at its highest", whole["peak_mib"], " MiB")
    report.figure("what the model adds", model_mib, " MiB")
    report.figure(
        "resident memory at its highest, beside the model", whole["peak_mib"] - model_mib, " MiB", at_most=1536
    )
    report.figure("memory of the last tenth / the second", memory[-1] / memory[1], at_most=1.1)
    report.finish()


def _documents(directory: Path, options: argparse.Namespace) -> Path:
    """Files whose every section is one passage. All have one title, so that the same text is the same passage."""
    directory.mkdir()
    texts = [entry.text for entry in load_dataset(options.data).corpus if len(entry.text) > 800]
    texts = texts[: options.texts]
    drawn = random.Random(options.seed)  # noqa: S311  # not for secrets
    size = max(1, min(_SECTIONS, options.passages // 20))
    for first in range(0, options.passages, size):
        sections = []
        for number in range(first, min(first + size, options.passages)):
            mark = f"Sample {number}. " if options.fresh else ""
            sections.append(f"## Abstract\n\n{mark}{drawn.choice(texts)[:900]}\n")
        (directory / f"{first:07}.md").write_text("# Abstracts\n\n" + "\n".join(sections), encoding="utf-8")
    return directory


def _taken_in(folder: Path) -> tuple[list[float], list[float], dict[str, float]]:
    """Passages a second of each tenth of the files, resident memory at the end of each, and figures of the whole."""
    began = time.monotonic()
    process = subprocess.Popen([_PROGRAM, "ingest", "--json", folder], stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None  # noqa: S101  # it is a pipe
    peak = _Peak(process.pid)
    files, lines = len(list(folder.iterdir())), []
    for line in process.stdout:
        told = json.loads(line)
        if told["type"] == "file":
            if told["error"] is not None:
                raise SystemExit(f"a file of the benchmark was not taken in: {line}")
            lines.append((time.monotonic(), told["chunks"], peak.now))
        elif told["type"] == "summary":
            summary = told
    if process.wait():
        raise SystemExit(f"indexer ended with {process.returncode}")
    edges = [files * tenth // 10 for tenth in range(11)]
    rates, memory = [], []
    for first, last in pairwise(edges):
        seconds = lines[last - 1][0] - (lines[first - 1][0] if first else began)
        rates.append(sum(chunks for _, chunks, _ in lines[first:last]) / seconds)
        memory.append(max(mib for _, _, mib in lines[first:last]))
    whole = {"passages": summary["chunks"], "seconds": time.monotonic() - began, "peak_mib": peak.stop()}
    return rates, memory, whole


def _added_by(model: ResolvedModel, threads: int) -> float:
    """MiB that loading an embedder adds to this process, its libraries not counted."""
    import sentence_transformers  # noqa: F401
    import torch  # noqa: F401

    from rag.embedding.bi_encoder import BiEncoder

    before = resident(os.getpid())["resident_mib"]
    BiEncoder(model.path, name=model.name, sha256=model.sha256, threads=threads).load()
    return resident(os.getpid())["resident_mib"] - before


class _Peak:
    """Looks at a process's resident memory until it ends."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.now = self._highest = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while True:
            try:
                fields: dict[str, float] = resident(self._pid)
            except (OSError, ValueError):  # it has ended
                return
            self.now = fields.get("resident_mib", self.now)
            self._highest = max(self._highest, fields.get("peak_mib", 0.0))
            if self._ended.wait(_LOOK_S):
                return

    def stop(self) -> float:
        self._ended.set()
        self._thread.join()
        return self._highest


if __name__ == "__main__":
    main()
