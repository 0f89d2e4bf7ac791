"""Domain values to the JSON shapes of the API; the only place where one becomes the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from api import job_schemas, schemas
from rag.types import CitationEvent, DeltaEvent, PassagesEvent

if TYPE_CHECKING:
    from rag.job_types import Job
    from rag.model_types import Usage
    from rag.types import Answer, AnswerEvent, Citation, OtherSource, Passage, SearchResult

T = TypeVar("T", bound=msgspec.Struct)


def plain(value: object, shape: type[T]) -> T:
    """A domain value as the shape that has the same field names."""
    return msgspec.convert(value, shape, from_attributes=True)


def passage(value: Passage) -> schemas.Passage:
    return schemas.Passage(
        chunk_id=value.chunk.id,
        document_id=value.document.id,
        uri=value.document.uri,
        title=value.document.title,
        page=value.chunk.page,
        heading_path=value.chunk.heading_path,
        text=value.chunk.text,
        span=plain(value.chunk.span, schemas.Span),
        scores=plain(value.scores, schemas.Scores),
        also_in=tuple(map(other_source, value.also_in)),
    )


def other_source(value: OtherSource) -> schemas.OtherSource:
    return schemas.OtherSource(
        chunk_id=value.chunk.id,
        document_id=value.document.id,
        uri=value.document.uri,
        title=value.document.title,
        page=value.chunk.page,
        heading_path=value.chunk.heading_path,
        span=plain(value.chunk.span, schemas.Span),
    )


def citation(value: Citation) -> schemas.Citation:
    source = value.passage
    return schemas.Citation(
        number=value.number,
        document_id=source.document.id,
        chunk_id=source.chunk.id,
        uri=source.document.uri,
        title=source.document.title,
        page=source.chunk.page,
        heading_path=source.chunk.heading_path,
        quote=value.quote,
        quote_span=plain(value.quote_span, schemas.Span),
        answer_span=plain(value.answer_span, schemas.Span),
        support=value.support,
        also_in=tuple(map(other_source, value.also_in)),
    )


def usage(value: Usage) -> schemas.Usage:
    """Tokens only: the times stand with the others, in ``Answer.timings``."""
    return schemas.Usage(
        prompt_tokens=value.prompt_tokens,
        cached_tokens=value.cached_tokens,
        prefilled_tokens=value.prompt_tokens - value.cached_tokens,
        completion_tokens=value.completion_tokens,
        drafted_tokens=value.drafted_tokens,
        accepted_tokens=value.accepted_tokens,
        kv_cells=value.kv_cells,
        passage_reuse=value.passage_reuse,
    )


def answer(value: Answer) -> schemas.QueryResponse:
    return schemas.QueryResponse(
        status=value.status,
        text=value.text,
        sentences=tuple(plain(sentence, schemas.Sentence) for sentence in value.sentences),
        citations=tuple(map(citation, value.citations)),
        passages=tuple(map(passage, value.passages)),
        refusal=plain(value.refusal, schemas.Refusal) if value.refusal else None,
        confidence=value.confidence,
        finish_reason=value.finish_reason,
        dropped_sentences=value.dropped_sentences,
        dropped_passages=value.dropped_passages,
        usage=usage(value.usage),
        timings=plain(value.timings, schemas.Timings),
        trace_id=value.trace_id,
    )


def job(value: Job) -> job_schemas.Job:
    request = value.request
    return job_schemas.Job(
        id=value.id,
        collection=request.collection,
        state=value.state.value,
        uris=request.uris,
        metadata=None if request.metadata is None else dict(request.metadata),
        attempts=value.attempts,
        cancel_requested=value.cancel_requested,
        created_at=value.created_at,
        started_at=value.started_at,
        finished_at=value.finished_at,
        not_before=value.not_before,
        outcomes=dict(value.outcomes),
        files_known=value.files_known,
        chunks=value.chunks,
        error=plain(value.error, job_schemas.JobError) if value.error else None,
    )


def search_result(value: SearchResult) -> schemas.SearchResponse:
    return schemas.SearchResponse(
        passages=tuple(map(passage, value.passages)),
        timings=plain(value.timings, schemas.Timings),
        trace_id=value.trace_id,
    )


def event(value: AnswerEvent) -> schemas.Response:
    """The data of one event of a stream; the event's name is ``value.type``."""
    if isinstance(value, PassagesEvent):
        return schemas.PassagesData(passages=tuple(map(passage, value.passages)), trace_id=value.trace_id)
    if isinstance(value, DeltaEvent):
        return schemas.DeltaData(text=value.text)
    if isinstance(value, CitationEvent):
        return citation(value.citation)
    return answer(value.answer)
