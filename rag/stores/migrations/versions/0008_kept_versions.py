"""Replaced and deleted versions are kept for a while: when they ended, and since when that is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("document_versions", sa.Column("retired_at", sa.DateTime))
    op.add_column("collections", sa.Column("changed_at", sa.DateTime))
    op.add_column("collections", sa.Column("history_floor", sa.DateTime))
    op.create_index("ix_document_versions_retired_at", "document_versions", ["collection_id", "status", "retired_at"])
    # Until now a retired version was one whose rows were being deleted.
    op.execute("UPDATE document_versions SET status = 'leaving' WHERE status = 'retired'")
    op.execute(
        "UPDATE collections SET changed_at = COALESCE((SELECT MAX(v.created_at) FROM document_versions v "
        "WHERE v.collection_id = collections.id AND v.status = 'active'), created_at)"
    )
    # What was replaced or deleted before is gone.
    op.execute("UPDATE collections SET history_floor = changed_at")
