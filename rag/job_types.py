"""Domain values of queued work: what is to be done, how far it is, what came of each file. Immutable, free of I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rag.quality_types import Quality
    from rag.types import MetadataValue


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was handed over: ``name`` is what its sender calls it, ``uri`` its address in the store.

    ``blob`` is where it waits, below the data directory; ``size`` is in bytes.
    """

    name: str
    uri: str
    blob: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What to take into a collection: files that were uploaded, or paths and URLs, and sitemaps of sites.

    ``metadata`` is said of all of them; ``None`` keeps what was said before. ``foreground``: the command that asked for
    it does it, and nobody does it again when that ends in the middle.
    """

    collection: str
    uploads: tuple[Upload, ...] = ()
    paths: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()
    metadata: Mapping[str, MetadataValue] | None = None
    foreground: bool = False

    @property
    def uris(self) -> tuple[str, ...]:
        """All that is to be taken in, by its address."""
        return (*(upload.uri for upload in self.uploads), *self.paths, *self.sitemaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job, or a file of it, failed."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """What came of one file. ``outcome``: ``ingested``, ``replaced``, ``unchanged``, ``failed`` or ``left_out``."""

    uri: str
    outcome: str
    document_id: int | None = None
    chunks: int = 0
    seconds: float = 0.0
    notices: tuple[str, ...] = ()
    error: JobError | None = None
    quality: Quality | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request and how far it is. Times are RFC 3339 in UTC; ``attempts`` counts how often it was begun.

    ``outcomes`` counts its files by what came of them, as far as they are done. ``not_before``: not tried again before.
    ``files_known``: how many files the last attempt knew of, with those of archives that it had opened; None until it
    had looked. ``chunks``: how many it had embedded, or had found embedded.
    """

    id: int
    request: JobRequest
    state: JobState
    attempts: int
    cancel_requested: bool
    created_at: str
    started_at: str | None
    finished_at: str | None
    not_before: str | None
    error: JobError | None
    outcomes: Mapping[str, int] = field(default_factory=dict)
    files_known: int | None = None
    chunks: int = 0


def request_to_json(request: JobRequest) -> dict[str, Any]:
    """As the database keeps it, with a checksum: a letter that flips would send a document elsewhere."""
    kept = {
        "uploads": [
            {"name": each.name, "uri": each.uri, "blob": each.blob, "sha256": each.sha256, "size": each.size}
            for each in request.uploads
        ],
        "paths": list(request.paths),
        "sitemaps": list(request.sitemaps),
        "metadata": None if request.metadata is None else dict(request.metadata),
        "foreground": request.foreground,
    }
    return {**kept, "crc32": _checksum(request.collection, kept)}


def request_from_json(collection: str, value: Mapping[str, Any]) -> JobRequest:
    """What ``request_to_json`` made; of older programs, without the checksum.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is not as it was written.
    """
    kept = {name: of for name, of in value.items() if name != "crc32"}
    if kept != value and value["crc32"] != _checksum(collection, kept):
        raise ValueError("its checksum is another")
    return JobRequest(
        collection=collection,
        uploads=tuple(Upload(**each) for each in kept["uploads"]),
        paths=tuple(kept["paths"]),
        sitemaps=tuple(kept.get("sitemaps", ())),
        metadata=kept["metadata"],
        foreground=kept.get("foreground", False),
    )


def _checksum(collection: str, kept: Mapping[str, Any]) -> int:
    return crc32(json.dumps([collection, kept], sort_keys=True).encode())
