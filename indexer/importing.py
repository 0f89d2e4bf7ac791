"""Takes exported documents into a collection: their chunks as they are, their vectors if its embedder made them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from indexer.chunking.chunker import CHUNKER_VERSION
from indexer.chunking.outlines import blocks_of
from indexer.chunking.sizes import LEAST_AIM, MOST_AIM, sized, tokens_in
from indexer.embeddings import encoded
from indexer.formats import CONTAINERS
from indexer.parsers.registry import PARSER_VERSION
from rag.embedding.context import contextual_text
from rag.errors import DatabaseDamaged, DatabaseTooNew, InvalidRequest, UnknownCollection
from rag.plurals import plural
from rag.retrieval.filters import parse_metadata
from rag.source_types import SourceRecord, same_metadata
from rag.stores.checksums import RowDamaged
from rag.stores.exchange import FORMAT_VERSION, ExportedChunk, ExportedDocument, ExportedText, ExportEnd, ExportHeader
from rag.stores.index.vectors import decode, require_finite
from rag.types import ChunkDraft, Fingerprint, Span

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from indexer.records import RecordReader
    from rag.protocols import DocumentStore, Embedder, StagedVersion
    from rag.stores.exchange import Record
    from rag.types import Collection

_FLUSH_CHUNKS: Final = 512


@dataclass(slots=True)
class ImportReport:
    """Documents by what became of them, and chunks written. ``embedded`` of these were embedded here;
    ``too_long`` are longer than this embedder reads.
    """

    imported: int = 0
    replaced: int = 0
    unchanged: int = 0
    chunks: int = 0
    embedded: int = 0
    too_long: int = 0


def read_header(reader: RecordReader) -> ExportHeader:
    """The first record.

    Raises:
        InvalidRequest: it is none of an export.
        DatabaseTooNew: a newer program has written it.
    """
    header = next(reader)
    if not isinstance(header, ExportHeader):
        raise reader.problem("this is not the beginning of an export")
    if header.format_version > FORMAT_VERSION:
        raise DatabaseTooNew(
            f"{reader.where}: the export has format {header.format_version}; this program reads formats up to "
            f"{FORMAT_VERSION}.",
            hint="Upgrade Plumbline.",
        )
    return header


class Import:
    """One import into one collection. The caller holds the collection's ingest lock."""

    def __init__(
        self,
        header: ExportHeader,
        reader: RecordReader,
        *,
        store: DocumentStore,
        collection: str,
        embedder: Callable[[], Embedder],
        advance: Callable[[], None],
    ) -> None:
        """``embedder`` is asked only if the vectors may not fit; ``advance`` is called after each document.

        Raises:
            EmbedderChanged: the collection was embedded by neither the export's embedder nor this one.
            InvalidRequest: the header tells of chunks of a size that there is not.
        """
        self._reader = reader
        self._store = store
        self._advance = advance
        self.report = ImportReport()
        wanted = (header.embedder, header.dimension)
        try:
            fingerprint = store.collection(collection).fingerprint
            held = (fingerprint.embedder, fingerprint.dimension)
            tokens = tokens_in(fingerprint.chunker)
        except UnknownCollection:
            held, tokens = None, tokens_in(header.chunker or CHUNKER_VERSION)
            if not LEAST_AIM <= tokens <= MOST_AIM:
                raise reader.problem(f"no collection is cut into chunks of {tokens} tokens") from None
        self._new = held is None
        self._embedder: Embedder | None = None
        if held != wanted:
            configured = embedder()
            if (configured.identity, configured.dimension) != wanted:
                self._embedder = configured
                wanted = (configured.identity, configured.dimension)
        self.collection = store.ensure_collection(
            collection,
            Fingerprint(
                parser=PARSER_VERSION,
                chunker=sized(CHUNKER_VERSION, tokens),
                embedder=wanted[0],
                dimension=wanted[1],
            ),
        )
        if held is None and self._embedder is None and header.dense_weight is not None:
            self.collection = store.set_dense_weight(self.collection, header.dense_weight)
        store.discard_abandoned(self.collection)

    def run(self) -> ImportReport:
        """Take in all documents, each when it is complete.

        A collection that was made for it does not stay if nothing is taken in.

        Raises:
            InvalidRequest: the file is not as an export is, or not complete; documents before that place are kept.
            ModelError: the embedder gives vectors that cannot be used.
            StorageError, Conflict: the import cannot go on; what was finished is kept.
        """
        try:
            return self._run()
        except BaseException:
            if self._new and not self.report.imported:
                self._store.remove_unused(self.collection)
            raise

    def _run(self) -> ImportReport:
        record, documents, chunks = next(self._reader), 0, 0
        while isinstance(record, ExportedDocument):
            read, record = self._document(record)
            documents, chunks = documents + 1, chunks + read
            self._reader.taken = documents
            self._advance()
        if record != ExportEnd(documents=documents, chunks=chunks):
            raise self._reader.problem(
                f"this is not the end of {plural(documents, 'document')} and {plural(chunks, 'chunk')}"
            )
        self._reader.close()
        return self.report

    def _document(self, document: ExportedDocument) -> tuple[int, Record]:
        """Take in a document; returns its number of chunks and the record after it."""
        try:
            metadata = parse_metadata(document.metadata)
        except InvalidRequest as error:
            raise self._reader.problem(error.message) from error
        stored = self._store.stored_source(self.collection, document.uri)
        made = (document.sha256, document.parser, document.chunker, document.title)
        before = stored and (stored.sha256, stored.parser, stored.chunker, stored.title)
        if stored and before == made and same_metadata(stored.metadata, metadata):
            self.report.unchanged += 1
            return self._skip()
        source = SourceRecord(
            uri=document.uri,
            title=document.title,
            media_type=document.media_type,
            sha256=document.sha256,
            size=document.size,
            mtime_ns=document.mtime_ns,
            metadata=metadata,
        )
        with self._store.stage(self.collection, source, made_with=_makers(self.collection, document)) as version:
            filling = _Filling(self._reader, document, version, self._vectors)
            count, record = filling.run()
            version.count_failed(document.members_failed)
            version.activate()
        if stored:
            self.report.replaced += 1
        else:
            self.report.imported += 1
        self.report.chunks += count
        return count, record

    def _skip(self) -> tuple[int, Record]:
        count = 0
        while isinstance(record := next(self._reader), ExportedText | ExportedChunk):
            count += isinstance(record, ExportedChunk)
        return count, record

    def _vectors(self, title: str, chunks: list[ExportedChunk]) -> NDArray[np.float32]:
        if self._embedder is None:
            values, dimension = [chunk.vector for chunk in chunks], self.collection.fingerprint.dimension
            require_finite(values)
            return decode(values, dimension)
        texts = [contextual_text(title, chunk.heading_path, chunk.text) for chunk in chunks]
        self.report.embedded += len(chunks)
        self.report.too_long += sum(count > self._embedder.max_tokens for count in self._embedder.count_tokens(texts))
        vectors = self._embedder.embed_passages(texts)
        encoded(vectors, self._embedder, self.collection.name, hint="Set another one, and import the file again.")
        return vectors


