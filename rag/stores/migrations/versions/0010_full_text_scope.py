"""Every chunk's terms name its collection, so that a small collection's search need not look at the others' chunks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

FULL_TEXT = (
    """
    CREATE VIRTUAL TABLE chunk_terms_fts USING fts5(
        text, context, scope, content='chunk_terms', content_rowid='chunk_id', tokenize='ascii'
    )
    """,
    "INSERT INTO chunk_terms_fts(chunk_terms_fts) VALUES ('rebuild')",
    """
    CREATE TRIGGER chunk_terms_insert AFTER INSERT ON chunk_terms BEGIN
        INSERT INTO chunk_terms_fts(rowid, text, context, scope)
        VALUES (new.chunk_id, new.text, new.context, new.scope);
    END
    """,
    """
    CREATE TRIGGER chunk_terms_delete AFTER DELETE ON chunk_terms BEGIN
        INSERT INTO chunk_terms_fts(chunk_terms_fts, rowid, text, context, scope)
        VALUES ('delete', old.chunk_id, old.text, old.context, old.scope);
    END
    """,
    """
    CREATE TRIGGER chunk_terms_update AFTER UPDATE OF text, context, scope ON chunk_terms BEGIN
        INSERT INTO chunk_terms_fts(chunk_terms_fts, rowid, text, context, scope)
        VALUES ('delete', old.chunk_id, old.text, old.context, old.scope);
        INSERT INTO chunk_terms_fts(rowid, text, context, scope)
        VALUES (new.chunk_id, new.text, new.context, new.scope);
    END
    """,
)


def upgrade() -> None:
    for trigger in ("chunk_terms_insert", "chunk_terms_delete", "chunk_terms_update"):
        op.execute(f"DROP TRIGGER {trigger}")
    op.execute("DROP TABLE chunk_terms_fts")
    op.add_column("chunk_terms", sa.Column("scope", sa.Text, nullable=False, server_default=""))
    op.execute(
        "UPDATE chunk_terms SET scope = char(0xE000) || (SELECT v.collection_id FROM chunks c"
        " JOIN document_versions v ON v.id = c.version_id WHERE c.id = chunk_terms.chunk_id)"
    )
    for statement in FULL_TEXT:
        op.execute(statement)
