"""One source on its way into the store, with all that it holds: unchanged? parse, chunk, embed, stage, activate.

It goes in steps: an ingestion hands its passages out and is given their vectors, so that small sources can be embedded
together; and it tells where others can be looked after, so that these need not wait for the end of a long one.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from indexer.chunking.chunker import Chunker, clip_title
from indexer.chunking.outlines import outline_of
from indexer.chunking.sizes import limit_of, tokens_in
from indexer.detection.media_types import detect
from indexer.filling import Filling
from indexer.formats import CONTAINERS
from indexer.members import MAX_DEPTH, Handover, RefusedMember
from indexer.mishaps import mishaps_told
from indexer.report import Outcome, SourceFailure, SourceResult
from indexer.steps import Address, Part, Pause, Soon, Stopped, activated
from indexer.titles import opening_of, title_of
from rag.errors import EmbedderChanged, SourceError, SourceHasNoText, SourceLeftOut, SourceTooLarge, SourceUnreadable
from rag.source_types import SourceRecord, same_metadata
from rag.stores.checksums import RowDamaged
from rag.types import MEMBER_MARK

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping
    from pathlib import PurePath

    from indexer.detection.media_types import Detected
    from indexer.members import Budget, MemberSource
    from indexer.parsing.isolation import IsolatedParsers
    from indexer.parsing.wire import Found, Pieces
    from indexer.report import Recorder, Watcher
    from indexer.sources import OpenSource, SourceScan
    from indexer.spooling import Spool
    from indexer.steps import Steps
    from rag.errors import RagError
    from rag.protocols import DocumentStore, Embedder, StagedVersion
    from rag.quality_types import Quality
    from rag.source_types import StoredSource
    from rag.types import ChunkDraft, Collection, Fingerprint, MetadataValue


@dataclass(slots=True)
class Target:
    """Where a run's documents go; both change when the collection is embedded anew meanwhile."""

    collection: Collection
    embedder: Embedder


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a source. ``members_failed`` is of the members that it holds, those of members included.

    ``members`` are those that are unchanged as it is, and were not looked at one by one.
    ``uri`` is where it was, if that is not where it was looked for.
    """

    outcome: Outcome
    document_id: int
    chunks: int
    members_failed: int = 0
    members: int = 0
    uri: str | None = None
    quality: Quality | None = None


@dataclass(slots=True, kw_only=True)
class _Parts:
    """What a source held this time: the members' addresses, how many of them could not be taken in, as far as that is
    known, and the error of a part that is one of the whole.
    """

    uris: set[str] = field(default_factory=set)
    failed: int = 0
    error: RagError | None = None


class SourceIngestion:
    """Takes in one source. ``metadata`` and ``budget`` are for it and all its members; ``depth`` is 0 for a file."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        parsers: IsolatedParsers,
        metadata: Mapping[str, MetadataValue] | None,
        watcher: Watcher,
        recorder: Recorder,
        budget: Budget,
        spool: Spool,
        depth: int = 0,
    ) -> None:
        self._store = store
        self._metadata = metadata
        self._parsers = parsers
        self._watcher = watcher
        self._recorder = recorder
        self._budget = budget
        self._spool = spool
        self._depth = depth
        self.notices: list[str] = []

    def steps(self, target: Target, source: OpenSource) -> Steps[Taken | None]:
        """Take it in, if it is not there as it is; None if it changed while it was read.

        Between ``last`` passages and their vectors other sources can be taken in, at ``Pause.READING`` they can be
        stored.

        Raises:
            SourceError: it cannot be taken in; what was there of it stays.
            RowDamaged: what is stored of it is not as it was written, and stays as it is.
            EmbedderChanged: the collection was embedded anew meanwhile.
            Stopped: between two members.
        """
        self.notices = []
        self._embedder = target.embedder
        self._chunk_tokens = tokens_in(target.collection.fingerprint.chunker)
        if not self._depth:  # what a container holds is under way with it
            yield Address(source.uri)
        stored = self._store.stored_source(target.collection, source.uri)
        if stored is None:
            yield Soon(self._embedder)
        current = stored if stored is not None and self._is_current(stored, target.collection.fingerprint) else None
        # What failed in a container may go well now, as files that failed are tried again, and what was deleted out of
        # it comes again, as files do.
        whole = current is not None and not current.members_failed and not current.members_gone
        done = current if whole else None
        opened = source.opened
        if done and opened and (done.size, done.mtime_ns) == (opened.size, opened.mtime_ns):
            return unchanged(done)
        scan = source.scan()
        detected = self._detect(source, scan)
        same = current and (current.sha256, current.media_type) == (scan.sha256, detected.media_type)
        if done and same:
            return unchanged(done)
        if stored is not None and stored.sha256 != scan.sha256:
            yield Soon(self._embedder)
        return (yield from self._write(target, source, scan, detected, stored, same=bool(same)))

    def go_on(self) -> None:
        """Raises Stopped: the run was asked to stop."""
        if self._watcher.stop():
            raise Stopped

    def settled(self, target: Target, uri: str) -> StoredSource | None:
        """What is stored of a source, if it need not be read again as long as its content is the same."""
        stored = self._store.stored_source(target.collection, uri)
        if stored is None or not self._is_current(stored, target.collection.fingerprint):
            return None
        return None if stored.members_failed or stored.members_gone else stored

    def _is_current(self, stored: StoredSource, makers: Fingerprint) -> bool:
        if (stored.parser, stored.chunker) != (makers.parser, makers.chunker):
            return False
        return self._metadata is None or same_metadata(stored.metadata, self._metadata)

    def _detect(self, source: OpenSource, scan: SourceScan) -> Detected:
        detected = detect(source.path, scan)
        if self._depth >= MAX_DEPTH and detected.media_type in CONTAINERS:
            raise SourceTooLarge(
                f"{source.path} lies in {self._depth} containers, one within the other, and holds more.",
                hint="Unpack it by hand and ingest what comes out.",
            )
        return detected

    def _parse(self, source: OpenSource, scan: SourceScan, detected: Detected) -> Generator[Found]:
        return self._parsers.parse(
            source.file,
            media_type=detected.media_type,
            encoding=detected.encoding,
            size=scan.size,
            limits=self._budget.limits if detected.media_type in CONTAINERS else None,
        )

    def _handover(self, found: Iterator[Found], source: OpenSource, detected: Detected) -> Handover:
        if not self._depth:  # read for the second time, it has the whole budget again
            self._budget.renew()
        handover = Handover(found, source.uri, self._budget, self._spool)
        if detected.doubtful:
            handover.notices.append(
                f"its encoding is stated nowhere and was guessed, {detected.encoding}: "
                "if letters are wrong, save it as UTF-8"
            )
        self.notices = handover.notices
        return handover

    def _write(
        self,
        target: Target,
        source: OpenSource,
        scan: SourceScan,
        detected: Detected,
        stored: StoredSource | None,
        *,
        same: bool,
    ) -> Steps[Taken | None]:
        """``same``: what is stored says the same, and stays if as many members fail as before."""
        collection = target.collection
        # An error here must not leave the parser in the middle of this file.
        with closing(self._parse(source, scan, detected)) as found:
            handover = self._handover(found, source, detected)
            pieces = handover.pieces()
            opening = yield from opening_of(pieces)
            record = SourceRecord(
                uri=source.uri,
                title=self._title(source.path, opening),
                media_type=detected.media_type,
                sha256=scan.sha256,
                size=scan.size,
                mtime_ns=source.opened.mtime_ns if source.opened else 0,
                metadata=self._metadata,
                replaces=stored.document_id if stored else None,
            )
            with self._store.stage(collection, record) as version:
                filling = Filling(version, title=record.title, embedder=self._embedder, watcher=self._watcher)
                yield from self._fill(filling, version, record.title, chain(opening, pieces))
                parts = yield from self._take_parts(target, source.uri, filling, handover)
                if source.changed():
                    return None
                if not filling.count and not parts.uris:
                    raise _without_text(source, detected)
                if stored is not None and same and parts.failed == stored.members_failed:
                    return replace(unchanged(stored), members_failed=parts.failed, members=0)  # each is told
                if stored is not None:
                    self._remove_departed(collection, source.uri, parts.uris)
                version.count_failed(parts.failed)
                document, quality = yield from activated(version, collection)
        return Taken(
            outcome=Outcome.INGESTED if stored is None else Outcome.REPLACED,
            document_id=document.id,
            chunks=document.chunk_count,
            members_failed=parts.failed,
            quality=quality,
        )

    def _take_parts(self, target: Target, uri: str, filling: Filling, handover: Handover) -> Steps[_Parts]:
        """The end of the source's own text, and its members: read one after the other, embedded with all that waits."""
        parts = _Parts()
        with closing(self._end_text(uri, filling, parts)) as text:  # is not written if the version is given up
            if handover.has_members:
                yield Part(text)
            else:
                yield from text
            for member in handover.members():
                self.go_on()
                if parts.error is not None:
                    raise parts.error
                parts.uris.add(member.uri)
                self._recorder.begin(member.uri, member=True)
                yield Part(self._take_member(target, member, parts))
            yield Pause.PARTS
        if parts.error is not None:
            raise parts.error
        return parts

    def _end_text(self, uri: str, filling: Filling, parts: _Parts) -> Steps[None]:
        try:
            with mishaps_told(uri):
                yield from filling.end()
        except (SourceError, RowDamaged, EmbedderChanged) as error:
            parts.error = error

    def _take_member(
        self, target: Target, member: MemberSource | RefusedMember, parts: _Parts
    ) -> Steps[SourceResult | None]:
        """What became of it; its failures, or those of its members, are counted. None: all is to be read again."""
        ingestion = SourceIngestion(
            store=self._store,
            parsers=self._parsers.nested(),
            metadata=self._metadata,
            watcher=self._watcher,
            recorder=self._recorder,
            budget=self._budget,
            spool=self._spool,
            depth=self._depth + 1,
        )
        try:
            if isinstance(member, RefusedMember):
                raise member.error
            with mishaps_told(member.uri):
                taken = yield from ingestion.steps(target, member)
            if taken is None:
                raise SourceUnreadable(f"{member.path} changed while it was read.", hint="Ingest it again.")
        except EmbedderChanged as error:
            parts.error = error
            return None
        except (SourceError, RowDamaged) as error:
            parts.failed += 1
            return failed_result(member.uri, error, ingestion.notices)
        parts.failed += taken.members_failed
        return taken_result(member.uri, taken, ingestion.notices)

    def _remove_departed(self, collection: Collection, uri: str, present: set[str]) -> None:
        """Take out what the container held before and holds no more."""
        below = len(uri) + len(MEMBER_MARK)
        departed = [
            document.id
            for document in self._store.members(collection, uri)
            # A member that is itself a container answers for what is in it.
            if _member_of(document.uri, below) not in present
        ]
        if departed:
            self._store.delete(collection, departed)

    def _title(self, path: PurePath, opening: list[Pieces]) -> str:
        count = self._embedder.count_tokens
        return clip_title(title_of(opening, path), count_tokens=count, max_tokens=self._embedder.max_tokens)

    def _fill(self, filling: Filling, version: StagedVersion, title: str, parsed: Iterable[Pieces]) -> Steps[None]:
        for chunk in self._chunks(version, title, parsed):
            if chunk is None:
                yield Pause.READING
            else:
                yield from filling.add(chunk)

    def _chunks(self, version: StagedVersion, title: str, parsed: Iterable[Pieces]) -> Iterator[ChunkDraft | None]:
        """The source's chunks, with None for all that the parser hands over; its text goes to the store."""
        chunker = Chunker(
            count_tokens=self._embedder.count_tokens,
            max_tokens=self._embedder.max_tokens,
            title=title,
            target=self._chunk_tokens,
            limit=limit_of(self._chunk_tokens),
        )
        offset = 0
        for pieces in parsed:
            yield None
            text = "".join(block.text for block in pieces.blocks)
            if pieces.blocks:
                version.add_text(offset, text, outline=outline_of(pieces.blocks))
                offset += len(text)
            for block in pieces.blocks:
                yield from chunker.add(block)
        yield from chunker.finish()


