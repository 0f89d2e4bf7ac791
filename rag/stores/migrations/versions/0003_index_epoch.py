"""A collection's index epoch: raised when index files that were loaded before must not be used any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("collections", sa.Column("index_epoch", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("collections", "index_epoch")
