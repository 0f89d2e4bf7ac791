"""Domain values of versions: what there was, what happened to documents, and stretches of one. Free of I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rag.types import Chunk, MetadataValue, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentVersion:
    """A source's content from ``since`` until ``until`` (RFC 3339, UTC); ``until`` is ``None`` while it is active.

    The other fields are as in ``Document``.
    """

    id: int
    document_id: int
    collection: str
    uri: str
    title: str
    media_type: str
    sha256: str
    size: int
    chunk_count: int
    since: str
    until: str | None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)


class ChangeKind(StrEnum):
    ADDED = "added"
    REPLACED = "replaced"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChange:
    """What happened to a document ``at`` a time (RFC 3339, UTC).

    ``title`` and ``chunk_count`` are those of the new version ``version_id``, or, of a deleted document, those of its
    last. ``previous_version_id`` is the version that ended, if there was one.
    """

    kind: ChangeKind
    at: str
    collection: str
    document_id: int
    uri: str
    title: str
    chunk_count: int
    version_id: int | None
    previous_version_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the list of changes one stands: each is of one document in one change of its collection."""

    seq: int
    document_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """A place that a purge has searched: how many things were looked at, how many were removed, how many are left.

    ``note`` says what is to be done about those left, or about what could not be searched.
    """

    place: str
    searched: int
    removed: int
    left: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A collection that is gone: how many documents were in it, how many chunks with those of versions that were kept,
    and where it was looked for.
    """

    collection: str
    documents: int
    chunks: int
    searched: tuple[Searched, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is left in any of these places."""
        return not any(place.left for place in self.searched)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Chunks of one version that follow each other, and its source text from the first one's start to the last one's
    end.
    """

    chunks: tuple[Chunk, ...]
    text: str

    def slice(self, span: Span) -> str:
        """The source text within the span, whose offsets count from the start of the source."""
        start = self.chunks[0].span.start
        return self.text[span.start - start : span.end - start]
