"""``/v1/collections``: the sets of documents there are."""

from __future__ import annotations

import asyncio

from litestar import Controller, get
from litestar.di import NamedDependency

from api.presentation import plain
from api.schemas import Collection, CollectionsResponse
from api.service import Service


class CollectionsController(Controller):
    path = "/v1/collections"
    tags = ("Documents",)

    @get(
        operation_id="listCollections",
        response_description="The collections.",
        summary="List collections",
        description="All collections with what their embeddings were made with.",
    )
    async def list_collections(self, service: NamedDependency[Service]) -> CollectionsResponse:
        found = await asyncio.to_thread(service.library.store.collections)
        by_name = sorted(found, key=lambda collection: collection.name)
        return CollectionsResponse(collections=tuple(plain(collection, Collection) for collection in by_name))
