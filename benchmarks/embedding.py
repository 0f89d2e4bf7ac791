"""Passages embedded in a second: the product beside sentence-transformers and other ways to compute the network.

Texts are the abstracts of an evaluation folder, every second one cut to its first sentence, so that lengths are mixed.
All sides read the same weights and run in one process, one after the other in short rounds; a side is compared with the
baseline of its own round. ``--claims N`` also measures nDCG@10 of every side, of the folder's first N queries in its
whole corpus, or in ``--passages M`` of it, those that answer them first; ``--ingest N`` compares ingesting N abstracts,
as one document and as a document each, with embedding the same passages alone.

    python -m benchmarks.embedding [EMBEDDER] --data DIR [--only SIDE ...] [--claims N] [--ingest N] [--json FILE]

Processors differ in what they do with eight bits. To see those without VNNI or AMX on a machine that has them, set
ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2. ONNX Runtime (with onnx), OpenVINO (with nncf for eight bits) and
torchao take part where they are installed; which are not is said.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from tokenizers import Tokenizer

from benchmarks.options import Options, Size
from benchmarks.report import Report, turns
from rag.config import Settings
from rag.embedding.batches import token_budget_batches
from rag.embedding.bi_encoder import BiEncoder
from rag.embedding.context import contextual_text
from rag.embedding.padded import PaddedNetwork
from rag.evaluation.dataset import load_dataset
from rag.evaluation.retrieval import score_rankings
from rag.openmp import wait_passively

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from rag.evaluation.dataset import Dataset, Entry, Query

_BASELINE, _PRODUCT = "sentence_transformers", "plumbline"
_DEPTH = 10
_GATE = 0.99
# Tokens of a batch that were best for each, in runs of which no record was kept.
_SMALL, _TINY = 1024, 512
_ONNX = ("onnx", "onnxruntime")
_SAMPLES = 32  # from the end of the corpus, of which the first are timed


class _Network(Protocol):
    def encode(self, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> NDArray[np.float32]: ...


def main() -> None:
    parser = Options("embedding", __doc__, kind="embedder")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="an evaluation folder")
    parser.add_argument("--only", nargs="+", metavar="SIDE", help="these sides, beside the baseline")
    parser.size("--texts", Size(full=128, quick=6), "texts of a round")
    parser.size("--rounds", Size(full=5, quick=2), "rounds")
    parser.size("--claims", Size(full=0, quick=0), "queries to measure nDCG@10 with, 0 to leave it out")
    parser.size("--passages", Size(full=0, quick=20), "passages to look for answers in, 0 for the whole corpus")
    parser.size("--ingest", Size(full=0, quick=4), "abstracts to ingest, 0 to leave it out")
    options = parser.read()
    wait_passively()
    report = Report("embedding", options)
    dataset = load_dataset(options.data)
    with tempfile.TemporaryDirectory(prefix="plumbline-embedding-") as work:
        sides = {name: make() for name, make in _sides(report, options, dataset, Path(work)).items()}
        _speed(report, options, dataset, sides)
        if options.claims:
            _quality(report, options, dataset, sides)
        if options.ingest:
            _ingest(report, options, dataset, Path(work))
    report.finish()


def _sides(
    report: Report, options: argparse.Namespace, dataset: Dataset, work: Path
) -> dict[str, Callable[[], Callable[..., NDArray[np.float32]]]]:
    """What embeds a list of texts, by name; made when it is asked for."""
    import gguf

    # They load torch, whose threads are to wait as they do in the product.
    from benchmarks.encoders import (
        LlamaEncoder,
        OnnxEncoder,
        OpenVinoEncoder,
        QuantizedBert,
        RowQuantizedBert,
        TorchaoBert,
        missing,
    )

    path, threads = options.model.path, options.threads
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    product = _product(options)
    tokenizer.enable_truncation(product.max_tokens)
    tokenizer.no_padding()

    def batched(make: Callable[[], _Network], budget: int) -> Callable[[], Callable[..., NDArray[np.float32]]]:
        def made() -> Callable[..., NDArray[np.float32]]:
            network = make()
            return lambda texts: _in_batches(network, tokenizer, texts, budget)

        return made

    def llama(kind: str) -> Callable[[], _Network]:
        return lambda: LlamaEncoder(path, work / f"{kind}.gguf", gguf.GGMLQuantizationType[kind], threads=threads)

    sides = {
        _BASELINE: lambda: _defaults(path),
        "sentence_transformers_batched": batched(lambda: PaddedNetwork(path), _SMALL),
        _PRODUCT: lambda: product.embed_passages,
        "plumbline_one_by_one": lambda: _one_by_one(_product(options)),
        "plumbline_float32": lambda: _product(options, precision="float32").embed_passages,
        "torch_int8_rows": batched(lambda: RowQuantizedBert(path), _SMALL),
        "torch_int8": batched(lambda: QuantizedBert(path, weight_bits=8), _SMALL),
        "torch_int8_weights_7": batched(lambda: QuantizedBert(path, weight_bits=7), _SMALL),
        "llama_cpp_f32": batched(llama("F32"), _TINY),
        "llama_cpp_f16": batched(llama("F16"), _TINY),
        "llama_cpp_q8_0": batched(llama("Q8_0"), _TINY),
    }
    samples = [encoding.ids for encoding in tokenizer.encode_batch([e.text for e in dataset.corpus[-_SAMPLES:]])]
    optional: dict[str, tuple[Callable[[], _Network], int, tuple[str, ...]]] = {
        "torchao_int8": (lambda: TorchaoBert(path), _SMALL, ("torchao",)),
        "onnx_runtime_float32": (lambda: OnnxEncoder(path, bits=32, threads=threads), _TINY, _ONNX),
        "onnx_runtime_int8": (lambda: OnnxEncoder(path, bits=8, threads=threads), _TINY, _ONNX),
        "openvino_float32": (lambda: OpenVinoEncoder(path, bits=32, threads=threads), _TINY, ("openvino",)),
        "openvino_int8": (
            lambda: OpenVinoEncoder(path, bits=8, threads=threads, samples=samples),
            _TINY,
            ("openvino", "nncf"),
        ),
    }
    for name, (make, budget, packages) in optional.items():
        if absent := missing(*packages):
            report.side(name, not_installed=" ".join(absent))
        else:
            sides[name] = batched(make, budget)
    return {name: make for name, make in sides.items() if name == _BASELINE or not options.only or name in options.only}


def _product(
    options: argparse.Namespace, *, precision: Literal["auto", "float32"] = "auto", apart: bool = False
) -> BiEncoder:
    model = options.model
    named = {"name": model.name, "sha256": model.sha256}
    return BiEncoder(model.path, **named, threads=options.threads, precision=precision, apart=apart)


def _one_by_one(product: BiEncoder) -> Callable[..., NDArray[np.float32]]:
    return lambda texts: np.concatenate([product.embed_passages([one]) for one in texts])


def _defaults(path: Path) -> Callable[..., NDArray[np.float32]]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(path), local_files_only=True, device="cpu")
    return lambda texts: model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)


def _in_batches(network: _Network, tokenizer: Tokenizer, texts: Sequence[str], budget: int) -> NDArray[np.float32]:
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    vectors: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(texts)
    for batch in token_budget_batches([len(text) for text in ids], budget):
        made = network.encode([texts[i] for i in batch], [ids[i] for i in batch])
        for position, vector in zip(batch, made, strict=True):
            vectors[position] = vector
    return np.stack(vectors)


def _speed(
    report: Report,
    options: argparse.Namespace,
    dataset: Dataset,
    sides: dict[str, Callable[..., NDArray[np.float32]]],
) -> None:
    texts = list(_mixed(dataset, options.texts, 0))
    reference = sides[_BASELINE](texts)
    for name, embed in sides.items():
        cosines = (embed(texts) * reference).sum(axis=1)  # also warms it up
        report.side(name, cosine_least=f"{cosines.min():.6f}", cosine_mean=f"{cosines.mean():.6f}")
    for number in range(options.rounds):
        texts = list(_mixed(dataset, options.texts, number + 1))  # others each time: some sides remember texts
        for name in turns(tuple(sides), number):
            wall, cpu = time.perf_counter(), time.process_time()
            sides[name](texts)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            report.add(name, passages_per_s=len(texts) / wall, cpu_ms_a_passage=1000 * cpu / len(texts))
    for name in sides:
        if name != _BASELINE:
            target = 1.6 if name == _PRODUCT else None
            report.figure(f"speed, {name} / baseline", _ratio(report, name, "passages_per_s"), at_least=target)
            work = 1 / _ratio(report, name, "cpu_ms_a_passage")
            report.figure(f"baseline / processor time, {name}", work)


def _ratio(report: Report, side: str, key: str) -> float:
    pairs = zip(report.values(side, key), report.values(_BASELINE, key), strict=True)
    return statistics.median(mine / base for mine, base in pairs)


def _mixed(dataset: Dataset, count: int, part: int) -> Iterator[str]:
    corpus = dataset.corpus
    for number in range(count):
        entry = corpus[(part * count + number) % len(corpus)]
        yield entry.text if number % 2 else entry.text.partition(". ")[0]


def _quality(
    report: Report,
    options: argparse.Namespace,
    dataset: Dataset,
    sides: dict[str, Callable[..., NDArray[np.float32]]],
) -> None:
    """nDCG@10 by exact search; also of float32 questions beside the side's passages."""
    queries = dataset.queries[: options.claims]
    corpus = searched(dataset, queries, options.passages)
    passages = [contextual_text(entry.title, (), entry.text) for entry in corpus]
    asked = [query.text for query in queries]
    names = [entry.id for entry in corpus]
    float32 = sides[_BASELINE](asked)
    scores: dict[str, float] = {}
    for name, embed in sides.items():
        if name == "plumbline_one_by_one":
            continue
        stored = embed(passages)
        for label, vectors in ((name, embed(asked)), (f"{name}, float32 questions", float32)):
            best = np.argsort(-(vectors @ stored.T), axis=1)[:, :_DEPTH]
            rankings = {query.id: [names[i] for i in row] for query, row in zip(queries, best, strict=True)}
            scored = score_rankings(rankings, dataset.qrels)
            scores[label] = statistics.fmean(each["ndcg@10"] for each in scored.values())
        report.add(f"{name}: quality", **{"ndcg@10": scores[name]})
    for label, value in scores.items():
        report.figure(f"nDCG@10, {label} / baseline", value / scores[_BASELINE], at_least=_GATE)


