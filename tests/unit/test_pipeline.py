"""The use case with scripted parts: what is asked of the model, and what leaves the pipeline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rag.errors import (
    DeadlineExceeded,
    EmptyQuestion,
    GenerationFailed,
    InvalidRequest,
    QuestionTooLong,
    UnknownCollection,
)
from rag.model_types import (
    ANYONE,
    Caller,
    FinishReason,
    GenerationChunk,
    GeneratorInfo,
    GeneratorStats,
    Priority,
    Prompt,
    SamplingParams,
    SegmentKind,
    TokenProbabilities,
    Usage,
)
from rag.pipeline import PipelineOptions, RagPipeline
from rag.retrieval.retriever import Retrieval
from rag.types import (
    CitationEvent,
    Collection,
    Comparison,
    DeltaEvent,
    DoneEvent,
    Filter,
    OtherSource,
    Passage,
    PassagesEvent,
    RefusalCode,
    RefusedEvent,
    Span,
)
from rag.version_types import Stretch
from tests.unit.builders import OneCollection, make_passage

LORA = make_passage("LoRA reduces trainable parameters by 10,000 times.", id=1, title="Adapters")
ENERGY = make_passage("Training GPT-3 consumed 1,287 MWh.", id=2, title="Energy")
QUESTION = "What does LoRA reduce?"
# The model finds 40 of 600 tokens of the first prompt in its cache, and 590 of 620 of the second, read by the first.
JUDGED = Usage(prompt_tokens=600, cached_tokens=40, kv_cells=601, queue_ms=1, prefill_ms=2000)


class ScriptedRetriever:
    def __init__(self, passages: tuple[Passage, ...], best_dense: float | None) -> None:
        self.asked: list[tuple[str, int]] = []
        self.filters: list[Filter | None] = []
        self._found = passages, best_dense

    def retrieve(
        self, collection: Collection, query: str, k: int, *, where: Filter | None, as_of: datetime | None
    ) -> Retrieval:
        self.filters.append(where)
        self.asked.append((query, k))
        passages, best = self._found
        return Retrieval(
            collection=collection,
            passages=passages,
            best_dense=best,
            nothing_to_search=best is None,
            filtered_out=best is None and where is not None,
            embed_ms=1.0,
            search_ms=2.0,
        )


class Model:
    """Answers with ``pieces``; a token is a word."""

    def __init__(self, *pieces: str, yes: float = 0.9, context: int = 500, finish: FinishReason = "stop") -> None:
        self.pieces = pieces
        self.finish: FinishReason = finish
        self.yes = yes
        self.prompts: list[Prompt] = []
        self.params: list[SamplingParams] = []
        self.callers: list[Caller] = []
        self.judging_s = 0.0
        self.asked_probability = 0
        self.closed_streams = 0
        self.failure: str | None = None
        self.info = GeneratorInfo(
            model="scripted", sha256="", context_tokens=context, threads=1, gpu_layers=0, backend="none"
        )

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        return sum(self.count_tokens(s.text) for s in prompt.segments)

    async def stream(
        self, prompt: Prompt, params: SamplingParams, *, caller: Caller = ANYONE
    ) -> AsyncGenerator[GenerationChunk, None]:
        self.prompts.append(prompt)
        self.params.append(params)
        self.callers.append(caller)
        try:
            for piece in self.pieces:
                yield GenerationChunk(text=piece)
            yield GenerationChunk(
                text="",
                finish_reason=self.finish,
                usage=Usage(
                    prompt_tokens=620,
                    cached_tokens=590,
                    kv_cells=640,
                    completion_tokens=len(self.pieces),
                    queue_ms=10,
                    prefill_ms=20,
                    first_token_ms=31,
                    decode_ms=40,
                ),
            )
        finally:
            self.closed_streams += 1

    async def next_token_probabilities(
        self,
        prompt: Prompt,
        candidates: Sequence[str],
        *,
        caller: Caller = ANYONE,
        adapter: str | None = None,
        deterministic: bool = False,
    ) -> TokenProbabilities:
        self.asked_probability += 1
        self.callers.append(caller)
        await asyncio.sleep(self.judging_s)
        return TokenProbabilities(values=(self.yes, 1 - self.yes), usage=JUDGED)

    async def score(self, prompts: Sequence[Prompt], text: str, *, caller: Caller = ANYONE) -> list[list[float]]:
        raise AssertionError("the pipeline of this test scores nothing")

    def stats(self) -> GeneratorStats:
        return GeneratorStats()

    async def drain(self) -> None: ...

    def close(self) -> None: ...


def pipeline(model: Model, passages: tuple[Passage, ...] = (LORA, ENERGY), best: float | None = 0.8) -> RagPipeline:
    retriever = ScriptedRetriever(passages, best)
    built = RagPipeline(
        store=OneCollection(),
        retriever=lambda: retriever,
        generator=lambda: model,
        options=PipelineOptions(top_k=4, min_dense_score=0.3, min_answerability=0.5, max_answer_tokens=50),
    )
    built.retriever_log = retriever.asked  # type: ignore[attr-defined]
    built.filters_log = retriever.filters  # type: ignore[attr-defined]
    return built


async def test_an_answer_streams_verified_sentences_with_citations() -> None:
    model = Model("LoRA reduces train", "able parameters by 10,000", " times. ", "Bananas are yellow fruit.")
    events = [event async for event in pipeline(model).stream(QUESTION)]
    kinds = [type(event) for event in events]
    assert kinds == [PassagesEvent, DeltaEvent, CitationEvent, DoneEvent]
    answer = events[-1].answer
    assert answer.status == "answered"
    assert answer.text == "".join(e.text for e in events if isinstance(e, DeltaEvent))
    assert answer.text == "LoRA reduces trainable parameters by 10,000 times."
    assert answer.dropped_sentences == ("Bananas are yellow fruit.",)
    assert answer.citations[0].passage == LORA
    assert answer.finish_reason == "stop"
    assert answer.timings.ttft_ms is not None
    assert answer.timings.total_ms >= answer.timings.ttft_ms


async def test_an_answers_figures_are_of_both_requests_to_the_model() -> None:
    answer = await pipeline(Model("LoRA reduces parameters.")).answer(QUESTION)
    usage, timings = answer.usage, answer.timings
    assert usage.cached_tokens == 40, "what the first request read is not called cached"
    assert usage.prompt_tokens - usage.cached_tokens == (600 - 40) + (620 - 590)
    assert (usage.completion_tokens, usage.kv_cells) == (1, 640)
    assert (timings.queue_ms, timings.prefill_ms, timings.decode_ms) == (11, 2020, 40)
    assert (usage.queue_ms, usage.prefill_ms, usage.first_token_ms) == (11, 2020, timings.ttft_ms)


async def test_a_refusal_of_the_model_tells_what_judging_took() -> None:
    answer = await pipeline(Model("never", yes=0.1)).answer(QUESTION)
    assert answer.status == "refused"
    assert answer.usage == JUDGED
    assert (answer.timings.queue_ms, answer.timings.prefill_ms, answer.timings.ttft_ms) == (1, 2000, None)
    unasked = await pipeline(Model("never"), best=0.1).answer(QUESTION)
    assert unasked.usage == Usage()


async def test_a_refusal_after_writing_has_the_figures_of_both_requests() -> None:
    answer = await pipeline(Model("The passages do not say.")).answer(QUESTION)
    assert answer.status == "refused"
    assert (answer.usage.prompt_tokens, answer.timings.prefill_ms) == (630, 2020)


@pytest.mark.parametrize(
    ("judged", "written", "cached", "read"),
    [
        ((600, 0), (620, 590), 0, 630),  # cold
        ((600, 590), (620, 590), 590, 40),  # the passages had been read before
        ((600, 599), (620, 619), 618, 2),  # the same question as before
        ((600, 590), (620, 0), 590, 630),  # what was cached was lost in between
        ((600, 0), (620, 0), 0, 1220),  # a model that reuses nothing
    ],
)
def test_together_two_requests_have_read_what_each_did(
    judged: tuple[int, int], written: tuple[int, int], cached: int, read: int
) -> None:
    first, second = (Usage(prompt_tokens=prompt, cached_tokens=found) for prompt, found in (judged, written))
    both = first.followed_by(second)
    assert (both.cached_tokens, both.prompt_tokens - both.cached_tokens) == (cached, read)


async def test_the_model_is_asked_on_the_callers_behalf_and_in_the_way_asked_for() -> None:
    model = Model("LoRA reduces parameters.")
    caller = Caller(key="192.0.2.7", priority=Priority.BATCH)
    await pipeline(model).answer(QUESTION, caller=caller, deterministic=True, adapter="legal")
    assert [(asked.key, asked.priority) for asked in model.callers] == [(caller.key, caller.priority)] * 2
    assert [(params.deterministic, params.adapter) for params in model.params] == [(True, "legal")]


async def test_both_requests_to_the_model_stand_in_line_with_the_query() -> None:
    model = Model("LoRA reduces parameters.")
    before = time.monotonic()
    await pipeline(model).answer(QUESTION)
    judging, writing = model.callers
    assert judging.arrived is not None
    assert before <= judging.arrived == writing.arrived <= time.monotonic()
    assert (judging.continues, writing.continues) == (False, True)
    await pipeline(model).answer(QUESTION, caller=Caller(arrived=5.0))
    assert [caller.arrived for caller in model.callers[2:]] == [5.0, 5.0]


async def test_each_request_to_the_model_gets_what_is_left_of_the_callers_time() -> None:
    model = Model("LoRA reduces parameters.")
    model.judging_s = 0.05
    await pipeline(model).answer(QUESTION, caller=Caller(timeout_s=60))
    judging, writing = (caller.timeout_s for caller in model.callers)
    assert judging is not None
    assert writing is not None
    assert 60 > judging >= writing + 0.05


async def test_when_the_callers_time_is_over_the_model_is_not_asked_again() -> None:
    model = Model("LoRA reduces parameters.")
    model.judging_s = 0.05
    with pytest.raises(DeadlineExceeded, match=r"0\.05"):
        await pipeline(model).answer(QUESTION, caller=Caller(timeout_s=0.05))
    assert model.prompts == []
    with pytest.raises(DeadlineExceeded):
        await pipeline(model).answer(QUESTION, caller=Caller(timeout_s=0))
    assert model.asked_probability <= 1


async def test_both_prompts_share_everything_before_the_question() -> None:
    seen: list[Prompt] = []

    class Recording(Model):
        async def next_token_probabilities(
            self,
            prompt: Prompt,
            candidates: Sequence[str],
            *,
            caller: Caller = ANYONE,
            adapter: str | None = None,
            deterministic: bool = False,
        ) -> TokenProbabilities:
            seen.append(prompt)
            return TokenProbabilities(values=(1.0, 0.0), usage=JUDGED)

    model = Recording("LoRA reduces parameters.")
    await pipeline(model).answer(QUESTION)
    asked, answered = seen[0].segments, model.prompts[0].segments
    assert asked[:-1] == answered[:-1]
    assert asked[-1].kind == answered[-1].kind == SegmentKind.QUESTION
    assert all(QUESTION not in s.text for s in asked[:-1])


async def test_nothing_close_enough_is_refused_without_the_model() -> None:
    model = Model("never")
    answer = await pipeline(model, best=0.1).answer(QUESTION)
    assert answer.refusal is not None
    assert answer.refusal.code == RefusalCode.NO_RELEVANT_PASSAGE
    assert (answer.refusal.confidence, answer.refusal.threshold) == (0.1, 0.3)
    assert model.asked_probability == 0
    assert answer.passages == (LORA, ENERGY)


async def test_an_empty_collection_is_refused() -> None:
    answer = await pipeline(Model(), passages=(), best=None).answer(QUESTION)
    assert answer.refusal is not None
    assert answer.refusal.code == RefusalCode.EMPTY_COLLECTION
    assert "no documents yet" in answer.refusal.reason


async def test_a_collection_that_was_empty_then_is_not_called_empty_now() -> None:
    asked = pipeline(Model(), passages=(), best=None)
    answer = await asked.answer(QUESTION, as_of=datetime(2026, 1, 31, 12, tzinfo=UTC))
    assert answer.refusal is not None
    assert answer.refusal.code == RefusalCode.EMPTY_COLLECTION
    assert answer.refusal.reason == "The collection held no documents at 2026-01-31T12:00:00Z."


async def test_a_filter_that_lets_nothing_through_is_told_apart_from_an_empty_collection() -> None:
    where = Comparison(field="page", operator="==", value=7)
    asked = pipeline(Model(), passages=(), best=None)
    answer = await asked.answer(QUESTION, where=where)
    assert answer.refusal is not None
    assert answer.refusal.code == RefusalCode.NOTHING_MATCHES_FILTER
    assert asked.filters_log == [where]  # type: ignore[attr-defined]


async def test_the_model_may_judge_the_passages_insufficient() -> None:
    model = Model("never", yes=0.2)
    events = [event async for event in pipeline(model).stream(QUESTION)]
    assert [type(e) for e in events] == [PassagesEvent, RefusedEvent]
    assert events[-1].answer.refusal.code == RefusalCode.NOT_IN_PASSAGES
    assert model.prompts == []


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("The passages do not say.", RefusalCode.NOT_IN_PASSAGES),
        ("", RefusalCode.NOT_IN_PASSAGES),
        ("It was invented by Martians in 1823.", RefusalCode.NOTHING_SUPPORTED),
    ],
)
async def test_an_answer_without_a_supported_sentence_is_a_refusal(said: str, code: RefusalCode) -> None:
    events = [event async for event in pipeline(Model(said)).stream(QUESTION)]
    assert not any(isinstance(event, DeltaEvent) for event in events)
    answer = events[-1].answer
    assert (answer.status, answer.text, answer.refusal.code) == ("refused", "", code)


async def test_closing_the_stream_closes_the_generation() -> None:
    model = Model("LoRA reduces parameters. ", "LoRA reduces parameters. ", "LoRA reduces parameters.")
    stream = pipeline(model).stream(QUESTION)
    async for event in stream:
        if isinstance(event, DeltaEvent):
            break
    await stream.aclose()
    assert model.closed_streams == 1


async def test_passages_that_do_not_fit_are_dropped_and_counted() -> None:
    long = make_passage("word " * 300, id=3)
    model = Model("LoRA reduces parameters.", context=250)
    answer = await pipeline(model, passages=(long, LORA)).answer(QUESTION)
    assert answer.passages == (LORA,)
    assert answer.dropped_passages == 1


async def test_a_question_longer_than_the_context_names_the_numbers() -> None:
    with pytest.raises(QuestionTooLong, match=r"500"):
        await pipeline(Model(context=500)).answer("why " * 600)


async def test_a_sentence_cut_by_the_token_limit_is_not_part_of_the_answer() -> None:
    model = Model("LoRA reduces trainable parameters. ", "Training GPT-3 consumed", finish="length")
    answer = await pipeline(model).answer(QUESTION)
    assert answer.text == "LoRA reduces trainable parameters."
    assert answer.dropped_sentences == ("Training GPT-3 consumed",)
    assert answer.finish_reason == "length"


async def test_a_repeated_sentence_appears_once() -> None:
    answer = await pipeline(Model(*["LoRA reduces trainable parameters. "] * 3)).answer(QUESTION)
    assert answer.text == "LoRA reduces trainable parameters."
    assert answer.dropped_sentences == ()


async def test_the_models_refusal_beside_an_answer_is_no_unsupported_sentence() -> None:
    model = Model("LoRA reduces trainable parameters. ", "The passages do not say.")
    answer = await pipeline(model).answer(QUESTION)
    assert (answer.status, answer.dropped_sentences) == ("answered", ())


async def test_a_model_that_is_closed_is_an_error_and_not_a_refusal() -> None:
    with pytest.raises(GenerationFailed):
        await pipeline(Model("LoRA reduces", finish="cancelled")).answer(QUESTION)


async def test_a_question_too_long_is_told_before_anything_is_searched() -> None:
    built = pipeline(Model(context=500), best=0.0)
    with pytest.raises(QuestionTooLong, match="500"):
        await built.answer("why " * 600)
    with pytest.raises(QuestionTooLong, match="20000"):
        await built.search("x" * 20_001)
    assert built.retriever_log == []


async def test_requests_that_make_no_sense() -> None:
    built = pipeline(Model())
    with pytest.raises(EmptyQuestion):
        await built.search("  \n ")
    with pytest.raises(EmptyQuestion):
        await built.answer("")
    for k in (0, 101):
        with pytest.raises(InvalidRequest):
            await built.search("x", k=k)


async def test_search_uses_the_default_depth_and_no_model() -> None:
    model = Model()
    built = pipeline(model)
    result = await built.search("  LoRA ")
    assert built.retriever_log == [("LoRA", 4)]
    assert result.passages == (LORA, ENERGY)
    assert (result.timings.embed_ms, result.timings.search_ms) == (1.0, 2.0)
    assert model.asked_probability == 0


@pytest.mark.parametrize(
    ("best", "options", "code", "reason"),
    [
        (None, {}, "empty_collection", "`indexer ingest PATH`"),
        (None, {"as_of": datetime(2026, 1, 31, 12, tzinfo=UTC)}, "empty_collection", "at 2026-01-31T12:00:00Z"),
        (None, {"where": Comparison(field="page", operator="==", value=7)}, "nothing_matches_filter", "filter"),
        (0.9, {}, "no_relevant_passage", "no text"),
    ],
)
async def test_a_search_that_finds_nothing_says_why(best, options, code, reason) -> None:
    found = await pipeline(Model(), (), best=best).search(QUESTION, **options)
    assert found.passages == ()
    assert found.refusal.code == code
    assert reason in found.refusal.reason


async def test_passages_that_are_hardly_close_are_found_by_a_search_all_the_same() -> None:
    assert (await pipeline(Model(), best=0.01).search(QUESTION)).refusal is None


async def test_a_citation_names_the_other_sources_that_say_its_quote() -> None:
    copy = make_passage(LORA.chunk.text.upper(), id=91)
    part = make_passage("Something else.", id=92)
    sources = tuple(OtherSource(chunk=each.chunk, document=each.document) for each in (copy, part))
    passages = (replace(LORA, also_in=sources), ENERGY)
    answer = await pipeline(Model("LoRA reduces trainable parameters by 10,000 times."), passages).answer(QUESTION)
    assert [[source.chunk.id for source in citation.also_in] for citation in answer.citations] == [[91]]
    assert answer.passages[0].also_in == sources


async def test_where_nothing_that_was_found_is_text_the_model_is_not_asked() -> None:
    model = Model("LoRA reduces trainable parameters by 10,000 times.")
    answer = await pipeline(model, passages=(), best=0.9).answer(QUESTION)
    assert answer.refusal is not None
    assert (answer.refusal.code, answer.refusal.confidence) == (RefusalCode.NO_RELEVANT_PASSAGE, None)
    assert answer.usage.prompt_tokens == 0


class Neighbourhood(OneCollection):
    """The text that the only passage was cut from, in two chunks."""

    TEXT = "Adapters are small.\n\nLoRA reduces trainable parameters by 10,000 times."

    def __init__(self) -> None:
        self.asked: list[object] = []

    def neighbours(
        self,
        collection: Collection,
        chunk_ids: Sequence[int],
        reach: int,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> list[Stretch]:
        self.asked.append((list(chunk_ids), where, as_of))
        hit = replace(LORA.chunk, span=Span(start=21, end=len(self.TEXT)), ordinal=1)
        before = replace(LORA.chunk, id=9, text="Adapters are small.", span=Span(start=0, end=19), ordinal=0)
        return [Stretch(chunks=(before, hit), text=self.TEXT)]


def widening(store: OneCollection, model: Model, *, tokens: int) -> RagPipeline:
    retriever = ScriptedRetriever((replace(LORA, chunk=replace(LORA.chunk, span=Span(start=21, end=71))),), 0.8)
    options = PipelineOptions(
        top_k=4, min_dense_score=0.3, min_answerability=0.5, max_answer_tokens=50, parent_tokens=tokens
    )
    return RagPipeline(store=store, retriever=lambda: retriever, generator=lambda: model, options=options)


async def test_the_model_reads_widened_passages_and_citations_are_places_in_the_source() -> None:
    store, model = Neighbourhood(), Model("LoRA reduces trainable parameters by 10,000 times.")
    where = Comparison(field="page", operator="==", value=None)
    then = datetime(2026, 1, 2, tzinfo=UTC)
    answer = await widening(store, model, tokens=100).answer(QUESTION, where=where, as_of=then)
    assert store.asked == [([LORA.chunk.id], where, then)]
    (passage,) = answer.passages
    assert (passage.chunk.text, passage.chunk.id) == (store.TEXT, LORA.chunk.id)
    (segment,) = [s for s in model.prompts[0].segments if s.kind is SegmentKind.PASSAGE]
    assert store.TEXT in segment.text
    assert segment.chunk_id == LORA.chunk.id
    (citation,) = answer.citations
    assert citation.quote == store.TEXT[citation.quote_span.start : citation.quote_span.end]
    assert "10,000 times" in citation.quote


class Renamed(Neighbourhood):
    """Another process renames the collection as soon as it was looked up."""

    known = True

    def collection(self, name: str) -> Collection:
        if not self.known:
            raise UnknownCollection(f"There is no collection {name!r}.")
        self.known = False
        return super().collection(name)


async def test_an_answer_goes_on_with_a_collection_that_is_renamed_meanwhile() -> None:
    store, model = Renamed(), Model("LoRA reduces trainable parameters by 10,000 times.")
    answer = await widening(store, model, tokens=100).answer(QUESTION)
    assert (answer.refusal, answer.passages[0].chunk.text) == (None, store.TEXT)


async def test_passages_are_not_widened_unless_that_is_set_and_never_those_of_a_search() -> None:
    store, model = Neighbourhood(), Model("LoRA reduces trainable parameters by 10,000 times.")
    answer = await widening(store, model, tokens=0).answer(QUESTION)
    assert answer.passages[0].chunk.text == LORA.chunk.text
    found = await widening(store, model, tokens=100).search(QUESTION)
    assert found.passages[0].chunk.text == LORA.chunk.text
    assert store.asked == []
