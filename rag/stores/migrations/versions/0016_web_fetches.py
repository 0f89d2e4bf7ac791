"""What a web server said of a version when it was fetched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("document_versions", sa.Column("web", sa.JSON))


def downgrade() -> None:
    op.drop_column("document_versions", "web")
