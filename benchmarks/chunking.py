"""How much of what answers a question stands in the passages that are found for it, by how documents are cut.

The folder's documents are cut, the chunks embedded as the product embeds them, and the best by cosine taken for every
question, as many as fit a number of characters: what is compared is what a prompt of that length holds. Recall is the
share of the gold characters that are in them, precision the share of theirs that is gold, and IoU gold in them by both
together (Smith and Troynikov 2024, https://research.trychroma.com/evaluating-chunking, there with a fixed number of
chunks, which rewards long ones).

    python -m benchmarks.chunking [EMBEDDER] --data DIR [--only SIDE ...] [--json FILE]
"""

from __future__ import annotations

import io
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from benchmarks.options import Options, Size
from benchmarks.report import Report
from indexer.chunking import MAX_TOKENS, TARGET_TOKENS, chunk_blocks
from indexer.parsers.blocks import Block
from indexer.parsers.text import parse_text
from rag.embedding.bi_encoder import BiEncoder
from rag.embedding.context import contextual_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

_PRODUCT = f"plumbline {TARGET_TOKENS}"
# What six passages of the product come to, half of it, and twice as much.
_BUDGETS = (2400, 4800, 9600)


@dataclass(frozen=True, slots=True)
class _Chunk:
    document: str
    start: int
    end: int
    embedded: str


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
        for budget in _BUDGETS:
            row = _scored(questions, chunks, asked @ vectors.T, budget)
            report.add(f"{name}, {budget} characters", **row)
            report.figure(f"recall in {budget} characters, {name}", row["recall"])
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
        yield _Chunk(document, draft.span.start, draft.span.end, contextual_text("", draft.heading_path, draft.text))


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


def _scored(
    questions: Sequence[_Question], chunks: Sequence[_Chunk], scores: NDArray[np.float32], budget: int
) -> dict[str, float]:
    """Means over the questions. The chunk that the budget ends in is cut there, as a prompt would be."""
    recall, precision, iou = [], [], []
    for question, row in zip(questions, scores, strict=True):
        taken, left = [], budget
        for best in np.argsort(-row):
            chunk = chunks[best]
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
