"""``/v1/collections``: the sets of documents there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from litestar import Controller, delete, get, patch
from litestar.di import NamedDependency
from litestar.params import JSONBody, Parameter

from api.bodies import RenameRequest
from api.documentation import problems
from api.presentation import plain
from api.requests import require_json
from api.schemas import Collection, CollectionsResponse, Dropped, Fingerprint, Searched, VectorIndex
from api.service import Service

if TYPE_CHECKING:
    from rag.types import Collection as Stored
    from rag.types import GenerationInfo

_Collection = Annotated[str, Parameter(min_length=1, max_length=200, description="Collection to drop.")]
_Renamed = Annotated[str, Parameter(min_length=1, max_length=200, description="Collection to rename.")]
_Purge = Annotated[bool, Parameter(description="Overwrite the bytes of it, too, and take it out of what jobs tell.")]


class CollectionsController(Controller):
    path = "/v1/collections"
    tags = ("Documents",)

    @get(
        operation_id="listCollections",
        response_description="The collections.",
        summary="List collections",
        description="All collections with what their embeddings were made with, and their index files.",
        responses=problems(422),
    )
    async def list_collections(self, service: NamedDependency[Service]) -> CollectionsResponse:
        store = service.library.store

        def read() -> CollectionsResponse:
            by_name = sorted(store.collections(), key=lambda collection: collection.name)
            return CollectionsResponse(collections=tuple(_shown(each, store.index(each)) for each in by_name))

        return await asyncio.to_thread(read)

    @patch(
        operation_id="renameCollection",
        response_description="The collection.",
        summary="Rename a collection",
        description=(
            "Calls it by another name, with all that is in it. It is refused where there is a collection of that name, "
            "and while something is taken into it, waits to be, or is embedded anew."
        ),
        guards=[require_json],
        responses=problems(400, 404, 409, 415, 422, 503),
    )
    async def rename_collection(
        self, service: NamedDependency[Service], collection: _Renamed, data: JSONBody[RenameRequest]
    ) -> Collection:
        library = service.library

        def rename() -> Collection:
            renamed = library.rename(library.store.collection(collection), data.name)
            return _shown(renamed, library.store.index(renamed))

        return await asyncio.to_thread(rename)

    @delete(
        operation_id="dropCollection",
        status_code=200,
        response_description="Where it was looked for.",
        summary="Drop a collection",
        description=(
            "Removes it with all its documents and their past versions, for good, before the answer. It is refused "
            "while something is taken into it, waits to be, or is embedded anew."
        ),
        responses=problems(404, 409, 422, 503),
    )
    async def drop_collection(
        self,
        service: NamedDependency[Service],
        collection: _Collection,
        purge: _Purge = False,  # noqa: FBT002  # a query parameter
    ) -> Dropped:
        library = service.library

        def drop() -> Dropped:
            report = library.drop(library.store.collection(collection), purge=purge)
            return Dropped(
                collection=collection,
                documents=report.documents,
                chunks=report.chunks,
                complete=report.complete,
                searched=tuple(plain(place, Searched) for place in report.searched),
            )

        return await asyncio.to_thread(drop)


def _shown(collection: Stored, index: GenerationInfo | None) -> Collection:
    return Collection(
        name=collection.name,
        seq=collection.seq,
        fingerprint=plain(collection.fingerprint, Fingerprint),
        dense_weight=collection.dense_weight,
        index=None if index is None else plain(index, VectorIndex),
    )
