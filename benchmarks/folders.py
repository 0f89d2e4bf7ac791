"""A sync of a folder where nothing is to be done: how long it takes to see that, and the memory it takes.

    python -m benchmarks.folders [--files 5000] [--kind unchanged|ignored|empty] [--work DIR]

``unchanged`` files are small, lie in 50 folders and are stored before. ``ignored`` ones lie in one
folder whose ignore file names them, ``empty`` ones too but are only found. Prints one JSON object: seconds for
planning (the median of three) and MiB by which the process grew at its largest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import resource
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.report import machine
from indexer.folders.ignoring import IGNORE_FILE
from indexer.parsing.isolation import IsolatedParsers
from indexer.pipeline import IngestPipeline, fingerprint_of
from indexer.sources import expand
from indexer.syncing import FolderSync
from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.source_types import SourceRecord
from rag.stores.documents import SqlDocumentStore
from rag.stores.sqlite.database import Database
from rag.telemetry import configure_logging
from rag.types import ChunkDraft, Span

_FOLDERS = 50
_ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--kind", choices=("unchanged", "ignored", "empty"), default="unchanged")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    configure_logging(level=logging.WARNING)
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        measured = _measure(Path(work), options.kind, options.files)
    print(json.dumps({"kind": options.kind, "files": options.files, **measured, "machine": machine()}))


def _measure(work: Path, kind: str, files: int) -> dict[str, float]:
    folder = work / "docs"
    _write(folder, kind, files)
    database = Database.open(Settings(home=work / "home", _env_file=None))
    store, embedder = SqlDocumentStore(database), HashingEmbedder()
    try:
        with IsolatedParsers(timeout_s=60, memory_bytes=2 << 30) as parsers:
            pipeline = IngestPipeline(
                store=store, embedder_for=lambda _name: embedder, parsers=parsers, max_file_bytes=1 << 30
            )
            sync = FolderSync(
                folder, database=database, store=store, pipeline=pipeline, collection="c", max_file_bytes=1 << 30
            )
            if kind == "unchanged":
                _store(store, embedder, folder)
            before = _largest_mib()
            seconds = []
            for _ in range(_ROUNDS):
                started = time.perf_counter()
                plan = sync.plan()
                seconds.append(time.perf_counter() - started)
            _check(kind, files, plan.unchanged, len(plan.add))
    finally:
        database.close()
    return {"seconds": round(statistics.median(seconds), 3), "grown_mib": round(_largest_mib() - before, 1)}


def _store(store: SqlDocumentStore, embedder: HashingEmbedder, folder: Path) -> None:
    """What an ingestion would leave of each file, without parsing it in another process: a document of one passage."""
    collection = store.ensure_collection("c", fingerprint_of(embedder))
    for source in expand([folder]):
        status, text = source.path.stat(), source.path.read_text()
        record = SourceRecord(
            uri=source.uri,
            title=source.path.stem,
            media_type="text/plain",
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
        )
        span = Span(start=0, end=len(text))
        chunk = ChunkDraft(ordinal=0, text=text, span=span, page=None, heading_path=(), token_count=8)
        with store.stage(collection, record) as version:
            version.add_text(0, text)
            version.add_chunks([chunk], embedder.embed_passages([text]))
            version.activate()


def _write(folder: Path, kind: str, files: int) -> None:
    folder.mkdir()
    (folder / "kept.txt").write_text("Water runs down the river.\n")
    if kind == "ignored":
        (folder / IGNORE_FILE).write_text("*.log\n")
    for number in range(files):
        if kind == "unchanged":
            below = folder / f"{number % _FOLDERS}"
            below.mkdir(exist_ok=True)
            (below / f"{number}.txt").write_text(f"Water number {number} runs down the river.\n")
        else:
            (folder / f"{number}.{'log' if kind == 'ignored' else 'txt'}").touch()


def _check(kind: str, files: int, unchanged: int, added: int) -> None:
    wanted = {"unchanged": (files + 1, 0), "ignored": (0, 1), "empty": (0, files + 1)}[kind]
    if (unchanged, added) != wanted:
        raise SystemExit(f"planned {unchanged} unchanged and {added} to add, not {wanted}")


def _largest_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
