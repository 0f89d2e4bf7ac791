"""How versions leave: readers lose them in one transaction, their rows go in batches after it.

A version that was active is first *retired*: only who asks about the past reads it. When its time is over (at once, if
nothing is kept) it is *leaving*. Deleting the rows of a long document takes seconds; batches keep the write lock free
for others in between. A crash in the middle leaves rows that no reader sees and that the next prune removes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import bindparam, delete, exists, insert, literal, select, tuple_, update

from rag.stores.collection_rows import change_collection, collection_row
from rag.stores.tables import (
    ChunkKeyRow,
    ChunkRow,
    ChunkTermsRow,
    DocumentRow,
    EmbeddingRow,
    MetadataRow,
    OutlineRow,
    TextRow,
    TombstoneRow,
    VersionRow,
    VersionStatus,
)
from rag.stores.versions import tenures
from rag.stores.visibility import OTHER_CUTS, UNSEEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from rag.stores.collection_rows import AnyRow
    from rag.stores.sqlite.database import Database

_BATCH = 2000
_PIECES = 256  # of source texts, in one transaction
_VERSIONS = 500  # in one statement
_PRUNED = 100  # in one transaction
_UNSEEN_DOCUMENTS: Final = select(VersionRow.id, VersionRow.document_id).where(
    VersionRow.id.in_(bindparam("versions", expanding=True)), UNSEEN
)
_SOME_CHUNKS: Final = select(ChunkRow.id).where(ChunkRow.version_id.in_(bindparam("versions", expanding=True)))
_TICK = timedelta(microseconds=1)  # as fine as the database keeps times


def next_seq(connection: Connection, collection_id: int) -> int:
    """Raise the collection's seq by one and return it."""
    row = collection_row(connection, collection_id)
    change_collection(connection, row, seq=row.seq + 1)
    return int(row.seq) + 1


class Change(NamedTuple):
    """``retention_days`` of the collection: whether what ends in the change is kept."""

    seq: int
    at: datetime
    retention_days: float


def next_change(connection: Connection, row: AnyRow) -> Change:
    """Raise the seq of a collection, whose row was read in this transaction, by one.

    The time is that of the machine's clock, but later than that of every change before: a clock that was set back must
    not put an end before its beginning.
    """
    at = datetime.now(UTC)
    if row.changed_at is not None:
        at = max(at, row.changed_at + _TICK)
    seq = int(row.seq) + 1
    change_collection(connection, row, seq=seq, changed_at=at)
    return Change(seq, at, row.retention_days)


def retire(
    connection: Connection, version_ids: Sequence[int], collection_id: int, seq: int, at: datetime, *, keep: bool
) -> None:
    """Take active versions from the readers of the present, in the change ``seq``; their chunks get tombstones.

    Their other cuts leave with them. With ``keep`` those who ask about the time before ``at`` go on reading them; else
    the history begins at ``at``, and their rows are to be pruned.
    """
    status = VersionStatus.RETIRED if keep else VersionStatus.LEAVING
    ended = {"status": status, "retired_seq": seq, "retired_at": at}
    for start in range(0, len(version_ids), _VERSIONS):
        some = version_ids[start : start + _VERSIONS]
        connection.execute(update(VersionRow).where(VersionRow.id.in_(some)).values(**ended))
        tenures.seal(connection, some)
        entomb(connection, some, collection_id, seq)
        documents = select(VersionRow.document_id).where(VersionRow.id.in_(some))
        cuts = connection.scalars(select(VersionRow.id).where(VersionRow.document_id.in_(documents), OTHER_CUTS)).all()
        if cuts:
            connection.execute(update(VersionRow).where(VersionRow.id.in_(cuts)).values(status=VersionStatus.LEAVING))
            entomb(connection, cuts, collection_id, seq)  # an index that does not serve yet may hold them
    if not keep:
        _begin_history(connection, collection_id, at)


def let_go(connection: Connection, version_ids: Sequence[int], collection_id: int) -> None:
    """Take retired versions from those who ask about the past; their rows are to be pruned.

    Their chunks get new tombstones, for those who have read them since the first (model state is kept of what was
    asked).
    """
    seq = next_seq(connection, collection_id)
    for start in range(0, len(version_ids), _VERSIONS):
        some = version_ids[start : start + _VERSIONS]
        connection.execute(update(VersionRow).where(VersionRow.id.in_(some)).values(status=VersionStatus.LEAVING))
        entomb(connection, some, collection_id, seq)


