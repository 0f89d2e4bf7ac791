"""Documents by where they came from: of one source, below a folder, or whose source is at another address now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, exists, func, literal, or_, select, update
from sqlalchemy.orm import aliased

from rag.source_types import KnownSource, StoredSource
from rag.stores.collection_rows import collection_row
from rag.stores.reading import member_count, require_version
from rag.stores.tables import DocumentRow, VersionRow, VersionStatus
from rag.stores.versions.retirement import next_change
from rag.stores.versions.rows import change_version
from rag.stores.versions.web_fetches import web_fetch
from rag.stores.visibility import KEPT, OF_PRESENT, visible
from rag.types import MEMBER_MARK

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from sqlalchemy import ColumnElement, Connection

    from rag.stores.sqlite.database import Database
    from rag.types import Collection

_MEMBER: Final = MEMBER_MARK
_BATCH: Final = 1000  # rows held beside what is made of them
# Made once, as all that is asked for each document: see ``rag.stores.reading.ACTIVE_PASSAGES``.
_STORED: Final = (
    select(VersionRow, DocumentRow.uri)
    .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
    .where(DocumentRow.collection_id == bindparam("collection"), DocumentRow.uri == bindparam("uri"), visible())
)

_container, _of_container = aliased(DocumentRow), aliased(VersionRow)
# Asked of the database, as there may be many: whether the document lies in what its address has before the first mark.
_IN_THE_FIRST: Final = and_(
    func.instr(DocumentRow.uri, _MEMBER) > 0,
    exists()
    .where(_container.collection_id == DocumentRow.collection_id)
    .where(_container.uri == func.substr(DocumentRow.uri, 1, func.instr(DocumentRow.uri, _MEMBER) - 1))
    .where(_of_container.document_id == _container.id, _of_container.status == VersionStatus.ACTIVE),
)


def stored_source(database: Database, collection: Collection, uri: str) -> StoredSource | None:
    """What is known of a source's active version; ``None`` if it has none. Raises RowDamaged."""
    with database.read() as connection:
        row = connection.execute(_STORED, {"collection": collection.id, "uri": uri}).one_or_none()
        members = member_count(connection, collection.id, uri) if row is not None and row.members else 0
    if row is None:
        return None
    require_version(row)
    return StoredSource(
        document_id=row.document_id,
        title=row.title,
        media_type=row.media_type,
        sha256=row.sha256,
        size=row.size,
        mtime_ns=row.mtime_ns,
        parser=row.parser,
        chunker=row.chunker,
        metadata=row.metadata,
        members=members,
        members_failed=row.members_failed,
        members_gone=max(0, row.members - members),
        web=web_fetch(row.web),
    )


def sources_below(database: Database, collection: Collection, folder: str) -> list[KnownSource]:
    """The active documents whose URI lies below a folder's, by URI; not what others hold (members of archives)."""
    return _sources(database, collection, _begins_with(f"{folder.rstrip('/')}/"))


def sources_at(database: Database, collection: Collection, uri: str) -> list[KnownSource]:
    """As ``sources_below``, with the document that has this URI itself."""
    return _sources(database, collection, or_(DocumentRow.uri == uri, _begins_with(f"{uri}/")))


def _sources(database: Database, collection: Collection, where: ColumnElement[bool]) -> list[KnownSource]:
    query = (
        select(
            DocumentRow.id,
            DocumentRow.uri,
            VersionRow.title,
            VersionRow.media_type,
            VersionRow.sha256,
            VersionRow.size,
            VersionRow.mtime_ns,
            VersionRow.parser,
            VersionRow.chunker,
            VersionRow.details,
            VersionRow.members_failed,
            VersionRow.members,
            VersionRow.created_at,
        )
        .join(VersionRow, VersionRow.document_id == DocumentRow.id)
        .where(DocumentRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE)
        .where(where, ~_IN_THE_FIRST)
        .order_by(DocumentRow.uri)  # containers before what is in them
    )
    makers = (collection.fingerprint.parser, collection.fingerprint.chunker)
    found: list[KnownSource] = []
    containers: set[str] = set()
    with database.read() as connection:
        for row in connection.execute(query.execution_options(yield_per=_BATCH)):
            if row.members:
                containers.add(row.uri)
            if not containers.isdisjoint(holders(row.uri)):
                continue
            source = KnownSource(
                document_id=row.id,
                uri=row.uri,
                title=row.title,
                media_type=row.media_type,
                sha256=row.sha256,
                size=row.size,
                mtime_ns=row.mtime_ns,
                current=(row.parser, row.chunker) == makers and _is_whole(connection, collection, row),
                metadata=row.metadata,
                stored_at=row.created_at,
                members=row.members,
            )
            found.append(source)
    return found


