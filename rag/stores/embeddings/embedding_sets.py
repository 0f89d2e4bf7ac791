"""Sets of embeddings: one serves, and another may be made beside it in short transactions and then take its place.

The swap changes which set is the live one and copies nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, exists, func, insert, or_, select, update

from rag.errors import Conflict, DatabaseDamaged
from rag.plurals import plural
from rag.stores.checksums import damaged, vector_checksum
from rag.stores.embeddings import cuts
from rag.stores.embeddings.embedding_set import EmbeddingSet
from rag.stores.tables import ChunkRow, EmbeddingRow, EmbeddingSetRow, SetState, VersionRow, VersionStatus
from rag.stores.versions.retirement import leaving, prune
from rag.stores.versions.rows import vector_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import BindParameter, Connection, Exists, Row, ScalarSelect, Select

    from rag.stores.sqlite.database import Database
    from rag.types import Collection

# Rows deleted in one transaction: the write lock is free for others in between.
_DROPPED_AT_ONCE: Final = 5000
_ANEW: Final = "`indexer reembed -c COLLECTION` makes them anew; nothing else of the collection is changed."


def _live(collection_id: int | BindParameter[int]) -> Select[int]:
    mine = (EmbeddingSetRow.collection_id == collection_id, EmbeddingSetRow.state == SetState.LIVE)
    return select(EmbeddingSetRow.id).where(*mine)


_LIVE: Final = _live(bindparam("collection"))


def live_set(collection_id: int) -> ScalarSelect[int]:
    """The id of the set that serves, for use in a statement."""
    return _live(collection_id).scalar_subquery()


def require_live_set(connection: Connection, collection_id: int) -> int:
    """The id of the set that serves. Raises DatabaseDamaged: every collection has one."""
    found: int | None = connection.scalar(_LIVE, {"collection": collection_id})
    if found is None:
        raise damaged("The list of the embeddings that serve", "Restore a backup.")
    return found


def require_whole(set_id: int, rows: Iterable[Row[*tuple[Any, ...]]]) -> None:
    """Raise DatabaseDamaged unless rows of ``chunk_id``, ``vector`` and ``checksum`` are all as they were written."""
    wrong = sum(vector_checksum(set_id, row.chunk_id, row.vector) != row.checksum for row in rows)
    if wrong:
        raise DatabaseDamaged(
            f"{plural(wrong, 'stored embedding')} not as written: the database is damaged.",
            hint=_ANEW,
        )


def no_embedding(count: int) -> DatabaseDamaged:
    """The error where so many active chunks have no vector that serves: they came together."""
    return DatabaseDamaged(
        f"{plural(count, 'stored passage')} without an embedding: the database is damaged.",
        hint=_ANEW,
    )


def incomplete(connection: Connection, collection_id: int) -> DatabaseDamaged:
    """The error where the vectors that serve are not those of as many chunks as are active."""
    served = exists().where(EmbeddingRow.set_id == live_set(collection_id), EmbeddingRow.chunk_id == ChunkRow.id)
    chunks = select(func.count()).select_from(ChunkRow).join(VersionRow, VersionRow.id == ChunkRow.version_id)
    active = (VersionRow.collection_id == collection_id, VersionRow.status == VersionStatus.ACTIVE)
    if lacking := connection.scalar(chunks.where(*active, ~served)):
        return no_embedding(lacking)
    return damaged("The list of active passages", "Restore a backup.")


def create_live(connection: Connection, collection_id: int, embedder: str, dimension: int) -> None:
    """The first set of a new collection."""
    _insert(connection, collection_id, SetState.LIVE, embedder, dimension)


def change_live(connection: Connection, collection_id: int, embedder: str, dimension: int) -> None:
    """Have the live set, which is empty, be of another embedder; sets beside it are of no use any more."""
    mine = EmbeddingSetRow.collection_id == collection_id
    live = (mine, EmbeddingSetRow.state == SetState.LIVE)
    connection.execute(update(EmbeddingSetRow).where(*live).values(embedder=embedder, dimension=dimension))
    others = (mine, EmbeddingSetRow.state != SetState.LIVE)  # there is no version, so no cut of one
    connection.execute(update(EmbeddingSetRow).where(*others).values(state=SetState.DROPPED))


def find(connection: Connection, collection: Collection, state: SetState) -> EmbeddingSet | None:
    """The collection's set in this state; there is at most one, but for dropped ones."""
    query = select(EmbeddingSetRow).where(EmbeddingSetRow.collection_id == collection.id)
    row = connection.execute(query.where(EmbeddingSetRow.state == state).limit(1)).one_or_none()
    if row is None:
        return None
    return EmbeddingSet(
        id=row.id,
        collection_id=collection.id,
        collection=collection.name,
        state=state,
        embedder=row.embedder,
        dimension=row.dimension,
        too_long=row.too_long,
        chunker=row.chunker,
    )


