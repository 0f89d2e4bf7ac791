"""``/v1/documents``: what the collections hold."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import Parameter
from litestar.response import Response

from api import schemas
from api.bodies import UploadForm
from api.documentation import problems
from api.job_schemas import Job
from api.presentation import plain
from api.requests import require_form, require_known_fields
from api.routes.uploads import Form, keep
from api.schemas import Deleted, DocumentDetails, DocumentsResponse, Searched
from api.security import require_own_origin
from api.service import Library, Service
from rag.errors import UnknownDocument
from rag.types import DEFAULT_COLLECTION

if TYPE_CHECKING:
    from rag.protocols import DocumentStore
    from rag.types import Collection

_MAX_ID = 2**53 - 1  # the largest that JSON readers carry exactly; far above any real id
_MAX_PAGE = 1000

_Collection = Annotated[str, Parameter(min_length=1, max_length=200, description="Collection to list.")]
_Limit = Annotated[int, Parameter(ge=1, le=_MAX_PAGE, description="Documents per page.")]
_After = Annotated[int, Parameter(ge=0, le=_MAX_ID, description="`next` of the page before.")]
_Purge = Annotated[bool, Parameter(description="Delete all its versions for good, and say what was searched.")]
_DocumentId = Annotated[int, Parameter(description="The document's id.")]


def _page(store: DocumentStore, collection: str, limit: int, after: int) -> DocumentsResponse:
    found = store.documents(store.collection(collection), limit=limit + 1, after=after)
    more = len(found) > limit
    return DocumentsResponse(
        documents=tuple(plain(document, schemas.Document) for document in found[:limit]),
        next=found[limit - 1].id if more else None,
    )


def collection_of(store: DocumentStore, document_id: int) -> Collection:
    """The collection of a document that is there, or of which versions are kept. Raises UnknownDocument."""
    collection = store.collection_of(document_id) if 0 < document_id <= _MAX_ID else None
    if collection is None:
        raise UnknownDocument(f"There is no document {document_id}.", hint="GET /v1/documents lists those there are.")
    return collection


def _find(store: DocumentStore, document_id: int) -> DocumentDetails:
    collection = collection_of(store, document_id)
    document = plain(store.document(collection, document_id), schemas.Document)
    [quality] = store.qualities(collection, [document_id])
    return DocumentDetails(**msgspec.structs.asdict(document), quality=plain(quality, schemas.Quality))


def _delete(library: Library, document_id: int, *, purge: bool) -> Deleted:
    """What is damaged can be deleted, and what is deleted but kept can be purged."""
    collection = collection_of(library.store, document_id)
    if purge:
        searched = library.purge(collection, [document_id])
    else:
        library.store.document(collection, document_id, damaged_too=True)
        library.store.delete(collection, [document_id])
        searched = library.erase_deleted().searched()
    return Deleted(
        document_id=document_id,
        complete=not any(place.left for place in searched),
        searched=tuple(plain(place, Searched) for place in searched),
    )


class DocumentsController(Controller):
    path = "/v1/documents"
    tags = ("Documents",)

    @post(
        operation_id="uploadDocuments",
        status_code=202,
        response_description="The job that takes them in.",
        summary="Upload documents",
        description=(
            "Queues files to be taken in, as a form (`multipart/form-data`) of one or more `file`s, and optionally "
            "`collection`, `uri` (of a single file; `upload:` and its name otherwise) and `metadata` (a JSON object). "
            "A file with the URI of a document replaces it. `GET /v1/jobs/{id}` tells how far it is."
        ),
        guards=[require_own_origin, require_form],
        responses=problems(403, 413, 415, 422, 503),
    )
    async def upload(
        self, data: Form, request: Request[Any, Any, Any], service: NamedDependency[Service]
    ) -> Response[Job]:
        await require_known_fields(request, UploadForm)
        job = await asyncio.to_thread(keep, service.library, data, service.max_file_bytes)
        return Response(job, status_code=202, headers={"location": f"/v1/jobs/{job.id}"})

    @get(
        operation_id="listDocuments",
        response_description="A page of documents.",
        summary="List documents",
        description="The active documents of a collection by id, a page at a time.",
        responses=problems(404, 422),
    )
    async def list_documents(
        self,
        service: NamedDependency[Service],
        collection: _Collection = DEFAULT_COLLECTION,
        limit: _Limit = 100,
        after: _After = 0,
    ) -> DocumentsResponse:
        return await asyncio.to_thread(_page, service.library.store, collection, limit, after)

    @get(
        "/{document_id:int}",
        operation_id="getDocument",
        response_description="The document.",
        summary="Get a document",
        description="One active document, and how much of it says the same as others or is no text.",
        responses=problems(404, 422),
    )
    async def get_document(self, service: NamedDependency[Service], document_id: _DocumentId) -> DocumentDetails:
        return await asyncio.to_thread(_find, service.library.store, document_id)

    @delete(
        "/{document_id:int}",
        operation_id="deleteDocument",
        status_code=200,
        response_description="Where it was looked for.",
        summary="Delete a document",
        description=(
            "It is not found any more, and model state made of it is erased, before the answer. Questions about the "
            "past find it as long as its collection keeps it, unless it is purged, which it can be until then. What is "
            "in it (an archive, a mail) goes with it. A purge is refused while an upload that waits would bring it "
            "again."
        ),
        responses=problems(404, 409, 422, 503),
    )
    async def delete_document(
        self,
        service: NamedDependency[Service],
        document_id: _DocumentId,
        purge: _Purge = False,  # noqa: FBT002  # a query parameter
    ) -> Deleted:
        return await asyncio.to_thread(_delete, service.library, document_id, purge=purge)
