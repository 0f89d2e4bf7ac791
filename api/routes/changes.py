"""``/v1/changes`` and a document's versions: what was."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Annotated

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import Parameter

from api.documentation import problems
from api.presentation import plain
from api.problems import InvalidFields
from api.routes.documents import collection_of
from api.schemas import ChangesResponse, DocumentChange, DocumentVersion, FieldError, VersionsResponse
from api.service import Library, Service
from rag.errors import InvalidRequest
from rag.times import rfc3339
from rag.types import DEFAULT_COLLECTION
from rag.version_types import Place

_PLACE = re.compile(r"(?P<seq>\d{1,15})-(?P<document_id>\d{1,15})")

_Collection = Annotated[str, Parameter(min_length=1, max_length=200, description="Collection to look into.")]
_Limit = Annotated[int, Parameter(ge=1, le=1000, description="Changes per page.")]
_After = Annotated[str | None, Parameter(description="`next` of the page before.")]
_Since = Annotated[
    datetime | None, Parameter(description="Only changes later than this (RFC 3339); all that are known if left out.")
]
_Until = Annotated[datetime | None, Parameter(description="Only changes up to this time (RFC 3339).")]
_DocumentId = Annotated[int, Parameter(description="The document's id, also of one that was deleted.")]


def _place(after: str | None) -> Place | None:
    if after is None:
        return None
    found = _PLACE.fullmatch(after)
    if found is None:
        where = FieldError(pointer="/after", detail="it is not the `next` of a page")
        raise InvalidFields(f"{after!r} is not the `next` of a page of changes.", errors=(where,))
    return Place(seq=int(found["seq"]), document_id=int(found["document_id"]))


def _aware(time: datetime | None, name: str) -> datetime | None:
    if time is not None and time.tzinfo is None:
        raise InvalidRequest(f"{name} has no time zone.", hint="Write it like 2026-01-31T12:00:00Z.")
    return time


def _page(  # as the route has them
    library: Library,
    collection: str,
    since: datetime | None,
    until: datetime | None,
    after: Place | None,
    limit: int,
) -> ChangesResponse:
    target = library.store.collection(collection)
    found = library.history.changes(target, since=since, until=until, after=after, limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    last = page[-1][0] if more else None
    return ChangesResponse(
        changes=tuple(plain(change, DocumentChange) for _, change in page),
        next=f"{last.seq}-{last.document_id}" if last else None,
        history_begins=rfc3339(library.history.begins(target), "auto"),
    )


def _versions(library: Library, document_id: int) -> VersionsResponse:
    found = library.history.versions(collection_of(library.store, document_id), document_id)
    return VersionsResponse(versions=tuple(plain(version, DocumentVersion) for version in found))


class ChangesController(Controller):
    path = "/v1"
    tags = ("Documents",)

    @get(
        "/changes",
        operation_id="listChanges",
        response_description="A page of changes.",
        summary="List what changed",
        description="Documents that were added, replaced and deleted, oldest first, as far back as versions are kept.",
        responses=problems(404, 410, 422),
    )
    async def list_changes(
        self,
        service: NamedDependency[Service],
        collection: _Collection = DEFAULT_COLLECTION,
        since: _Since = None,
        until: _Until = None,
        after: _After = None,
        limit: _Limit = 100,
    ) -> ChangesResponse:
        times = _aware(since, "since"), _aware(until, "until")
        return await asyncio.to_thread(_page, service.library, collection, *times, _place(after), limit)

    @get(
        "/documents/{document_id:int}/versions",
        operation_id="listVersions",
        response_description="The versions.",
        summary="List a document's versions",
        description="The versions of a document that are kept, newest first; the first is active if it has no `until`.",
        responses=problems(404, 422),
    )
    async def list_versions(
        self,
        service: NamedDependency[Service],
        document_id: _DocumentId,
    ) -> VersionsResponse:
        return await asyncio.to_thread(_versions, service.library, document_id)
