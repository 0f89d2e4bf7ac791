"""Files that are handed over: they are kept, a job is queued, and an ``indexer worker`` takes them in."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Annotated, Any, BinaryIO, cast

from litestar.enums import RequestEncodingType
from litestar.params import Body

from api import presentation
from api.bodies import UploadForm
from api.job_schemas import Job
from api.problems import InvalidFields
from api.schemas import FieldError
from api.service import Library
from rag.job_types import JobRequest, Upload
from rag.retrieval.filters import parse_metadata
from rag.types import LONGEST_COLLECTION_NAME

_LONGEST_URI = 2000
_METADATA = """Write it like {"team": "red"}."""


Form = Annotated[UploadForm, Body(media_type=RequestEncodingType.MULTI_PART)]


def _uris(form: UploadForm) -> list[str]:
    """Each file's address in the store: what the sender says, or its name.

    Raises:
        InvalidFields: it cannot be one.
    """
    if not form.file or not all(file.filename for file in form.file):
        raise _field("file", "no file with a name was sent", "Send one: curl -F file=@report.pdf")
    if form.uri is not None and len(form.file) > 1:
        raise _field("uri", "one address was given for several files", "Upload them one by one, or leave uri out.")
    if not 1 <= len(form.collection) <= LONGEST_COLLECTION_NAME:
        raise _field("collection", f"it must have 1 to {LONGEST_COLLECTION_NAME} characters")
    uris = [form.uri] if form.uri is not None else [f"upload:{file.filename}" for file in form.file]
    if len(set(uris)) < len(uris):
        raise _field("file", "two files have the same name")
    for uri in uris:
        if not 1 <= len(uri) <= _LONGEST_URI or not uri.isprintable() or "!/" in uri:
            raise _field("uri", f"it must have 1 to {_LONGEST_URI} printable characters and no '!/'")
    return uris


def _metadata(value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        read = json.loads(value)
    except RecursionError as error:
        raise _field("metadata", "it is nested too deep") from error
    except ValueError as error:
        raise _field("metadata", f"it is not JSON: {error}", _METADATA) from error
    if not isinstance(read, dict):
        raise _field("metadata", "it is not a JSON object", _METADATA)
    return dict(parse_metadata(read))


def _field(name: str, detail: str, hint: str = "") -> InvalidFields:
    return InvalidFields(
        f"The upload cannot be taken: {name}: {detail}.",
        errors=(FieldError(pointer=f"/{name}", detail=detail),),
        hint=hint,
    )


def keep(library: Library, form: UploadForm, max_bytes: int) -> Job:
    """Have the files on disk, then the job in the queue; without the job no file is kept."""
    uris, metadata = _uris(form), _metadata(form.metadata)
    with ExitStack() as undo:
        uploads = []
        for file, uri in zip(form.file, uris, strict=True):
            blob, sha256, size = library.blobs.put(cast("BinaryIO", file.file), name=file.filename, max_bytes=max_bytes)
            undo.callback(library.blobs.remove, blob)
            uploads.append(Upload(name=file.filename, uri=uri, blob=blob, sha256=sha256, size=size))
        request = JobRequest(collection=form.collection, uploads=tuple(uploads), metadata=metadata)
        job = library.jobs.put(request)
        undo.pop_all()
    return presentation.job(job)