def leaving(connection: Connection, collection_id: int) -> Sequence[int]:
    """The versions whose rows are being pruned, or would be had a process not died over it."""
    gone = (VersionRow.collection_id == collection_id, VersionRow.status == VersionStatus.LEAVING)
    return connection.scalars(select(VersionRow.id).where(*gone)).all()


def expire(connection: Connection, collection_id: int, before: datetime) -> list[int]:
    """Let go of some of the versions that ended before a time, the oldest first; returns them, none when all are gone.

    The history of the collection begins when the last of them ended. Of what is damaged nobody knows when it ended.
    """
    mine = (VersionRow.collection_id == collection_id, VersionRow.status == VersionStatus.RETIRED, tenures.WHOLE)
    query = select(VersionRow.id, VersionRow.retired_at).where(*mine, VersionRow.retired_at < before)
    rows = connection.execute(query.order_by(VersionRow.retired_at, VersionRow.id).limit(_VERSIONS)).all()
    if not rows:
        return []
    ids = [row.id for row in rows]
    let_go(connection, ids, collection_id)
    _begin_history(connection, collection_id, rows[-1].retired_at)
    return ids


def entomb(connection: Connection, version_ids: Sequence[int], collection_id: int, seq: int) -> None:
    """Tell whoever follows the collection that the chunks of these versions are gone since ``seq``."""
    chunks = select(ChunkRow.id).where(ChunkRow.version_id.in_(version_ids))
    connection.execute(delete(TombstoneRow).where(TombstoneRow.chunk_id.in_(chunks)))
    rows = select(ChunkRow.id, literal(collection_id), literal(seq)).where(ChunkRow.version_id.in_(version_ids))
    connection.execute(insert(TombstoneRow).from_select(["chunk_id", "collection_id", "seq"], rows))


def _begin_history(connection: Connection, collection_id: int, at: datetime) -> None:
    row = collection_row(connection, collection_id)
    if row.history_floor is None or row.history_floor < at:
        change_collection(connection, row, history_floor=at)


def prune_some(connection: Connection, version_ids: Sequence[int]) -> list[int]:
    """Delete a batch of the rows of versions that are staged or leaving; returns those of which rows may be left.

    One that somebody may read stays whole, though it was staged when it was looked for.
    """
    if not version_ids:
        return []
    unseen = connection.execute(_UNSEEN_DOCUMENTS, {"versions": version_ids}).all()
    versions = [row.id for row in unseen]
    ids = connection.scalars(_SOME_CHUNKS.limit(_BATCH), {"versions": versions}).all()
    for chunk_id in (EmbeddingRow.chunk_id, ChunkTermsRow.chunk_id, ChunkKeyRow.chunk_id, ChunkRow.id):
        connection.execute(delete(chunk_id.class_).where(chunk_id.in_(ids)))
    texts = TextRow.version_id.in_(versions)
    some = select(TextRow.version_id, TextRow.start).where(texts).limit(_PIECES)
    pieces = connection.execute(delete(TextRow).where(texts, tuple_(TextRow.version_id, TextRow.start).in_(some)))
    if len(ids) == _BATCH or pieces.rowcount == _PIECES:
        return versions
    for version_id in (OutlineRow.version_id, MetadataRow.version_id, VersionRow.id):
        connection.execute(delete(version_id.class_).where(version_id.in_(versions)))
    documents = DocumentRow.id.in_({row.document_id for row in unseen})
    connection.execute(delete(DocumentRow).where(documents, ~exists().where(VersionRow.document_id == DocumentRow.id)))
    return []


def prune(database: Database, version_ids: Sequence[int]) -> None:
    """Delete all rows of versions that are staged or leaving, in batches, and nothing of others."""
    for start in range(0, len(version_ids), _PRUNED):
        left: Sequence[int] = version_ids[start : start + _PRUNED]
        while left:
            with database.write() as connection:
                left = prune_some(connection, left)
