"""What migrations need of the program as it was before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from sqlalchemy import Row


def collection_checksum(collection: Row[*tuple[Any, ...]]) -> int:
    """Of a collection's row, until revision 0021."""
    of = collection
    numbers = f"{of.id}\x1f{of.dimension}\x1f{of.seq}\x1f{of.feed_floor}\x1f{of.index_epoch}\x1f{of.dense_weight}"
    times = f"{of.created_at}\x1f{of.changed_at}\x1f{of.history_floor}"
    words = f"{of.name}\x1f{of.parser}\x1f{of.chunker}\x1f{of.embedder}"
    return crc32(f"{numbers}\x1f{words}\x1f{times}".encode())
