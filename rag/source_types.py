"""Sources: what documents are made of, as they were read and as the store knows them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rag.types import MetadataValue


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """A source as it was read: ``size`` in bytes, ``mtime_ns`` by the file system, ``sha256`` of the bytes.

    ``metadata``: what the user says of it; ``None`` keeps what was said of its active version. ``replaces``: the
    document that was there when it was read; what is deleted meanwhile does not come back with it.
    """

    uri: str
    title: str
    media_type: str
    sha256: str
    size: int
    mtime_ns: int
    metadata: Mapping[str, MetadataValue] | None = None
    replaces: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebFetch:
    """When a web document was last fetched (ISO 8601), and what its server and its sitemap said of it then."""

    etag: str = ""
    last_modified: str = ""
    lastmod: str = ""
    fetched_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSource:
    """What the store knows of a source's active version, to decide whether it must be read again.

    ``members`` are documents in it. ``members_failed``: those that could not be taken in, so reading it again may find
    more; ``members_gone``:
    those that were taken in with it and are there no more. ``web``: of one that was fetched from a web server.
    """

    document_id: int
    title: str
    media_type: str
    sha256: str
    size: int
    mtime_ns: int
    parser: str
    chunker: str
    metadata: Mapping[str, MetadataValue]
    members: int = 0
    members_failed: int = 0
    members_gone: int = 0
    web: WebFetch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSource:
    """A source as its active document knows it, since ``stored_at``.

    ``members`` are documents in it. ``current``: made by the parser and chunker of its collection, and whole: all that
    was in it could be taken in.
    """

    document_id: int
    uri: str
    title: str
    media_type: str
    sha256: str
    size: int
    mtime_ns: int
    current: bool
    metadata: Mapping[str, MetadataValue]
    stored_at: datetime
    members: int = 0


def same_metadata(one: Mapping[str, MetadataValue], other: Mapping[str, MetadataValue]) -> bool:
    """Whether filters find the same by both. In JSON 1, 1.0 and true are three things; in Python they are equal."""
    written, again = (json.dumps(dict(said), sort_keys=True) for said in (one, other))
    return written == again
