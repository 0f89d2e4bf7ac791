"""Checksums of the rows that nothing else can be made of again: SQLite has none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

from rag.stores.checksums import (
    chunk_checksum,
    text_checksum,
    vector_checksum,
    version_checksum,
)
from rag.stores.migrations.former import collection_checksum
from rag.stores.sqlite.column_types import StoredJson, UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Callable

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = ("collections", "document_versions", "document_texts", "chunks", "embeddings")
UNTIL_THEN = sa.text("0")

VERSIONS = """
    SELECT v.id, document_id, v.collection_id, size, mtime_ns, chunk_count, uri, title, media_type, sha256, parser,
        chunker, language, activated_seq, created_at, metadata
    FROM document_versions v JOIN documents d ON d.id = v.document_id
"""
COLLECTIONS = "SELECT * FROM collections"


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("checksum", sa.BigInteger, nullable=False, server_default=UNTIL_THEN))
    function("chunk_checksum", _chunk_checksum)
    function("text_checksum", text_checksum)
    function("vector_checksum", vector_checksum)
    op.execute(
        "UPDATE chunks SET checksum = "
        'chunk_checksum(version_id, ordinal, start, "end", page, heading_path, token_count, text)'
    )
    op.execute("UPDATE document_texts SET checksum = text_checksum(version_id, start, text)")
    op.execute("UPDATE embeddings SET checksum = vector_checksum(set_id, chunk_id, vector)")
    rows("document_versions", VERSIONS, version_checksum, created_at=UtcDateTime(), metadata=StoredJson())
    times = dict.fromkeys(("created_at", "changed_at", "history_floor"), UtcDateTime())
    rows("collections", COLLECTIONS, collection_checksum, **times)


def function(name: str, of: Callable[..., int]) -> None:
    """Let SQL call it: millions of rows need not come to Python and back."""
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise TypeError("a migration has a connection")
    driver.create_function(name, -1, of, deterministic=True)


def rows(table: str, query: str, of: Callable[..., int], **types: sa.types.TypeEngine[object]) -> None:
    seal = sa.text(f"UPDATE {table} SET checksum = :checksum WHERE id = :id")  # noqa: S608  # a constant
    for row in op.get_bind().execute(sa.text(query).columns(**types)).all():
        op.get_bind().execute(seal, {"checksum": of(row), "id": row.id})


def _chunk_checksum(
    version_id: int, ordinal: int, start: int, end: int, page: int | None, headings: str, tokens: int, text: str
) -> int:
    return chunk_checksum(version_id, ordinal, start, end, page, json.loads(headings), tokens, text)
