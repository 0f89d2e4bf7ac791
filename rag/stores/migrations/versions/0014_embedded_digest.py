"""What each chunk's embedding was made of, so that the same text need not be embedded again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Null for the chunks that are there: they serve as before, and are embedded anew where they are made anew.
    op.add_column("chunks", sa.Column("embedded_sha256", sa.LargeBinary))
    op.create_index("ix_chunks_embedded_sha256", "chunks", ["embedded_sha256"])
