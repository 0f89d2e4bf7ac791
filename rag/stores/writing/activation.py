"""Versions become those that are read, many in one transaction, which is one change of their collection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select

from rag.errors import SourcePurged
from rag.stores.checksums import version_checksum
from rag.stores.reading import active_documents, member_counts
from rag.stores.tables import VersionRow, VersionStatus
from rag.stores.versions import tenures
from rag.stores.versions.retirement import next_change, prune_some, retire
from rag.stores.versions.rows import change_version
from rag.stores.writing.version_rows import (
    insert_versions,
    remove,
    require_embedder,
    require_staged,
    unfinished,
    version_rows,
    write_held,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from rag.stores.sqlite.database import Database
    from rag.stores.writing.drafts import VersionDraft
    from rag.types import Document

# Made once, as all that is asked for each document: see ``rag.stores.reading.ACTIVE_PASSAGES``.
_BEFORE: Final = select(VersionRow.document_id, VersionRow.id).where(
    VersionRow.document_id.in_(bindparam("documents", expanding=True)), VersionRow.status == VersionStatus.ACTIVE
)


def activate(database: Database, drafts: Sequence[VersionDraft]) -> tuple[list[Document], Sequence[int]]:
    """Make whole versions of one collection, of a document each, the active ones, with the end of those before them.

    Where the collection keeps versions, these stay for questions about the past. All or none: what is raised is said of
    one of them, or of all.

    Returns the documents in their order, and the versions whose rows are to be pruned still.

    Raises:
        EmbedderChanged: the collection was embedded anew since one was begun.
        IngestInProgress: another process began to write the same source as one of those that are on disk in part.
        SourcePurged: the document was purged since one of those was begun, or the one it replaces was deleted.
        RowDamaged: the version before one of them, which says what is said of the document, is not as it was written.
        ValueError: they are not of one collection, or two are of one document.
    """
    if not drafts:
        return [], ()
    if len({draft.collection.id for draft in drafts}) > 1 or len({draft.source.uri for draft in drafts}) < len(drafts):
        raise ValueError("only versions of one collection, and of a document each, are activated together")
    languages = {draft: draft.language() for draft in drafts}  # not while others wait to write
    with database.write() as connection:
        documents, ended = _activate(connection, drafts, languages)
        left = prune_some(connection, ended)
    return documents, left


def _activate(
    connection: Connection, drafts: Sequence[VersionDraft], languages: Mapping[VersionDraft, str | None]
) -> tuple[list[Document], Sequence[int]]:
    """Returns the documents in their order, and the versions whose rows are to go."""
    collection = drafts[0].collection
    row, set_id = require_embedder(connection, drafts)
    change = next_change(connection, row)
    begun = {draft: require_staged(connection, draft, place) for draft in drafts if (place := draft.place)}
    new = [draft for draft in drafts if draft not in begun]
    rows = dict(zip(new, version_rows(connection, new, languages), strict=True))
    left_over = unfinished(connection, rows.values())
    ids = [begun[draft].document_id if draft in begun else rows[draft]["document_id"] for draft in drafts]
    active = {row.document_id: row.id for row in connection.execute(_BEFORE, {"documents": ids})}
    _require_there(drafts, active)
    before = list(active.values())
    if before:
        retire(connection, before, collection.id, change.seq, change.at, keep=bool(change.retention_days))
    members = member_counts(connection, ids)
    for draft, document_id in zip(drafts, ids, strict=True):
        values = {
            "status": VersionStatus.ACTIVE,
            "activated_seq": change.seq,
            "chunk_count": draft.chunk_count,
            "members_failed": draft.members_failed,
            "members": members[document_id],
            "created_at": change.at,
            "owner": None,
        }
        if draft in begun:
            change_version(connection, begun[draft].version_id, **values)
        else:
            rows[draft] = _sealed(draft.source.uri, rows[draft] | values)
    made = dict(zip(new, insert_versions(connection, rows.values()), strict=True))
    remove(connection, left_over)
    places = {draft: begun[draft] if draft in begun else made[draft] for draft in drafts}
    write_held(connection, places, set_id)
    tenures.seal(connection, [place.version_id for place in places.values()])
    return active_documents(connection, collection, ids), () if change.retention_days else before


def _require_there(drafts: Iterable[VersionDraft], active: Container[int]) -> None:
    """Nobody shall bring back what was deleted while it was read."""
    for source in (draft.source for draft in drafts):
        if source.replaces is not None and source.replaces not in active:
            raise SourcePurged(
                f"The document of {source.uri} was deleted while it was taken in anew.",
                hint="Ingest it again if it is to be there.",
            )


def _sealed(uri: str, row: dict[str, Any]) -> dict[str, Any]:
    return row | {"checksum": version_checksum(SimpleNamespace(uri=uri, **row))}
