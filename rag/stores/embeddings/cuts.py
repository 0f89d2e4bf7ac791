"""Documents in other chunks: beside an active version its text may stand once more, cut by another chunker.

Such a *cut* is a version of its own with its text and chunks, and with the beginning of the active one, so that history
does not change with the chunks. While a set of embeddings is made for it, it is prepared; with the swap of the sets it
changes places with the active version, which is shelved for as long as the set that served before is kept. A document
that is replaced or deleted takes its cuts with it (``rag.stores.versions.retirement.retire``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from rag.stores.tables import ChunkRow, OutlineRow, SetState, TombstoneRow, VersionRow, VersionStatus
from rag.stores.versions.retirement import entomb
from rag.stores.visibility import ACTIVE, KEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from rag.stores.embeddings.embedding_set import EmbeddingSet

_VERSIONS: Final = 500  # in one statement

HAS_OUTLINE: Final = exists().where(OutlineRow.version_id == VersionRow.id)


def cut_status(target: EmbeddingSet) -> VersionStatus | None:
    """Which cuts become active when the set serves; ``None`` if it comes with no other chunks, or serves."""
    if target.chunker is None:
        return None
    return {SetState.BUILDING: VersionStatus.PREPARED, SetState.PREVIOUS: VersionStatus.SHELVED}.get(target.state)


def versions_of(target: EmbeddingSet) -> ColumnElement[bool]:
    """A condition on versions: those whose chunks need a vector in the set, to be searched when it serves."""
    status = cut_status(target)
    if status is None:
        return KEPT
    return or_(VersionRow.status == status, and_(KEPT, or_(~ACTIVE, ~_has_cut(status))))


def active_of(target: EmbeddingSet) -> ColumnElement[bool]:
    """A condition on versions: those that are active when the set serves."""
    status = cut_status(target)
    return ACTIVE if status is None else or_(VersionRow.status == status, and_(ACTIVE, ~_has_cut(status)))


def uncut(target: EmbeddingSet) -> ColumnElement[bool]:
    """A condition on versions: active ones that the set's chunker has to cut, and of which it is known how."""
    status = cut_status(target)
    if status is None:
        raise ValueError("this set comes with no other chunks")
    mine = (VersionRow.collection_id == target.collection_id, ACTIVE)
    return and_(*mine, _outdated(target.chunker, target.embedder), ~_has_cut(status), HAS_OUTLINE)


def count_uncut(target: EmbeddingSet) -> Select[int]:
    """How many versions are to be cut still."""
    return select(func.count()).select_from(VersionRow).where(uncut(target))


def count_outdated(collection_id: int, chunker: str, embedder: str) -> Select[int]:
    """How many active versions this chunker would cut for this embedder."""
    mine = (VersionRow.collection_id == collection_id, ACTIVE, HAS_OUTLINE)
    return select(func.count()).select_from(VersionRow).where(*mine, _outdated(chunker, embedder))


def count_without_outline(target: EmbeddingSet) -> Select[int]:
    """How many active versions keep their chunks, because what the chunker needs was not stored with them."""
    mine = (VersionRow.collection_id == target.collection_id, ACTIVE, VersionRow.chunk_count > 0)
    return (
        select(func.count())
        .select_from(VersionRow)
        .where(*mine, _outdated(target.chunker, target.embedder), ~HAS_OUTLINE)
    )


def exchange(connection: Connection, target: EmbeddingSet, seq: int) -> None:
    """Have the set's cuts change places with the active versions, in the change ``seq``.

    Of the chunks that go, whoever keeps something hears by their tombstones. Cuts of before that are gone with this are
    leaving, and to be pruned.
    """
    status = cut_status(target)
    if status != VersionStatus.SHELVED:  # those of a set that is dropped now
        drop(connection, target.collection_id, VersionStatus.SHELVED)
    if status is None:
        return
    cut = aliased(VersionRow)
    pairs = connection.execute(
        select(VersionRow.id, cut.id)
        .join(cut, and_(cut.document_id == VersionRow.document_id, cut.status == status))
        .where(VersionRow.collection_id == target.collection_id, ACTIVE)
    ).all()
    for start in range(0, len(pairs), _VERSIONS):
        going, coming = (list(ids) for ids in zip(*pairs[start : start + _VERSIONS], strict=True))
        # At no moment two active ones.
        _move(connection, going, VersionStatus.SHELVED)
        _move(connection, coming, VersionStatus.ACTIVE)
        entomb(connection, going, target.collection_id, seq)
        chunks = select(ChunkRow.id).where(ChunkRow.version_id.in_(coming))
        connection.execute(delete(TombstoneRow).where(TombstoneRow.chunk_id.in_(chunks)))


def drop(connection: Connection, collection_id: int, *statuses: VersionStatus) -> None:
    """Let go of all cuts of these kinds; their rows are to be pruned. No reader has them, so no seq tells of it."""
    cuts = (VersionRow.collection_id == collection_id, VersionRow.status.in_(statuses))
    connection.execute(update(VersionRow).where(*cuts).values(status=VersionStatus.LEAVING))


def drop_with(connection: Connection, collection_id: int, state: SetState) -> None:
    """Let go of the cuts that were made for the set in this state, which is dropped."""
    if state == SetState.BUILDING:
        drop(connection, collection_id, VersionStatus.CUTTING, VersionStatus.PREPARED)
    elif state == SetState.PREVIOUS:
        drop(connection, collection_id, VersionStatus.SHELVED)


def _outdated(chunker: str | None, embedder: str) -> ColumnElement[bool]:
    """Chunks are measured in an embedder's tokens."""
    return or_(VersionRow.chunker != chunker, VersionRow.counted_by.is_distinct_from(embedder))


def _has_cut(status: VersionStatus) -> ColumnElement[bool]:
    cut = aliased(VersionRow)
    return exists().where(cut.document_id == VersionRow.document_id, cut.status == status)


def _move(connection: Connection, version_ids: Sequence[int], status: VersionStatus) -> None:
    connection.execute(update(VersionRow).where(VersionRow.id.in_(version_ids)).values(status=status))
