"""From paths to searchable documents: skip what is unchanged, parse, chunk, embed, store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from indexer.chunking.chunker import CHUNKER_VERSION, TARGET_TOKENS
from indexer.chunking.sizes import sized, tokens_in
from indexer.embedding_group import EmbeddingGroup
from indexer.ingestion import SourceIngestion, Taken, Target, failed_result, taken_result
from indexer.members import Budget
from indexer.mishaps import mishaps_told
from indexer.parsers.registry import PARSER_VERSION
from indexer.report import IngestReport, Recorder, SourceResult, Watcher
from indexer.sources import Source, SourcePath, expand
from indexer.spooling import Spool
from indexer.steps import Pause
from rag.errors import EmbedderChanged, SourceError, SourceUnreadable, UnknownCollection
from rag.stores.checksums import RowDamaged
from rag.stores.removal.stray_files import SPOOL
from rag.telemetry import get_logger
from rag.types import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from indexer.parsing.isolation import IsolatedParsers
    from indexer.steps import Steps
    from indexer.web.fetch import Fetcher
    from indexer.web.pages import WebPages
    from indexer.web.sitemaps import WebAddress
    from rag.factory import Library
    from rag.protocols import DocumentStore, Embedder
    from rag.types import Collection, MetadataValue

_ATTEMPTS: Final = 2

_log = get_logger("indexer")


def fingerprint_of(embedder: Embedder, chunk_tokens: int = TARGET_TOKENS) -> Fingerprint:
    """What documents are made with now."""
    chunker = sized(CHUNKER_VERSION, chunk_tokens)
    return Fingerprint(parser=PARSER_VERSION, chunker=chunker, embedder=embedder.identity, dimension=embedder.dimension)


class IngestPipeline:
    """Takes documents into a collection. The caller holds the collection's ingest lock."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        embedder_for: Callable[[str], Embedder],
        parsers: IsolatedParsers,
        max_file_bytes: int,
        max_members: int = 10_000,
        max_unpacked_bytes: int = 4 << 30,
        web: WebPages | None = None,
        chunk_tokens: int = TARGET_TOKENS,
        spool: Spool | None = None,
    ) -> None:
        """``embedder_for`` gives the embedder of a collection by its name, of one that is not there yet, too.

        ``web`` is for sources that are web addresses. ``chunk_tokens`` is what chunks of new collections are aimed at.

        One source may hold ``max_members`` documents of ``max_unpacked_bytes`` in all, which are read by way of the
        ``spool``.
        """
        self._store = store
        self._embedder_for = embedder_for
        self._parsers = parsers
        self._max_file_bytes = max_file_bytes
        self._max_members = max_members
        self._max_unpacked_bytes = max_unpacked_bytes
        self._web = web
        self._chunk_tokens = chunk_tokens
        self._spool = spool or Spool()

    @classmethod
    def over(cls, library: Library, parsers: IsolatedParsers, *, fetcher: Fetcher | None = None) -> Self:
        """As the library's settings have it; with a ``fetcher``, for web addresses too."""
        settings = library.settings
        spool = Spool(settings.home / SPOOL)
        web = None
        if fetcher is not None:
            from indexer.web.pages import WebPages

            web = WebPages(fetcher, library.store, spool)
        return cls(
            store=library.store,
            embedder_for=library.embedder_for,
            parsers=parsers,
            max_file_bytes=settings.max_file_bytes,
            max_members=settings.max_members,
            max_unpacked_bytes=settings.max_unpacked_bytes,
            chunk_tokens=settings.chunk_tokens,
            web=web,
            spool=spool,
        )

    def ingest(
        self,
        paths: Iterable[Path],
        *,
        collection: str,
        metadata: Mapping[str, MetadataValue] | None = None,
        watcher: Watcher | None = None,
    ) -> IngestReport:
        """Take in every file the paths stand for. A source that fails is reported and the others go on.

        A source fails, too, where what is stored of it is damaged, and where a mistake of the program shows on it.

        ``metadata`` is said of each of them; ``None`` keeps what was said before.

        Raises:
            EmbedderChanged: the collection holds embeddings of another embedder.
            StorageError, Conflict, ModelError: the run cannot go on; what was finished is kept.
        """
        return self.ingest_sources(list(expand(paths)), collection=collection, metadata=metadata, watcher=watcher)

    def ingest_sources(
        self,
        sources: Sequence[SourcePath | WebAddress],
        *,
        collection: str,
        metadata: Mapping[str, MetadataValue] | None = None,
        watcher: Watcher | None = None,
    ) -> IngestReport:
        """As ``ingest``, of files that are known already."""
        watcher = watcher or Watcher()
        started = time.monotonic()
        target, is_new = None, False
        if any(source.error is None for source in sources):  # a mistyped path must not leave an empty collection
            is_new = self._is_new(collection)
            target = self._open(collection)
            self._store.discard_abandoned(target.collection)
            self._expire(target.collection)
        report = IngestReport()
        recorder = Recorder(report, watcher, len(sources))
        begun = 0
        with EmbeddingGroup(self._store, recorder.finish, stop=watcher.stop) as group:
            for source in sources:
                if watcher.stop():
                    break
                begun += 1
                recorder.begin(source.uri)
                group.take(source.uri, self._take(target, source, self._ingestion(metadata, watcher, recorder)))
            group.settle()
        if target is not None and is_new and not report.ingested:
            self._store.remove_unused(target.collection)
        report.skipped = len(sources) - begun + group.dropped
        report.seconds = time.monotonic() - started
        return report

    def _expire(self, collection: Collection) -> None:
        try:
            self._store.expire(collection)
        except RowDamaged as error:  # of one document: no reason to take in no other
            _log.error("not all versions expired", collection=collection.name, code=error.code, detail=str(error))

    def _opened(self, source: SourcePath) -> Source:
        return Source(
            source.path,
            max_bytes=self._max_file_bytes,
            address=source.address,
            name=source.name,
            sha256=source.sha256,
            within=source.within,
        )

    def _is_new(self, name: str) -> bool:
        try:
            self._store.collection(name)
        except UnknownCollection:
            return True
        return False

    def _open(self, name: str) -> Target:
        embedder = self._embedder_for(name)
        made_with = fingerprint_of(embedder, self._chunk_tokens_of(name))
        return Target(self._store.ensure_collection(name, made_with), embedder)

    def _chunk_tokens_of(self, name: str) -> int:
        """A collection's chunks stay as large as they are; `indexer reembed` changes that."""
        try:
            found = self._store.collection(name)
        except UnknownCollection:
            return self._chunk_tokens
        return self._chunk_tokens if self._store.is_empty(found) else tokens_in(found.fingerprint.chunker)

    def _ingestion(
        self, metadata: Mapping[str, MetadataValue] | None, watcher: Watcher, recorder: Recorder
    ) -> SourceIngestion:
        return SourceIngestion(
            store=self._store,
            parsers=self._parsers,
            metadata=metadata,
            watcher=watcher,
            recorder=recorder,
            spool=self._spool,
            budget=Budget(
                members=self._max_members,
                total_bytes=self._max_unpacked_bytes,
                member_bytes=self._max_file_bytes,
            ),
        )

    def _take(
        self, target: Target | None, source: SourcePath | WebAddress, ingestion: SourceIngestion
    ) -> Steps[SourceResult]:
        try:
            if source.error is not None:
                raise source.error
            if target is None:
                raise TypeError("only a source that comes with an error needs no collection")
            taken = yield from self._read(target, source, ingestion)
        except (SourceError, RowDamaged) as error:
            if target is not None and isinstance(error, RowDamaged):
                self._store.collection(target.collection.name)  # what is damaged may be more than this document
            return failed_result(source.uri, error, ingestion.notices)
        return taken_result(taken.uri or source.uri, taken, ingestion.notices)

    def _read(self, target: Target, source: SourcePath | WebAddress, ingestion: SourceIngestion) -> Steps[Taken]:
        for attempt in range(_ATTEMPTS):
            if attempt:
                yield Pause.AGAIN
            try:
                taken = yield from self._run(target, source, ingestion)
            except EmbedderChanged:  # embedded anew since the run began: its other embedder takes the rest
                opened_again = self._open(target.collection.name)
                target.collection, target.embedder = opened_again.collection, opened_again.embedder
                continue
            if taken is not None:
                return taken
        raise SourceUnreadable(
            f"{source.uri} kept changing while it was read.", hint="Ingest it when nothing writes to it."
        )

    def _run(self, target: Target, source: SourcePath | WebAddress, ingestion: SourceIngestion) -> Steps[Taken | None]:
        if isinstance(source, SourcePath):
            with self._opened(source) as opened:
                try:
                    with mishaps_told(source.uri):
                        return (yield from ingestion.steps(target, opened))
                except SourceError:
                    if opened.changed():  # what was read may be half of what is there now
                        return None
                    raise
        if self._web is None:
            raise TypeError("web addresses need an object that fetches them")
        with mishaps_told(source.uri):
            return (yield from self._web.steps(target, source, ingestion))
