"""What is written of a version, with its checksums."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, update

from rag.stores.checksums import chunk_checksum, outline_checksum, text_checksum, vector_checksum, version_checksum
from rag.stores.tables import DocumentRow, VersionRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from rag.types import ChunkDraft


# Made once, as all that is asked for each document: see ``rag.stores.reading.ACTIVE_PASSAGES``.
_VERSION: Final = (
    select(VersionRow, DocumentRow.uri)
    .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
    .where(VersionRow.id == bindparam("of"))
)
_CHANGE: Final = update(VersionRow).where(VersionRow.id == bindparam("of"))


def chunk_row(version_id: int, chunk: ChunkDraft, context: str) -> dict[str, Any]:
    """A row of ``chunks``."""
    start, end, headings = chunk.span.start, chunk.span.end, list(chunk.heading_path)
    checksum = chunk_checksum(
        version_id, chunk.ordinal, start, end, chunk.page, headings, chunk.token_count, chunk.text
    )
    return {
        "version_id": version_id,
        "ordinal": chunk.ordinal,
        "start": start,
        "end": end,
        "page": chunk.page,
        "token_count": chunk.token_count,
        "heading_path": headings,
        "context": context,
        "text": chunk.text,
        "checksum": checksum,
    }


def context_of(title: str, headings: Iterable[str]) -> str:
    """What full text searches of a chunk besides its text."""
    return " ".join(dict.fromkeys((title, *headings)))


def text_row(version_id: int, start: int, text: str) -> dict[str, Any]:
    """A row of ``document_texts``."""
    checksum = text_checksum(version_id, start, text)
    return {"version_id": version_id, "start": start, "text": text, "checksum": checksum}


def outline_row(version_id: int, ordinal: int, outline: bytes) -> dict[str, Any]:
    """A row of ``document_outlines``."""
    checksum = outline_checksum(version_id, ordinal, outline)
    return {"version_id": version_id, "ordinal": ordinal, "outline": outline, "checksum": checksum}


def vector_row(set_id: int, chunk_id: int, vector: bytes) -> dict[str, Any]:
    """A row of ``embeddings``."""
    checksum = vector_checksum(set_id, chunk_id, vector)
    return {"set_id": set_id, "chunk_id": chunk_id, "vector": vector, "checksum": checksum}


def change_version(connection: Connection, version_id: int, **values: object) -> None:
    """Write other values into a version that then has all of them, and the checksum of what it is now."""
    row = connection.execute(_VERSION, {"of": version_id}).one()
    checksum = version_checksum(SimpleNamespace(**{**row._mapping, **values}))
    connection.execute(_CHANGE, {**values, "of": version_id, "checksum": checksum})
