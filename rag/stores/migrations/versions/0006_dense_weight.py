"""The dense leg's share in a collection's hybrid ranking, where it has been tuned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("collections", sa.Column("dense_weight", sa.Float, nullable=True))


def downgrade() -> None:
    op.drop_column("collections", "dense_weight")
