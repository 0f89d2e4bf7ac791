"""All ways of fusion on an evaluation folder: each query is searched for once, the rest is arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rag.evaluation.corpus import entry_id
from rag.evaluation.fusion import METHODS, WEIGHTS, legs, ndcg_table
from rag.evaluation.intervals import mean_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from rag.evaluation.corpus import LoadedCorpus
    from rag.evaluation.dataset import Dataset, Query
    from rag.evaluation.fusion import Legs

    Tables = Mapping[str, NDArray[np.float64]]


def measure_fusion(
    loaded: LoadedCorpus, dataset: Dataset, queries: Sequence[Query], progress: Callable[[int, int], None]
) -> Tables:
    """nDCG@10 by method, each of shape ``(queries, weights)``. ``progress`` is told searches done and in all."""
    found = []
    for done, query in enumerate(queries):
        progress(done, len(queries))
        found.append(_search(loaded, query.text, dataset.qrels[query.id]))
    progress(len(queries), len(queries))
    return {method: ndcg_table(found, method=method) for method in METHODS}


def _search(loaded: LoadedCorpus, query: str, grades: Mapping[str, int]) -> Legs:
    dense, lexical = loaded.library.retriever.both_legs(loaded.collection, query)
    found = list({hit.chunk_id for hit in (*dense, *lexical)})
    entries = {
        chunk.id: entry_id(document.uri) for chunk, document in loaded.library.store.hydrate(loaded.collection, found)
    }
    places = {entry: place for place, entry in enumerate(grades)}
    judgments = {chunk: places[entry] for chunk, entry in entries.items() if entry in places}
    return legs(dense, lexical, judgments, list(grades.values()))


def fusion_report(tables: Tables) -> dict[str, object]:
    """By method: the mean for each weight, and the best weight with the interval of its mean and of equal weights."""
    return {method: _method_report(table) for method, table in tables.items()}


def _method_report(table: NDArray[np.float64]) -> dict[str, object]:
    means = table.mean(axis=0)
    best, equal = int(means.argmax()), WEIGHTS.index(0.5)
    return {
        "ndcg@10": {str(weight): float(mean) for weight, mean in zip(WEIGHTS, means, strict=True)},
        "equal": {"ndcg@10": float(means[equal]), "ndcg@10_ci95": mean_interval(table[:, equal].tolist())},
        "best": {
            "dense_weight": WEIGHTS[best],
            "ndcg@10": float(means[best]),
            "ndcg@10_ci95": mean_interval(table[:, best].tolist()),
        },
    }


def macro_report(sets: Sequence[Tables]) -> dict[str, object]:
    """By method, over sets that count alike: equal weights, the best weight for all, and each set's own best.

    The last figure is a bound: its weights were chosen by the very judgments that it is measured with.
    """
    return {method: _macro([tables[method] for tables in sets]) for method in METHODS}


def _macro(tables: Sequence[NDArray[np.float64]]) -> dict[str, object]:
    means = np.array([table.mean(axis=0) for table in tables])
    overall = means.mean(axis=0)
    best = int(overall.argmax())
    return {
        "ndcg@10": {str(weight): float(mean) for weight, mean in zip(WEIGHTS, overall, strict=True)},
        "equal": float(overall[WEIGHTS.index(0.5)]),
        "best": {"dense_weight": WEIGHTS[best], "ndcg@10": float(overall[best])},
        "own_best": float(means.max(axis=1).mean()),
    }