def begin(
    database: Database, collection: Collection, embedder: str, dimension: int, *, chunker: str | None = None
) -> EmbeddingSet:
    """The set being built with this embedder: a new one, or what an earlier run has left of it.

    With a ``chunker`` the documents that are not its work are cut by it.

    Raises:
        Conflict: one of another embedder, or with other chunks, is being built.
    """
    with database.write() as connection:
        found = find(connection, collection, SetState.BUILDING)
        if found is None:
            _insert(connection, collection.id, SetState.BUILDING, embedder, dimension, chunker)
            found = find(connection, collection, SetState.BUILDING)
    if found is None:
        raise AssertionError("a set that was inserted is there")
    if (found.embedder, found.dimension, found.chunker) != (embedder, dimension, chunker):
        chunks = f" in chunks by {found.chunker}" if found.chunker else " in the chunks it has"
        raise Conflict(
            f"The collection {collection.name!r} is being embedded anew with {found.embedder} already,{chunks}.",
            hint=f"Finish that with the command it was begun with, or: indexer reembed --collection {collection.name} "
            "--cancel",
        )
    return found


def missing(target: EmbeddingSet, *, since: int = 0) -> Select[int]:
    """How many chunks the set lacks, of versions that were activated after ``since``, or ended after it: those that
    need no vector in it while they have another cut need one for questions about the past.
    """
    return (
        select(func.count())
        .select_from(ChunkRow)
        .join(VersionRow, VersionRow.id == ChunkRow.version_id)
        .where(VersionRow.collection_id == target.collection_id, cuts.versions_of(target))
        .where(or_(VersionRow.activated_seq > since, VersionRow.retired_seq > since), ~has_vector(target))
    )


def progress(connection: Connection, target: EmbeddingSet) -> tuple[int, int]:
    """How many chunks of the set's versions, past ones too, have a vector in it, and how many there are."""
    kept = select(func.coalesce(func.sum(VersionRow.chunk_count), 0)).where(
        VersionRow.collection_id == target.collection_id, cuts.versions_of(target)
    )
    total = connection.scalars(kept).one()
    return total - connection.scalars(missing(target)).one(), total


def has_vector(target: EmbeddingSet) -> Exists:
    """Whether the set has a vector of a statement's chunk."""
    return exists().where(EmbeddingRow.set_id == target.id, EmbeddingRow.chunk_id == ChunkRow.id)


def add(database: Database, target: EmbeddingSet, ids: Sequence[int], values: Sequence[bytes], *, too_long: int) -> int:
    """Write vectors of chunks, but for those deleted meanwhile; returns how many were written.

    Raises:
        Conflict: the set was cancelled or forgotten.
    """
    with database.write() as connection:
        require(connection, target)
        present = set(connection.scalars(select(ChunkRow.id).where(ChunkRow.id.in_(ids))))
        rows = [
            vector_row(target.id, chunk_id, value)
            for chunk_id, value in zip(ids, values, strict=True)
            if chunk_id in present
        ]
        if rows:
            connection.execute(insert(EmbeddingRow), rows)
        counted = update(EmbeddingSetRow).where(EmbeddingSetRow.id == target.id)
        connection.execute(counted.values(too_long=EmbeddingSetRow.too_long + too_long))
    return len(rows)