def holders(uri: str) -> Iterator[str]:
    """The addresses of what may hold this document, the innermost first: those of folders may have the mark, too."""
    while uri := uri.rpartition(_MEMBER)[0]:
        yield uri


def _is_whole(connection: Connection, collection: Collection, row: Any) -> bool:  # noqa: ANN401  # a row of SQLAlchemy's
    """Whether all that a container holds was taken in and is still there."""
    if row.members_failed:
        return False
    return not row.members or member_count(connection, collection.id, row.uri) >= row.members


def move_sources(
    database: Database,
    collection: Collection,
    moves: Mapping[int, tuple[str, int]],
    *,
    outdated: Container[int] = (),
) -> set[int]:
    """Give documents, by id, the URI and the time of modification (in ns) of where they are now; returns those moved.

    Their versions, chunks and embeddings stay as they are; what lies in a container moves with it. A document whose
    new URI another one has, or had as far as versions are kept, is not moved. Those that are
    ``outdated`` read otherwise by their new name: in the same transaction they are marked as no parser's work, and the
    next ingestion reads them anew.
    """
    moved: set[int] = set()
    with database.write() as connection:
        for document_id, (uri, mtime_ns) in moves.items():
            before = connection.scalar(select(DocumentRow.uri).where(DocumentRow.id == document_id))
            if before is None or _is_taken(connection, collection, uri):
                continue
            mine = DocumentRow.collection_id == collection.id
            after = literal(uri).concat(func.substr(DocumentRow.uri, len(before) + 1))
            for each in (DocumentRow.id == document_id, _begins_with(f"{before}{_MEMBER}")):
                connection.execute(update(DocumentRow).where(mine, each).values(uri=after))
            present = (VersionRow.document_id == document_id, OF_PRESENT)
            marked = {"parser": ""} if document_id in outdated else {}
            connection.execute(update(VersionRow).where(*present).values(mtime_ns=mtime_ns, **marked))
            versions = select(VersionRow.id).join(DocumentRow, DocumentRow.id == VersionRow.document_id)
            versions = versions.where(mine, or_(KEPT, OF_PRESENT))
            for each in (DocumentRow.id == document_id, _begins_with(f"{uri}{_MEMBER}")):
                for version_id in connection.scalars(versions.where(each)).all():
                    change_version(connection, version_id)
            moved.add(document_id)
        if moved:
            # What a filter lets through may be something else now.
            next_change(connection, collection_row(connection, collection.id))
    return moved


def taken_addresses(database: Database, collection: Collection, uris: Iterable[str]) -> set[str]:
    """Those that no document can move to: another one has the address, or had it as far as versions are kept."""
    with database.read() as connection:
        return {uri for uri in uris if _is_taken(connection, collection, uri)}


def _is_taken(connection: Connection, collection: Collection, uri: str) -> bool:
    found = select(DocumentRow.id).where(DocumentRow.collection_id == collection.id).limit(1)
    # One condition each: with two that are alternatives SQLite goes through all of the collection.
    conditions = (DocumentRow.uri == uri, _begins_with(f"{uri}{_MEMBER}"))
    return any(connection.scalar(found.where(each)) is not None for each in conditions)


def retime_sources(database: Database, collection: Collection, times: Mapping[str, int]) -> None:
    """Note the times of modification (in ns), by URI, of sources that were written to and hold what they held."""
    if not times:
        return
    present = (VersionRow.collection_id == collection.id, OF_PRESENT)
    with database.write() as connection:
        for uri, mtime_ns in times.items():
            version = select(VersionRow.id).join(DocumentRow, DocumentRow.id == VersionRow.document_id)
            # None if it was deleted meanwhile.
            for version_id in connection.scalars(version.where(*present, DocumentRow.uri == uri)).all():
                change_version(connection, version_id, mtime_ns=mtime_ns)


def _begins_with(prefix: str) -> ColumnElement[bool]:
    """As a range, which the index of URIs answers; ``prefix`` ends with a slash."""
    return (DocumentRow.uri >= prefix) & (DocumentRow.uri < f"{prefix[:-1]}{chr(ord(prefix[-1]) + 1)}")
