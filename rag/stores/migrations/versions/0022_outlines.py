"""What chunks are made of besides the text, so that documents can be cut anew without their sources.

Of documents that are there it is not known; they get it when they are ingested again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "document_outlines",
        sa.Column("version_id", KEY, sa.ForeignKey("document_versions.id"), primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
        sa.Column("outline", sa.LargeBinary, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
    )
    op.add_column("document_versions", sa.Column("counted_by", sa.Text, nullable=True))
    op.add_column("embedding_sets", sa.Column("chunker", sa.Text, nullable=True))
