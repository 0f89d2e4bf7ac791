"""How much of what answers a question stands in the passages that are found for it, by how documents are cut.

The folder's documents are cut, the chunks embedded as the product embeds them, and the best by cosine taken for every
question, as many as fit a number of characters: what is compared is what a prompt of that length holds. Recall is the
share of the gold characters that are in them, precision the share of theirs that is gold, and IoU gold in them by both
together (Smith and Troynikov 2024, https://research.trychroma.com/evaluating-chunking, there with a fixed number of
chunks, which rewards long ones).

With --parents the product's chunks are also widened as RAG_PARENT_TOKENS does it, for each of these numbers.

    python -m benchmarks.chunking [EMBEDDER] --data DIR [--only SIDE ...] [--parents TOKENS ...] [--json FILE]
"""

from __future__ import annotations

import io
import json
import statistics
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from benchmarks.options import Options, Size
from benchmarks.report import Report
from indexer.chunking.chunker import MAX_TOKENS, TARGET_TOKENS, chunk_blocks
from indexer.parsers.blocks import Block
from indexer.parsers.text import parse_text
from rag.embedding.bi_encoder import BiEncoder
from rag.embedding.context import contextual_text
from rag.retrieval.parents import widen
from rag.types import Chunk, ChunkDraft, Document, Passage, Scores
from rag.version_types import Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

_PRODUCT = f"plumbline {TARGET_TOKENS}"
# What six passages of the product come to, half of it, and twice as much.
_BUDGETS = (2400, 4800, 9600)
# A ranking is widened so deep; less would not fill the largest budget.
_HITS = 100
_NO_DOCUMENT = Document(
    id=0, collection="", uri="", title="", media_type="", sha256="", size=0, chunk_count=0, updated_at=""
)


@dataclass(frozen=True, slots=True)
class _Chunk:
    document: str
    start: int
    end: int
    embedded: str
    draft: ChunkDraft | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    document: str
    spans: tuple[tuple[int, int], ...]