def unchanged(stored: StoredSource) -> Taken:
    """What became of a source that need not be read again, with all that it holds."""
    return Taken(outcome=Outcome.UNCHANGED, document_id=stored.document_id, chunks=0, members=stored.members)


def taken_result(uri: str, taken: Taken, notices: Iterable[str]) -> SourceResult:
    return SourceResult(
        uri=uri,
        outcome=taken.outcome,
        document_id=taken.document_id,
        chunks=taken.chunks,
        notices=tuple(notices),
        quality=taken.quality,
        members=taken.members,
    )


def failed_result(uri: str, error: RagError, notices: Iterable[str]) -> SourceResult:
    outcome = Outcome.LEFT_OUT if isinstance(error, SourceLeftOut) else Outcome.FAILED
    return SourceResult(uri=uri, outcome=outcome, failure=SourceFailure.of(uri, error), notices=tuple(notices))


def _member_of(uri: str, start: int) -> str:
    """The member, with its address beginning at ``start``, that this is or lies in."""
    end = uri.find(MEMBER_MARK, start)
    return uri if end < 0 else uri[:end]


def _without_text(source: OpenSource, detected: Detected) -> SourceHasNoText:
    if detected.media_type in CONTAINERS:
        return SourceHasNoText(f"{source.path} holds no files to take in.", hint="Open it and see what it holds.")
    return SourceHasNoText(f"No text was found in {source.path}.", hint="Open it and see whether it holds any.")
