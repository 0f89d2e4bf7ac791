"""``/v1/collections``: the sets of documents there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from litestar import Controller, get
from litestar.di import NamedDependency

from api.presentation import plain
from api.schemas import Collection, CollectionsResponse, Fingerprint, VectorIndex
from api.service import Service

if TYPE_CHECKING:
    from rag.types import Collection as Stored
    from rag.types import GenerationInfo


class CollectionsController(Controller):
    path = "/v1/collections"
    tags = ("Documents",)

    @get(
        operation_id="listCollections",
        response_description="The collections.",
        summary="List collections",
        description="All collections with what their embeddings were made with, and their index files.",
    )
    async def list_collections(self, service: NamedDependency[Service]) -> CollectionsResponse:
        store = service.library.store

        def read() -> CollectionsResponse:
            by_name = sorted(store.collections(), key=lambda collection: collection.name)
            return CollectionsResponse(collections=tuple(_shown(each, store.index(each)) for each in by_name))

        return await asyncio.to_thread(read)


def _shown(collection: Stored, index: GenerationInfo | None) -> Collection:
    return Collection(
        name=collection.name,
        seq=collection.seq,
        fingerprint=plain(collection.fingerprint, Fingerprint),
        dense_weight=collection.dense_weight,
        index=None if index is None else plain(index, VectorIndex),
    )