def searched(dataset: Dataset, queries: Sequence[Query], passages: int) -> Sequence[Entry]:
    """The whole corpus, or that many entries of it, of which those that answer the queries come first."""
    if not passages:
        return dataset.corpus
    answers = {name for query in queries for name in dataset.qrels.get(query.id, ())}
    return sorted(dataset.corpus, key=lambda entry: entry.id not in answers)[:passages]


def _ingest(report: Report, options: argparse.Namespace, dataset: Dataset, work: Path) -> None:
    entries = dataset.corpus[: options.ingest]
    together, apart = work / "together", work / "apart"
    for folder in (together, apart):
        folder.mkdir()
    for number, entry in enumerate(entries):
        (apart / f"{number}.md").write_text(f"# {entry.title}\n\n{entry.text}\n", encoding="utf-8")
    joined = "\n".join(f"## {entry.title}\n\n{entry.text}\n" for entry in entries)
    (together / "all.md").write_text(f"# Abstracts\n\n{joined}", encoding="utf-8")
    for name, folder in (("one document", together), ("a document each", apart)):
        for number in range(max(2, options.rounds // 2)):
            with closing(_product(options, apart=True)) as embedder:
                share = _ingested(report, name, folder, work / f"home-{folder.name}-{number}", embedder)
            report.add(f"ingest: {name}", of_embedding_alone=share)
        median = report.median(f"ingest: {name}", "of_embedding_alone")
        report.figure(f"ingest / embedding alone, {name}", median, at_least=0.85)


def _ingested(report: Report, name: str, folder: Path, home: Path, embedder: BiEncoder) -> float:
    """Passages a second of ingesting the folder into a new store, as a share of embedding the same passages alone."""
    from indexer.parsing.isolation import IsolatedParsers
    from indexer.pipeline import IngestPipeline
    from rag.factory import open_library

    embedder.load()
    settings = Settings(home=home)
    with (
        open_library(settings) as library,
        IsolatedParsers.limited_by(settings) as parsers,
    ):
        pipeline = IngestPipeline(
            store=library.store,
            embedder_for=lambda _collection: embedder,
            parsers=parsers,
            max_file_bytes=settings.max_file_bytes,
        )
        wall = time.perf_counter()
        result = pipeline.ingest([folder], collection="measured")
        ingesting = time.perf_counter() - wall
        inputs = list(library.store.embedding_inputs(library.store.collection("measured")))
        texts = [contextual_text(item.title, item.heading_path, item.text) for item in inputs]
        wall = time.perf_counter()
        embedder.embed_passages(texts)
        alone = time.perf_counter() - wall
    if result.failed:
        raise RuntimeError(f"{len(result.failed)} files of the benchmark could not be ingested")
    passages = len(texts)
    report.add(f"ingest: {name}, speed", ingest_per_s=passages / ingesting, embedding_per_s=passages / alone)
    return alone / ingesting


if __name__ == "__main__":
    main()
