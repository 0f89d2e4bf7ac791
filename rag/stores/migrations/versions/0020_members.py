"""How many documents a container held when it was taken in, so that one of which some are gone is read again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# What is there now is what is known. The range is that of the addresses below "!/", found by the unique index.
_COUNT = """
    UPDATE document_versions SET members = (
        SELECT count(*) FROM documents AS container
        JOIN documents AS member ON member.collection_id = container.collection_id
            AND member.uri >= container.uri || '!/' AND member.uri < container.uri || '!0'
        JOIN document_versions AS version ON version.document_id = member.id AND version.status = 'active'
        WHERE container.id = document_versions.document_id
    ) WHERE status = 'active'
"""


def upgrade() -> None:
    op.add_column("document_versions", sa.Column("members", sa.Integer, nullable=False, server_default="0"))
    op.execute(_COUNT)
