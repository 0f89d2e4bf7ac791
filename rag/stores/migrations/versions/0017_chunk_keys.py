"""What chunks that say the same are found by, and why some are left out of searches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rag.stores.copies import derive_again

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("chunks", sa.Column("flaw", sa.Text))
    op.add_column("job_files", sa.Column("quality", sa.JSON(none_as_null=True)))
    op.create_table(
        "chunk_keys",
        sa.Column("key", sa.BigInteger, nullable=False),
        sa.Column("chunk_id", KEY, sa.ForeignKey("chunks.id"), nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("key", "chunk_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_chunk_keys_chunk_id", "chunk_keys", ["chunk_id"])
    derive_again(op.get_bind())
