"""How long versions are kept is the collection's own: until now each process followed its own setting.

Collections that are there get the setting of the program that migrates. Index files have their kind and recall noted,
and what filters compare of chunks has an index.
"""

from __future__ import annotations

from types import SimpleNamespace

import sqlalchemy as sa
from alembic import context, op

from rag.stores.checksums import collection_checksum
from rag.stores.migrations import former
from rag.stores.sqlite.column_types import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

COLLECTIONS = sa.text("SELECT * FROM collections").columns(
    created_at=UtcDateTime(), changed_at=UtcDateTime(), history_floor=UtcDateTime()
)
CHANGE = sa.text("UPDATE collections SET retention_days = :days, checksum = :checksum WHERE id = :id")


def upgrade() -> None:
    days = float(context.config.attributes["retention_days"])
    op.create_index("ix_chunks_filtered", "chunks", ["version_id", "page", "token_count", "ordinal"])
    op.add_column("index_generations", sa.Column("kind", sa.Text, nullable=True))
    op.add_column("index_generations", sa.Column("recall_at_10", sa.Float, nullable=True))
    collections = op.get_bind().execute(COLLECTIONS).all()
    none = sa.text("0")
    op.add_column("collections", sa.Column("retention_days", sa.Float, nullable=False, server_default=none))
    for row in collections:
        # A row that was damaged stays one: a checksum that fits would hide it.
        whole = row.checksum == former.collection_checksum(row)
        checksum = collection_checksum(SimpleNamespace(**row._mapping, retention_days=days)) if whole else row.checksum
        op.get_bind().execute(CHANGE, {"days": days, "checksum": checksum, "id": row.id})
