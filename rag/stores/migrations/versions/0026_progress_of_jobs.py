"""How far a job is: the files that it is about, and the chunks that it has embedded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("files_known", sa.Integer))
    op.add_column("jobs", sa.Column("chunks", sa.Integer, nullable=False, server_default="0"))
