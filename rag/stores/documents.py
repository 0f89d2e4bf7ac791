"""The document store: what readers see of it and how documents enter and leave."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from rag.errors import UnknownDocument
from rag.stores.changes import current_index
from rag.stores.collection_rows import change_collection, collection_row, collection_rows
from rag.stores.collections.registry import (
    collection_of,
    ensure_collection,
    is_empty,
    remove_unused,
    require_collection,
    set_dense_weight,
)
from rag.stores.copies import SAYING, copies, likenesses
from rag.stores.embeddings.inputs import embedding_inputs
from rag.stores.embeddings.reuse import known_vectors
from rag.stores.quality import collection_quality, document_qualities
from rag.stores.reading import (
    found_passages,
    one_document,
    select_documents,
    to_collection,
    to_document,
    with_members,
    within,
)
from rag.stores.source_moves import stored_source
from rag.stores.tables import DocumentRow, VersionRow, VersionStatus
from rag.stores.versions import tenures
from rag.stores.versions.history import require_known
from rag.stores.versions.retirement import expire, leaving, next_change, prune, retire
from rag.stores.versions.stretches import stretches, text_of
from rag.stores.versions.web_fetches import note_fetch
from rag.stores.visibility import UNSEEN, visible
from rag.stores.writing.staging import SqlStagedVersion, activate_together
from rag.times import rfc3339
from rag.types import CollectionStatus, EmbeddingInput
from rag.unicode import is_storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rag.protocols import StagedVersion
    from rag.quality_types import Likeness, Quality
    from rag.source_types import SourceRecord, StoredSource, WebFetch
    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.stores.sqlite.database import Database
    from rag.types import Chunk, Collection, Document, Filter, Fingerprint, GenerationInfo, Span
    from rag.version_types import Stretch

_BATCH = 500  # ids in one statement
DAY = timedelta(days=1)


class SqlDocumentStore:
    """Implements ``rag.protocols.DocumentStore`` over SQL. Safe to share between threads.

    ``retention`` is how long new collections keep versions that were replaced or deleted, for questions about the past.
    """

    def __init__(self, database: Database, *, retention: timedelta = timedelta(0)) -> None:
        self._database = database
        self._retention = retention

    def ensure_collection(self, name: str, fingerprint: Fingerprint) -> Collection:
        """Create or open a collection. A new parser or chunker is noted; documents keep what they were made with.

        Raises:
            EmbedderChanged: it holds embeddings of another embedder.
            Conflict: another collection has a name that looks the same.
        """
        with self._database.write() as connection:
            return ensure_collection(connection, name, fingerprint, retention_days=self._retention / DAY)

    def remove_unused(self, collection: Collection) -> None:
        """Delete a collection that no document was ever in; others stay."""
        with self._database.write() as connection:
            remove_unused(connection, collection.id)

    def collections(self) -> list[Collection]:
        """All collections by name."""
        with self._database.read() as connection:
            return [to_collection(row) for row in collection_rows(connection)]

    def collection(self, name: str) -> Collection:
        """Raises UnknownCollection."""
        with self._database.read() as connection:
            return require_collection(connection, name)

    def collection_of(self, document_id: int) -> Collection | None:
        """The collection of a document, which may be deleted and kept; ``None`` if there is none with this id.

        Raises:
            DatabaseDamaged: the collection's row is not as it was written.
        """
        with self._database.read() as connection:
            return collection_of(connection, document_id)

    def stored_source(self, collection: Collection, uri: str) -> StoredSource | None:
        """What is known of a source's active version; ``None`` if it has none."""
        return stored_source(self._database, collection, uri)

    def note_fetch(self, collection: Collection, document_id: int, fetch: WebFetch) -> None:
        """Keep with a document's active version when it was last fetched from its server. No reader sees a change."""
        note_fetch(self._database, collection, document_id, fetch)

    def known_vectors(
        self, digests: Sequence[bytes], *, embedder: str, dimension: int
    ) -> dict[bytes, NDArray[np.float32]]:
        """Stored unit vectors of texts by the sha256 of what was embedded, in any collection of this embedder."""
        return known_vectors(self._database, digests, embedder=embedder, dimension=dimension)

    @contextmanager
    def stage(
        self, collection: Collection, source: SourceRecord, *, made_with: Fingerprint | None = None
    ) -> Iterator[SqlStagedVersion]:
        """Stage a new version; leaving the context without ``activate`` discards it.

        ``made_with`` is noted with it, where its parser and chunker were others than the collection's, or the embedder
        whose tokens its chunks are measured in (empty: not known).
        What a process that died had staged of the same source is removed.
        """
        version = SqlStagedVersion(self._database, collection, source, made_with)
        try:
            yield version
        finally:
            version.discard()

    def activate(self, versions: Sequence[StagedVersion]) -> list[Document]:
        """Make versions of one collection, of a document each, the active ones, all in one transaction or none.

        Errors: as ``rag.stores.writing.activation.activate``.
        """
        return activate_together(self._database, [_own(version) for version in versions])

    def documents(self, collection: Collection, *, limit: int = 100, after: int = 0) -> list[Document]:
        """Active documents by id, those with an id above ``after``."""
        query = select_documents(collection).where(DocumentRow.id > after).order_by(DocumentRow.id).limit(limit)
        with self._database.read() as connection:
            return [to_document(row, collection) for row in connection.execute(query)]

    def is_empty(self, collection: Collection) -> bool:
        """Whether nothing is embedded in it: it has no version, active, kept, staged or leaving."""
        with self._database.read() as connection:
            return is_empty(connection, collection.id)

    def document(self, collection: Collection, document_id: int, *, damaged_too: bool = False) -> Document:
        """Raises UnknownDocument, and DatabaseDamaged unless ``damaged_too``."""
        with self._database.read() as connection:
            found = one_document(connection, collection, DocumentRow.id == document_id, damaged_too=damaged_too)
        if found is None:
            raise UnknownDocument(
                f"There is no document {document_id} in the collection {collection.name!r}.",
                hint="`indexer list` shows the documents there are.",
            )
        return found

    def document_by_uri(self, collection: Collection, uri: str, *, damaged_too: bool = False) -> Document | None:
        """Raises DatabaseDamaged unless ``damaged_too``."""
        if not is_storable(uri):
            return None
        with self._database.read() as connection:
            return one_document(connection, collection, DocumentRow.uri == uri, damaged_too=damaged_too)

    def members(self, collection: Collection, uri: str) -> list[Document]:
        """Active documents in the container with this URI, those in containers within it, too."""
        # Ordered here: for an order by id SQLite would go through all of the collection.
        query = select_documents(collection).where(within(uri))
        with self._database.read() as connection:
            return sorted((to_document(row, collection) for row in connection.execute(query)), key=attrgetter("id"))

    def delete(self, collection: Collection, document_ids: Iterable[int]) -> int:
        """Retire documents and their members; how many were active. Rows go now, or when they were kept long enough."""
        named = list(document_ids)
        retired: list[int] = []
        with self._database.write() as connection:
            keep = bool(collection_row(connection, collection.id, collection.name).retention_days)
            wanted = with_members(connection, collection, named)
            for start in range(0, len(wanted), _BATCH):
                query = select(
                    VersionRow.id
                ).where(
                    VersionRow.collection_id + 0 == collection.id,  # or SQLite goes through all of the collection
                    visible(),
                    VersionRow.document_id.in_(wanted[start : start + _BATCH]),
                )
                retired.extend(connection.scalars(query))
            if retired:
                seq, at, _ = next_change(connection, collection_row(connection, collection.id))
                retire(connection, retired, collection.id, seq, at, keep=keep)
            gone = leaving(connection, collection.id) if retired else []  # their other cuts, at least
        prune(self._database, gone)
        return len(retired)

    def expire(self, collection: Collection, *, older_than: timedelta | None = None) -> int:
        """Delete the versions that ended longer ago than they are kept, or than ``older_than``; returns how many.

        What a process that died had not finished deleting goes too.

        Raises:
            DatabaseDamaged: of a version it is not certain when it ended. It stays, and the others are deleted.
        """
        gone = 0
        with self._database.read() as connection:
            ids = leaving(connection, collection.id)
        while True:
            prune(self._database, ids)
            with self._database.write() as connection:
                # Each time: who changes the retention meanwhile has it followed at once.
                days = collection_row(connection, collection.id, collection.name).retention_days
                age = DAY * days if older_than is None else older_than
                ids = expire(connection, collection.id, datetime.now(UTC) - age)
            if not ids:
                break
            gone += len(ids)
        with self._database.read() as connection:
            tenures.require_whole(connection, collection.id)
        return gone

    def discard_abandoned(self, collection: Collection) -> int:
        """Remove what processes that died had staged or not finished deleting; returns the number of versions.

        Only for the holder of the collection's IngestLock: it cannot tell a dead process from a busy one.
        """
        query = select(VersionRow.id).where(VersionRow.collection_id == collection.id, UNSEEN)
        with self._database.read() as connection:
            abandoned = connection.scalars(query).all()
        prune(self._database, abandoned)
        return len(abandoned)

    def hydrate(
        self,
        collection: Collection,
        chunk_ids: Sequence[int],
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> list[tuple[Chunk, Document]]:
        """Chunks of versions that are active, or were ``as_of`` a moment, in the order asked; others are left out.

        So are those that the filter does not let through.

        Raises:
            HistoryGone, InvalidRequest: what was active then is not known any more, or not yet.
            DatabaseDamaged: a chunk or its document is not as it was written.
        """
        if not chunk_ids and as_of is None:
            return []
        with self._database.read(filtered=where is not None) as connection:
            if as_of is not None:
                require_known(connection, collection, as_of)
            return found_passages(connection, collection, chunk_ids, where, as_of)

    def likenesses(
        self,
        collection: Collection,
        chunk_ids: Sequence[int],
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
        passages: bool = False,
    ) -> dict[int, Likeness]:
        """As ``rag.stores.copies`` has it: what is known of chunks, and ``passages`` that are read with it."""
        with self._database.read(filtered=where is not None) as connection:
            return likenesses(connection, collection, chunk_ids, where, as_of, passages=passages)

    def saying(self, wholes: Iterable[int]) -> Sequence[int]:
        """All chunks that say to the word what has one of these keys."""
        with self._database.read() as connection:
            return connection.scalars(SAYING, {"wholes": list(wholes)}).all()

    def copies(
        self, collection: Collection, chunk_id: int, *, where: Filter | None = None, as_of: datetime | None = None
    ) -> list[tuple[Chunk, Document]]:
        """A chunk and those that say the same, as ``rag.stores.copies`` has it; empty if it is not visible."""
        with self._database.read(filtered=where is not None) as connection:
            return copies(connection, collection, chunk_id, where, as_of)

    def quality(self, collection: Collection) -> Quality:
        """How much of all its active documents says the same as others, and how much is no text."""
        with self._database.read() as connection:
            return collection_quality(connection, collection.id)

    def qualities(
        self, collection: Collection, document_ids: Sequence[int], *, as_they_came: bool = False
    ) -> list[Quality]:
        """As ``quality``, of active documents in their order; ``as_they_came``: beside what was there before each."""
        with self._database.read() as connection:
            return document_qualities(connection, collection.id, document_ids, as_they_came=as_they_came)

    def neighbours(
        self,
        collection: Collection,
        chunk_ids: Sequence[int],
        reach: int,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> list[Stretch]:
        """What stands up to ``reach`` chunks before and after these, of what ``hydrate`` finds and the filter passes.

        Raises as ``hydrate``.
        """
        with self._database.read(filtered=where is not None) as connection:
            if as_of is not None:
                require_known(connection, collection, as_of)
            return stretches(connection, collection, chunk_ids, reach, where=where, as_of=as_of)

    def source_text(self, document_id: int, span: Span, *, as_of: datetime | None = None) -> str:
        """The text within the span, in characters, of the version that is active or was; cut where the text ends.

        Raises:
            UnknownDocument: there is none.
            DatabaseDamaged: the text is not as it was written.
        """
        mine = (VersionRow.document_id == document_id, visible(as_of))
        with self._database.read() as connection:
            if as_of is not None:
                tenures.require_documents(connection, [document_id])
            version_id = connection.scalar(select(VersionRow.id).where(*mine))
            if version_id is None:
                raise UnknownDocument(f"There is no document {document_id}.", hint="It may have been deleted.")
            return text_of(connection, version_id, span)

    def embedding_inputs(
        self, collection: Collection, *, lacking: EmbeddingSet | None = None
    ) -> Iterator[EmbeddingInput]:
        """The active chunks by id, or those that the set ``lacking`` needs a vector of and has none.

        Short reads; nothing is locked.
        """
        return embedding_inputs(self._database, collection, lacking)

    def set_dense_weight(self, collection: Collection, weight: float | None) -> Collection:
        """Rank hybrid searches with this share of the dense leg from now on, in every process; ``None``: the default.

        Raises:
            UnknownCollection: it is gone.
            EmbedderChanged: it was embedded anew since it was read, so the weight is another embedder's.
            ValueError: the weight is not above 0 and below 1.
        """
        with self._database.write() as connection:
            return set_dense_weight(connection, collection, weight)

    def set_retention(self, collection: Collection, days: float) -> None:
        """Keep versions that were or will be replaced or deleted so long from now on, whoever ingests; 0 keeps none.

        Raises:
            UnknownCollection: it is gone.
        """
        with self._database.write() as connection:
            row = collection_row(connection, collection.id, collection.name)
            change_collection(connection, row, retention_days=float(days))

    def index(self, collection: Collection) -> GenerationInfo | None:
        """The current index file; ``None`` if there is none."""
        with self._database.read() as connection:
            return current_index(connection, collection.id)

    def status(self, collection: Collection) -> CollectionStatus:
        """Counts of what is active, and the current index file."""
        counts = select(func.count(), func.coalesce(func.sum(VersionRow.chunk_count), 0)).where(
            VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE
        )
        past = select(func.count()).where(
            VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.RETIRED
        )
        with self._database.read() as connection:
            row = collection_row(connection, collection.id, collection.name)
            documents, chunks = connection.execute(counts).one()
            past_versions = connection.execute(past).scalar_one()
            index = current_index(connection, collection.id)
        return CollectionStatus(
            collection=to_collection(row),
            documents=documents,
            chunks=chunks,
            past_versions=past_versions,
            retention_days=row.retention_days,
            history_begins=rfc3339(row.history_floor or row.created_at, "auto"),
            generation=index,
            database_bytes=self._database.size_bytes(),
        )


def _own(version: StagedVersion) -> SqlStagedVersion:
    if not isinstance(version, SqlStagedVersion):
        raise TypeError(f"a version is activated by the store that stages it, not {type(version).__name__} by this one")
    return version
