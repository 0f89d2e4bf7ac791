"""Scored answers and their report, on answers made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rag.evaluation.answer_report import answer_report
from rag.evaluation.answers import ScoredAnswer, answer_row, score_answer
from rag.evaluation.citation_scores import judge_citations
from rag.evaluation.dataset import Dataset, Query, Reference
from rag.model_types import Usage
from rag.types import Answer, Citation, Passage, Refusal, RefusalCode, Sentence, Span, Timings
from tests.unit.builders import make_passage

REFUSAL = Refusal(code=RefusalCode.NOT_IN_PASSAGES, reason="not there")
FACTS = "Water boils at 100 degrees. Ice melts at zero. Salt changes both."


def entry(id: str, text: str = FACTS, start: int = 0) -> Passage:
    passage = make_passage(text, id=len(id) + start, start=start)
    return replace(passage, document=replace(passage.document, uri=f"entry:{id}"))


def cite(number: int, passage: Passage, sentence: Sentence, quote: str) -> Citation:
    start = passage.chunk.span.start + passage.chunk.text.index(quote)
    return Citation(
        number=number,
        passage=passage,
        quote=quote,
        quote_span=Span(start=start, end=start + len(quote)),
        answer_span=sentence.span,
        support=0.9,
    )


def sentence(text: str, at: int, *citations: int) -> Sentence:
    return Sentence(text=text, span=Span(start=at, end=at + len(text)), citations=citations)


def answer(text: str = "", confidence: float | None = 0.9, **fields: object) -> Answer:
    base = Answer(
        status="answered" if text else "refused",
        text=text,
        sentences=(sentence(text, 0),) if text else (),
        citations=(),
        passages=(),
        refusal=None if text else REFUSAL,
        usage=Usage(),
        timings=Timings(total_ms=10, ttft_ms=4 if text else None, tokens_per_s=20 if text else None),
        trace_id="t",
        confidence=confidence,
    )
    return replace(base, **fields)


def dataset(**references: Reference) -> Dataset:
    return Dataset(
        name="made",
        corpus=(),
        queries=tuple(Query(id=name, text=f"{name}?") for name in references),
        qrels={name: {"gold": 1} for name, reference in references.items() if reference.answerable},
        references=references,
        corpus_sha256="",
    )


YES = Reference(answers=("100 degrees",), answerable=True, gold_sentences=())
NO = Reference(answers=(), answerable=False, gold_sentences=())


def scored(reference: Reference, given: Answer | None, **fields: object) -> ScoredAnswer:
    return score_answer(Query(id="q", text="q?"), dataset(q=reference), given, **fields)


def test_citations_are_judged_by_document() -> None:
    gold, other = entry("gold"), entry("other")
    first, second = sentence("Water boils at 100 degrees.", 0, 1, 2), sentence("Bread.", 28, 2)
    given = answer(
        "Water boils at 100 degrees. Bread.",
        sentences=(first, second),
        citations=(
            cite(1, gold, first, "Water boils at 100 degrees."),
            cite(2, other, first, "Water boils"),
            cite(2, other, second, "Salt"),
        ),
    )
    judged = judge_citations(given, {"gold"}, ())
    assert judged.precision == pytest.approx(1 / 3)
    assert judged.recall == 0.5
    assert judged.gold_sentences is None
    assert judge_citations(given, {"neither"}, ()).precision == 0
    assert judge_citations(given, (), ()).recall is None
    assert judge_citations(answer(), {"gold"}, ()).recall is None


@pytest.mark.parametrize(
    ("quotes", "expected"),
    [
        (["Water boils at 100 degrees."], 0.5),
        (["Water boils at 100 degrees. Ice melts at zero."], 1.0),
        (["Water boils"], 0.0),
        (["Water boi", "ls at 100"], 0.5),  # together more than half of the sentence
        (["Salt changes both."], 0.0),
    ],
)
def test_a_gold_sentence_is_shown_by_quotes_that_cover_it(quotes: list[str], expected: float) -> None:
    # The passage begins further on in its source: quotes are placed there, gold sentences in the text.
    gold = entry("gold", start=1000)
    said = sentence("It boils.", 0, 1)
    given = answer("It boils.", sentences=(said,), citations=tuple(cite(1, gold, said, quote) for quote in quotes))
    judged = judge_citations(given, {"gold"}, ("Water boils at 100 degrees.", "Ice melts at zero."))
    assert judged.gold_sentences == expected


def test_gold_sentences_quoted_from_an_unjudged_document_do_not_count() -> None:
    other = entry("other")
    said = sentence("It boils.", 0, 1)
    given = answer("It boils.", sentences=(said,), citations=(cite(1, other, said, FACTS),))
    assert judge_citations(given, {"gold"}, ("Ice melts at zero.",)).gold_sentences == 0


def test_a_refusal_scores_nothing() -> None:
    row = scored(YES, answer())
    assert (row.refused, row.answered, row.overlap.f1, row.citations.precision) == (True, False, 0, None)


def test_the_report_counts_answers_and_refusals() -> None:
    report = answer_report(
        [
            scored(YES, answer("100 degrees", 0.9)),
            scored(YES, answer("It boils at 100 degrees", 0.8)),
            scored(YES, answer(confidence=0.1)),
            scored(NO, answer(confidence=0.05)),
            scored(NO, answer("Something else", 0.7)),
            scored(YES, None, error="question_too_long"),
        ]
    )
    assert report["questions"] == 6
    assert (report["answered"], report["refused"], report["failed"]) == (3, 2, 1)
    assert (report["refusal_precision"], report["refusal_recall"]) == (0.5, 0.5)
    assert report["em"] == 1 / 4
    assert report["contains"] == 2 / 4
    assert report["f1"] == pytest.approx((1 + 4 / 7) / 4)
    assert report["f1_answered"] == pytest.approx((1 + 4 / 7) / 2)
    assert (report["citation_precision"], report["citation_recall"]) == (None, 0)
    assert report["answerability_auc"] == pytest.approx(5 / 6)
    # Right, right, wrong, and three without an answer.
    assert report["risk_coverage_auc"] == pytest.approx((0 + 0 + 1 / 3 + 2 / 4 + 3 / 5 + 4 / 6) / 6)
    assert (report["ttft_ms_p50"], report["tokens_per_s"], report["total_ms_p50"]) == (4, 20, 10)


def test_dropped_sentences_count_without_the_models_own_refusals() -> None:
    dropped = answer(confidence=0.4, dropped_sentences=("The passages do not say.", "Made up."))
    report = answer_report([scored(NO, dropped), scored(YES, answer("100 degrees"))])
    assert (report["generated_sentences"], report["dropped_sentences"]) == (2, 1)


def test_what_cannot_be_measured_is_null() -> None:
    report = answer_report([scored(YES, answer("100 degrees"))])
    undefined = ("refusal_precision", "refusal_recall", "answerability_auc", "gold_sentence_recall")
    assert [report[name] for name in undefined] == [None] * 4


def test_a_row_is_plain_json_and_keeps_what_thresholds_are_studied_with() -> None:
    gold = entry("gold")
    said = sentence("Water boils at 100 degrees.", 0, 1)
    given = answer(said.text, sentences=(said,), citations=(cite(1, gold, said, "Water boils"),), passages=(gold,))
    row = json.loads(json.dumps(answer_row(scored(YES, given, best_dense=0.61))))
    assert (row["best_dense"], row["confidence"], row["relevant"]) == (0.61, 0.9, ["gold"])
    assert row["sentences"][0]["citations"] == [{"entry": "gold", "support": 0.9, "quote": "Water boils"}]
    assert row["passages"][0]["entry"] == "gold"
    failed = json.loads(json.dumps(answer_row(scored(YES, None, error="question_too_long"))))
    assert (failed["error"], failed["f1"]) == ("question_too_long", 0)
