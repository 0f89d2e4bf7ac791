"""Which collections are being dropped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "drops",
        sa.Column("collection_id", KEY, sa.ForeignKey("collections.id"), primary_key=True, autoincrement=False),
    )