def main() -> None:
    parser = Options("chunking", __doc__, kind="embedder")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="an evaluation folder with gold spans")
    parser.add_argument("--only", nargs="+", metavar="SIDE", help="these ways to cut")
    parser.size("--questions", Size(full=10_000, quick=5), "questions")
    parser.size("--characters", Size(full=10_000_000, quick=20_000), "of each document")
    parser.add_argument("--parents", nargs="+", type=int, default=[], metavar="TOKENS", help="widen passages to these")
    options = parser.read()
    report = Report("chunking", options)
    embedder = BiEncoder(
        options.model.path, name=options.model.name, sha256=options.model.sha256, threads=options.threads
    )
    documents = {entry["_id"]: entry["text"][: options.characters] for entry in _lines(options.data / "corpus.jsonl")}
    questions = _questions(options.data, documents)[: options.questions]
    asked = np.stack([embedder.embed_query(question.text) for question in questions])
    tokenizer = Tokenizer.from_file(str(options.model.path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def tokens(text: str) -> Sequence[tuple[int, int]]:
        return tokenizer.encode(text, add_special_tokens=False).offsets

    for name, cut in _sides(embedder, tokens).items():
        if options.only and name not in options.only:
            continue
        chunks = [chunk for document, text in documents.items() for chunk in cut(document, text)]
        vectors = embedder.embed_passages([chunk.embedded for chunk in chunks])
        report.side(name, chunks=len(chunks), median_chars=int(statistics.median(c.end - c.start for c in chunks)))
        stretches = _stretches(chunks, documents) if options.parents and name == _PRODUCT else []
        for budget in _BUDGETS:
            ranked = np.argsort(-(asked @ vectors.T))
            row = _scored(questions, ([chunks[i] for i in row] for row in ranked), budget)
            report.add(f"{name}, {budget} characters", **row)
            report.figure(f"recall in {budget} characters, {name}", row["recall"])
            for most in options.parents if stretches else ():
                widened = (_widened(chunks, row, stretches, most) for row in ranked)
                row = _scored(questions, widened, budget)
                report.add(f"{name}, parents of {most}, {budget} characters", **row)
                report.figure(f"recall in {budget} characters, parents of {most}", row["recall"])
    report.finish()


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _questions(data: Path, documents: dict[str, str]) -> list[_Question]:
    texts = {entry["_id"]: entry["text"] for entry in _lines(data / "queries.jsonl")}
    found = []
    for answer in map(json.loads, (data / "answers.jsonl").read_text(encoding="utf-8").splitlines()):
        spans = tuple((start, end) for start, end in answer["spans"])
        if spans and max(end for _, end in spans) <= len(documents[answer["doc"]]):
            found.append(_Question(texts[answer["_id"]], answer["doc"], spans))
    return found


def _sides(
    embedder: BiEncoder, tokens: Callable[[str], Sequence[tuple[int, int]]]
) -> dict[str, Callable[[str, str], Iterable[_Chunk]]]:
    """Ways to cut a document, by name. Windows are what peers do by default: Haystack 200 words, LlamaIndex 1024 tokens
    of which 200 overlap, LangChain 4000 characters of which 200 overlap; 1200 characters are the set's own baseline.
    """

    def ours(target: int, limit: int) -> Callable[[str, str], Iterable[_Chunk]]:
        return lambda document, text: _structured(document, text, embedder, target=target, limit=limit)

    sides = {_PRODUCT: ours(TARGET_TOKENS, MAX_TOKENS)}
    for target, limit in ((60, 80), (90, 120), (120, 150), (220, 240)):
        sides[f"plumbline {target}"] = ours(target, limit)
    sides["200 words"] = lambda document, text: _windows(document, text, list(_words(text)), 200, 0)
    sides["1200 characters"] = lambda document, text: _windows(document, text, _each(text), 1200, 0)
    sides["1024 tokens, 200 overlap"] = lambda document, text: _windows(document, text, tokens(text), 1024, 200)
    sides["4000 characters, 200 overlap"] = lambda document, text: _windows(document, text, _each(text), 4000, 200)
    return sides


def _structured(document: str, text: str, embedder: BiEncoder, *, target: int, limit: int) -> Iterator[_Chunk]:
    blocks = [block for block in parse_text(io.BytesIO(text.encode()), "utf-8") if isinstance(block, Block)]
    joined = "".join(block.text for block in blocks)
    if joined != text:
        raise SystemExit(f"{document}: the parser changed the text, so its gold spans stand elsewhere")
    drafts = chunk_blocks(
        blocks, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens, target=target, limit=limit
    )
    for draft in drafts:
        embedded = contextual_text("", draft.heading_path, draft.text)
        yield _Chunk(document, draft.span.start, draft.span.end, embedded, draft)


def _each(text: str) -> Sequence[tuple[int, int]]:
    return [(place, place + 1) for place in range(len(text))]


def _words(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for word in text.split(" "):
        yield start, start + len(word)
        start += len(word) + 1


def _windows(document: str, text: str, units: Sequence[tuple[int, int]], size: int, overlap: int) -> Iterator[_Chunk]:
    for first in range(0, len(units), size - overlap):
        window = units[first : first + size]
        start, end = window[0][0], window[-1][1]
        if text[start:end].strip():
            yield _Chunk(document, start, end, text[start:end])
        if first + size >= len(units):
            return


def _stretches(chunks: Sequence[_Chunk], documents: dict[str, str]) -> list[Stretch]:
    """The chunks as the store gives them, with their places among all as ids."""
    found = []
    for name, of in groupby(enumerate(chunks), key=lambda each: each[1].document):
        mine = tuple(
            Chunk(id=i, document_id=0, **{each.name: getattr(chunk.draft, each.name) for each in fields(ChunkDraft)})
            for i, chunk in of
        )
        found.append(Stretch(chunks=mine, text=documents[name][mine[0].span.start : mine[-1].span.end]))
    return found


def _widened(
    chunks: Sequence[_Chunk], ranked: NDArray[np.int64], stretches: Sequence[Stretch], most_tokens: int
) -> list[_Chunk]:
    """The ranking with its passages widened; as many of them as any budget holds."""
    stored = [chunk for stretch in stretches for chunk in stretch.chunks]
    hits = [Passage(chunk=stored[i], document=_NO_DOCUMENT, scores=Scores()) for i in ranked[:_HITS]]
    spans = [parent.passage.chunk for parent in widen(hits, stretches, most_tokens=most_tokens)]
    return [_Chunk(chunks[each.id].document, each.span.start, each.span.end, "") for each in spans]


def _scored(questions: Sequence[_Question], rankings: Iterable[Sequence[_Chunk]], budget: int) -> dict[str, float]:
    """Means over the questions. The chunk that the budget ends in is cut there, as a prompt would be."""
    recall, precision, iou = [], [], []
    for question, ranking in zip(questions, rankings, strict=True):
        taken, left = [], budget
        for chunk in ranking:
            length = min(chunk.end - chunk.start, left)
            taken.append((chunk.document, chunk.start, chunk.start + length))
            left -= length
            if not left:
                break
        gold = {place for start, end in question.spans for place in range(start, end)}
        found = {
            place for document, start, end in taken if document == question.document for place in range(start, end)
        }
        both, used = len(gold & found), budget - left
        recall.append(both / len(gold))
        precision.append(both / used)
        iou.append(both / (len(gold) + used - both))
    return {"recall": statistics.fmean(recall), "precision": statistics.fmean(precision), "iou": statistics.fmean(iou)}


if __name__ == "__main__":
    main()
