"""Retrieval measured against relevance judgments, for each leg and for both together.

The measures are computed by ``ir_measures`` (MacAvaney, Macdonald and Ounis, ECIR 2022) with trec_eval's definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, get_args

from rag.evaluation.corpus import entry_id
from rag.evaluation.intervals import mean_interval
from rag.retrieval.legs import Leg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rag.evaluation.corpus import LoadedCorpus
    from rag.evaluation.dataset import Dataset, Query
    from rag.types import Passage

LEGS: tuple[Leg, ...] = get_args(Leg)
# recall@100 needs as many.
_DEPTH = 100
_MEASURES = {"ndcg@10": "nDCG@10", "recall@10": "R@10", "recall@100": "R@100", "mrr@10": "RR@10"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryScores:
    """One query on one leg: its measures by printed name, and what was found, best first (corpus ids)."""

    query: Query
    leg: Leg
    measures: Mapping[str, float]
    ranking: tuple[str, ...]


def measure_retrieval(
    loaded: LoadedCorpus,
    dataset: Dataset,
    queries: Sequence[Query],
    progress: Callable[[int, int], None] | None = None,
) -> list[QueryScores]:
    """Search for every query on every leg and score what came back. ``progress`` is told searches done and in all."""
    total = len(queries) * len(LEGS)
    rankings: dict[tuple[Leg, str], tuple[str, ...]] = {}
    for query in queries:
        for leg in LEGS:
            if progress:
                progress(len(rankings), total)
            found = loaded.library.retriever.retrieve(loaded.collection, query.text, _DEPTH, leg=leg)
            rankings[leg, query.id] = _entries(found.passages)
    if progress:
        progress(total, total)
    rows = []
    for leg in LEGS:
        scored = score_rankings({query.id: rankings[leg, query.id] for query in queries}, dataset.qrels)
        rows += [
            QueryScores(query=query, leg=leg, measures=scored[query.id], ranking=rankings[leg, query.id])
            for query in queries
        ]
    return rows


def _entries(passages: Iterable[Passage]) -> tuple[str, ...]:
    """Corpus ids, best first; those that say the same one after the other, as judgments are of each."""
    documents = (document for each in passages for document in (each.document, *(s.document for s in each.also_in)))
    return tuple(dict.fromkeys(entry_id(document.uri) for document in documents))[:_DEPTH]


def score_rankings(
    rankings: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, float]]:
    """Measures by printed name for each query id of ``rankings`` (corpus ids, best first)."""
    import ir_measures

    names = {ir_measures.parse_measure(measure): name for name, measure in _MEASURES.items()}
    judged = [
        ir_measures.Qrel(query, document, grade)
        for query in rankings
        for document, grade in qrels.get(query, {}).items()
    ]
    # The order is the result; falling scores keep the evaluator from sorting ties its own way.
    run = [
        ir_measures.ScoredDoc(query, document, float(-rank))
        for query, ranking in rankings.items()
        for rank, document in enumerate(ranking)
    ]
    scores: dict[str, dict[str, float]] = {query: dict.fromkeys(_MEASURES, 0.0) for query in rankings}
    for metric in ir_measures.iter_calc(list(names), judged, run):
        scores[metric.query_id][names[metric.measure]] = float(metric.value)
    return scores


def retrieval_report(rows: Sequence[QueryScores]) -> dict[str, object]:
    """Means over the queries, hybrid's at the top level and each leg's under its name."""
    legs = {leg: _leg_report([row for row in rows if row.leg == leg]) for leg in ("dense", "lexical", "hybrid")}
    return {**legs["hybrid"], **legs}


def _leg_report(rows: Sequence[QueryScores]) -> dict[str, object]:
    report: dict[str, object] = {name: fmean([row.measures[name] for row in rows]) for name in _MEASURES}
    return report | {"queries": len(rows), "ndcg@10_ci95": mean_interval([row.measures["ndcg@10"] for row in rows])}
