"""From paths to searchable documents: skip what is unchanged, parse, chunk, embed, store; one source at a time."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from indexer.chunking import CHUNKER_VERSION, chunk_blocks, clip_title
from indexer.detection import detect
from indexer.embeddings import embed
from indexer.parsers.blocks import BlockKind, one_line
from indexer.parsers.registry import PARSER_VERSION
from indexer.report import IngestReport, Outcome, SourceFailure, SourceResult, Watcher
from indexer.sources import Source, expand
from rag.embedding.context import contextual_text
from rag.errors import EmbedderChanged, SourceError, SourceHasNoText, SourceUnreadable
from rag.types import Fingerprint, SourceRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from indexer.detection import Detected
    from indexer.isolation import IsolatedParsers
    from indexer.parsers.blocks import Block
    from indexer.sources import SourcePath, SourceScan
    from indexer.wire import Pieces
    from rag.protocols import DocumentStore, Embedder, StagedVersion
    from rag.types import Collection, Document, MetadataValue

# Chunks embedded and handed to the store at a time: enough for the embedder to sort by length, little to hold.
_FLUSH_CHUNKS: Final = 512
_ATTEMPTS: Final = 2


def fingerprint_of(embedder: Embedder) -> Fingerprint:
    """What documents are made with now."""
    return Fingerprint(
        parser=PARSER_VERSION, chunker=CHUNKER_VERSION, embedder=embedder.identity, dimension=embedder.dimension
    )


class IngestPipeline:
    """Takes documents into a collection. The caller holds the collection's ingest lock."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        embedder_for: Callable[[str], Embedder],
        parsers: IsolatedParsers,
        max_file_bytes: int,
    ) -> None:
        """``embedder_for`` gives the embedder of a collection by its name, of one that is not there yet, too."""
        self._store = store
        self._embedder_for = embedder_for
        self._parsers = parsers
        self._max_file_bytes = max_file_bytes

    def ingest(
        self,
        paths: Iterable[Path],
        *,
        collection: str,
        metadata: Mapping[str, MetadataValue] | None = None,
        watcher: Watcher | None = None,
    ) -> IngestReport:
        """Take in every file the paths stand for. A source that fails is reported and the others go on.

        ``metadata`` is said of each of them; ``None`` keeps what was said before.

        Raises:
            EmbedderChanged: the collection holds embeddings of another embedder.
            StorageError, Conflict, ModelError: the run cannot go on; what was finished is kept.
        """
        watcher = watcher or Watcher()
        started = time.monotonic()
        sources = list(expand(paths))
        target = None
        if any(source.error is None for source in sources):  # a mistyped path must not leave an empty collection
            target = self._open(collection)
            self._store.discard_abandoned(target.collection)
            self._store.expire(target.collection)
        watcher.found(len(sources))
        report = IngestReport()
        for number, source in enumerate(sources):
            if watcher.stop():
                report.skipped = len(sources) - number
                break
            watcher.started(source.uri)
            result = self._take(target, source, metadata, watcher)
            report.results.append(result)
            watcher.finished(result)
        report.seconds = time.monotonic() - started
        return report

    def _open(self, name: str) -> _Target:
        embedder = self._embedder_for(name)
        return _Target(self._store.ensure_collection(name, fingerprint_of(embedder)), embedder)

    def _take(
        self,
        target: _Target | None,
        source: SourcePath,
        metadata: Mapping[str, MetadataValue] | None,
        watcher: Watcher,
    ) -> SourceResult:
        started = time.monotonic()
        ingestion = _SourceIngestion(self._store, self._parsers, metadata, watcher)
        try:
            if source.error is not None:
                raise source.error
            if target is None:
                raise TypeError("only a source that comes with an error needs no collection")
            result = self._read(target, source, ingestion)
        except SourceError as error:
            return SourceResult(
                uri=source.uri,
                outcome=Outcome.FAILED,
                seconds=time.monotonic() - started,
                failure=SourceFailure.of(source.uri, error),
                notices=tuple(ingestion.notices),
            )
        outcome, document, chunks = result
        return SourceResult(
            uri=source.uri,
            outcome=outcome,
            document_id=document,
            chunks=chunks,
            seconds=time.monotonic() - started,
            notices=tuple(ingestion.notices),
        )

    def _read(self, target: _Target, source: SourcePath, ingestion: _SourceIngestion) -> tuple[Outcome, int, int]:
        for _attempt in range(_ATTEMPTS):
            try:
                with Source(source.path, max_bytes=self._max_file_bytes) as opened:
                    result = ingestion.run(target, opened)
            except EmbedderChanged:  # embedded anew since the run began: its other embedder takes the rest
                opened_again = self._open(target.collection.name)
                target.collection, target.embedder = opened_again.collection, opened_again.embedder
                continue
            if result is not None:
                return result
        raise SourceUnreadable(
            f"{source.path} kept changing while it was read.", hint="Ingest it when nothing writes to it."
        )


