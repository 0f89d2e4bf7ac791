"""Shows a re-embedding while it runs: a bar on a terminal, or a JSON object for every batch."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from indexer.reembedding import Watcher
from rag.commands.json_output import print_json
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from indexer.reembedding import ReembedReport, Validation
    from rag.types import Collection


class ReembedDisplay(Watcher):
    """Draws on standard error where that is a terminal; with ``as_json`` prints on standard output instead."""

    def __init__(self, *, as_json: bool, stop: Callable[[], bool]) -> None:
        self._as_json = as_json
        self._stop = stop
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            console=console,
            disable=as_json or not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("embedding", total=None, unit="")
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def progress(self, done: int, total: int) -> None:
        began, before = self._began = self._began or (time.monotonic(), done)
        elapsed = time.monotonic() - began
        rate = (done - before) / elapsed if elapsed else 0.0
        self._bar.update(
            self._task, description="embedding", completed=done, total=total, unit=f"chunks · {rate:.0f}/s ·"
        )
        self._print({"type": "progress", "done": done, "total": total, "chunks_per_second": round(rate, 1)})

    def recut(self, done: int, total: int) -> None:
        self._bar.update(self._task, description="cutting", completed=done, total=total, unit="documents ·")
        self._print({"type": "recut", "done": done, "total": total})

    def step(self, name: str) -> None:
        self._bar.update(self._task, description=name)
        self._print({"type": "step", "name": name})

    def validated(self, validation: Validation) -> None:
        self._print({"type": "validation", **asdict(validation)})
        if not self._as_json:
            self._bar.stop()  # a line on standard output would begin where the bar ends
            click.echo(sentence(validation))
            self._bar.start()

    def stop(self) -> bool:
        return self._stop()

    def _print(self, line: dict[str, object]) -> None:
        if self._as_json:
            print_json(line)


def tell_notes(report: ReembedReport) -> None:
    """What to do about what a run could not do, on standard error."""
    if report.too_long:
        click.echo(
            f"note: {plural(report.too_long, 'chunk')} longer than this embedder reads: the rest is not searched by "
            "meaning; `indexer reembed --rechunk` cuts documents to its length.",
            err=True,
        )
    if report.without_outline:
        click.echo(
            f"note: {plural(report.without_outline, 'document')} not cut anew, for want of what that takes: it was not "
            "stored at the time; `indexer ingest` of the same paths replaces what was not.",
            err=True,
        )


def tell_weight(collection: Collection) -> None:
    """That a tuned weight was measured on other passages, on standard error."""
    if collection.dense_weight is not None:
        click.echo(
            f"note: the dense weight of {collection.dense_weight:g} was tuned on the former passages and stays, as it "
            "belongs to the embedder; `rag tune` measures it again.",
            err=True,
        )


def sentence(validation: Validation) -> str:
    """What was measured, in one line for people."""
    parts = [plural(validation.chunks, "chunk"), f"index {validation.index}, recall@10 {validation.recall_at_10:.3f}"]
    if validation.found is not None:
        before = "not measured" if validation.found_before is None else f"{validation.found_before:.1%}"
        parts.append(
            f"{validation.found:.1%} of {plural(validation.queries, 'sample query')} found their passage in the first "
            f"{validation.k} (before: {before})"
        )
    return "validated: " + "; ".join(parts)
