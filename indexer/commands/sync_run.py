"""One run of a sync with all that is told of it, for the commands that do one or many."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from indexer.commands import erasing
from indexer.commands.ingest import print_result, settle_index
from indexer.commands.ingest_display import IngestDisplay, LookingDisplay
from indexer.commands.sync_display import SyncDisplay
from indexer.folders.failing import FailingFiles
from indexer.job_run import ingest_lock, own_job
from indexer.pipeline import IngestPipeline
from indexer.syncing import FolderSync
from rag.commands.json_output import print_json
from rag.job_types import JobRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from indexer.commands.interruption import Interruption
    from indexer.folders.mirror import Missing, Plan
    from indexer.parsing.isolation import IsolatedParsers
    from indexer.sources import SourcePath
    from indexer.syncing import SyncReport
    from rag.factory import Library
    from rag.types import MetadataValue


# An address, and what was told of it.
_Told = tuple[str, str]


class SyncRun:
    """Syncs one folder with one collection as often as it is asked to."""

    def __init__(
        self,
        library: Library,
        parsers: IsolatedParsers,
        folder: Path,
        collection: str,
        *,
        metadata: Mapping[str, MetadataValue] | None,
        prune: bool,
        as_json: bool,
        interruption: Interruption,
    ) -> None:
        self.display = SyncDisplay(folder, collection, as_json=as_json)
        self._folder = folder
        self._library = library
        self._collection = collection
        self._prune = prune
        self._as_json = as_json
        self._interruption = interruption
        self._told: set[_Told] = set()
        self._failing = FailingFiles()
        self._request = JobRequest(
            collection=collection, paths=(str(folder.absolute()),), metadata=metadata, foreground=True
        )
        self._sync = FolderSync(
            folder,
            database=library.database,
            store=library.store,
            pipeline=IngestPipeline.over(library, parsers),
            collection=collection,
            max_file_bytes=library.settings.max_file_bytes,
            metadata=metadata,
        )

    def show(self) -> bool:
        """Tell what would be done; returns whether everything could be read. Raises StoppedLooking."""
        with self._interruption.looking():
            with LookingDisplay() as looking:
                plan = self._sync.plan(watcher=looking)
            self.display.plan(plan, prune=self._prune, dry_run=True)
        return not (plan.errors or plan.emptied)

    def check(self) -> None:
        """Raises SourceNotFound or InvalidRequest if there is no such folder."""
        self._sync.check()

    def run(
        self, changed: Collection[str] | None = None, *, repeated: bool = False, busy: Collection[str] = ()
    ) -> bool:
        """Plan and do it, at ``changed`` paths or everywhere; returns whether all of it was done.

        ``repeated``: what failed or was told before is neither tried nor told again, as long as it stays as it is.
        Where the cause may pass, it is tried after a while. ``busy`` are paths of files that are not taken in yet.

        Raises as ``FolderSync`` does, IngestInProgress, and StoppedLooking.
        """
        started = time.monotonic()
        with ingest_lock(self._library, self._collection):
            with self._interruption.looking():
                if repeated:
                    plan = self._sync.plan(changed)
                else:
                    with LookingDisplay() as looking:
                        plan = self._sync.plan(changed, watcher=looking)
            if repeated:
                self._leave_out_told(plan)
                written = {self._folder / path for path in busy}
                plan.add = [file for file in plan.add if file.path not in written]
                plan.change = [file for file in plan.change if file.path not in written]
                if plan.idle:
                    return True
            else:
                self.display.plan(plan, prune=self._prune, dry_run=False)
            on_result = print_result if self._as_json else None
            with (
                IngestDisplay(stop=self._interruption.requested, on_result=on_result) as shown,
                own_job(self._library, self._request, inner=shown) as job,
                self._interruption.working(),
            ):
                report = self._sync.carry_out(plan, prune=self._prune, watcher=job)
                job.end(report.ingested, besides=report.besides)
        self._remember(plan, report)
        if repeated:
            self.display.taken_in(report)
        self.display.moved(report.moved)
        self.display.deleted(report.deleted)
        self.display.stays(report)
        left = self._follow(report)
        self.display.summary(report, time.monotonic() - started)
        return not (report.ingested.failed or report.ingested.skipped or plan.emptied or left)

    def _leave_out_told(self, plan: Plan) -> None:
        plan.add = [file for file in plan.add if not self._failing.waits(file)]
        plan.change = [file for file in plan.change if not self._failing.waits(file)]
        plan.errors = [error for error in plan.errors if _of_error(error) not in self._told]
        plan.left_out = [error for error in plan.left_out if _of_error(error) not in self._told]
        plan.unsure = [missing for missing in plan.unsure if _of_missing(missing) not in self._told]
        if not self._prune:
            plan.gone = [missing for missing in plan.gone if _of_missing(missing) not in self._told]

    def _remember(self, plan: Plan, report: SyncReport) -> None:
        files = [*plan.add, *plan.change, *(move.file for move in plan.move)]
        self._failing.note(files, report.ingested.failed)
        self._told.update(map(_of_error, [*plan.errors, *plan.left_out]))
        self._told.update(map(_of_missing, [*report.kept, *report.unsure]))
        present = {file.uri for file in files}
        self._told = {told for told in self._told if told[0] not in present}

    def _follow(self, report: SyncReport) -> bool:
        """What a change brings about elsewhere: in model state and in the index file; whether something is left."""
        ingested = report.ingested
        if not (ingested.ingested or ingested.replaced or report.moved or report.deleted):
            return False
        erased = self._library.erase_deleted() if ingested.replaced or report.deleted else None
        if erased is not None:
            if self._as_json:
                print_json({"type": "model_state", **erasing.as_object(erased)})
            erasing.tell(erased, quiet=self._as_json)
        settle_index(self._library, self._collection, as_json=self._as_json)
        return erased is not None and erased.problem is not None


def _of_error(source: SourcePath) -> _Told:
    return source.uri, str(source.error)


def _of_missing(missing: Missing) -> _Told:
    return missing.source.uri, missing.reason
