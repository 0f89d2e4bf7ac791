"""Answers measured against references: every question asked through the whole pipeline, one after the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rag.errors import InputError
from rag.evaluation.citation_scores import CitationScores, judge_citations
from rag.evaluation.corpus import entry_id
from rag.evaluation.overlap import Overlap, compare
from rag.model_types import Caller, Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rag.evaluation.corpus import LoadedCorpus
    from rag.evaluation.dataset import Dataset, Query, Reference
    from rag.types import Answer

# A service that runs over the same model goes first.
_CALLER = Caller(key="evaluation", priority=Priority.BATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswer:
    """One question, what came back, and what it is worth.

    ``answer`` is ``None`` and ``error`` its code where the question could not be asked as it stands (longer than the
    context). ``best_dense`` is the corpus's highest cosine for the question, whether or not a threshold used it.
    """

    query: Query
    reference: Reference
    relevant: tuple[str, ...]
    answer: Answer | None
    error: str | None
    best_dense: float | None
    overlap: Overlap
    citations: CitationScores

    @property
    def answered(self) -> bool:
        return self.answer is not None and self.answer.status == "answered"

    @property
    def refused(self) -> bool:
        return self.answer is not None and self.answer.status == "refused"


async def measure_answers(
    loaded: LoadedCorpus, dataset: Dataset, queries: Sequence[Query]
) -> AsyncIterator[ScoredAnswer]:
    """Ask and score the questions in order; each must have a reference.

    Raises:
        GenerationFailed: the model stopped working. What was scored before stays valid.
    """
    library, collection = loaded.library, loaded.collection
    for query in queries:
        best_dense = library.retriever.retrieve(collection, query.text, 1, leg="dense").best_dense
        try:
            answer = await library.pipeline.answer(query.text, collection=collection.name, caller=_CALLER)
        except InputError as error:
            yield score_answer(query, dataset, None, error=error.code, best_dense=best_dense)
        else:
            yield score_answer(query, dataset, answer, best_dense=best_dense)


def score_answer(
    query: Query,
    dataset: Dataset,
    answer: Answer | None,
    *,
    error: str | None = None,
    best_dense: float | None = None,
) -> ScoredAnswer:
    """Score one answer; a refusal says nothing and has neither overlap nor citations."""
    reference = dataset.references[query.id]
    relevant = tuple(dataset.qrels.get(query.id, ()))
    answered = answer is not None and answer.status == "answered"
    return ScoredAnswer(
        query=query,
        reference=reference,
        relevant=relevant,
        answer=answer,
        error=error,
        best_dense=best_dense,
        overlap=compare(answer.text, reference.answers) if answer and answered else Overlap(),
        citations=judge_citations(answer, relevant, reference.gold_sentences)
        if answer and answered
        else CitationScores(),
    )


def answer_row(scored: ScoredAnswer) -> dict[str, object]:
    """One question as a JSON object, complete enough to study thresholds without asking again."""
    row: dict[str, object] = {
        "_id": scored.query.id,
        "question": scored.query.text,
        "answerable": scored.reference.answerable,
        "references": scored.reference.answers,
        "relevant": scored.relevant,
        "best_dense": scored.best_dense,
        "error": scored.error,
        **asdict(scored.overlap),
        "citation_precision": scored.citations.precision,
        "citation_recall": scored.citations.recall,
        "gold_sentence_recall": scored.citations.gold_sentences,
    }
    if scored.answer is not None:
        row |= _answer_fields(scored.answer)
    return row


def _answer_fields(answer: Answer) -> dict[str, object]:
    return {
        "status": answer.status,
        "refusal": answer.refusal.code if answer.refusal else None,
        "confidence": answer.confidence,
        "text": answer.text,
        "sentences": [
            {
                "text": sentence.text,
                "citations": [
                    {"entry": entry_id(c.passage.document.uri), "support": c.support, "quote": c.quote}
                    for c in answer.citations
                    if c.answer_span == sentence.span
                ],
            }
            for sentence in answer.sentences
        ],
        "dropped_sentences": answer.dropped_sentences,
        "passages": [
            {"entry": entry_id(p.document.uri), "dense": p.scores.dense, "lexical": p.scores.lexical}
            for p in answer.passages
        ],
        "dropped_passages": answer.dropped_passages,
        "usage": asdict(answer.usage),
        "timings": asdict(answer.timings),
    }
