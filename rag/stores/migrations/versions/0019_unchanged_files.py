"""How many files of a job were unchanged: a folder of ten thousand needs no row for each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("unchanged", sa.Integer, nullable=False, server_default="0"))
