"""``POST /v1/search``: passages without an answer."""

from __future__ import annotations

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api import presentation
from api.bodies import SearchRequest
from api.documentation import problems
from api.requests import StrictRequest, filter_of, require_json, require_words
from api.schemas import SearchResponse
from api.service import Service
from api.streaming import until_disconnected


class SearchController(Controller):
    path = "/v1/search"
    tags = ("Questions",)

    @post(
        operation_id="search",
        response_description="The passages.",
        summary="Find passages",
        description="The passages that fit the query best, by meaning and by words. No language model is asked.",
        guards=[require_json],
        status_code=200,
        responses=problems(400, 404, 409, 410, 413, 415, 422, 429, 503),
    )
    async def search(
        self, request: StrictRequest, data: JSONBody[SearchRequest], service: NamedDependency[Service]
    ) -> SearchResponse:
        require_words(data.query)
        where = filter_of(data)
        with service.admission.enter():
            pipeline = await until_disconnected(request, service.pipeline())
            work = pipeline.search(data.query, collection=data.collection, k=data.k, where=where, as_of=data.as_of)
            return presentation.search_result(await until_disconnected(request, work))
