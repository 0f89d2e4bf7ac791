"""A million vectors that are shaped like those of real passages, and the vectors of real questions to search them with.

Two-sentence windows of real documents are embedded. To have more of them than can be embedded in reasonable time, each
further vector is a real one moved by a part of the difference between two of its own neighbours: so it stays where
texts lie, with the spread they have there. All are rounded as the database stores them.
"""

from __future__ import annotations

import hashlib
import json
import re
from pydoc_data.topics import topics
from typing import TYPE_CHECKING

import faiss
import numpy as np

from rag.evaluation.dataset import load_dataset
from rag.stores.index.vectors import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.embedding.bi_encoder import BiEncoder

_WINDOW_CHARACTERS = 400
_SHORTEST_SENTENCE = 40
_NEIGHBOURS = 16
_PART = (0.3, 0.9)
_SLICE = 20_000


def texts(folders: Sequence[Path], *, passages: int, questions: int, seed: int) -> tuple[list[str], list[str]]:
    """Windows and questions of evaluation folders; without any, of Python's manual: its topics ask."""
    windows: list[str] = []
    asked: list[str] = []
    for folder in folders:
        dataset = load_dataset(folder)
        for document in dataset.corpus:
            windows += _windows(document.text)
        asked += [query.text for query in dataset.queries]
    if not folders:
        for name, text in topics.items():
            first, *rest = _windows(text) or [name]
            asked.append(first)
            windows += rest or [text[:_WINDOW_CHARACTERS]]
    generator = np.random.default_rng(seed)
    return _drawn(windows, passages, generator), _drawn(asked, questions, generator)


def embedded(model: BiEncoder, texts: Sequence[str], cache: Path) -> NDArray[np.float32]:
    """The vectors of texts, computed once."""
    digest = hashlib.sha256(json.dumps([model.identity, *texts]).encode()).hexdigest()[:16]
    path = cache / f"embedded-{digest}.npy"
    if not path.exists():
        print(f"embedding {len(texts)} texts ...", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, model.embed_passages(texts))
    vectors: NDArray[np.float32] = np.load(path)
    return vectors


def multiplied(real: NDArray[np.float32], count: int, path: Path, *, seed: int) -> NDArray[np.float32]:
    """``count`` vectors like the real ones, in a file that is mapped."""
    exact = faiss.IndexFlatIP(real.shape[1])
    exact.add(real)
    neighbours = exact.search(real, _NEIGHBOURS + 1)[1][:, 1:]
    generator = np.random.default_rng(seed)
    made = np.lib.format.open_memmap(path, "w+", np.float32, (count, real.shape[1]))
    for start in range(0, count, _SLICE):
        rows = generator.integers(0, len(real), min(_SLICE, count - start))
        one = generator.integers(0, _NEIGHBOURS, len(rows))
        other = (one + generator.integers(1, _NEIGHBOURS, len(rows))) % _NEIGHBOURS
        part = generator.uniform(*_PART, (len(rows), 1)).astype(np.float32)
        vectors = real[rows] + part * (real[neighbours[rows, one]] - real[neighbours[rows, other]])
        made[start : start + len(rows)] = decode(encode(vectors), real.shape[1])
    return made


def nearest(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int, allowed: NDArray[np.intp] | None = None
) -> NDArray[np.float32]:
    """The exact score of each query's ``k``-th neighbour, of all rows or of those allowed."""
    best = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(vectors), _SLICE):
        end = min(start + _SLICE, len(vectors))
        rows = np.arange(start, end) if allowed is None else allowed[(allowed >= start) & (allowed < end)]
        best = np.concatenate([best, queries @ vectors[rows].T], axis=1)
        best = np.partition(best, -k, axis=1)[:, -k:] if best.shape[1] > k else best
    worst: NDArray[np.float32] = best.min(axis=1)
    return worst


def _windows(text: str) -> list[str]:
    sentences = [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n\n", text)]
    long = [sentence for sentence in sentences if len(sentence) >= _SHORTEST_SENTENCE]
    return [" ".join(long[start : start + 2])[:_WINDOW_CHARACTERS] for start in range(len(long))]


def _drawn(texts: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    different = list(dict.fromkeys(texts))
    return [different[number] for number in generator.permutation(len(different))[:count]]


def folders_in(path: Path) -> Iterator[Path]:
    """The evaluation folder itself, or those in it."""
    if (path / "corpus.jsonl").exists():
        yield path
    else:
        yield from sorted(folder for folder in path.iterdir() if (folder / "corpus.jsonl").exists())
