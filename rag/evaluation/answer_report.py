"""From scored answers to the figures that are printed; ``docs/evaluation.md`` defines each."""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING

from rag.evaluation.intervals import mean_interval
from rag.evaluation.selective import area_under_roc, risk_coverage_area
from rag.generation.prompts import is_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rag.evaluation.answers import ScoredAnswer

# Below every confidence: a question without an answer is the last to be answered.
_UNANSWERED = -1.0


def answer_report(rows: Sequence[ScoredAnswer]) -> dict[str, object]:
    """All figures by printed name; ``None`` where there is nothing to take a mean of."""
    answerable = [row for row in rows if row.reference.answerable]
    answered = [row for row in answerable if row.answered]
    timings = [row.answer.timings for row in rows if row.answer]
    usages = [row.answer.usage for row in rows if row.answer and row.answer.usage.prompt_tokens]
    return {
        "em": _mean(row.overlap.em for row in answerable),
        "f1": _mean(row.overlap.f1 for row in answerable),
        "f1_ci95": mean_interval([row.overlap.f1 for row in answerable]),
        "f1_answered": _mean(row.overlap.f1 for row in answered),
        "contains": _mean(row.overlap.contains for row in answerable),
        "reference_recall": _mean(row.overlap.recall for row in answerable),
        "citation_precision": _mean(row.citations.precision for row in answered),
        "citation_recall": _mean(row.citations.recall for row in answered),
        "gold_sentence_recall": _mean(row.citations.gold_sentences for row in answered),
        **_refusals(rows),
        **_sentences(rows),
        "ttft_ms_p50": _median(t.ttft_ms for t in timings),
        "tokens_per_s": _median(t.tokens_per_s for t in timings),
        "total_ms_p50": _median(t.total_ms for t in timings),
        "tokens_cached": _mean(usage.cached_tokens for usage in usages),
        "tokens_prefilled": _mean(usage.prompt_tokens - usage.cached_tokens for usage in usages),
        "stitched_answers": sum(usage.passage_reuse == "stitched" for usage in usages),
        "questions": len(rows),
    }


def _refusals(rows: Sequence[ScoredAnswer]) -> dict[str, object]:
    refused = [row for row in rows if row.refused]
    unanswerable = [row for row in rows if not row.reference.answerable]
    return {
        "answered": sum(row.answered for row in rows),
        "refused": len(refused),
        "failed": sum(row.error is not None for row in rows),
        "refusal_precision": _mean(float(not row.reference.answerable) for row in refused),
        "refusal_recall": _mean(float(row.refused) for row in unanswerable),
        "risk_coverage_auc": risk_coverage_area(
            [_rank_value(row) for row in rows],
            [1 - row.overlap.recall if row.reference.answerable else 1.0 for row in rows],
        ),
        "answerability_auc": _separation((row.answer.confidence if row.answer else None, row) for row in rows),
        "best_dense_auc": _separation((row.best_dense, row) for row in rows),
    }


def _sentences(rows: Sequence[ScoredAnswer]) -> dict[str, object]:
    kept = sum(len(row.answer.sentences) for row in rows if row.answer)
    dropped = sum(not is_refusal(said) for row in rows if row.answer for said in row.answer.dropped_sentences)
    return {"generated_sentences": kept + dropped, "dropped_sentences": dropped}


def _rank_value(row: ScoredAnswer) -> float:
    if not row.answered or row.answer is None:
        return _UNANSWERED
    return row.answer.confidence if row.answer.confidence is not None else 0.0


def _separation(values: Iterable[tuple[float | None, ScoredAnswer]]) -> float | None:
    known = [(value, row.reference.answerable) for value, row in values if value is not None]
    return area_under_roc(
        [v for v, answerable in known if answerable], [v for v, answerable in known if not answerable]
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