def _makers(collection: Collection, document: ExportedDocument) -> Fingerprint:
    """The collection's, with what this document was made with, so that it is noted with its version."""
    return replace(
        collection.fingerprint,
        parser=document.parser,
        chunker=document.chunker,
        embedder=document.counted_by or "",
    )


class _Filling:
    """A document's text and chunks on their way into a staged version. Its text is held, to compare chunks with."""

    def __init__(
        self,
        reader: RecordReader,
        document: ExportedDocument,
        version: StagedVersion,
        vectors: Callable[[str, list[ExportedChunk]], NDArray[np.float32]],
    ) -> None:
        self._reader = reader
        self._document = document
        self._version = version
        self._vectors = vectors
        self._pieces: list[str] = []
        self._length = 0
        self._held: list[ExportedChunk] = []

    def run(self) -> tuple[int, Record]:
        """Returns the number of chunks and the record after the last. Raises InvalidRequest."""
        record, count, text = next(self._reader), 0, ""
        while isinstance(record, ExportedText):
            self._require(record.uri == self._document.uri, "this text is of another document")
            self._require(record.start == self._length, "a piece of the source text is missing or repeated")
            self._version.add_text(record.start, record.text)
            self._pieces.append(record.text)
            self._length += len(record.text)
            record = next(self._reader)
        text = "".join(self._pieces)
        while isinstance(record, ExportedChunk):
            self._require(record.uri == self._document.uri, "this chunk is of another document")
            self._require(record.ordinal == count, "a chunk is missing or repeated")
            self._require(0 <= record.start < record.end <= len(text), "the chunk lies outside the source text")
            self._require(text[record.start : record.end] == record.text, "the chunk is not what the source text says")
            self._held.append(record)
            count += 1
            if len(self._held) == _FLUSH_CHUNKS:
                self._flush()
            record = next(self._reader)
        # A container may have no text; its members are documents of their own.
        self._require(count > 0 or self._document.media_type in CONTAINERS, "the document has no chunks")
        self._flush()
        self._add_outline()
        return count, record

    def _add_outline(self) -> None:
        outline = self._document.outline
        if not outline:  # of an older program
            return
        try:
            for _block in blocks_of(outline, self._pieces):
                pass
        except RowDamaged as error:
            raise self._reader.problem(f"the outline of {self._document.uri} is not that of its text") from error
        for part in outline:
            self._version.add_text(self._length, "", outline=part)

    def _flush(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        try:
            self._version.add_chunks([_draft(chunk) for chunk in held], self._vectors(self._document.title, held))
        except (ValueError, DatabaseDamaged) as error:
            raise self._reader.problem(f"the vectors of {self._document.uri} cannot be used: {error}") from error

    def _require(self, condition: bool, message: str) -> None:  # noqa: FBT001
        if not condition:
            raise self._reader.problem(message)


def _draft(chunk: ExportedChunk) -> ChunkDraft:
    return ChunkDraft(
        ordinal=chunk.ordinal,
        text=chunk.text,
        span=Span(start=chunk.start, end=chunk.end),
        page=chunk.page,
        heading_path=chunk.heading_path,
        token_count=chunk.token_count,
    )
