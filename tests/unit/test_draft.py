from rag.generation.citations import Attribution
from rag.generation.draft import AnswerDraft
from rag.types import Span, Timings
from tests.unit.builders import make_passage


def attribution(position: int, quote: str, start: int) -> Attribution:
    return Attribution(
        position=position, quote=quote, quote_span=Span(start=start, end=start + len(quote)), support=1.0
    )


def test_numbers_follow_first_use_and_spans_point_into_the_texts() -> None:
    source = "x" * 100 + "alpha beta gamma"
    passages = [make_passage("unused", id=1), make_passage("alpha beta gamma", id=2, start=100)]
    draft = AnswerDraft("q", passages)
    first, (citation,) = draft.add(" Alpha is it. ", [attribution(1, "beta", 6)])
    second, _ = draft.add("- Then more.", [attribution(1, "gamma", 11), attribution(0, "unused", 0)])
    answer = draft.answer(timings=Timings(), trace_id="t")
    assert (first, second) == ("Alpha is it.", "\n- Then more.")
    assert answer.text == first + second
    assert [s.citations for s in answer.sentences] == [(1,), (1, 2)]
    assert [answer.text[s.span.start : s.span.end] for s in answer.sentences] == ["Alpha is it.", "- Then more."]
    assert source[citation.quote_span.start : citation.quote_span.end] == "beta"
    assert answer.text[citation.answer_span.start : citation.answer_span.end] == "Alpha is it."


def test_dropped_sentences_are_recorded_outside_the_text() -> None:
    draft = AnswerDraft("q", [])
    draft.drop(" Made up. ")
    answer = draft.answer(timings=Timings(), trace_id="t")
    assert (answer.text, answer.dropped_sentences) == ("", ("Made up.",))
