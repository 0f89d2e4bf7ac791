"""Shows a backup or a restore while it runs: a bar on standard error, where that is a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.stores.archives.archive import Report


@contextmanager
def reporting() -> Iterator[Report]:
    """Yields what is to be told of the progress: one bar, begun again with each thing that is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("")

        def report(doing: str, done: int, total: int) -> None:
            if progress.tasks[task].description != doing:
                progress.reset(task, description=doing)
            progress.update(task, completed=done, total=total)

        yield report
