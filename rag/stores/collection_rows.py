"""Rows of ``collections``: each is read with its checksum and written with a new one."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, insert, select, update

from rag.errors import Conflict, InvalidRequest, UnknownCollection
from rag.stores.checksums import collection_checksum, damaged
from rag.stores.tables import CollectionRow, DropRow, PurgeRow
from rag.types import LONGEST_COLLECTION_NAME
from rag.unicode import equivalents, is_storable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from rag.types import Fingerprint

    AnyRow = Row[*tuple[Any, ...]]


# Every search asks these: made once, as ``rag.stores.reading.ACTIVE_PASSAGES`` is.
_BY_ID: Final = select(CollectionRow).where(CollectionRow.id == bindparam("id"))
_CHANGE: Final = update(CollectionRow).where(CollectionRow.id == bindparam("of"))
_BY_NAME: Final = select(CollectionRow).where(CollectionRow.name == bindparam("name"))


def collection_rows(connection: Connection) -> Sequence[AnyRow]:
    """All of them by name. Raises DatabaseDamaged unless they are as they were written."""
    return [_whole(row) for row in connection.execute(select(CollectionRow).order_by(CollectionRow.name))]


def collection_row(connection: Connection, collection_id: int, name: str | None = None) -> AnyRow:
    """The row; ``name`` is for the message.

    Raises:
        UnknownCollection: it is gone.
        DatabaseDamaged: it is not as it was written.
    """
    row = connection.execute(_BY_ID, {"id": collection_id}).one_or_none()
    if row is None:
        raise UnknownCollection(
            f"There is no collection {name or collection_id!r} any more.",
            hint="`indexer status` lists those there are.",
        )
    return _whole(row)


def collection_row_named(connection: Connection, name: str) -> AnyRow | None:
    """The row of the collection with this name; None if there is none.

    Raises:
        DatabaseDamaged: it is not as it was written, or one of the others is not, whose name may have been this.
    """
    if not is_storable(name):  # SQLite could not even be asked
        return None
    row = connection.execute(_BY_NAME, {"name": name}).one_or_none()
    if row is not None:
        return _whole(row)
    return next((other for other in collection_rows(connection) if other.name == name), None)


def look_alike(connection: Connection, name: str, *, of: int | None = None) -> str | None:
    """The name of a collection, but for the one whose id is ``of``, that is this one or looks the same."""
    if not is_storable(name):
        return None
    mine = (CollectionRow.name.in_(equivalents(name)), CollectionRow.id.is_distinct_from(of))
    found: str | None = connection.scalar(select(CollectionRow.name).where(*mine).limit(1))
    return found


def require_free_name(connection: Connection, name: str, *, of: int | None = None) -> None:
    """Raise Conflict if a collection, but for the one whose id is ``of``, has the name, or one that looks the same.

    InvalidRequest if the name is longer than the service takes.
    """
    if len(name) > LONGEST_COLLECTION_NAME:
        raise InvalidRequest(
            f"The name of the collection has {len(name)} characters; at most {LONGEST_COLLECTION_NAME} are allowed.",
            hint="Choose a shorter one.",
        )
    other = look_alike(connection, name, of=of)
    if other == name:
        raise Conflict(f"There is a collection {name!r} already.", hint="Choose another name.")
    if other is not None:
        raise Conflict(
            f"There is a collection {other!r} already. Its name looks the same; its letters are composed otherwise.",
            hint="Copy its name from `indexer status`, or choose another one.",
        )


def being_purged(connection: Connection) -> Sequence[AnyRow]:
    """Those of which something is being purged, or would be had a process not died over it."""
    purged = CollectionRow.id.in_(select(PurgeRow.collection_id))
    return [_whole(row) for row in connection.execute(select(CollectionRow).where(purged))]


def being_dropped(connection: Connection) -> Sequence[AnyRow]:
    """Those that are being dropped, or would be had a process not died over it."""
    dropped = CollectionRow.id.in_(select(DropRow.collection_id))
    return [_whole(row) for row in connection.execute(select(CollectionRow).where(dropped))]


def being_removed(connection: Connection) -> bool:
    """Whether anything is being purged or dropped."""
    return any(connection.scalar(select(table.collection_id).limit(1)) is not None for table in (PurgeRow, DropRow))


def insert_collection(connection: Connection, name: str, made_with: Fingerprint, *, retention_days: float) -> int:
    """Returns its id. Raises InvalidRequest if the name is not text."""
    if not is_storable(name):
        raise InvalidRequest(f"{name!r} cannot be the name of a collection.", hint="Write the name as UTF-8.")
    values = {
        "name": name,
        "parser": made_with.parser,
        "chunker": made_with.chunker,
        "embedder": made_with.embedder,
        "dimension": made_with.dimension,
        "retention_days": retention_days,
        "created_at": datetime.now(UTC),
        "checksum": 0,
    }
    collection_id = connection.scalars(insert(CollectionRow).values(values).returning(CollectionRow.id)).one()
    row = connection.execute(select(CollectionRow).where(CollectionRow.id == collection_id)).one()
    change_collection(connection, row)
    return collection_id


def change_collection(connection: Connection, row: AnyRow, **values: object) -> None:
    """Write other values into a row that was read in this transaction, which writes."""
    checksum = collection_checksum(SimpleNamespace(**{**row._mapping, **values}))
    connection.execute(_CHANGE, {**values, "of": row.id, "checksum": checksum})


def _whole(row: AnyRow) -> AnyRow:
    if collection_checksum(row) != row.checksum:
        raise damaged(f"What is stored of the collection {row.name!r}", "Restore a backup.")
    return row
