"""A collection kept in step with a folder: the plan, and carrying it out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from indexer.chunking.chunker import CHUNKER_VERSION
from indexer.chunking.sizes import sized, tokens_in
from indexer.detection.media_types import detect
from indexer.folders.absence import Evidence
from indexer.folders.mirror import Content, FoundFile, Missing, Move, Plan, plan_mirror, says_the_same
from indexer.folders.walking import walk, walk_at
from indexer.parsers.registry import PARSER_VERSION
from indexer.report import IngestReport, Outcome, Watcher, counted
from indexer.sources import Source, SourcePath, sources_of, too_large
from rag.errors import InvalidRequest, SourceError, SourceNotFound, UnknownCollection
from rag.stores.source_moves import (
    holders,
    move_sources,
    retime_sources,
    sources_at,
    sources_below,
    taken_addresses,
)
from rag.unicode import is_storable, shown_path

if TYPE_CHECKING:
    from collections.abc import Collection as Several
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from indexer.pipeline import IngestPipeline
    from rag.source_types import KnownSource
    from rag.stores.documents import SqlDocumentStore
    from rag.stores.sqlite.database import Database
    from rag.types import Collection, MetadataValue

# With more paths than this, going through the whole folder once is quicker than asking for each.
MOST_PATHS: Final = 500


@dataclass(slots=True, kw_only=True)
class SyncReport:
    """What a run did. ``kept`` are documents that are gone and were not deleted, ``deleted`` those that were."""

    ingested: IngestReport = field(default_factory=IngestReport)
    moved: list[Move] = field(default_factory=list)
    deleted: list[Missing] = field(default_factory=list)
    kept: list[Missing] = field(default_factory=list)
    unsure: list[Missing] = field(default_factory=list)
    unchanged: int = 0

    @property
    def besides(self) -> int:
        """What is as it should be without having been taken in."""
        return self.unchanged + len(self.moved) + len(self.deleted)


class FolderSync:
    """A folder and the collection that mirrors it. ``metadata`` is said of every file; ``None`` says nothing.

    Whoever carries out a plan holds the collection's ingest lock since before it was made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: Database,
        store: SqlDocumentStore,
        pipeline: IngestPipeline,
        collection: str,
        max_file_bytes: int,
        metadata: Mapping[str, MetadataValue] | None = None,
    ) -> None:
        self.folder = folder
        self.collection = collection
        self._database = database
        self._store = store
        self._pipeline = pipeline
        self._max_file_bytes = max_file_bytes
        self._metadata = metadata

    def check(self) -> None:
        """See that the folder is there.

        Raises:
            SourceNotFound: there is no such folder, which says nothing of the documents from it.
            InvalidRequest: it is a file, or its name is not valid UTF-8.
        """
        if not is_storable(str(self.folder.absolute())):
            raise InvalidRequest(
                f"The name of {shown_path(str(self.folder))} is not valid UTF-8, so no file in it has an address.",
                hint="Rename it.",
            )
        if not self.folder.is_dir():
            if self.folder.exists():
                raise InvalidRequest(f"{self.folder} is not a folder.", hint="Take in a file with `indexer ingest`.")
            raise SourceNotFound(
                f"The folder {self.folder} does not exist; its documents are left as they are.",
                hint="Check the path, and that its disk is mounted; `indexer delete` needs no files.",
            )

    def plan(self, changed: Several[str] | None = None, *, watcher: Watcher | None = None) -> Plan:
        """What has to be done; with ``changed``, only at these paths relative to the folder. Writes nothing.

        ``watcher`` hears how many files are found.

        Raises:
            SourceNotFound, InvalidRequest: as ``check``.
        """
        self.check()
        whole = changed is None or "" in changed or len(changed) > MOST_PATHS
        paths = [] if changed is None or whole else topmost(changed)
        found = sources_of(walk(self.folder)) if whole else self._found_at(paths)
        plan = plan_mirror(
            self.folder,
            counted(found, watcher or Watcher()),
            self._known(None if whole else paths),
            self._look_into,
            metadata=self._metadata,
        )
        self._keep_pasts(plan)
        plan.add, plan.change = (self._not_too_large(files, plan.errors) for files in (plan.add, plan.change))
        return plan

    def carry_out(self, plan: Plan, *, prune: bool, watcher: Watcher) -> SyncReport:
        """Move what is elsewhere, take in, and with ``prune`` delete what is gone, each if it still is.

        Raises:
            EmbedderChanged, StorageError, Conflict, ModelError: as ``IngestPipeline.ingest``.
        """
        report = SyncReport(unsure=list(plan.unsure), unchanged=plan.unchanged)
        collection = self._stored_collection()
        gone, files = list(plan.gone), []
        if collection is not None:
            report.moved = self._move(collection, self._still_gone(plan, report.unsure))
            files = [move.file for move in report.moved if self._to_be_read(move)]
            # Their times do not tell that they are to be read.
            retime_sources(self._database, collection, {file.uri: -1 for file in plan.change if file.exchanged})
        moved, unsure = ({each.source.document_id for each in several} for several in (report.moved, report.unsure))
        for move in plan.move:
            if move.source.document_id in moved:
                continue
            files.append(move.file)  # its content is taken in where it is now, and its embeddings found
            if move.source.document_id not in unsure:
                gone.append(Missing(source=move.source, reason=f"it is {move.file.uri} now"))
        root = self.folder.resolve()
        sources = [_source_of(file, root) for file in (*files, *plan.add, *plan.change)]
        report.ingested = self._pipeline.ingest_sources(
            [*sources, *plan.errors, *plan.left_out],
            collection=self.collection,
            metadata=self._metadata,
            watcher=watcher,
        )
        if collection is not None:
            self._retime(collection, plan, report.ingested)
        if collection is not None and prune and not watcher.stop():
            evidence = self._evidence(plan)
            for missing in gone:
                reason, proved = evidence.of(missing.source)
                (report.deleted if proved else report.unsure).append(replace(missing, reason=reason))
            self._store.delete(collection, [missing.source.document_id for missing in report.deleted])
        else:
            report.kept = gone
        return report

    def _keep_pasts(self, plan: Plan) -> None:
        """Where another document was before none is moved to: the file is taken in, and finds the embeddings."""
        collection = self._stored_collection()
        if collection is None or not plan.move:
            return
        taken = taken_addresses(self._database, collection, (move.file.uri for move in plan.move))
        for move in plan.move:
            if move.file.uri in taken:
                plan.add.append(
                    replace(move.file, reason=f"it was {move.source.uri}; another document was here before")
                )
                plan.gone.append(Missing(source=move.source, reason=f"it is {move.file.uri} now"))
        plan.move = [move for move in plan.move if move.file.uri not in taken]

    def _not_too_large(self, files: list[FoundFile], errors: list[SourcePath]) -> list[FoundFile]:
        """Those that may be taken in; the others go to ``errors``."""
        for file in files:
            if file.size > self._max_file_bytes:
                error = too_large(file.path, file.size, self._max_file_bytes)
                errors.append(SourcePath(path=file.path, address=file.uri, error=error))
        return [file for file in files if file.size <= self._max_file_bytes]

    def _stored_collection(self) -> Collection | None:
        try:
            return self._store.collection(self.collection)
        except UnknownCollection:
            return None

    def _known(self, paths: list[str] | None) -> list[KnownSource]:
        collection = self._stored_collection()
        if collection is None:
            return []
        # What a release that reads otherwise would read anew is out of date, though the collection does not know yet.
        chunker = sized(CHUNKER_VERSION, tokens_in(collection.fingerprint.chunker))
        makers = replace(collection.fingerprint, parser=PARSER_VERSION, chunker=chunker)
        collection = replace(collection, fingerprint=makers)
        root = self.folder.resolve()
        if paths is None:
            known = sources_below(self._database, collection, root.as_posix())
        else:
            uris = dict.fromkeys(self._uri_at(path) for path in paths)
            known = [source for uri in uris for source in sources_at(self._database, collection, uri)]
        # What was taken in of a container that is not there itself yet comes and goes with that.
        return [source for source in known if not any(map(os.path.isfile, holders(source.uri)))]

    def _uri_at(self, relative: str) -> str:
        path = self.folder / relative
        return (path.parent.resolve() / path.name).as_posix()

    def _found_at(self, paths: list[str]) -> Iterator[SourcePath]:
        for path in paths:
            yield from sources_of(walk_at(self.folder, path))

    def _look_into(self, path: Path) -> Content | None:
        """A file that cannot be read is no move; taking it in tells why."""
        try:
            with Source(path, max_bytes=self._max_file_bytes, within=self.folder.resolve()) as source:
                scan = source.scan()
        except SourceError:
            return None
        try:
            return Content(scan.sha256, detect(path, scan).media_type)
        except SourceError:
            return Content(scan.sha256, "")

    def _evidence(self, plan: Plan) -> Evidence:
        return Evidence(self.folder, [error.uri for error in plan.errors])

    def _still_gone(self, plan: Plan, unsure: list[Missing]) -> list[Move]:
        """The moves from where nothing is; the documents of the others go to ``unsure``."""
        evidence, moves = self._evidence(plan), []
        for move in plan.move:
            reason, proved = evidence.of(move.source)
            if proved:
                moves.append(move)
            else:
                unsure.append(Missing(source=move.source, reason=reason))
        return moves

    def _move(self, collection: Collection, moves: list[Move]) -> list[Move]:
        addresses = {move.source.document_id: (move.file.uri, move.file.mtime_ns) for move in moves}
        outdated = {move.source.document_id for move in moves if move.anew}
        moved = move_sources(self._database, collection, addresses, outdated=outdated) if moves else set()
        return [move for move in moves if move.source.document_id in moved]

    def _retime(self, collection: Collection, plan: Plan, ingested: IngestReport) -> None:
        """What was read in vain, for its content is as it was, is not read again the next time."""
        same = {result.uri for result in ingested.results if result.outcome is Outcome.UNCHANGED}
        times = {file.uri: file.mtime_ns for file in plan.change if file.uri in same}
        retime_sources(self._database, collection, times)

    def _to_be_read(self, move: Move) -> bool:
        return move.anew or not move.source.current or not says_the_same(move.source, self._metadata)


def topmost(paths: Several[str]) -> list[str]:
    """Those that do not lie in another of them, sorted."""
    kept: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not kept or not (path == kept[-1] or path.startswith(f"{kept[-1]}/")):
            kept.append(path)
    return kept


def _source_of(file: FoundFile, root: Path) -> SourcePath:
    return SourcePath(path=file.path, address=file.uri, within=root)
