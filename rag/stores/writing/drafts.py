"""A document version as far as it is in memory: all of it, or what is not on disk yet of a long one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rag.stores.full_text.language import language_of

if TYPE_CHECKING:
    from rag.source_types import SourceRecord
    from rag.stores.writing.chunk_rows import NewChunk
    from rag.types import Collection, Fingerprint


class VersionPlace(NamedTuple):
    """Where a version is in the database. ``language`` is what its words are stemmed in."""

    version_id: int
    document_id: int
    language: str | None


@dataclass(slots=True, kw_only=True, eq=False)
class VersionDraft:
    """``place`` is known once a part of it is on disk. ``set_id`` is the set of embeddings that served then.

    ``members_failed`` counts what it holds and could not be taken in.
    """

    collection: Collection
    source: SourceRecord
    made_with: Fingerprint
    place: VersionPlace | None = None
    set_id: int | None = None
    pieces: list[str] = field(default_factory=list)
    outlines: list[bytes] = field(default_factory=list)
    chunks: list[NewChunk] = field(default_factory=list)
    held_characters: int = 0
    written_characters: int = 0
    written_outlines: int = 0
    chunk_count: int = 0
    members_failed: int = 0

    def language(self) -> str | None:
        """Of what is in memory, which is all there is, or as much as decides."""
        if self.place is not None:
            return self.place.language
        return language_of("".join(self.pieces) or " ".join(chunk.draft.text for chunk in self.chunks))

    def is_written(self, place: VersionPlace) -> None:
        """What is in memory is on disk, for certain."""
        self.place = place
        self.written_characters += self.held_characters
        self.written_outlines += len(self.outlines)
        self.pieces, self.held_characters, self.outlines, self.chunks = [], 0, [], []
