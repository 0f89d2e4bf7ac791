"""``POST /v1/query``: an answer with citations, whole or as a stream of events."""

from __future__ import annotations

from contextlib import ExitStack

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import ServerSentEvent

from api import presentation
from api.documentation import EVENT_STREAM, problems
from api.requests import StrictRequest, require_json, require_words
from api.schemas import QueryRequest, QueryResponse
from api.service import Service
from api.streaming import open_stream, until_disconnected


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
        responses=problems(400, 404, 409, 413, 415, 422, 429, 503),
    )
    async def query(
        self, request: StrictRequest, data: JSONBody[QueryRequest], service: NamedDependency[Service]
    ) -> QueryResponse | ServerSentEvent:
        require_words(data.question)
        with ExitStack() as place:
            slot = place.enter_context(service.admission.enter())
            pipeline = await until_disconnected(request, service.pipeline())
            if not _wants_stream(request, data):
                work = pipeline.answer(data.question, collection=data.collection, k=data.k)
                return presentation.answer(await until_disconnected(request, work))
            events = pipeline.stream(data.question, collection=data.collection, k=data.k)
            stream = await open_stream(request, events, slot)
            place.pop_all()  # the place is the stream's now
            return stream
