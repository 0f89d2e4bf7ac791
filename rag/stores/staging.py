"""A document version while it is written.

Small documents are held in memory and written and activated in one transaction. A long one goes to disk in short
transactions under the status ``staged``, which no reader sees, so that neither memory nor the write lock is held.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, insert, select

from rag.errors import EmbedderChanged, IngestInProgress, SourcePurged
from rag.stores import tenures
from rag.stores.analysis import note_language
from rag.stores.chunk_writing import NewChunk, insert_chunks
from rag.stores.collection_rows import collection_row
from rag.stores.embedding_sets import require_live_set
from rag.stores.filtering import metadata_row
from rag.stores.language import language_of
from rag.stores.reading import active_document, member_count, require_version
from rag.stores.retirement import next_change, prune, prune_some, retire
from rag.stores.rows import change_version, outline_row, text_row
from rag.stores.tables import DocumentRow, MetadataRow, OutlineRow, TextRow, VersionRow, VersionStatus
from rag.stores.vectors import encode
from rag.stores.visibility import UNSEEN, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from rag.source_types import SourceRecord
    from rag.stores.collection_rows import AnyRow
    from rag.stores.database import Database
    from rag.types import ChunkDraft, Collection, Document, Fingerprint

_PIECE_CHARACTERS = 1 << 16
_HELD_CHARACTERS = 1 << 20
_HELD_CHUNKS = 1024

# Made once, as all that is asked for each document: see ``rag.stores.reading.ACTIVE_PASSAGES``.
_DOCUMENT: Final = select(DocumentRow.id).where(
    DocumentRow.collection_id == bindparam("collection"), DocumentRow.uri == bindparam("uri")
)
_NEW_DOCUMENT: Final = insert(DocumentRow).returning(DocumentRow.id)
_ACTIVE: Final = (
    select(VersionRow, DocumentRow.uri)
    .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
    .where(VersionRow.document_id == bindparam("document"), visible())
)
_NEW_VERSION: Final = insert(VersionRow).returning(VersionRow.id)
_STATUS: Final = select(VersionRow.status).where(VersionRow.id == bindparam("version"))
_LATER: Final = select(VersionRow.id).where(
    VersionRow.document_id == bindparam("document"), VersionRow.id > bindparam("version")
)
_LEFT_OVER: Final = select(VersionRow.id).where(
    VersionRow.document_id == bindparam("document"), UNSEEN, VersionRow.id != bindparam("version")
)
_BEFORE: Final = select(VersionRow.id).where(
    VersionRow.document_id == bindparam("document"), VersionRow.status == VersionStatus.ACTIVE
)
_NEW_TEXTS: Final = insert(TextRow)
_NEW_OUTLINES: Final = insert(OutlineRow)


class SqlStagedVersion:
    """Implements ``rag.protocols.StagedVersion``. Used by one thread."""

    def __init__(
        self, database: Database, collection: Collection, source: SourceRecord, made_with: Fingerprint | None = None
    ) -> None:
        self._database = database
        self._made_with = made_with or collection.fingerprint
        self._collection = collection
        self._source = source
        self._version_id: int | None = None
        self._document_id = 0  # known with the version, as its language is
        self._language: str | None = None
        self._set_id: int | None = None
        self._pieces: list[str] = []
        self._written_characters = 0
        self._held_characters = 0
        self._outlines: list[bytes] = []
        self._written_outlines = 0
        self._chunks: list[NewChunk] = []
        self._chunk_count = 0
        self._closed = False

    def add_text(self, start: int, text: str, *, outline: bytes = b"") -> None:
        """Append source text beginning at character offset ``start``, which is where the text so far ends.

        ``outline`` is what a chunker needs of it besides, to cut it anew some day.

        Raises:
            ValueError: a piece is missing or repeated.
        """
        self._require_open()
        expected = self._written_characters + self._held_characters
        if start != expected:
            raise ValueError(f"the text so far ends at {expected}; a piece starting at {start} does not join it")
        self._pieces.append(text)
        self._held_characters += len(text)
        if outline:
            self._outlines.append(outline)
        if self._held_characters >= _HELD_CHARACTERS:
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
        if vectors.shape != (len(chunks), self._collection.fingerprint.dimension):
            raise ValueError(
                f"{len(chunks)} chunks of dimension {self._collection.fingerprint.dimension} "
                f"do not fit vectors of shape {vectors.shape}"
            )
        known: Sequence[bytes | None] = [None] * len(chunks) if digests is None else digests
        self._chunks.extend(map(NewChunk, chunks, encode(vectors), known))
        self._chunk_count += len(chunks)
        if len(self._chunks) >= _HELD_CHUNKS:
            self._spill()

    def activate(self, *, members_failed: int = 0) -> Document:
        """Make this version the active one, in one transaction with the end of the one before it.

        Where the collection keeps versions, that one stays for questions about the past.

        Raises:
            EmbedderChanged: the collection was embedded anew since this version was begun.
            IngestInProgress: another process began to write the same source.
            SourcePurged: the document was purged since this version was begun.
        """
        self._require_open()
        with self._database.write() as connection:
            collection, set_id = self._require_embedder(connection)
            version_id = self._write_held(connection, set_id)
            going = self._swap(connection, collection, version_id, members_failed)
            left_over = going is not None and prune_some(connection, going)
            document = active_document(connection, self._collection, self._document_id)
        self._closed = True
        self._version_id = None
        if going is not None and left_over:
            prune(self._database, [going])
        if document is None:
            raise AssertionError("an activated version is active")
        return document

    def discard(self) -> None:
        """Delete what was staged and is not active. Does nothing after ``activate``."""
        self._closed = True
        if self._version_id is not None:
            prune(self._database, [self._version_id])
            self._version_id = None

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError("this version is activated or discarded; stage a new one")

    def _spill(self) -> None:
        with self._database.write() as connection:
            _, set_id = self._require_embedder(connection)
            version_id = self._write_held(connection, set_id)
        self._version_id = version_id
        self._written_characters += self._held_characters
        self._written_outlines += len(self._outlines)
        self._pieces, self._held_characters, self._outlines, self._chunks = [], 0, [], []

    def _write_held(self, connection: Connection, set_id: int) -> int:
        version_id = self._require_version(connection)
        text = "".join(self._pieces)
        pieces = [
            text_row(version_id, self._written_characters + start, text[start : start + _PIECE_CHARACTERS])
            for start in range(0, len(text), _PIECE_CHARACTERS)
        ]
        if pieces:
            connection.execute(_NEW_TEXTS, pieces)
        outlines = [
            outline_row(version_id, number, outline)
            for number, outline in enumerate(self._outlines, start=self._written_outlines)
        ]
        if outlines:
            connection.execute(_NEW_OUTLINES, outlines)
        insert_chunks(
            connection,
            self._chunks,
            version_id=version_id,
            collection_id=self._collection.id,
            set_id=set_id,
            title=self._source.title,
            language=self._language,
        )
        return version_id  # what is held is forgotten after the commit: a transaction that failed may be tried again

    def _require_version(self, connection: Connection) -> int:
        """Create the version's row with the first write; after that make sure that it is still being written."""
        if self._version_id is None:
            return self._create(connection)
        status = connection.scalar(_STATUS, {"version": self._version_id})
        if status != VersionStatus.STAGED:
            raise self._taken_away(connection, status)
        return self._version_id

    def _taken_away(self, connection: Connection, status: str | None) -> IngestInProgress | SourcePurged:
        """Whoever stages the same source removes what was staged before; a purge begins no version of its own."""
        mine = {"document": self._document_id, "version": self._version_id}
        if status is None and connection.scalars(_LATER, mine).first() is not None:
            return IngestInProgress(
                f"Another process began to ingest {self._source.uri} while this one was writing it.",
                hint="Run one ingest at a time into a collection.",
            )
        return SourcePurged(
            f"{self._source.uri} was purged while it was taken in.", hint="Ingest it again if it is to be there."
        )

    def _create(self, connection: Connection) -> int:
        mine = {"collection": self._collection.id, "uri": self._source.uri}
        document_id = connection.scalar(_DOCUMENT, mine)
        new = document_id is None
        if document_id is None:
            row = {"collection_id": self._collection.id, "uri": self._source.uri}
            document_id = connection.scalars(_NEW_DOCUMENT, row).one()
        metadata = self._source.metadata
        if metadata is None:
            metadata = {} if new else _metadata(connection, document_id)
        # What is held is all there is, or as much as decides.
        language = language_of("".join(self._pieces) or " ".join(chunk.draft.text for chunk in self._chunks))
        note_language(connection, self._collection.id, language)
        version_id = connection.scalars(
            _NEW_VERSION,
            {
                "document_id": document_id,
                "collection_id": self._collection.id,
                "status": VersionStatus.STAGED,
                "title": self._source.title,
                "media_type": self._source.media_type,
                "sha256": self._source.sha256,
                "size": self._source.size,
                "mtime_ns": self._source.mtime_ns,
                "parser": self._made_with.parser,
                "chunker": self._made_with.chunker,
                "counted_by": self._made_with.embedder or None,
                "created_at": datetime.now(UTC),
                "owner": str(os.getpid()),
                "metadata": metadata,
                "language": language,
            },
        ).one()
        if metadata:
            rows = [metadata_row(version_id, key, value) for key, value in metadata.items()]
            connection.execute(insert(MetadataRow), rows)
        if not new:
            self._remove_left_over(connection, document_id, version_id)
        self._document_id, self._language = document_id, language
        return version_id

    def _remove_left_over(self, connection: Connection, document_id: int, version_id: int) -> None:
        for left_over in connection.scalars(_LEFT_OVER, {"document": document_id, "version": version_id}).all():
            while prune_some(connection, left_over):
                pass

    def _require_embedder(self, connection: Connection) -> tuple[AnyRow, int]:
        """The row of the collection and its live set, as they were when this was begun but for its changes."""
        fingerprint = self._collection.fingerprint
        row = collection_row(connection, self._collection.id, self._collection.name)
        live = require_live_set(connection, self._collection.id)
        self._set_id = self._set_id or live
        wanted = (fingerprint.embedder, fingerprint.dimension, fingerprint.chunker, self._set_id)
        if (row.embedder, row.dimension, row.chunker, live) != wanted:
            raise EmbedderChanged(
                f"The collection {self._collection.name!r} was embedded anew while {self._source.uri} was read.",
                hint="Ingest it again.",
            )
        return row, live

    def _swap(self, connection: Connection, row: AnyRow, version_id: int, members_failed: int) -> int | None:
        """Activate the staged version; returns the version before it unless that is kept."""
        seq, at, retention_days = next_change(connection, row)
        before = connection.scalar(_BEFORE, {"document": self._document_id})
        keep = bool(retention_days)
        if before is not None:
            retire(connection, [before], self._collection.id, seq, at, keep=keep)
        change_version(
            connection,
            version_id,
            status=VersionStatus.ACTIVE,
            activated_seq=seq,
            chunk_count=self._chunk_count,
            members_failed=members_failed,
            members=member_count(connection, self._collection.id, self._source.uri),
            created_at=at,
            owner=None,
        )
        tenures.seal(connection, [version_id])
        return None if keep else before


def _metadata(connection: Connection, document_id: int) -> Any:  # noqa: ANN401 - a column of JSON
    """What is said of a document's active version."""
    before = connection.execute(_ACTIVE, {"document": document_id}).one_or_none()
    if before is None:
        return {}
    require_version(before)  # or what is damaged would be written as if it were whole
    return before.metadata
