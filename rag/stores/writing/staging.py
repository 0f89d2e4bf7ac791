"""A document version while it is written.

Small documents are held in memory and written and activated in one transaction. A long one goes to disk in short
transactions under the status ``staged``, which no reader sees, so that neither memory nor the write lock is held.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rag.stores.full_text.language import begin_loading
from rag.stores.index.vectors import encode
from rag.stores.tables import VersionStatus
from rag.stores.versions.retirement import prune
from rag.stores.writing.activation import activate
from rag.stores.writing.chunk_rows import NewChunk
from rag.stores.writing.drafts import VersionDraft
from rag.stores.writing.version_rows import (
    insert_versions,
    remove,
    require_embedder,
    require_staged,
    unfinished,
    version_rows,
    write_held,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from rag.source_types import SourceRecord
    from rag.stores.sqlite.database import Database
    from rag.stores.writing.drafts import VersionPlace
    from rag.types import ChunkDraft, Collection, Document, Fingerprint

_HELD_CHARACTERS = 1 << 20
_HELD_CHUNKS = 1024


class SqlStagedVersion:
    """Implements ``rag.protocols.StagedVersion``. Used by one thread."""

    def __init__(
        self, database: Database, collection: Collection, source: SourceRecord, made_with: Fingerprint | None = None
    ) -> None:
        self._database = database
        self._draft = VersionDraft(collection=collection, source=source, made_with=made_with or collection.fingerprint)
        self._closed = False
        begin_loading()

    def add_text(self, start: int, text: str, *, outline: bytes = b"") -> None:
        """Append source text beginning at character offset ``start``, which is where the text so far ends.

        ``outline`` is what a chunker needs of it besides, to cut it anew some day.

        Raises:
            ValueError: a piece is missing or repeated.
        """
        self._require_open()
        draft = self._draft
        expected = draft.written_characters + draft.held_characters
        if start != expected:
            raise ValueError(f"the text so far ends at {expected}; a piece starting at {start} does not join it")
        draft.pieces.append(text)
        draft.held_characters += len(text)
        if outline:
            draft.outlines.append(outline)
        if draft.held_characters >= _HELD_CHARACTERS:
            self._spill()

    def add_chunks(
        self, chunks: Sequence[ChunkDraft], vectors: NDArray[np.float32], *, digests: Sequence[bytes] | None = None
    ) -> None:
        """Append chunks with their embeddings, an array of shape ``(len(chunks), dimension)``.

        ``digests`` are the sha256 of what was embedded; without them nobody finds these embeddings to use them again.

        Raises:
            ValueError: the shapes or numbers do not agree, or a vector is zero or not finite.
        """
        self._require_open()
        dimension = self._draft.collection.fingerprint.dimension
        if vectors.shape != (len(chunks), dimension):
            raise ValueError(
                f"{len(chunks)} chunks of dimension {dimension} do not fit vectors of shape {vectors.shape}"
            )
        known: Sequence[bytes | None] = [None] * len(chunks) if digests is None else digests
        self._draft.chunks.extend(map(NewChunk, chunks, encode(vectors), known))
        self._draft.chunk_count += len(chunks)
        if len(self._draft.chunks) >= _HELD_CHUNKS:
            self._spill()

    def count_failed(self, members: int) -> None:
        """So many documents in it could not be taken in."""
        self._draft.members_failed = members

    def activate(self) -> Document:
        """Make this version the active one, in one transaction with the end of the one before it.

        Errors: as ``rag.stores.writing.activation.activate``.
        """
        [document] = activate_together(self._database, [self])
        return document

    def discard(self) -> None:
        """Delete what was staged and is not active. Does nothing after ``activate``."""
        if not self._closed and self._draft.place is not None:
            prune(self._database, [self._draft.place.version_id])
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError("this version is activated or discarded; stage a new one")

    def _spill(self) -> None:
        language = self._draft.language()
        with self._database.write() as connection:
            _, set_id = require_embedder(connection, [self._draft])
            place = self._place(connection, language)
            write_held(connection, {self._draft: place}, set_id)
        self._draft.is_written(place)

    def _place(self, connection: Connection, language: str | None) -> VersionPlace:
        """Create the version's row with the first write; after that make sure that it is still being written."""
        if self._draft.place is not None:
            return require_staged(connection, self._draft, self._draft.place)
        rows = version_rows(connection, [self._draft], {self._draft: language})
        left_over = unfinished(connection, rows)
        staged = {"status": VersionStatus.STAGED, "created_at": datetime.now(UTC), "owner": str(os.getpid())}
        [place] = insert_versions(connection, [row | staged for row in rows])
        remove(connection, left_over)
        return place


def activate_together(database: Database, versions: Sequence[SqlStagedVersion]) -> list[Document]:
    """Make versions of one collection the active ones, in one transaction: all of them, or none.

    Errors: as ``rag.stores.writing.activation.activate``.
    """
    for version in versions:
        version._require_open()
    documents, left = activate(database, [version._draft for version in versions])
    for version in versions:
        version._closed = True
    prune(database, left)
    return documents
