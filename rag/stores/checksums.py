"""Checksums of rows. SQLite has none of its pages: a byte that flips in a value simply reads as another value.

CRC-32: it misses no damage that lies within 32 bits, and of any other one case in four thousand million. What it covers
includes where the row belongs, so that a row that is read in another's place is noticed too. It is no seal: whoever can
write the database can write checksums.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from rag.errors import DatabaseDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable

# Made once: ``json.dumps`` makes one with each call where keys are sorted.
_WRITTEN: Final = json.JSONEncoder(sort_keys=True).encode

_VERIFY: Final = "`indexer verify` tells all that is damaged."


class RowDamaged(DatabaseDamaged):
    """A row, or a value in it, is not as it was written; what is said of others may well be."""


def chunk_checksum(
    version_id: int,
    ordinal: int,
    start: int,
    end: int,
    page: int | None,
    headings: Iterable[str],
    tokens: int,
    text: str,
) -> int:
    """Of all that a passage shows of its chunk."""
    numbers = f"{version_id}\x1f{ordinal}\x1f{start}\x1f{end}\x1f{page}\x1f{tokens}"
    path = "\x1e".join(map(str, headings))
    return crc32(f"{numbers}\x1f{path}\x1f{text}".encode())


def text_checksum(version_id: int, start: int, text: str) -> int:
    """Of a piece of source text."""
    return crc32(f"{version_id}\x1f{start}\x1f{text}".encode())


def outline_checksum(version_id: int, ordinal: int, outline: bytes) -> int:
    """Of a part of an outline as it is stored."""
    return crc32(outline, crc32(b"%d %d" % (version_id, ordinal)))


def vector_checksum(set_id: int, chunk_id: int, vector: bytes) -> int:
    """Of an embedding as it is stored."""
    return crc32(vector, crc32(b"%d %d" % (set_id, chunk_id)))


def version_checksum(version: Any) -> int:  # noqa: ANN401  # a row, or what it is to become
    """Of an activated version and its document's uri, but for its end (``tenures``) and its ``status``.

    A status is one of four words, and no flipped byte makes one of them another.
    """
    of = version
    numbers = f"{of.document_id}\x1f{of.collection_id}\x1f{of.size}\x1f{of.mtime_ns}\x1f{of.chunk_count}"
    words = f"{of.uri}\x1f{of.title}\x1f{of.media_type}\x1f{of.sha256}\x1f{of.parser}\x1f{of.chunker}\x1f{of.language}"
    rest = f"{of.activated_seq}\x1f{of.created_at}\x1f{_WRITTEN(of.metadata)}"
    return crc32(f"{numbers}\x1f{words}\x1f{rest}".encode())


def collection_checksum(collection: Any) -> int:  # noqa: ANN401  # a row, or what it is to become
    """Of all of a collection's row."""
    of = collection
    numbers = f"{of.id}\x1f{of.dimension}\x1f{of.seq}\x1f{of.feed_floor}\x1f{of.index_epoch}\x1f{of.dense_weight}"
    times = f"{of.created_at}\x1f{of.changed_at}\x1f{of.history_floor}\x1f{of.retention_days}"
    words = f"{of.name}\x1f{of.parser}\x1f{of.chunker}\x1f{of.embedder}"
    return crc32(f"{numbers}\x1f{words}\x1f{times}".encode())


def damaged(what: str, hint: str, kind: type[DatabaseDamaged] = DatabaseDamaged) -> DatabaseDamaged:
    """The error for a row that is not as it was written."""
    return kind(f"{what} is not as it was written: the database is damaged.", hint=f"{hint} {_VERIFY}")
