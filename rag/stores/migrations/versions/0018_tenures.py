"""A checksum of when versions were active, and which collections are being purged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rag.stores.tables import VersionRow
from rag.stores.versions.tenures import CHECKSUM

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    column = sa.Column("tenure_checksum", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    op.add_column("document_versions", column)
    op.execute(sa.update(VersionRow).values(tenure_checksum=CHECKSUM))
    op.create_table(
        "purges",
        sa.Column("collection_id", KEY, sa.ForeignKey("collections.id"), primary_key=True, autoincrement=False),
    )
