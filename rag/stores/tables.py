"""The database's tables, but for those of jobs. The migrations create them; a test keeps the two alike.

A *version* row belongs to one state: ``staged`` rows are being written and are seen by nobody, ``active`` rows are
what everyone reads, ``retired`` rows were active and are seen by who asks about the past, ``leaving`` rows are seen by
nobody any more and are being deleted. At most one version of a document is active. Other *cuts* of the active one,
its text in other chunks, are seen by nobody: one is being written (``cutting``), one waits to take its place
(``prepared``), and one had it before (``shelved``); see ``rag.stores.embeddings.cuts``.

``checksum`` columns are those of ``rag.stores.checksums``.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy reads the annotations
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rag.stores.sqlite.column_types import StoredJson, UtcDateTime

# SQLite only makes an INTEGER (not BIGINT) key the row's own id; both hold 64 bits there.
Key = BigInteger().with_variant(Integer(), "sqlite")


class VersionStatus(StrEnum):
    STAGED = "staged"
    ACTIVE = "active"
    RETIRED = "retired"
    LEAVING = "leaving"
    CUTTING = "cutting"
    PREPARED = "prepared"
    SHELVED = "shelved"


class SetState(StrEnum):
    BUILDING = "building"
    LIVE = "live"
    PREVIOUS = "previous"
    DROPPED = "dropped"


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class CollectionRow(Base):
    """``feed_floor``: the change feed is complete only since this seq; a reader further behind must load anew.

    ``index_epoch`` is raised when a generation is withdrawn: what was loaded before must not be used any more.
    ``changed_at`` is the time of the last change and never goes back, whatever the machine's clock does. What was
    before ``history_floor`` is not known any more: versions that ended up to then are gone.
    ``dense_weight`` was tuned for this embedder; null is the default weight. Versions that were replaced or deleted are
    kept for ``retention_days``.
    """

    __tablename__ = "collections"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy reads it once; nobody changes it

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    parser: Mapped[str] = mapped_column(Text)
    chunker: Mapped[str] = mapped_column(Text)
    embedder: Mapped[str] = mapped_column(Text)
    dimension: Mapped[int]
    seq: Mapped[int] = mapped_column(BigInteger, default=0)
    feed_floor: Mapped[int] = mapped_column(BigInteger, default=0)
    index_epoch: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    dense_weight: Mapped[float | None] = mapped_column(Float)
    retention_days: Mapped[float] = mapped_column(Float)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    history_floor: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checksum: Mapped[int] = mapped_column(BigInteger)


class DocumentRow(Base):
    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("collection_id", "uri"),
        Index("ix_documents_collection_id_id", "collection_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"))
    uri: Mapped[str] = mapped_column(Text)


class VersionRow(Base):
    """``parser`` and ``chunker`` are those it was made with; ``owner`` names the process that stages it. ``counted_by``
    is the embedder whose tokens its chunks were measured in; null where that was not noted yet.

    ``language`` is an ISO 639 code where it is known. It was active from ``created_at``
    (while it is staged: since when it is) until ``retired_at``, by the clock of the collection's changes.
    Of a container ``members_failed`` counts what could not be taken in, ``members`` the documents in it, however deep.
    ``tenure_checksum``: ``rag.stores.versions.tenures``. ``web`` is a ``rag.source_types.WebFetch``: no part of the
    document, but what it takes to ask a server whether there is a newer one.
    """

    __tablename__ = "document_versions"
    __table_args__ = (
        Index(
            "uq_document_versions_active",
            "document_id",
            unique=True,
            sqlite_where=text("status = 'active'"),
            postgresql_where=text("status = 'active'"),
        ),
        Index("ix_document_versions_document_id", "document_id"),
        Index("ix_document_versions_changes", "collection_id", "status", "activated_seq"),
        Index("ix_document_versions_retired_at", "collection_id", "status", "retired_at"),
        Index(
            "ix_document_versions_ends",
            "collection_id",
            "status",
            "retired_seq",
            "document_id",
            sqlite_where=text("retired_seq IS NOT NULL"),
            postgresql_where=text("retired_seq IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id"))
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"))
    status: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    parser: Mapped[str] = mapped_column(Text)
    chunker: Mapped[str] = mapped_column(Text)
    counted_by: Mapped[str | None] = mapped_column(Text)
    chunk_count: Mapped[int] = mapped_column(default=0)
    members_failed: Mapped[int] = mapped_column(default=0, server_default="0")
    members: Mapped[int] = mapped_column(default=0, server_default="0")
    activated_seq: Mapped[int | None] = mapped_column(BigInteger)
    retired_seq: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    owner: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(Text)
    # SQLAlchemy has taken the name.
    details: Mapped[dict[str, Any]] = mapped_column("metadata", StoredJson, default=dict)
    web: Mapped[dict[str, Any] | None] = mapped_column(StoredJson)
    checksum: Mapped[int] = mapped_column(BigInteger, default=0)  # of an activated version
    tenure_checksum: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")


class MetadataRow(Base):
    """One metadata value of a version, for filters to find; the column of its type holds it, the others are null."""

    __tablename__ = "version_metadata"
    __table_args__ = (
        Index("ix_version_metadata_text", "key", "text"),
        Index("ix_version_metadata_number", "key", "number"),
    )

    version_id: Mapped[int] = mapped_column(ForeignKey("document_versions.id"), primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    text: Mapped[str | None] = mapped_column(Text)
    number: Mapped[float | None] = mapped_column(Float(53))
    truth: Mapped[bool | None] = mapped_column(Boolean)


class TextRow(Base):
    """A version's source text in pieces, so that a long one is never in memory at once. Offsets in characters."""

    __tablename__ = "document_texts"

    version_id: Mapped[int] = mapped_column(ForeignKey("document_versions.id"), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    checksum: Mapped[int] = mapped_column(BigInteger)


class OutlineRow(Base):
    """What a chunker needs of a version besides its text, in parts that follow each other; only ``indexer`` reads them.

    Versions of before this was kept have none.
    """

    __tablename__ = "document_outlines"

    version_id: Mapped[int] = mapped_column(ForeignKey("document_versions.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    outline: Mapped[bytes] = mapped_column(LargeBinary)
    checksum: Mapped[int] = mapped_column(BigInteger)


class ChunkRow(Base):
    """Ids are never used twice: caches elsewhere know chunks by id alone. ``context`` is searched, never quoted.

    ``embedded_sha256`` is of the text that was embedded, context included; null where that is not known for certain.
    No checksum covers it: one that is damaged is no text's. ``flaw`` is why searches leave it out
    (``rag.retrieval.flaws``), null for nearly all.
    """

    __tablename__ = "chunks"
    __table_args__ = (
        UniqueConstraint("version_id", "ordinal"),
        Index("ix_chunks_embedded_sha256", "embedded_sha256"),
        # All that filters compare of a chunk: without it they read the rows, which are fifty times as long.
        Index("ix_chunks_filtered", "version_id", "page", "token_count", "ordinal"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("document_versions.id"))
    ordinal: Mapped[int]
    start: Mapped[int] = mapped_column(BigInteger)
    end: Mapped[int] = mapped_column(BigInteger)
    page: Mapped[int | None]
    token_count: Mapped[int]
    heading_path: Mapped[list[str]] = mapped_column(StoredJson)
    context: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    checksum: Mapped[int] = mapped_column(BigInteger)
    embedded_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    flaw: Mapped[str | None] = mapped_column(Text)


class ChunkKeyRow(Base):
    """By what chunks that say the same find each other (``rag.retrieval.statements``): one that is positive for the
    whole of it, negative ones for some of its statements. ``length``, in characters, is of all that it says.
    """

    __tablename__ = "chunk_keys"
    __table_args__ = (Index("ix_chunk_keys_chunk_id", "chunk_id"), {"sqlite_with_rowid": False})

    key: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chunk_id: Mapped[int] = mapped_column(Key, ForeignKey("chunks.id"), primary_key=True, autoincrement=False)
    length: Mapped[int]


class ChunkTermsRow(Base):
    """A chunk's words as full text compares them, separated by spaces (``rag.stores.full_text.terms``).

    ``scope``: a term that every chunk of the collection has and no text.
    """

    __tablename__ = "chunk_terms"

    chunk_id: Mapped[int] = mapped_column(Key, ForeignKey("chunks.id"), primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(Text)
    context: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)


class LanguageRow(Base):
    """A language that a text of the collection is, or once was, written in: queries are read in all of them."""

    __tablename__ = "collection_languages"

    collection_id: Mapped[int] = mapped_column(Key, ForeignKey("collections.id"), primary_key=True, autoincrement=False)
    language: Mapped[str] = mapped_column(Text, primary_key=True)


class EmbeddingSetRow(Base):
    """Embeddings of a collection by one embedder: one ``live`` set serves, at most one is ``building`` beside it, and
    at most one, ``previous``, served before. ``dropped`` ones are nobody's; their rows are being deleted.

    ``too_long`` counts the chunks that were longer than the embedder reads when they were embedded anew. ``chunker``:
    documents are cut with this one where the set serves; null where the set came with no other chunks.
    """

    __tablename__ = "embedding_sets"
    __table_args__ = (
        Index(
            "uq_embedding_sets_state",
            "collection_id",
            "state",
            unique=True,
            sqlite_where=text("state <> 'dropped'"),
            postgresql_where=text("state <> 'dropped'"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"))
    state: Mapped[str] = mapped_column(Text)
    embedder: Mapped[str] = mapped_column(Text)
    dimension: Mapped[int]
    too_long: Mapped[int] = mapped_column(default=0)
    chunker: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EmbeddingRow(Base):
    """``vector``: unit length, float16, little endian."""

    __tablename__ = "embeddings"
    # Deleting a chunk asks whether anybody refers to it, in any set.
    __table_args__ = (Index("ix_embeddings_chunk_id", "chunk_id"),)

    set_id: Mapped[int] = mapped_column(Key, ForeignKey("embedding_sets.id"), primary_key=True, autoincrement=False)
    chunk_id: Mapped[int] = mapped_column(Key, ForeignKey("chunks.id"), primary_key=True, autoincrement=False)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    checksum: Mapped[int] = mapped_column(BigInteger)


class TombstoneRow(Base):
    """A chunk that was active and is gone since ``seq``: what is left of it for indexes to follow."""

    __tablename__ = "tombstones"
    __table_args__ = (Index("ix_tombstones_changes", "collection_id", "seq"),)

    chunk_id: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"))
    seq: Mapped[int] = mapped_column(BigInteger)


class GenerationRow(Base):
    """A complete vector index file; the highest ``seq`` is current. ``kind`` and recall: null where not yet noted."""

    __tablename__ = "index_generations"
    __table_args__ = (
        Index("ix_index_generations_collection_id", "collection_id", "seq"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"))
    directory: Mapped[str] = mapped_column(Text)
    seq: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    kind: Mapped[str | None] = mapped_column(Text)
    recall_at_10: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PurgeRow(Base):
    """A collection of which something is being purged; gone when nothing is left of that anywhere."""

    __tablename__ = "purges"

    collection_id: Mapped[int] = mapped_column(Key, ForeignKey("collections.id"), primary_key=True, autoincrement=False)


class DropRow(Base):
    """A collection that is being dropped: it is empty for every reader, and goes with its last rows and files."""

    __tablename__ = "drops"

    collection_id: Mapped[int] = mapped_column(Key, ForeignKey("collections.id"), primary_key=True, autoincrement=False)