def require(connection: Connection, target: EmbeddingSet) -> None:
    """Raise Conflict unless the set is still there and in the state it was read in."""
    state = connection.scalar(select(EmbeddingSetRow.state).where(EmbeddingSetRow.id == target.id))
    if state != target.state:
        raise Conflict(
            f"The new embeddings of {target.collection!r} by {target.embedder} were cancelled meanwhile.",
            hint="The embeddings that were serving go on serving.",
        )


def make_live(connection: Connection, target: EmbeddingSet, *, chunker: str) -> None:
    """Have the set serve; the one that served becomes the previous one, and the one before that is dropped.

    ``chunker`` is the collection's until now: the set that served takes its cuts along if this one brings others.
    """
    mine = EmbeddingSetRow.collection_id == target.collection_id

    def move(state: SetState, to: SetState) -> None:
        connection.execute(update(EmbeddingSetRow).where(mine, EmbeddingSetRow.state == state).values(state=to))

    # At no moment two sets in one state: the target first leaves its own.
    connection.execute(update(EmbeddingSetRow).where(EmbeddingSetRow.id == target.id).values(state=SetState.DROPPED))
    move(SetState.PREVIOUS, SetState.DROPPED)
    move(SetState.LIVE, SetState.PREVIOUS)
    former = (mine, EmbeddingSetRow.state == SetState.PREVIOUS)
    comes_with = None if target.chunker is None else chunker
    connection.execute(update(EmbeddingSetRow).where(*former).values(chunker=comes_with))
    connection.execute(update(EmbeddingSetRow).where(EmbeddingSetRow.id == target.id).values(state=SetState.LIVE))


def drop(database: Database, collection: Collection, state: SetState) -> EmbeddingSet | None:
    """Drop the set in this state with its cuts, and what is left of others; returns it, if there was one."""
    with database.write() as connection:
        found = find(connection, collection, state)
        if found is not None:
            gone = update(EmbeddingSetRow).where(EmbeddingSetRow.id == found.id).values(state=SetState.DROPPED)
            connection.execute(gone)
            cuts.drop_with(connection, collection.id, state)
    delete_dropped(database, collection)
    return found


def delete_dropped(database: Database, collection: Collection) -> None:
    """Delete the rows of dropped sets and their cuts, in batches. A run that dies here is taken up by the next."""
    with database.read() as connection:
        gone = leaving(connection, collection.id)
    prune(database, gone)
    more = True
    while more:
        with database.write() as connection:
            more = _delete_some(connection, collection)


def _delete_some(connection: Connection, collection: Collection) -> bool:
    found = find(connection, collection, SetState.DROPPED)
    if found is None:
        return False
    some = select(EmbeddingRow.chunk_id).where(EmbeddingRow.set_id == found.id).limit(_DROPPED_AT_ONCE)
    ids = connection.scalars(some.order_by(EmbeddingRow.chunk_id)).all()
    if ids:
        within = (EmbeddingRow.set_id == found.id, EmbeddingRow.chunk_id <= ids[-1])
        connection.execute(delete(EmbeddingRow).where(*within))
    else:
        connection.execute(delete(EmbeddingSetRow).where(EmbeddingSetRow.id == found.id))
    return True


def _insert(
    connection: Connection,
    collection_id: int,
    state: SetState,
    embedder: str,
    dimension: int,
    chunker: str | None = None,
) -> None:
    connection.execute(
        insert(EmbeddingSetRow).values(
            collection_id=collection_id,
            state=state,
            embedder=embedder,
            dimension=dimension,
            too_long=0,
            chunker=chunker,
            created_at=datetime.now(UTC),
        )
    )
