"""What the size of passages does to retrieval: documents ingested with each, asked as the product answers.

A document ranks where its best passage does. Every folder has a store of its own for every size; passages are embedded
as those of ingested documents, with the title before them. ``benchmarks.chunking`` measures the same with gold spans.

    python -m benchmarks.chunk_sizes [EMBEDDER] --data DIR [DIR ...] [--sizes TOKENS ...] [--json FILE]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.options import Options, Size
from benchmarks.report import Report
from indexer.parsing.isolation import IsolatedParsers
from indexer.pipeline import IngestPipeline
from rag.config import Settings
from rag.evaluation.dataset import load_dataset
from rag.evaluation.retrieval import score_rankings
from rag.factory import open_library

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from rag.evaluation.dataset import Dataset
    from rag.factory import Library
    from rag.types import Collection

_SIZES = (60, 90, 120, 180)
_PASSAGES = 100  # so many are ranked; ten documents are among them
_MEASURES = ("ndcg@10", "recall@100")


def main() -> None:
    parser = Options("chunk_sizes", __doc__, kind="embedder")
    parser.add_argument("--data", type=Path, required=True, nargs="+", metavar="DIR", help="evaluation folders")
    parser.add_argument("--sizes", type=int, nargs="+", default=_SIZES, metavar="TOKENS", help="that passages aim at")
    parser.size("--queries", Size(full=10_000, quick=3), "of each folder")
    parser.size("--documents", Size(full=1_000_000, quick=20), "of each folder")
    options = parser.read()
    report = Report("chunk_sizes", options)
    for directory in options.data:
        dataset = load_dataset(directory)
        for size in options.sizes:
            with tempfile.TemporaryDirectory(prefix="plumbline-chunk-sizes-") as work:
                row = _measured(dataset, size, options, Path(work))
            report.add(f"{dataset.name}, {size} tokens", **row)
            report.figure(f"nDCG@10, {dataset.name}, {size} tokens", row["ndcg@10"])
    for size in options.sizes:
        rows = [report.median(f"{directory.name}, {size} tokens", "ndcg@10") for directory in options.data]
        report.figure(f"nDCG@10, mean of all, {size} tokens", statistics.fmean(rows))
    report.finish()


def _measured(dataset: Dataset, size: int, options: argparse.Namespace, work: Path) -> dict[str, float]:
    settings = Settings(home=work / "home", embedder=options.model.name, chunk_tokens=size, threads=options.threads)
    folder = work / "documents"
    folder.mkdir()
    for number, entry in enumerate(dataset.corpus[: options.documents]):
        heading = f"# {entry.title}\n\n" if entry.title else ""
        (folder / f"{number}.md").write_text(heading + entry.text, encoding="utf-8")
    began = time.perf_counter()
    with open_library(settings) as library:
        with IsolatedParsers.limited_by(settings) as parsers:
            pipeline = IngestPipeline.over(library, parsers)
            pipeline.ingest([folder], collection="measured")
        seconds = time.perf_counter() - began
        collection = library.store.collection("measured")
        passages = sum(1 for _ in library.store.embedding_inputs(collection))
        rankings, times = {}, []
        for query in dataset.judged_queries(options.queries):
            asked = time.perf_counter()
            rankings[query.id] = list(_documents(library, collection, dataset, query.text))
            times.append(1000 * (time.perf_counter() - asked))
    scores = score_rankings(rankings, dataset.qrels)
    means = {name: statistics.fmean(each[name] for each in scores.values()) for name in _MEASURES}
    return {**means, "passages": passages, "ingest_s": seconds, "query_ms": statistics.median(times)}


def _documents(library: Library, collection: Collection, dataset: Dataset, question: str) -> Iterator[str]:
    """Ids of the documents whose passages are found, best first."""
    found = library.retriever.retrieve(collection, question, _PASSAGES)
    numbers = dict.fromkeys(int(Path(passage.document.uri).stem) for passage in found.passages)
    return (dataset.corpus[number].id for number in numbers)


if __name__ == "__main__":
    main()
