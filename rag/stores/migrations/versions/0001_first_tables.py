"""The first tables, and full-text search over chunks.

The FTS5 table holds no text of its own (external content); triggers keep it in the transaction of the chunk rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

FULL_TEXT = (
    """
    CREATE VIRTUAL TABLE chunks_fts USING fts5(
        text, context, content='chunks', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER chunks_fts_insert AFTER INSERT ON chunks BEGIN
        INSERT INTO chunks_fts(rowid, text, context) VALUES (new.id, new.text, new.context);
    END
    """,
    """
    CREATE TRIGGER chunks_fts_delete AFTER DELETE ON chunks BEGIN
        INSERT INTO chunks_fts(chunks_fts, rowid, text, context) VALUES ('delete', old.id, old.text, old.context);
    END
    """,
    """
    CREATE TRIGGER chunks_fts_update AFTER UPDATE OF text, context ON chunks BEGIN
        INSERT INTO chunks_fts(chunks_fts, rowid, text, context) VALUES ('delete', old.id, old.text, old.context);
        INSERT INTO chunks_fts(rowid, text, context) VALUES (new.id, new.text, new.context);
    END
    """,
)


def upgrade() -> None:
    op.create_table(
        "collections",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("parser", sa.Text, nullable=False),
        sa.Column("chunker", sa.Text, nullable=False),
        sa.Column("embedder", sa.Text, nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("feed_floor", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "documents",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("collection_id", KEY, sa.ForeignKey("collections.id"), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.UniqueConstraint("collection_id", "uri"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "document_versions",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("document_id", KEY, sa.ForeignKey("documents.id"), nullable=False),
        sa.Column("collection_id", KEY, sa.ForeignKey("collections.id"), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("parser", sa.Text, nullable=False),
        sa.Column("chunker", sa.Text, nullable=False),
        sa.Column("chunk_count", sa.Integer, nullable=False),
        sa.Column("activated_seq", sa.BigInteger),
        sa.Column("retired_seq", sa.BigInteger),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("owner", sa.Text),
        sqlite_autoincrement=True,
    )
    active = sa.text("status = 'active'")
    op.create_index(
        "uq_document_versions_active",
        "document_versions",
        ["document_id"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_index("ix_document_versions_document_id", "document_versions", ["document_id"])
    op.create_index("ix_document_versions_changes", "document_versions", ["collection_id", "status", "activated_seq"])
    op.create_table(
        "document_texts",
        sa.Column("version_id", KEY, sa.ForeignKey("document_versions.id"), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "chunks",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("version_id", KEY, sa.ForeignKey("document_versions.id"), nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("page", sa.Integer),
        sa.Column("token_count", sa.Integer, nullable=False),
        sa.Column("heading_path", sa.JSON, nullable=False),
        sa.Column("context", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.UniqueConstraint("version_id", "ordinal"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "embeddings",
        sa.Column("chunk_id", KEY, sa.ForeignKey("chunks.id"), primary_key=True, autoincrement=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "tombstones",
        sa.Column("chunk_id", KEY, primary_key=True, autoincrement=False),
        sa.Column("collection_id", KEY, sa.ForeignKey("collections.id"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_tombstones_changes", "tombstones", ["collection_id", "seq"])
    op.create_table(
        "index_generations",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("collection_id", KEY, sa.ForeignKey("collections.id"), nullable=False),
        sa.Column("directory", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_index_generations_collection_id", "index_generations", ["collection_id", "seq"])
    if op.get_bind().dialect.name == "sqlite":
        for statement in FULL_TEXT:
            op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE chunks_fts")
    for table in (
        "index_generations",
        "tombstones",
        "embeddings",
        "chunks",
        "document_texts",
        "document_versions",
        "documents",
        "collections",
    ):
        op.drop_table(table)
