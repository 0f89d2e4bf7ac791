"""What was: the versions of a document, and what changed between two moments.

Versions that were replaced or deleted are kept as long as their collection says. Times are those of the
collection's own clock (``rag.stores.versions.retirement.next_change``), which never goes back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, exists, func, literal, null, select, tuple_, union_all
from sqlalchemy.orm import aliased

from rag.errors import HistoryGone, InvalidRequest, UnknownDocument
from rag.stores.reading import require_version
from rag.stores.tables import CollectionRow, DocumentRow, VersionRow, VersionStatus
from rag.stores.versions import tenures
from rag.stores.visibility import KEPT
from rag.times import rfc3339
from rag.unicode import is_storable
from rag.version_types import ChangeKind, DocumentChange, DocumentVersion, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Row, Select

    from rag.stores.sqlite.database import Database
    from rag.types import Collection

_KEPT = (VersionStatus.ACTIVE, VersionStatus.RETIRED)


def require_known(connection: Connection, collection: Collection, as_of: datetime) -> None:
    """Check that what the collection held at a moment is still there.

    Raises:
        HistoryGone: versions that were active then may be gone, or the machine's clock was ahead, so that nobody knows
            what was.
        InvalidRequest: the moment lies in the future.
        DatabaseDamaged: of a version it is not certain when it was active.
    """
    changed_at = _require_kept(connection, collection, as_of)
    tenures.require_whole(connection, collection.id)
    now = datetime.now(UTC)
    if changed_at is not None and changed_at > now:
        _require_told_by_a_right_clock(connection, collection, as_of, now)


def _require_told_by_a_right_clock(
    connection: Connection, collection: Collection, as_of: datetime, now: datetime
) -> None:
    """The last changes have times to come, as the clock was ahead and changes keep their order: what became of them
    since the last one before is not known, but as of their own times it is.
    """
    versions = (VersionRow.collection_id == collection.id, KEPT)
    times = union_all(
        select(VersionRow.created_at.label("at")).where(*versions),
        select(VersionRow.retired_at).where(*versions, VersionRow.retired_at.is_not(None)),
        select(CollectionRow.changed_at).where(CollectionRow.id == collection.id),
    ).subquery()
    last = connection.scalar(select(func.max(times.c.at)).where(times.c.at <= now))
    first_ahead = connection.scalar(select(func.min(times.c.at)).where(times.c.at > now))
    if (last is not None and as_of <= last) or first_ahead is None or as_of >= first_ahead:
        return
    until = "" if last is None else f"about {_shown(last)} or before, or "
    raise HistoryGone(
        f"What the collection {collection.name!r} held at {_shown(as_of)} is not known: the machine's clock was ahead, "
        f"so what changed since is noted at {_shown(first_ahead)} and later.",
        hint=f"Ask {until}about now, without a time.",
    )


def _require_kept(connection: Connection, collection: Collection, as_of: datetime) -> datetime | None:
    """When the collection changed last. Raises as ``require_known`` where that is not about the clock."""
    columns = select(CollectionRow.history_floor, CollectionRow.changed_at)
    row = connection.execute(columns.where(CollectionRow.id == collection.id)).one_or_none()
    if row is None:  # the collection is gone, and whoever reads it is told so
        return None
    now = datetime.now(UTC)
    latest = max(now, row.changed_at or now)
    if as_of > latest:
        raise InvalidRequest(
            f"{_shown(as_of)} lies in the future; here it is {_shown(latest)}.",
            hint="Leave the time out to ask about now.",
        )
    if row.history_floor is not None and as_of < row.history_floor:
        raise HistoryGone(
            f"What the collection {collection.name!r} held at {_shown(as_of)} is not kept any more: its history begins "
            f"at {_shown(row.history_floor)}.",
            hint=f"`indexer retain -c {collection.name}` says how long replaced and deleted documents are kept.",
        )
    changed_at: datetime | None = row.changed_at
    return changed_at


def unknown_version(document: int | str, collection: Collection) -> UnknownDocument:
    """The error where a collection keeps no version of a document with this id, or this name."""
    return UnknownDocument(
        f"No version of a document {document!r} is kept in the collection {collection.name!r}.",
        hint="`indexer list` shows the documents there are, `indexer changes` those there were.",
    )


class History:
    """Reads a collection's past. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def versions(self, collection: Collection, document_id: int) -> list[DocumentVersion]:
        """The versions of a document that are kept, newest first; it may have been deleted.

        Raises:
            UnknownDocument: there are none.
            DatabaseDamaged: one is not as it was written.
        """
        query = (
            select(VersionRow, DocumentRow.uri)
            .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
            .where(VersionRow.document_id == document_id, KEPT)
            .where(VersionRow.collection_id == collection.id)
            .order_by(VersionRow.activated_seq.desc())
        )
        with self._database.read() as connection:
            tenures.require_whole(connection, collection.id)
            rows = connection.execute(query).all()
        if not rows:
            raise unknown_version(document_id, collection)
        for row in rows:
            require_version(row)
        return [_to_version(row, collection) for row in rows]

    def document_id(self, collection: Collection, uri: str) -> int | None:
        """The id of a document that is there or was there, by its URI."""
        if not is_storable(uri):
            return None
        mine = (DocumentRow.collection_id == collection.id, DocumentRow.uri == uri)
        kept = exists().where(VersionRow.document_id == DocumentRow.id, KEPT)
        with self._database.read() as connection:
            return connection.scalar(select(DocumentRow.id).where(*mine, kept))

    def begins(self, collection: Collection) -> datetime:
        """Since when all that changed is known."""
        query = select(func.coalesce(CollectionRow.history_floor, CollectionRow.created_at))
        with self._database.read() as connection:
            return connection.execute(query.where(CollectionRow.id == collection.id)).scalar_one()

    def changes(
        self,
        collection: Collection,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        after: Place | None = None,
        limit: int = 100,
    ) -> list[tuple[Place, DocumentChange]]:
        """What changed later than ``since`` (or since the history begins) and not later than ``until``, oldest first.

        At most ``limit``; ``after`` is the place of the last one that was had already: then all versions have been
        compared with their checksums, and those of the documents that are told are again.

        Raises:
            HistoryGone: what changed since then is not all known any more.
            InvalidRequest: ``since`` lies in the future, or after ``until``.
            DatabaseDamaged: of a version it is not certain when it was active.
        """
        if since is not None and until is not None and until < since:
            raise InvalidRequest(
                f"Between {_shown(since)} and {_shown(until)} lies no time: the beginning is after the end.",
                hint="Name the earlier moment as --since, the later one as --until.",
            )
        with self._database.read() as connection:
            if since is not None:
                _require_kept(connection, collection, since)
            if after is None:
                tenures.require_whole(connection, collection.id)
            floor = select(CollectionRow.history_floor).where(CollectionRow.id == collection.id)
            since = since or connection.scalar(floor)
            query = _page(_events(collection.id), since=since, until=until, after=after, limit=limit)
            rows = connection.execute(query).all()
            if after is not None:
                tenures.require_documents(connection, {row.document_id for row in rows})
        return [(Place(seq=row.seq, document_id=row.document_id), _to_change(row, collection)) for row in rows]


