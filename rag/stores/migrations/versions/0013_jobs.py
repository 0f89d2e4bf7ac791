"""A queue of work, and what came of each file of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.DateTime),
        sa.Column("not_before", sa.DateTime),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("started_at", sa.DateTime),
        sa.Column("finished_at", sa.DateTime),
        sa.Column("error", sa.JSON),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_state", "jobs", ["state", "id"])
    op.create_table(
        "job_files",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("job_id", KEY, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("document_id", sa.BigInteger),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("notices", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON),
        sa.UniqueConstraint("job_id", "uri"),
        sqlite_autoincrement=True,
    )
