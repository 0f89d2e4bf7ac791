"""When versions were active. It decides what is found and what expires, so it has a checksum of its own, written anew
when a version ends.

A row that a query leaves out is read by nobody. So before a question about the past is answered all of the collection's
versions are compared, by SQLite itself with a function that every connection has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, Text, and_, bindparam, cast, func, or_, select, update

from rag.stores.checksums import RowDamaged, damaged
from rag.stores.tables import DocumentRow, VersionRow, VersionStatus
from rag.stores.visibility import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_NAMED: Final = 3  # documents in a message
_AGAIN: Final = "Delete the document with --purge and ingest it again, or restore a backup."
_COVERED: Final = (
    VersionRow.id,
    VersionRow.document_id,
    VersionRow.collection_id,
    VersionRow.activated_seq,
    VersionRow.created_at,
    VersionRow.retired_seq,
    VersionRow.retired_at,
)


def _written() -> ColumnElement[str]:
    text: ColumnElement[str] = func.quote(_COVERED[0], type_=Text)
    for column in _COVERED[1:]:
        text = text.concat(",").concat(func.quote(column))
    return text


# Of bytes: of a text that is damaged the driver could make no argument of a function.
CHECKSUM: Final[ColumnElement[int]] = func.crc32(cast(_written(), LargeBinary), type_=BigInteger)

_SEAL: Final = (
    update(VersionRow)
    .where(VersionRow.id.in_(bindparam("sealed", expanding=True)))
    .values({VersionRow.tenure_checksum: CHECKSUM})
)

# Active is what has not ended; the status is in no checksum, for it changes without the rest.
_ENDED: Final = VersionRow.retired_at.is_not(None)
_CONTRADICTED: Final = or_(
    and_(VersionRow.status == VersionStatus.RETIRED, ~_ENDED), and_(VersionRow.status == VersionStatus.ACTIVE, _ENDED)
)

# Holds for the versions whose beginning and end are as they were written.
WHOLE: Final = and_(VersionRow.tenure_checksum == CHECKSUM, ~_CONTRADICTED)


def seal(connection: Connection, version_ids: Sequence[int]) -> None:
    """Write the checksums of versions that have begun or ended in this transaction."""
    connection.execute(_SEAL, {"sealed": list(version_ids)})


def is_whole(connection: Connection, version_id: int) -> bool:
    return bool(connection.scalar(select(WHOLE).where(VersionRow.id == version_id)))


def require_whole(connection: Connection, collection_id: int) -> None:
    """Raise DatabaseDamaged if a version of the collection that is kept may have been active at another time."""
    names = _wrong(connection, collection_id)
    if names:
        shown = ", ".join(map(repr, names[:_NAMED])) + (" and others" if len(names) > _NAMED else "")
        raise damaged(f"When {shown} was there", _AGAIN, RowDamaged)


def require_documents(connection: Connection, document_ids: Iterable[int]) -> None:
    """As ``require_whole``, of the versions of some documents."""
    mine = (VersionRow.document_id.in_(list(document_ids)), KEPT, ~WHOLE)
    wrong = connection.scalar(select(VersionRow.document_id).where(*mine).limit(1))
    if wrong is not None:
        raise damaged(f"When the document {wrong} was there", _AGAIN, RowDamaged)


def _wrong(connection: Connection, collection_id: int) -> list[str]:
    """The URIs of the documents; a row is the collection's if itself or its document says so."""
    mine, documents = VersionRow.collection_id == collection_id, DocumentRow.collection_id == collection_id
    query = select(VersionRow.id, DocumentRow.uri).outerjoin(DocumentRow, DocumentRow.id == VersionRow.document_id)
    found: dict[int, str] = {}
    for wrong in ((mine, ~WHOLE), (documents, ~mine)):
        for row in connection.execute(query.where(*wrong, KEPT).limit(_NAMED + 1)):
            found[row.id] = row.uri or f"version {row.id}"
    return list(found.values())
