"""``/metrics``: figures for Prometheus."""

from __future__ import annotations

from litestar import Controller, MediaType, Response, get
from litestar.di import NamedDependency

from api.documentation import problems
from api.requests import StrictRequest
from api.service import Service


class MetricsController(Controller):
    path = "/metrics"
    tags = ("State",)

    @get(
        operation_id="metrics",
        media_type=MediaType.TEXT,
        response_description="Figures in the Prometheus text format, or as OpenMetrics where the client prefers it.",
        summary="Figures",
        description="What the service is doing and how long answers took. Of a model not loaded yet nothing is said.",
        responses=problems(),
    )
    async def metrics(self, request: StrictRequest, service: NamedDependency[Service]) -> Response[bytes]:
        content, media_type = service.metrics.exposition(request.headers.get("accept", ""))
        return Response(content, media_type=media_type)
