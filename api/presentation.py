"""Domain values to the JSON shapes of the API; the only place where one becomes the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.schemas import (
    CitationOut,
    CollectionOut,
    DeltaData,
    DocumentOut,
    FingerprintOut,
    GeneratorOut,
    PassageOut,
    PassagesData,
    QueryResponse,
    RefusalOut,
    Response,
    ScoresOut,
    SearchResponse,
    SentenceOut,
    SpanOut,
    TimingsOut,
    UsageOut,
)
from rag.types import CitationEvent, DeltaEvent, PassagesEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rag.types import (
        Answer,
        AnswerEvent,
        Citation,
        Collection,
        Document,
        GeneratorInfo,
        Passage,
        Refusal,
        SearchResult,
        Sentence,
        Span,
        Timings,
        Usage,
    )


def span(value: Span) -> SpanOut:
    return SpanOut(start=value.start, end=value.end)


def document(value: Document) -> DocumentOut:
    return DocumentOut(
        id=value.id,
        collection=value.collection,
        uri=value.uri,
        title=value.title,
        media_type=value.media_type,
        sha256=value.sha256,
        size=value.size,
        chunk_count=value.chunk_count,
        updated_at=value.updated_at,
    )


def passage(value: Passage) -> PassageOut:
    scores = value.scores
    return PassageOut(
        chunk_id=value.chunk.id,
        document_id=value.document.id,
        uri=value.document.uri,
        title=value.document.title,
        page=value.chunk.page,
        heading_path=value.chunk.heading_path,
        text=value.chunk.text,
        span=span(value.chunk.span),
        scores=ScoresOut(dense=scores.dense, lexical=scores.lexical, rerank=scores.rerank, fused=scores.fused),
    )


def passages(values: Iterable[Passage]) -> tuple[PassageOut, ...]:
    return tuple(passage(value) for value in values)


def citation(value: Citation) -> CitationOut:
    source = value.passage
    return CitationOut(
        number=value.number,
        document_id=source.document.id,
        chunk_id=source.chunk.id,
        uri=source.document.uri,
        title=source.document.title,
        page=source.chunk.page,
        heading_path=source.chunk.heading_path,
        quote=value.quote,
        quote_span=span(value.quote_span),
        answer_span=span(value.answer_span),
        support=value.support,
    )


def sentence(value: Sentence) -> SentenceOut:
    return SentenceOut(text=value.text, span=span(value.span), citations=value.citations)


def refusal(value: Refusal) -> RefusalOut:
    return RefusalOut(
        code=value.code.value, reason=value.reason, confidence=value.confidence, threshold=value.threshold
    )


def usage(value: Usage) -> UsageOut:
    return UsageOut(
        prompt_tokens=value.prompt_tokens,
        cached_tokens=value.cached_tokens,
        completion_tokens=value.completion_tokens,
    )


def timings(value: Timings) -> TimingsOut:
    return TimingsOut(
        embed_ms=value.embed_ms,
        search_ms=value.search_ms,
        pack_ms=value.pack_ms,
        answerability_ms=value.answerability_ms,
        ttft_ms=value.ttft_ms,
        generate_ms=value.generate_ms,
        total_ms=value.total_ms,
        tokens_per_s=value.tokens_per_s,
    )


def answer(value: Answer) -> QueryResponse:
    return QueryResponse(
        status=value.status,
        text=value.text,
        sentences=tuple(sentence(each) for each in value.sentences),
        citations=tuple(citation(each) for each in value.citations),
        passages=passages(value.passages),
        refusal=refusal(value.refusal) if value.refusal else None,
        finish_reason=value.finish_reason,
        dropped_sentences=value.dropped_sentences,
        dropped_passages=value.dropped_passages,
        usage=usage(value.usage),
        timings=timings(value.timings),
        trace_id=value.trace_id,
    )


def search_result(value: SearchResult) -> SearchResponse:
    return SearchResponse(
        passages=passages(value.passages), timings=timings(value.timings), trace_id=value.trace_id
    )


def event(value: AnswerEvent) -> Response:
    """The data of one event of the stream; its name is ``value.type``."""
    if isinstance(value, PassagesEvent):
        return PassagesData(passages=passages(value.passages), trace_id=value.trace_id)
    if isinstance(value, DeltaEvent):
        return DeltaData(text=value.text)
    if isinstance(value, CitationEvent):
        return citation(value.citation)
    return answer(value.answer)


def collection(value: Collection) -> CollectionOut:
    fingerprint = value.fingerprint
    return CollectionOut(
        name=value.name,
        seq=value.seq,
        fingerprint=FingerprintOut(
            parser=fingerprint.parser,
            chunker=fingerprint.chunker,
            embedder=fingerprint.embedder,
            dimension=fingerprint.dimension,
        ),
    )


def generator(value: GeneratorInfo) -> GeneratorOut:
    return GeneratorOut(
        model=value.model,
        sha256=value.sha256,
        context_tokens=value.context_tokens,
        threads=value.threads,
        gpu_layers=value.gpu_layers,
        backend=value.backend,
    )
