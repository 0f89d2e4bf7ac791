"""``POST /v1/query``: an answer with citations, whole or as a stream of events."""

from __future__ import annotations

import time
from contextlib import ExitStack

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import ServerSentEvent

from api import presentation
from api.bodies import QueryRequest
from api.callers import after, caller_of
from api.documentation import EVENT_STREAM, problems
from api.requests import StrictRequest, filter_of, require_json, require_words
from api.schemas import QueryResponse
from api.service import Service
from api.streaming import open_stream, until_disconnected
from rag.pipeline import final_answer


def _wants_stream(request: StrictRequest, body: QueryRequest) -> bool:
    if body.stream is not None:
        return body.stream
    return request.accept.best_match(["application/json", EVENT_STREAM]) == EVENT_STREAM


class QueryController(Controller):
    path = "/v1/query"
    tags = ("Questions",)

    @post(
        operation_id="query",
        summary="Answer a question from the documents",
        description=(
            "Answers with sentences that each cite a passage, or refuses with a reason. With `stream: true`, or "
            "`Accept: text/event-stream` and no `stream`, the answer comes as server-sent events. Closing the "
            "connection stops the work."
        ),
        guards=[require_json],
        status_code=200,
        response_description="The answer or the refusal.",
        responses=problems(400, 404, 409, 410, 413, 415, 422, 429, 502, 503, 504),
    )
    async def query(
        self, request: StrictRequest, data: JSONBody[QueryRequest], service: NamedDependency[Service]
    ) -> QueryResponse | ServerSentEvent:
        arrived = time.monotonic()
        require_words(data.question)
        where = filter_of(data)
        service.require_adapter(data.adapter)
        caller = caller_of(request, data, longest_s=service.request_timeout_s)
        with ExitStack() as place:
            slot = place.enter_context(service.admission.enter())
            pipeline = await until_disconnected(request, service.pipeline(patience_s=caller.timeout_s))
            events = service.metrics.watched(
                pipeline.stream(
                    data.question,
                    collection=data.collection,
                    k=data.k,
                    where=where,
                    as_of=data.as_of,
                    caller=after(caller, time.monotonic() - arrived),
                    deterministic=data.deterministic,
                    adapter=data.adapter,
                )
            )
            if not _wants_stream(request, data):
                return presentation.answer(await until_disconnected(request, final_answer(events)))
            stream = await open_stream(request, events, slot)
            place.pop_all()  # the place is the stream's now
            return stream