def _page(
    events: Iterable[Select[*tuple[Any, ...]]],
    *,
    since: datetime | None,
    until: datetime | None,
    after: Place | None,
    limit: int,
) -> Select[*tuple[Any, ...]]:
    """The first of all events; of each kind no more are read than that, in the order of an index."""
    firsts = []
    for each in events:
        seq, document_id, at = (each.selected_columns[name] for name in ("seq", "document_id", "at"))
        first = each.order_by(seq, document_id).limit(limit)
        if since is not None:
            first = first.where(at > since)
        if until is not None:
            first = first.where(at <= until)
        if after is not None:
            first = first.where(tuple_(seq, document_id) > tuple_(after.seq, after.document_id))
        firsts.append(select(first.subquery()))
    found = union_all(*firsts).subquery()
    return select(found).order_by(found.c.seq, found.c.document_id).limit(limit)


def _events(collection_id: int) -> Iterator[Select[*tuple[Any, ...]]]:
    for status in _KEPT:
        yield _beginnings(collection_id, status)
    yield _ends(collection_id)


def _beginnings(collection_id: int, status: VersionStatus) -> Select[*tuple[Any, ...]]:
    """Versions that became active, each with the one that it replaced."""
    new, old = aliased(VersionRow), aliased(VersionRow)
    replaced = and_(old.document_id == new.document_id, old.retired_seq == new.activated_seq, old.status.in_(_KEPT))
    kind = case((old.id.is_(None), literal(ChangeKind.ADDED.value)), else_=literal(ChangeKind.REPLACED.value))
    return (
        select(
            new.activated_seq.label("seq"),
            new.document_id.label("document_id"),
            new.created_at.label("at"),
            kind.label("kind"),
            DocumentRow.uri,
            new.title,
            new.chunk_count,
            new.id.label("version_id"),
            old.id.label("previous_version_id"),
        )
        .join(DocumentRow, DocumentRow.id == new.document_id)
        .outerjoin(old, replaced)
        .where(new.collection_id == collection_id, new.status == status)
    )


def _ends(collection_id: int) -> Select[*tuple[Any, ...]]:
    """Versions that ended with nothing in their place."""
    old, new = aliased(VersionRow), aliased(VersionRow)
    followed = exists().where(new.document_id == old.document_id, new.activated_seq == old.retired_seq)
    return (
        select(
            old.retired_seq.label("seq"),
            old.document_id.label("document_id"),
            old.retired_at.label("at"),
            literal(ChangeKind.DELETED.value).label("kind"),
            DocumentRow.uri,
            old.title,
            old.chunk_count,
            null().label("version_id"),
            old.id.label("previous_version_id"),
        )
        .join(DocumentRow, DocumentRow.id == old.document_id)
        .where(old.collection_id == collection_id, old.status == VersionStatus.RETIRED, ~followed)
        .where(old.retired_seq.is_not(None))
    )


def _to_version(row: Row[*tuple[Any, ...]], collection: Collection) -> DocumentVersion:
    return DocumentVersion(
        id=row.id,
        document_id=row.document_id,
        collection=collection.name,
        uri=row.uri,
        title=row.title,
        media_type=row.media_type,
        sha256=row.sha256,
        size=row.size,
        chunk_count=row.chunk_count,
        since=_shown(row.created_at),
        until=None if row.retired_at is None else _shown(row.retired_at),
        metadata=row.metadata,
    )


def _to_change(row: Row[*tuple[Any, ...]], collection: Collection) -> DocumentChange:
    return DocumentChange(
        kind=ChangeKind(row.kind),
        at=_shown(row.at),
        collection=collection.name,
        document_id=row.document_id,
        uri=row.uri,
        title=row.title,
        chunk_count=row.chunk_count,
        version_id=row.version_id,
        previous_version_id=row.previous_version_id,
    )


def _shown(time: datetime) -> str:
    return rfc3339(time, "auto")
