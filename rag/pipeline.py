"""The one use case: find passages for a question, and answer from them or refuse with a reason.

Owns no I/O: everything it touches comes in through the protocols. docs/architecture.md draws the flow.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rag.errors import EmptyQuestion, GenerationFailed, InvalidRequest, QuestionTooLong
from rag.generation.answerability import answer_confidence
from rag.generation.citations import Attributor
from rag.generation.context import pack, require_fits
from rag.generation.draft import AnswerDraft
from rag.generation.prompts import NO, YES, answer_prompt, answerability_prompt, is_refusal
from rag.generation.sentences import SentenceBuffer, is_finished
from rag.model_types import ANYONE, SamplingParams
from rag.query_run import QueryRun
from rag.retrieval.parents import parents_of
from rag.times import rfc3339
from rag.types import (
    DEFAULT_COLLECTION,
    Answer,
    CitationEvent,
    DeltaEvent,
    DoneEvent,
    PassagesEvent,
    Refusal,
    RefusalCode,
    RefusedEvent,
    SearchResult,
    Timings,
)
from rag.unicode import is_storable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime

    from rag.generation.context import PackedContext
    from rag.model_types import Caller
    from rag.protocols import Generator, PassageStore
    from rag.retrieval.retriever import Retrieval, Retriever
    from rag.types import AnswerEvent, Filter

    _Events = AsyncGenerator[AnswerEvent, None]

MAX_K = 100
# More is not a question, and would be tokenized and embedded for nothing.
MAX_QUESTION_CHARACTERS = 20_000
# A question of so many bytes fits any context; a longer one is measured before anything else is done with it.
_SURELY_FITTING_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """Defaults and thresholds; see ``rag.config.Settings`` for their meaning."""

    top_k: int
    min_dense_score: float
    min_answerability: float
    max_answer_tokens: int
    parent_tokens: int = 0


class RagPipeline:
    """Search and grounded answers over one store and one generator.

    ``generator`` is asked for only when an answer needs one, and may take seconds the first time; ``check`` is called
    before every question, and raises if none can be had.
    """

    def __init__(
        self,
        *,
        store: PassageStore,
        retriever: Callable[[], Retriever],
        generator: Callable[[], Generator],
        options: PipelineOptions,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._retriever = retriever
        self._generator = generator
        self._options = options
        self._check = check

    async def search(
        self,
        query: str,
        *,
        collection: str = DEFAULT_COLLECTION,
        k: int | None = None,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> SearchResult:
        """The passages of a collection that fit a query best, of those that the filter lets through.

        With ``as_of`` (an aware time) of what was active at that moment.

        Raises:
            EmptyQuestion, InvalidRequest (k out of range, a time in the future), UnknownCollection, EmbedderChanged,
            HistoryGone.
        """
        run = QueryRun(question=_checked(query))
        found = await self._retrieve(run, collection, k, where, as_of)
        return SearchResult(
            passages=found.passages,
            timings=replace(run.timings, total_ms=run.ms()),
            trace_id=run.trace_id,
            refusal=_nothing_found(found, as_of),
        )

    async def answer(
        self,
        question: str,
        *,
        collection: str = DEFAULT_COLLECTION,
        k: int | None = None,
        where: Filter | None = None,
        as_of: datetime | None = None,
        caller: Caller = ANYONE,
        deterministic: bool = False,
        adapter: str | None = None,
    ) -> Answer:
        """The answer or refusal that ends ``stream``."""
        stream = self.stream(
            question,
            collection=collection,
            k=k,
            where=where,
            as_of=as_of,
            caller=caller,
            deterministic=deterministic,
            adapter=adapter,
        )
        return await final_answer(stream)

    async def stream(
        self,
        question: str,
        *,
        collection: str = DEFAULT_COLLECTION,
        k: int | None = None,
        where: Filter | None = None,
        as_of: datetime | None = None,
        caller: Caller = ANYONE,
        deterministic: bool = False,
        adapter: str | None = None,
    ) -> _Events:
        """Events of one answer: passages, then deltas with their citations, then done or refused.

        Only passages that the filter ``where`` lets through are searched, and with ``as_of`` only what was active then.

        Closing the iterator cancels generation before the next token. The caller's timeout covers all of it: search,
        judging the passages and writing the answer. ``deterministic`` and ``adapter`` hold for both
        requests to the model.

        The model is asked twice, whether the passages hold the answer and then for it, and the answer's ``usage`` and
        ``timings`` are of both requests: what the first has read and the second finds in the cache was read, once
        (``Usage.followed_by``). A refusal between the two has what the first took.

        Raises:
            EmptyQuestion, QuestionTooLong, InvalidRequest, UnknownCollection, HistoryGone, EmbedderChanged,
            GenerationFailed, Overloaded, DeadlineExceeded, UnsupportedSampling, UnknownAdapter, UnknownModel.
        """
        sampling = SamplingParams(deterministic=deterministic, adapter=adapter)
        run = QueryRun(question=_checked(question), caller=caller, sampling=sampling)
        await asyncio.to_thread(self._check)  # also for a question that is refused without asking the model
        if len(run.question.encode()) > _SURELY_FITTING_BYTES:
            generator = await asyncio.to_thread(self._generator)
            await asyncio.to_thread(require_fits, run.question, generator)
        found = await self._retrieve(run, collection, k, where, as_of)
        refusal = self._retrieval_refusal(found, as_of)
        if refusal:
            yield PassagesEvent(passages=found.passages, trace_id=run.trace_id)
            yield RefusedEvent(answer=run.refused(refusal, found.passages))
            return
        generator = await asyncio.to_thread(self._generator)
        before = run.ms()

        def packed() -> PackedContext:
            most = self._options.parent_tokens
            parents = parents_of(
                self._store, found.collection, found.passages, where=where, as_of=as_of, most_tokens=most
            )
            return pack(run.question, parents, generator, max_answer_tokens=self._options.max_answer_tokens)

        context = await asyncio.to_thread(packed)
        run.timings = replace(run.timings, pack_ms=run.ms() - before)
        yield PassagesEvent(passages=context.passages, trace_id=run.trace_id)
        refusal = await self._answerability_refusal(run, context, generator, found.best_dense)
        if refusal:
            yield RefusedEvent(answer=run.refused(refusal, context.passages))
            return
        async with aclosing(self._generate(run, context, generator)) as events:
            async for event in events:
                yield event

    async def _retrieve(
        self, run: QueryRun, collection: str, k: int | None, where: Filter | None, as_of: datetime | None
    ) -> Retrieval:
        k = self._options.top_k if k is None else k
        if not 1 <= k <= MAX_K:
            raise InvalidRequest(f"k is {k}, but must be from 1 to {MAX_K}.")

        def retrieve() -> Retrieval:
            target = self._store.collection(collection)
            return self._retriever().retrieve(target, run.question, k, where=where, as_of=as_of)

        found = await asyncio.to_thread(retrieve)
        run.timings = replace(run.timings, embed_ms=found.embed_ms, search_ms=found.search_ms)
        return found

    def _retrieval_refusal(self, found: Retrieval, as_of: datetime | None) -> Refusal | None:
        if not found.passages:
            return _nothing_found(found, as_of)
        threshold = self._options.min_dense_score
        if found.best_dense is not None and found.best_dense < threshold:
            return Refusal(
                code=RefusalCode.NO_RELEVANT_PASSAGE,
                reason="No passage in the documents is close enough to the question.",
                confidence=found.best_dense,
                threshold=threshold,
            )
        return None

    async def _answerability_refusal(
        self, run: QueryRun, context: PackedContext, generator: Generator, best_dense: float | None
    ) -> Refusal | None:
        before = run.ms()
        prompt = answerability_prompt(run.question, context.passages)
        probabilities = await generator.next_token_probabilities(
            prompt,
            [YES, NO],
            caller=run.asking(),
            adapter=run.sampling.adapter,
            deterministic=run.sampling.deterministic,
        )
        run.took(probabilities.usage)
        yes, no = probabilities.values
        run.confidence = confidence = answer_confidence(yes, no, best_dense)
        run.timings = replace(run.timings, answerability_ms=run.ms() - before)
        if confidence >= self._options.min_answerability:
            return None
        return Refusal(
            code=RefusalCode.NOT_IN_PASSAGES,
            reason="The closest passages do not contain the answer, as far as the model can tell.",
            confidence=confidence,
            threshold=self._options.min_answerability,
        )

    async def _generate(self, run: QueryRun, context: PackedContext, generator: Generator) -> _Events:
        draft = AnswerDraft(run.question, context.passages, dropped_passages=context.dropped)
        attributor = Attributor(run.question, context.passages)
        buffer = SentenceBuffer()
        params = replace(run.sampling, max_tokens=context.answer_tokens)
        prompt = answer_prompt(run.question, context.passages)
        before = run.ms()
        async with aclosing(generator.stream(prompt, params, caller=run.asking())) as chunks:
            async for chunk in chunks:
                if run.timings.ttft_ms is None:
                    run.timings = replace(run.timings, ttft_ms=run.ms())
                finished = buffer.add(chunk.text)
                if chunk.finish_reason == "cancelled":
                    raise GenerationFailed("The answer was cancelled: the model is being closed.")
                if chunk.finish_reason:
                    draft.finish(chunk)
                    finished += _last(buffer.rest(), draft, cut=chunk.finish_reason == "length")
                for sentence in finished:
                    for event in _events(draft, attributor, sentence):
                        yield event
        run.took(draft.usage)
        run.timings = _with_generation(run, before, draft)
        if draft.sentences:
            yield DoneEvent(answer=run.answered(draft))
            return
        yield RefusedEvent(answer=run.refused(_unsupported(draft), context.passages, draft))


def _nothing_found(found: Retrieval, as_of: datetime | None) -> Refusal | None:
    """Why there are no passages; none if there are."""
    if found.passages:
        return None
    if found.filtered_out:
        return Refusal(
            code=RefusalCode.NOTHING_MATCHES_FILTER, reason="No passage in the documents matches the filter."
        )
    if found.nothing_to_search:
        reason = "The collection holds no documents yet. Add some with `indexer ingest PATH` or POST /v1/documents."
        if as_of is not None:
            reason = f"The collection held no documents at {rfc3339(as_of, 'auto')}."
        return Refusal(code=RefusalCode.EMPTY_COLLECTION, reason=reason)
    return Refusal(
        code=RefusalCode.NO_RELEVANT_PASSAGE,
        reason="What was found in the documents is no text: encoded data, minified programs or noise.",
    )


async def final_answer(events: _Events) -> Answer:
    """The answer or refusal that ends a stream of events."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, DoneEvent | RefusedEvent):
                return event.answer
    raise AssertionError("a stream ends with done or refused")


