"""Metadata of document versions, and its values by key for filters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("document_versions", sa.Column("metadata", sa.JSON, nullable=False, server_default="{}"))
    op.create_table(
        "version_metadata",
        sa.Column("version_id", KEY, sa.ForeignKey("document_versions.id"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("text", sa.Text),
        sa.Column("number", sa.Float(53)),
        sa.Column("truth", sa.Boolean),
    )
    op.create_index("ix_version_metadata_text", "version_metadata", ["key", "text"])
    op.create_index("ix_version_metadata_number", "version_metadata", ["key", "number"])


def downgrade() -> None:
    op.drop_table("version_metadata")
    op.drop_column("document_versions", "metadata")
