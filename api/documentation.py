"""The parts of the OpenAPI description that Litestar cannot see in types."""

from __future__ import annotations

import inspect
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Reference, Schema
from litestar.openapi.spec.enums import OpenAPIType

from api import bodies, job_schemas, schemas, state_schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar.openapi.spec import OpenAPI, Operation

EVENT_STREAM = "text/event-stream"
_EVENTS = ("passages", "delta", "citation", "done", "refused", "error")
PROBLEM_MEDIA_TYPE = "application/problem+json"

_HEADING = ("Inference", "KV cache")
_TEXT = "It stores the keys and values of past tokens."
_COPY = schemas.OtherSource(
    chunk_id=340,
    document_id=19,
    uri="/srv/docs/old/inference.pdf",
    title="Inference (2025)",
    page=4,
    heading_path=_HEADING,
    span=schemas.Span(start=9120, end=9211),
)
_PASSAGE = schemas.Passage(
    chunk_id=112,
    document_id=7,
    uri="/srv/docs/inference.md",
    title="Inference",
    page=None,
    heading_path=_HEADING,
    text="The KV cache stores the keys and values of all past tokens, so that none is computed twice.",
    span=schemas.Span(start=1830, end=1921),
    scores=schemas.Scores(dense=0.71, lexical=9.4, rerank=None, fused=0.033),
    also_in=(_COPY,),
)
_CITATION = schemas.Citation(
    number=1,
    document_id=7,
    chunk_id=112,
    uri=_PASSAGE.uri,
    title=_PASSAGE.title,
    page=None,
    heading_path=_HEADING,
    quote=_PASSAGE.text,
    quote_span=_PASSAGE.span,
    answer_span=schemas.Span(start=0, end=len(_TEXT)),
    support=0.92,
    also_in=(_COPY,),
)
_ANSWER = schemas.QueryResponse(
    status="answered",
    text=_TEXT,
    sentences=(schemas.Sentence(text=_TEXT, span=_CITATION.answer_span, citations=(1,)),),
    citations=(_CITATION,),
    passages=(_PASSAGE,),
    refusal=None,
    confidence=0.87,
    finish_reason="stop",
    dropped_sentences=(),
    dropped_passages=0,
    usage=schemas.Usage(
        prompt_tokens=928,
        cached_tokens=880,
        prefilled_tokens=48,
        completion_tokens=12,
        drafted_tokens=6,
        accepted_tokens=5,
        kv_cells=924,
        passage_reuse="exact",
    ),
    timings=schemas.Timings(
        embed_ms=14.2,
        search_ms=3.1,
        pack_ms=5.0,
        answerability_ms=210.4,
        queue_ms=0.6,
        prefill_ms=371.9,
        decode_ms=488.6,
        ttft_ms=402.7,
        generate_ms=655.0,
        total_ms=891.3,
        tokens_per_s=21.4,
    ),
    trace_id="4f0c5f0e0a9a4c1b8b1d9f3f5f1e2d3c",
)


def _event(name: str, data: msgspec.Struct) -> str:
    return f"event: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n"


_STREAM = "".join(
    (
        _event("passages", schemas.PassagesData(passages=(_PASSAGE,), trace_id=_ANSWER.trace_id)),
        _event("delta", schemas.DeltaData(text=_TEXT)),
        _event("citation", _CITATION),
        _event("done", _ANSWER),
    )
)


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Response specifications for a route's ``responses``; 500 belongs to every route."""
    return {
        status: ResponseSpec(
            schemas.Problem,
            generate_examples=False,
            media_type=PROBLEM_MEDIA_TYPE,
            description=f"{HTTPStatus(status).phrase}, as problem details.",
        )
        for status in (*statuses, 500)
    }


def refine(document: OpenAPI) -> None:
    """Add what schemas are for and both forms of an answer; take out Litestar's own error shape."""
    for name, schema in document.components.schemas.items():
        shape = next(
            (getattr(room, name) for room in (schemas, job_schemas, state_schemas, bodies) if hasattr(room, name)), None
        )
        if inspect.isclass(shape):
            schema.description = schema.description or inspect.getdoc(shape)
            if issubclass(shape, bodies.Request):
                schema.additional_properties = False
    for operation in _operations(document):
        operation.responses = {
            status: response
            for status, response in (operation.responses or {}).items()
            if not (int(status) >= 400 and _holds_plain_json(response))
        }
        if operation.operation_id == "query":
            _give_both_forms(operation)


def _operations(document: OpenAPI) -> Iterator[Operation]:
    for item in (document.paths or {}).values():
        yield from (operation for operation in (item.get, item.post, item.patch, item.delete) if operation)


def _holds_plain_json(response: OpenAPIResponse | Reference) -> bool:
    """Whether this is an error as Litestar would describe it, not as this service sends it."""
    if isinstance(response, Reference) or not response.content or "application/json" not in response.content:
        return False
    return not isinstance(response.content["application/json"].schema, Reference)


def _give_both_forms(operation: Operation) -> None:
    response = (operation.responses or {})["200"]
    if not isinstance(response, OpenAPIResponse):
        return
    response.content = {
        "application/json": OpenAPIMediaType(
            schema=Reference(ref="#/components/schemas/QueryResponse"), example=msgspec.to_builtins(_ANSWER)
        ),
        EVENT_STREAM: OpenAPIMediaType(
            schema=Schema(
                type=OpenAPIType.OBJECT,
                description=(
                    "One event; its data is JSON. First `passages` {passages, trace_id}; then by turns `delta` {text} "
                    "and `citation` (a Citation); last `done` or `refused` (a QueryResponse), or `error` (a Problem)."
                ),
                properties={
                    "event": Schema(type=OpenAPIType.STRING, enum=_EVENTS),
                    "data": Schema(type=OpenAPIType.STRING, content_media_type="application/json"),
                },
                required=["event", "data"],
            ),
            example=_STREAM,
        ),
    }
