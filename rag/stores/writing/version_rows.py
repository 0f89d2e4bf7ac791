"""Rows of versions on their way into the store, of many at once: a statement for each table, not for each version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, insert, select

from rag.errors import EmbedderChanged, IngestInProgress, SourcePurged
from rag.stores.collection_rows import collection_row
from rag.stores.embeddings.embedding_sets import require_live_set
from rag.stores.filtering import metadata_row
from rag.stores.full_text.analysis import note_language
from rag.stores.reading import require_version
from rag.stores.tables import DocumentRow, MetadataRow, OutlineRow, TextRow, VersionRow, VersionStatus
from rag.stores.versions.retirement import prune_some
from rag.stores.versions.rows import outline_row, text_row
from rag.stores.visibility import UNSEEN, visible
from rag.stores.writing.chunk_rows import ChunksOf, insert_chunks
from rag.stores.writing.drafts import VersionPlace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from rag.stores.collection_rows import AnyRow
    from rag.stores.writing.drafts import VersionDraft

_PIECE_CHARACTERS = 1 << 16

# Made once, as all that is asked for each document: see ``rag.stores.reading.ACTIVE_PASSAGES``.
_DOCUMENTS: Final = select(DocumentRow.uri, DocumentRow.id).where(
    DocumentRow.collection_id == bindparam("collection"), DocumentRow.uri.in_(bindparam("uris", expanding=True))
)
_NEW_DOCUMENTS: Final = insert(DocumentRow).returning(DocumentRow.uri, DocumentRow.id)
_ACTIVE: Final = (
    select(VersionRow, DocumentRow.uri)
    .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
    .where(VersionRow.document_id == bindparam("document"), visible())
)
_NEW_VERSIONS: Final = insert(VersionRow).returning(VersionRow.document_id, VersionRow.id)
_STATUS: Final = select(VersionRow.status).where(VersionRow.id == bindparam("version"))
_LATER: Final = select(VersionRow.id).where(
    VersionRow.document_id == bindparam("document"), VersionRow.id > bindparam("version")
)
_UNFINISHED: Final = select(VersionRow.id).where(
    VersionRow.document_id.in_(bindparam("documents", expanding=True)), UNSEEN
)
_NEW_METADATA: Final = insert(MetadataRow)
_NEW_TEXTS: Final = insert(TextRow)
_NEW_OUTLINES: Final = insert(OutlineRow)


def require_embedder(connection: Connection, drafts: Sequence[VersionDraft]) -> tuple[AnyRow, int]:
    """The row of the collection of the drafts and its live set, as they were when these were begun but for its changes.

    Raises:
        EmbedderChanged: it was embedded anew since.
        UnknownCollection: it is gone.
    """
    collection = drafts[0].collection
    row = collection_row(connection, collection.id, collection.name)
    live = require_live_set(connection, collection.id)
    for draft in drafts:
        fingerprint = draft.collection.fingerprint
        draft.set_id = draft.set_id or live
        wanted = (fingerprint.embedder, fingerprint.dimension, fingerprint.chunker, draft.set_id)
        if (row.embedder, row.dimension, row.chunker, live) != wanted:
            raise EmbedderChanged(
                f"The collection {collection.name!r} was embedded anew while {draft.source.uri} was read.",
                hint="Ingest it again.",
            )
    return row, live


def require_staged(connection: Connection, draft: VersionDraft, place: VersionPlace) -> VersionPlace:
    """Where a version that was begun is still being written.

    Raises:
        IngestInProgress: another process began to write the same source.
        SourcePurged: the document was purged since this version was begun.
    """
    status = connection.scalar(_STATUS, {"version": place.version_id})
    if status == VersionStatus.STAGED:
        return place
    # Whoever stages the same source removes what was staged before; a purge begins no version of its own.
    later = {"document": place.document_id, "version": place.version_id}
    if status is None and connection.scalars(_LATER, later).first() is not None:
        raise IngestInProgress(
            f"Another process began to ingest {draft.source.uri} while this one was writing it.",
            hint="Run one ingest at a time into a collection.",
        )
    raise SourcePurged(
        f"{draft.source.uri} was purged while it was taken in.", hint="Ingest it again if it is to be there."
    )


def version_rows(
    connection: Connection, drafts: Sequence[VersionDraft], languages: Mapping[VersionDraft, str | None]
) -> list[dict[str, Any]]:
    """Rows of versions of which nothing is on disk, in their order, without what is to become of them.

    Documents that are not there are made.

    Raises:
        RowDamaged: the active version of one, which says what is said of the document, is not as it was written.
    """
    if not drafts:
        return []
    collection_id = drafts[0].collection.id
    for language in {languages[draft] for draft in drafts}:
        note_language(connection, collection_id, language)
    uris = [draft.source.uri for draft in drafts]
    known = _ids(connection.execute(_DOCUMENTS, {"collection": collection_id, "uris": uris}))
    new = [{"collection_id": collection_id, "uri": uri} for uri in uris if uri not in known]
    made = _ids(connection.execute(_NEW_DOCUMENTS, new)) if new else {}
    return [
        {
            "document_id": known.get(draft.source.uri) or made[draft.source.uri],
            "collection_id": collection_id,
            "title": draft.source.title,
            "media_type": draft.source.media_type,
            "sha256": draft.source.sha256,
            "size": draft.source.size,
            "mtime_ns": draft.source.mtime_ns,
            "parser": draft.made_with.parser,
            "chunker": draft.made_with.chunker,
            "counted_by": draft.made_with.embedder or None,
            "metadata": _metadata(connection, draft, known.get(draft.source.uri)),
            "language": languages[draft],
        }
        for draft in drafts
    ]


def unfinished(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> Sequence[int]:
    """The versions, staged or leaving, of the documents of rows that are not inserted yet."""
    documents = [row["document_id"] for row in rows]
    return connection.scalars(_UNFINISHED, {"documents": documents}).all() if documents else ()


def remove(connection: Connection, unfinished_ids: Sequence[int]) -> None:
    """Delete versions that nobody finishes, whole. Their documents go with their last version."""
    left = unfinished_ids
    while left:
        left = prune_some(connection, left)


def insert_versions(connection: Connection, rows: Collection[Mapping[str, Any]]) -> list[VersionPlace]:
    """The places of the rows, in their order."""
    if not rows:
        return []
    made = {row.document_id: row.id for row in connection.execute(_NEW_VERSIONS, list(rows))}
    places = [VersionPlace(made[row["document_id"]], row["document_id"], row["language"]) for row in rows]
    said = [
        metadata_row(place.version_id, key, value)
        for place, row in zip(places, rows, strict=True)
        for key, value in row["metadata"].items()
    ]
    if said:
        connection.execute(_NEW_METADATA, said)
    return places


def _ids(rows: Iterable[Row[str, int]]) -> dict[str, int]:
    return {row.uri: row.id for row in rows}


def _metadata(connection: Connection, draft: VersionDraft, document_id: int | None) -> Any:  # noqa: ANN401 - a column of JSON
    """What is said of the document: now, or of its active version."""
    if draft.source.metadata is not None or document_id is None:
        return draft.source.metadata or {}
    before = connection.execute(_ACTIVE, {"document": document_id}).one_or_none()
    if before is None:
        return {}
    require_version(before)  # or what is damaged would be written as if it were whole
    return before.metadata


def write_held(connection: Connection, places: Mapping[VersionDraft, VersionPlace], set_id: int) -> None:
    """What is in memory of versions whose rows are there. It stays there: the transaction may be tried again."""
    texts = [row for draft, place in places.items() for row in _text_rows(draft, place.version_id)]
    if texts:
        connection.execute(_NEW_TEXTS, texts)
    outlines = [
        outline_row(place.version_id, number, outline)
        for draft, place in places.items()
        for number, outline in enumerate(draft.outlines, start=draft.written_outlines)
    ]
    if outlines:
        connection.execute(_NEW_OUTLINES, outlines)
    insert_chunks(
        connection,
        [
            ChunksOf(draft.chunks, place.version_id, draft.source.title, place.language)
            for draft, place in places.items()
        ],
        collection_id=next(iter(places)).collection.id,
        set_id=set_id,
    )


def _text_rows(draft: VersionDraft, version_id: int) -> list[dict[str, Any]]:
    text = "".join(draft.pieces)
    return [
        text_row(version_id, draft.written_characters + start, text[start : start + _PIECE_CHARACTERS])
        for start in range(0, len(text), _PIECE_CHARACTERS)
    ]
