"""What pages of documents and of changes are read by, so that the last takes no longer than the first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

ENDED = sa.text("retired_seq IS NOT NULL")


def upgrade() -> None:
    op.create_index("ix_documents_collection_id_id", "documents", ["collection_id", "id"])
    op.create_index(
        "ix_document_versions_ends",
        "document_versions",
        ["collection_id", "status", "retired_seq", "document_id"],
        sqlite_where=ENDED,
        postgresql_where=ENDED,
    )