def _events(draft: AnswerDraft, attributor: Attributor, sentence: str) -> list[DeltaEvent | CitationEvent]:
    """Take a finished sentence into the draft; what it adds to the stream."""
    if not sentence.strip() or draft.repeats(sentence):
        return []
    if is_refusal(sentence):
        draft.says_not_in_passages = True
        return []
    attributions = attributor.attribute(sentence)
    if not attributions:
        draft.drop(sentence)
        return []
    delta, citations = draft.add(sentence, attributions)
    return [DeltaEvent(text=delta), *(CitationEvent(citation=citation) for citation in citations)]


def _last(rest: str, draft: AnswerDraft, *, cut: bool) -> list[str]:
    """The end of the text, unless the token limit cut it in the middle of a sentence."""
    if cut and rest.strip() and not is_finished(rest):
        draft.drop(rest)
        return []
    return [rest]


def _unsupported(draft: AnswerDraft) -> Refusal:
    if draft.says_not_in_passages or not draft.dropped_sentences:
        return Refusal(
            code=RefusalCode.NOT_IN_PASSAGES, reason="The model found no answer to the question in the passages."
        )
    return Refusal(
        code=RefusalCode.NOTHING_SUPPORTED,
        reason="The model wrote an answer, but no sentence of it is supported by a passage.",
    )


def _with_generation(run: QueryRun, before: float, draft: AnswerDraft) -> Timings:
    """Decoding speed counts from the first token: what comes before is prompt reading."""
    timings, usage = run.timings, draft.usage
    decode_s = (run.ms() - (timings.ttft_ms or before)) / 1000
    tokens = usage.completion_tokens - 1
    return replace(
        timings,
        decode_ms=usage.decode_ms,
        generate_ms=run.ms() - before,
        tokens_per_s=tokens / decode_s if tokens > 0 and decode_s > 0 else None,
    )


def _checked(question: str) -> str:
    question = question.strip()
    if not question:
        raise EmptyQuestion("The question is empty.", hint="Ask something about your documents.")
    if not is_storable(question):
        raise InvalidRequest(
            "The question is not Unicode text: it holds a byte that is not UTF-8, or half of a surrogate pair.",
            hint="Write it as UTF-8, and in a terminal set a UTF-8 locale.",
        )
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise QuestionTooLong(
            f"The question has {len(question)} characters; at most {MAX_QUESTION_CHARACTERS} are read.",
            hint="Shorten it. Long texts belong into the documents: indexer ingest PATH",
        )
    return question