@dataclass(slots=True)
class _Target:
    """Where a run's documents go; both change when the collection is embedded anew meanwhile."""

    collection: Collection
    embedder: Embedder


def _written(metadata: Mapping[str, MetadataValue]) -> str:
    """For comparing: in Python 1, 1.0 and True are equal."""
    return json.dumps(dict(metadata), sort_keys=True)


class _SourceIngestion:
    """One source on its way in."""

    def __init__(
        self,
        store: DocumentStore,
        parsers: IsolatedParsers,
        metadata: Mapping[str, MetadataValue] | None,
        watcher: Watcher,
    ) -> None:
        self._store = store
        self._metadata = metadata
        self._parsers = parsers
        self._watcher = watcher
        self.notices: list[str] = []

    def run(self, target: _Target, source: Source) -> tuple[Outcome, int, int] | None:
        """Outcome, document id and chunks written; None if the file changed while it was read."""
        self.notices.clear()
        collection, self._embedder = target.collection, target.embedder
        stored = self._store.stored_source(collection, source.uri)
        current = stored is not None and (stored.parser, stored.chunker) == (PARSER_VERSION, CHUNKER_VERSION)
        if stored and self._metadata is not None:
            current = current and _written(stored.metadata) == _written(self._metadata)
        if stored and current and (stored.size, stored.mtime_ns) == (source.opened.size, source.opened.mtime_ns):
            return Outcome.UNCHANGED, stored.document_id, 0
        scan = source.scan()
        if stored and current and stored.sha256 == scan.sha256:
            return Outcome.UNCHANGED, stored.document_id, 0
        written = self._write(collection, source, scan, detect(source.path, scan))
        if written is None:
            return None
        return (Outcome.REPLACED if stored else Outcome.INGESTED), written.id, written.chunk_count

    def _write(self, collection: Collection, source: Source, scan: SourceScan, detected: Detected) -> Document | None:
        parsed = self._parsers.parse(
            source.file, media_type=detected.media_type, encoding=detected.encoding, size=scan.size
        )
        try:
            opening = self._opening(parsed)
            record = SourceRecord(
                uri=source.uri,
                title=self._title(source.path, opening),
                media_type=detected.media_type,
                sha256=scan.sha256,
                size=scan.size,
                mtime_ns=source.opened.mtime_ns,
                metadata=self._metadata,
            )
            with self._store.stage(collection, record) as version:
                chunks = self._fill(version, record.title, chain(opening, parsed))
                if source.changed():
                    return None
                if not chunks:
                    raise SourceHasNoText(
                        f"No text was found in {source.path}.", hint="Open it and see whether it holds any."
                    )
                return version.activate()
        finally:
            # An error here must not leave the parser in the middle of this file.
            parsed.close()

    def _opening(self, parsed: Iterable[Pieces]) -> list[Pieces]:
        """What comes before and with the first blocks: the title is known by then."""
        opening: list[Pieces] = []
        for pieces in parsed:
            opening.append(pieces)
            if pieces.blocks:
                break
        return opening

    def _title(self, path: Path, opening: list[Pieces]) -> str:
        own = next((pieces.title for pieces in opening if pieces.title), "")
        blocks = opening[-1].blocks if opening else []
        first = next((block for block in blocks if block.kind is BlockKind.HEADING), None)
        if not own and first is not None and first.level == 1:
            own = first.heading
        return clip_title(
            one_line(own) or path.stem, count_tokens=self._embedder.count_tokens, max_tokens=self._embedder.max_tokens
        )

    def _fill(self, version: StagedVersion, title: str, parsed: Iterable[Pieces]) -> int:
        chunks = chunk_blocks(
            self._blocks(version, parsed),
            count_tokens=self._embedder.count_tokens,
            max_tokens=self._embedder.max_tokens,
            title=title,
        )
        total = 0
        while batch := list(islice(chunks, _FLUSH_CHUNKS)):
            texts = [contextual_text(title, chunk.heading_path, chunk.text) for chunk in batch]
            vectors, digests = embed(texts, store=self._store, embedder=self._embedder)
            version.add_chunks(batch, vectors, digests=digests)
            total += len(batch)
            self._watcher.embedded(len(batch))
        return total

    def _blocks(self, version: StagedVersion, parsed: Iterable[Pieces]) -> Iterator[Block]:
        """Blocks on their way to the chunker; their text goes to the store as it passes."""
        offset = 0
        for pieces in parsed:
            self.notices.extend(pieces.notices)
            text = "".join(block.text for block in pieces.blocks)
            if text:
                version.add_text(offset, text)
                offset += len(text)
            yield from pieces.blocks
