"""The Litestar application, put together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide

from api.documentation import refine
from api.failures import FailureResponse
from api.metrics import Metrics
from api.openapi import openapi_config
from api.problems import problem_response
from api.requests import StrictRequest, require_known_parameters
from api.routes.changes import ChangesController
from api.routes.collections import CollectionsController
from api.routes.documents import DocumentsController
from api.routes.jobs import JobsController
from api.routes.metrics import MetricsController
from api.routes.query import QueryController
from api.routes.search import SearchController
from api.routes.state import StateController
from api.security import HostCheck, add_headers
from api.service import READY_WAIT_S, Library, Service
from api.tracing import RequestTrace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

    from rag.config import Settings

MAX_BODY_BYTES = 1 << 20


class App(Litestar):
    """Answers HEAD as GET, whose body the server leaves out: probes of proxies and monitors ask so."""

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        if scope.get("method") == "HEAD":
            scope = cast("Scope", {**scope, "method": "GET"})
        await super().__call__(scope, receive, send)


def _service(state: State) -> Service:
    service: Service = state.service
    return service


def create_app(settings: Settings, library: Library | None = None, *, ready_wait_s: float = READY_WAIT_S) -> Litestar:
    """An app over ``library``, which stays the caller's to close; without one the app opens and closes its own.

    Models load in a thread once the app has started. ``ready_wait_s`` bounds how long a query waits for them.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None, None]:
        served = await asyncio.to_thread(_open, settings) if library is None else library
        service = Service(served, settings, metrics, ready_wait_s=ready_wait_s)
        app.state.service = service
        try:
            yield
        finally:
            await service.stop()
            if library is None:
                await asyncio.to_thread(served.close)

    upload_bytes = settings.max_file_bytes + MAX_BODY_BYTES
    app = App(
        route_handlers=[
            StateController,
            QueryController,
            SearchController,
            # What is uploaded may be as large as a file that is ingested, and has a form around it.
            Router("/", route_handlers=[DocumentsController], request_max_body_size=upload_bytes),
            ChangesController,
            CollectionsController,
            JobsController,
            MetricsController,
        ],
        dependencies={"service": Provide(_service, sync_to_thread=False)},
        lifespan=[lifespan],
        guards=[require_known_parameters],
        middleware=[
            RequestTrace(),
            FailureResponse(),
            HostCheck(bound_host=settings.host, allowed_hosts=settings.allowed_hosts),
        ],
        before_send=[add_headers, metrics.count_response],
        exception_handlers={Exception: problem_response},
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=openapi_config(),
        logging_config=None,
    )
    refine(app.openapi_schema)
    return app


def _open(settings: Settings) -> Library:
    from rag.factory import open_library

    return open_library(settings)
