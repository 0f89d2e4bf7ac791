"""Whether every row of a collection's documents is as it was written, and what is derived from them follows from them.

Rows with a checksum can only be told, with what to do. Full text's terms and what filters compare are derived: they are
compared with what they are made of, and made anew.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, or_, select

from rag.errors import DatabaseDamaged
from rag.plurals import plural
from rag.stores.checksums import chunk_checksum, outline_checksum, text_checksum, vector_checksum, version_checksum
from rag.stores.collection_rows import collection_row
from rag.stores.copies import derive_again, wrongly_derived
from rag.stores.embeddings.embedding_sets import live_set
from rag.stores.filtering import metadata_row
from rag.stores.full_text.analysis import languages_of, note_language, terms_row
from rag.stores.full_text.terms import STEMMED
from rag.stores.index.vectors import wrong
from rag.stores.reading import to_collection
from rag.stores.sqlite.errors import translated
from rag.stores.tables import (
    ChunkRow,
    ChunkTermsRow,
    DocumentRow,
    EmbeddingRow,
    EmbeddingSetRow,
    MetadataRow,
    OutlineRow,
    SetState,
    TextRow,
    VersionRow,
    VersionStatus,
)
from rag.stores.verification.findings import Finding
from rag.stores.versions import tenures
from rag.stores.versions.retirement import next_seq
from rag.stores.versions.rows import context_of
from rag.stores.visibility import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Row

    from rag.stores.sqlite.database import Database
    from rag.stores.verification.findings import Area
    from rag.types import Collection

    AnyRow = Row[*tuple[Any, ...]]

_BATCH = 2000
_AGAIN = "Delete the document with --purge and ingest it again."
_EMBED = "embed"
_DERIVED = "Run `indexer verify --repair`."

# What can be made anew of the rest of a version: its chunks' terms, and the values that filters compare.
_TERMS = "the words that full text searches are not those of the passages."
_KEYS = "what its passages are compared by, or left out for, is not what follows from them."
_VALUES = "the values that filters compare are not those of its metadata."


def verify_documents(database: Database, collection: Collection, progress: Callable[[int], None]) -> Iterator[Finding]:
    """Every active document's rows. ``progress`` is told the chunks of each document that is done.

    One document at a time, each in a read of its own, so that the log can be written back in between.
    """
    last = 0
    while True:
        with database.read() as connection:
            version_id = _next(connection, collection, last)
            if version_id is None:
                break
            # As of this moment: it may have been embedded anew since the caller read it.
            now = to_collection(collection_row(connection, collection.id, collection.name))
            problems, chunks = _problems(connection, version_id, now, str(database.path))
        for area, message, advice in problems:
            yield Finding(
                area=area,
                collection=collection.name,
                message=message,
                advice=embed_anew(collection) if advice is _EMBED else advice,
                repairable=advice is _DERIVED,
            )
        progress(chunks)
        last = version_id
    yield from _other_sets(database, collection)


def embed_anew(collection: Collection) -> str:
    """The advice where embeddings that serve are missing or wrong."""
    return f"Run `indexer reembed --collection {collection.name}`."


def repair_documents(database: Database, collection: Collection) -> None:
    """Make terms and filters' values anew where they do not follow from the rest. A transaction for each document."""
    last = 0
    while True:
        with database.read() as connection:
            last = _next(connection, collection, last) or 0
            if not last:
                return
            version = _Version(connection, last, collection)
            try:
                damaged = set() if any(version.stored()) else {message for _, message, _ in version.derived()}
            except DatabaseDamaged:
                continue  # nothing right could be made of it
        if damaged:
            with database.write() as connection:
                _Version(connection, last, collection).mend()


def _next(connection: Connection, collection: Collection, last: int) -> int | None:
    mine = (VersionRow.collection_id == collection.id, VersionRow.id > last, or_(KEPT, _COMPLETE_CUTS))
    found: int | None = connection.scalar(select(VersionRow.id).where(*mine).order_by(VersionRow.id).limit(1))
    return found


# They are whole like what is read, but for embeddings: those of a set that is being made come by and by.
_COMPLETE_CUTS = VersionRow.status.in_([VersionStatus.PREPARED, VersionStatus.SHELVED])
_DROP_CUTS = {
    VersionStatus.PREPARED.value: "Drop its new chunks: `indexer reembed --cancel`.",
    VersionStatus.SHELVED.value: "Drop its former chunks: `indexer reembed --forget-previous`.",
}

_Problem = tuple["Area", str, str]


