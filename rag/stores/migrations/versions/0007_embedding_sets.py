"""Embeddings in sets: those that serve, those that are being made beside them, and those that served before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "embedding_sets",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("collection_id", KEY, sa.ForeignKey("collections.id"), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("embedder", sa.Text, nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("too_long", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_embedding_sets_state",
        "embedding_sets",
        ["collection_id", "state"],
        unique=True,
        sqlite_where=sa.text("state <> 'dropped'"),
        postgresql_where=sa.text("state <> 'dropped'"),
    )
    op.execute(
        "INSERT INTO embedding_sets (collection_id, state, embedder, dimension, too_long, created_at) "
        "SELECT id, 'live', embedder, dimension, 0, created_at FROM collections"
    )
    op.rename_table("embeddings", "embeddings_before")
    op.create_table(
        "embeddings",
        sa.Column("set_id", KEY, sa.ForeignKey("embedding_sets.id"), primary_key=True, autoincrement=False),
        sa.Column("chunk_id", KEY, sa.ForeignKey("chunks.id"), primary_key=True, autoincrement=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.execute(
        "INSERT INTO embeddings (set_id, chunk_id, vector) "
        "SELECT s.id, e.chunk_id, e.vector FROM embeddings_before e "
        "JOIN chunks c ON c.id = e.chunk_id "
        "JOIN document_versions v ON v.id = c.version_id "
        "JOIN embedding_sets s ON s.collection_id = v.collection_id ORDER BY e.chunk_id"
    )
    op.drop_table("embeddings_before")
    op.create_index("ix_embeddings_chunk_id", "embeddings", ["chunk_id"])
