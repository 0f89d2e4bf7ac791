"""Full text over analysed terms, in every language, instead of over words as SQLite takes them apart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rag.stores.full_text.analysis import note_languages
from rag.stores.full_text.terms import terms

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

FULL_TEXT = (
    """
    CREATE VIRTUAL TABLE chunk_terms_fts USING fts5(
        text, context, content='chunk_terms', content_rowid='chunk_id', tokenize='ascii'
    )
    """,
    """
    CREATE TRIGGER chunk_terms_insert AFTER INSERT ON chunk_terms BEGIN
        INSERT INTO chunk_terms_fts(rowid, text, context) VALUES (new.chunk_id, new.text, new.context);
    END
    """,
    """
    CREATE TRIGGER chunk_terms_delete AFTER DELETE ON chunk_terms BEGIN
        INSERT INTO chunk_terms_fts(chunk_terms_fts, rowid, text, context)
        VALUES ('delete', old.chunk_id, old.text, old.context);
    END
    """,
    """
    CREATE TRIGGER chunk_terms_update AFTER UPDATE OF text, context ON chunk_terms BEGIN
        INSERT INTO chunk_terms_fts(chunk_terms_fts, rowid, text, context)
        VALUES ('delete', old.chunk_id, old.text, old.context);
        INSERT INTO chunk_terms_fts(rowid, text, context) VALUES (new.chunk_id, new.text, new.context);
    END
    """,
)


def upgrade() -> None:
    for trigger in ("chunks_fts_insert", "chunks_fts_delete", "chunks_fts_update"):
        op.execute(f"DROP TRIGGER {trigger}")
    op.execute("DROP TABLE chunks_fts")
    op.add_column("document_versions", sa.Column("language", sa.Text))
    op.create_table(
        "collection_languages",
        sa.Column("collection_id", KEY, sa.ForeignKey("collections.id"), primary_key=True, autoincrement=False),
        sa.Column("language", sa.Text, primary_key=True),
    )
    op.create_table(
        "chunk_terms",
        sa.Column("chunk_id", KEY, sa.ForeignKey("chunks.id"), primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("context", sa.Text, nullable=False),
    )
    for statement in FULL_TEXT:
        op.execute(statement)
    note_languages(op.get_bind())
    add_terms()


def add_terms() -> None:
    wanted = sa.text(
        "SELECT c.id, c.text, c.context, v.language FROM chunks c JOIN document_versions v ON v.id = c.version_id"
        " WHERE c.id > :last ORDER BY c.id LIMIT 1000"
    )
    # As the table is at this revision, not as it is in the newest.
    target = sa.table("chunk_terms", sa.column("chunk_id"), sa.column("text"), sa.column("context"))
    last = 0
    while chunks := op.get_bind().execute(wanted, {"last": last}).all():
        rows = [
            {
                "chunk_id": chunk.id,
                "text": " ".join(terms(chunk.text, chunk.language)),
                "context": " ".join(terms(chunk.context, chunk.language)),
            }
            for chunk in chunks
        ]
        op.get_bind().execute(sa.insert(target), rows)
        last = chunks[-1].id