def _problems(
    connection: Connection, version_id: int, collection: Collection, where: str
) -> tuple[list[_Problem], int]:
    """What is wrong with a version, its document's uri in front, and the chunks it has."""
    named = select(DocumentRow.uri, VersionRow.status).join(VersionRow).where(VersionRow.id == version_id)
    uri, status = connection.execute(named).one_or_none() or (None, None)
    drop = _DROP_CUTS.get(status or "")
    found: list[_Problem] = []
    version = _Version(connection, version_id, collection)
    try:
        with translated(where):
            found += version.stored()
            whole = not found
            if drop is None:
                found += version.embedded()
            if whole:  # else it would be compared with what is damaged
                found += version.derived()
    except DatabaseDamaged as error:  # a value that cannot even be read
        found.append(("documents", error.message, _AGAIN))
    if drop is not None:
        found = [(area, message, advice if advice is _DERIVED else drop) for area, message, advice in found]
    return [(area, f"{uri}: {message}", advice) for area, message, advice in found], version.chunks


class _Version:
    """A version under verification, within one transaction."""

    def __init__(self, connection: Connection, version_id: int, collection: Collection) -> None:
        self._connection = connection
        self._collection = collection
        self._id = version_id
        self._start, self._text = 0, ""
        self.chunks = 0

    def stored(self) -> Iterator[_Problem]:
        """What can only be told."""
        version = self._row()
        known = version.status in {VersionStatus.ACTIVE, VersionStatus.RETIRED, *_DROP_CUTS}
        expected = (self._collection.id, version.checksum)
        if not known or (version.document_collection, version_checksum(version)) != expected:
            yield "documents", "what is stored of it is not as it was written.", _AGAIN
        if not tenures.is_whole(self._connection, self._id):
            yield "documents", "when it was there is not as it was written.", _AGAIN
        if not self._text_is_whole():
            yield "documents", "its source text is not as it was written.", _AGAIN
        if not self._outline_is_whole():
            yield "documents", "the outline that chunkers cut it by is not as it was written.", _AGAIN
        changed = misplaced = 0
        for row in self._chunks():
            self.chunks += 1
            headings = row.heading_path
            numbers = (row.version_id, row.ordinal, row.start, row.end, row.page)
            changed += chunk_checksum(*numbers, headings, row.token_count, row.text) != row.checksum
            misplaced += self._source(row.start, row.end) != row.text
        if self.chunks != version.chunk_count:
            yield "documents", f"it has {plural(self.chunks, 'chunk')}, not {version.chunk_count}.", _AGAIN
        if changed:
            yield "documents", f"{plural(changed, 'chunk')} not as written.", _AGAIN
        if misplaced:
            yield "documents", f"{plural(misplaced, 'chunk')} unlike what the source text has in that place.", _AGAIN

    def embedded(self) -> Iterator[_Problem]:
        misshapen = changed = embedded = 0
        for rows in self._embeddings():
            embedded += len(rows)
            misshapen += wrong([row.vector for row in rows], self._collection.fingerprint.dimension)
            changed += sum(vector_checksum(row.set_id, row.chunk_id, row.vector) != row.checksum for row in rows)
        if embedded != self.chunks:
            yield "embeddings", f"{plural(self.chunks - embedded, 'chunk')} without an embedding.", _EMBED
        if misshapen:
            yield (
                "embeddings",
                f"{plural(misshapen, 'embedding')} of another dimension, not of length 1 or not finite.",
                _EMBED,
            )
        elif changed:
            yield "embeddings", f"{plural(changed, 'embedding')} not as written.", _EMBED

    def derived(self) -> Iterator[_Problem]:
        """What ``mend`` makes anew."""
        version = self._row()
        languages = languages_of(self._connection, self._collection.id)
        unnoted = version.language in STEMMED and version.language not in languages
        if unnoted or any(self._wrong_terms(version)):
            yield "full text", _TERMS, _DERIVED
        if wrongly_derived(self._connection, self._id):
            yield "documents", _KEYS, _DERIVED
        if self._has_wrong_values(version):
            yield "documents", _VALUES, _DERIVED

    def mend(self) -> None:
        """In a transaction that writes."""
        connection, version = self._connection, self._row()
        note_language(connection, self._collection.id, version.language)
        for wanted in list(self._wrong_terms(version)):
            connection.execute(delete(ChunkTermsRow).where(ChunkTermsRow.chunk_id == wanted["chunk_id"]))
            connection.execute(insert(ChunkTermsRow), wanted)
        derive_again(connection, self._id)
        if self._has_wrong_values(version):
            connection.execute(delete(MetadataRow).where(MetadataRow.version_id == self._id))
            if values := self._values(version):
                connection.execute(insert(MetadataRow), values)
            next_seq(connection, self._collection.id)  # as of a seq, open indexes remember what filters let through

    def _row(self) -> AnyRow:
        columns = (VersionRow, DocumentRow.uri, DocumentRow.collection_id.label("document_collection"))
        whole = select(*columns).outerjoin(DocumentRow, DocumentRow.id == VersionRow.document_id)
        return self._connection.execute(whole.where(VersionRow.id == self._id)).one()

    def _values(self, version: AnyRow) -> list[dict[str, Any]]:
        return [metadata_row(self._id, key, value) for key, value in version.metadata.items()]

    def _has_wrong_values(self, version: AnyRow) -> bool:
        mine = select(MetadataRow).where(MetadataRow.version_id == self._id)
        stored = {row.key: dict(row._mapping) for row in self._connection.execute(mine)}
        return stored != {row["key"]: row for row in self._values(version)}

    def _wrong_terms(self, version: AnyRow) -> Iterator[dict[str, Any]]:
        """The terms that chunks should have and do not."""
        rows = self._connection.execute(
            select(
                ChunkRow.id,
                ChunkRow.text,
                ChunkRow.heading_path,
                ChunkTermsRow.text.label("terms"),
                ChunkTermsRow.context.label("context_terms"),
                ChunkTermsRow.scope,
            )
            .outerjoin(ChunkTermsRow, ChunkTermsRow.chunk_id == ChunkRow.id)
            .where(ChunkRow.version_id == self._id)
            .execution_options(yield_per=_BATCH)
        )
        for row in rows:
            context = context_of(version.title, row.heading_path)
            wanted = terms_row(version.collection_id, row.id, row.text, context, version.language)
            if (row.terms, row.context_terms, row.scope) != (wanted["text"], wanted["context"], wanted["scope"]):
                yield wanted

    def _chunks(self) -> Iterator[AnyRow]:
        query = select(ChunkRow).where(ChunkRow.version_id == self._id).order_by(ChunkRow.ordinal)
        yield from self._connection.execute(query.execution_options(yield_per=_BATCH))

    def _text_is_whole(self) -> bool:
        end, pieces = 0, select(TextRow).where(TextRow.version_id == self._id).order_by(TextRow.start)
        for piece in self._connection.execute(pieces.execution_options(yield_per=1)):
            if piece.start != end or text_checksum(self._id, end, piece.text) != piece.checksum:
                return False
            end += len(piece.text)
        return True

    def _outline_is_whole(self) -> bool:
        parts = select(OutlineRow).where(OutlineRow.version_id == self._id).order_by(OutlineRow.ordinal)
        rows = self._connection.execute(parts.execution_options(yield_per=1))
        return all(
            part.ordinal == number and outline_checksum(self._id, number, part.outline) == part.checksum
            for number, part in enumerate(rows)
        )

    def _source(self, start: int, end: int) -> str:
        """The source text from ``start`` to ``end``; the pieces last read are kept, for chunks come in order."""
        if not (self._start <= start and end <= self._start + len(self._text)):
            mine = TextRow.version_id == self._id
            before = select(TextRow.start).where(mine, TextRow.start <= start).order_by(TextRow.start.desc()).limit(1)
            first = self._connection.scalar(before) or 0
            pieces = select(TextRow.text).where(mine, TextRow.start >= first, TextRow.start < end)
            self._text = "".join(map(str, self._connection.scalars(pieces.order_by(TextRow.start))))
            self._start = first
        return self._text[start - self._start : end - self._start]

    def _embeddings(self) -> Iterator[list[AnyRow]]:
        query = (
            select(EmbeddingRow)
            .join(ChunkRow, ChunkRow.id == EmbeddingRow.chunk_id)
            .where(ChunkRow.version_id == self._id, EmbeddingRow.set_id == live_set(self._collection.id))
        )
        for batch in self._connection.execute(query.execution_options(yield_per=_BATCH)).partitions():
            yield list(batch)


def _other_sets(database: Database, collection: Collection) -> Iterator[Finding]:
    """The embeddings that do not serve: those being made, and those that served before."""
    advice = {SetState.BUILDING.value: "--cancel", SetState.PREVIOUS.value: "--forget-previous"}
    changed: Counter[str] = Counter()
    with database.read() as connection:
        query = (
            select(EmbeddingRow, EmbeddingSetRow.state)
            .join(EmbeddingSetRow, EmbeddingSetRow.id == EmbeddingRow.set_id)
            .where(EmbeddingSetRow.collection_id == collection.id, EmbeddingSetRow.state.in_(advice))
        )
        for row in connection.execute(query.execution_options(yield_per=_BATCH)):
            changed[row.state] += vector_checksum(row.set_id, row.chunk_id, row.vector) != row.checksum
    for state, count in changed.items():
        if count:
            yield Finding(
                area="embeddings",
                collection=collection.name,
                message=f"{plural(count, 'embedding')} of the {state} set, which does not serve, not as written.",
                advice=f"Drop the set: indexer reembed --collection {collection.name} {advice[state]}",
            )
