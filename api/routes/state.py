"""``/health``, ``/ready`` and ``/``: is it alive, can it answer, where to go."""

from __future__ import annotations

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from api.problems import RETRY_READY_AFTER_S
from api.service import Service
from api.state_schemas import HealthResponse, IndexResponse, ReadyResponse
from rag import __version__


class StateController(Controller):
    path = "/"
    tags = ("State",)

    @get(
        operation_id="index",
        response_description="Where to go.",
        summary="Start here",
        description="Where the API describes itself.",
    )
    async def index(self) -> IndexResponse:
        return IndexResponse(name="Plumbline", version=__version__, openapi="/schema", health="/health", ready="/ready")

    @get(
        "/health",
        operation_id="health",
        response_description="Alive.",
        summary="Alive",
        description="Answers as soon as the process does; says nothing about models. For liveness probes.",
    )
    async def health(self) -> HealthResponse:
        return HealthResponse(status="alive", version=__version__)

    @get(
        "/ready",
        operation_id="ready",
        response_description="Ready.",
        summary="Ready to answer",
        description="What a query depends on, and how the language model is really loaded. For readiness probes.",
        responses={503: ResponseSpec(ReadyResponse, generate_examples=False, description="Not ready.")},
    )
    async def ready(self, service: NamedDependency[Service]) -> Response[ReadyResponse]:
        state = await service.readiness()
        if state.ready:
            return Response(state)
        return Response(state, status_code=503, headers={"retry-after": str(RETRY_READY_AFTER_S)})
