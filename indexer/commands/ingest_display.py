"""Shows an ingestion while it runs: a bar on a terminal, and every failure and notice as it comes."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from indexer.report import Outcome, SourceFailure, SourceResult, Watcher
from rag.commands.errors import on_one_line
from rag.errors import RagError
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class LookingDisplay(Watcher):
    """How many files are found, on standard error if it is a terminal, until it is left."""

    def __init__(self) -> None:
        self._status = Console(stderr=True).status("looking for files")

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def looking(self, sources: int) -> None:
        self._status.update(f"looking for files: {sources:,}")


class IngestDisplay(Watcher):
    """Draws on standard error, the moving parts only where it is a terminal.

    ``on_result`` gets each result instead of lines for people; ``stop`` tells whether to begin no other file.
    """

    def __init__(self, *, stop: Callable[[], bool], on_result: Callable[[SourceResult], None] | None = None) -> None:
        self._stop = stop
        self._on_result = on_result
        self._console = Console(stderr=True, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files · {task.fields[chunks]} chunks · {task.fields[rate]}/s ·"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("looking for files", total=None, chunks=0, rate="0")
        self._chunks = 0
        self._done = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()
        if isinstance(error, RagError) and self._done and self._on_result is None:
            done = f"stopped with {plural(self._done, 'file')} done; the next run goes on with the others"
            self._console.print(f"[yellow]note[/]: {done}")

    def looking(self, sources: int) -> None:
        self._progress.update(self._task, description=f"looking for files: {sources:,}")

    def found(self, sources: int) -> None:
        self._progress.update(self._task, total=sources)

    def started(self, uri: str) -> None:
        self._progress.update(self._task, description=escape(on_one_line(PurePosixPath(uri).name[:40])))

    def embedded(self, chunks: int) -> None:
        self._chunks += chunks
        elapsed = self._progress.tasks[0].elapsed or 0.0
        rate = f"{self._chunks / elapsed:.0f}" if elapsed else "0"
        self._progress.update(self._task, chunks=self._chunks, rate=rate)

    def finished(self, result: SourceResult) -> None:
        self._progress.advance(self._task)
        if self._on_result is not None:
            self._on_result(result)
            return
        for notice in result.notices:
            self._console.print(f"[yellow]note[/]: {escape(on_one_line(result.uri))}: {escape(on_one_line(notice))}")
        if result.quality is not None and result.quality.flaws:
            left_out = ", ".join(f"{count} {flaw}" for flaw, count in result.quality.flaws.items())
            uri = escape(on_one_line(result.uri))
            self._console.print(
                f"[yellow]note[/]: {uri}: searches leave out {left_out} of {plural(result.chunks, 'chunk')}"
            )
        if (failure := result.failure) is None:
            self._done += 1
            return
        if result.outcome is Outcome.LEFT_OUT:
            self._console.print(f"[yellow]note[/]: left out: {escape(on_one_line(failure.message))}")
        else:
            message = failure.message if _names(failure) else f"{failure.uri}: {failure.message}"
            self._console.print(f"[bold red]error\\[{failure.code}][/]: {escape(on_one_line(message))}")
            if failure.hint:
                self._console.print(f"  {escape(on_one_line(failure.hint))}")

    def stop(self) -> bool:
        return self._stop()


def _names(failure: SourceFailure) -> bool:
    """Whether the message says which file it is about, as an absolute path or from the working directory."""
    paths = (re.escape(path) for path in (failure.uri, os.path.relpath(failure.uri)))
    return any(re.search(rf"(?<!\S){path}(?!\w)", failure.message) for path in paths)
