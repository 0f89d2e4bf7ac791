"""Shows a pull while it runs: a bar with rate and remaining time on a terminal, or JSON lines for programs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from rag.commands.json_output import print_json

if TYPE_CHECKING:
    from rich.progress import TaskID

    from rag.catalog import ResolvedModel
    from rag.catalog.progress import PullEvent

_SECONDS_BETWEEN_LINES = 1.0


def human_bytes(count: int) -> str:
    """Return a size in decimal units, such as ``1.1 GB``."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


class TerminalProgress:
    """Draws on standard error, the moving parts only where it is a terminal. Results go to standard output."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: PullEvent) -> None:
        match event.phase:
            case "downloading" | "placed":
                self._progress.update(self._task(event), description=event.model, completed=event.done)
            case "verifying":
                self._progress.update(self._task(event), description=f"{event.model}: verifying")
            case "waiting":
                self._say(f"{event.model}: waiting, {event.message}")
            case "failed":
                self._say(f"{event.model}: {event.source} failed: {event.message}")

    def ready(self, model: ResolvedModel) -> None:
        click.echo(f"{model.name}: {model.path}")

    def _task(self, event: PullEvent) -> TaskID:
        if event.model not in self._tasks:
            self._tasks[event.model] = self._progress.add_task(event.model, total=event.total)
        return self._tasks[event.model]

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class JsonLines:
    """Prints events as JSON lines on standard output, running ones at most once a second."""

    def __init__(self) -> None:
        self._next_line = 0.0
        self._began = (0.0, 0)  # when the present source began, and the bytes done by then

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put away."""

    def __call__(self, event: PullEvent) -> None:
        now = time.monotonic()
        if event.phase == "source":
            self._began = (now, event.done)
        if event.phase in ("downloading", "verifying"):
            if now < self._next_line:
                return
            self._next_line = now + _SECONDS_BETWEEN_LINES
        if event.phase == "ready":  # printed by ready(), with the path
            return
        line: dict[str, object] = {"type": event.phase, "model": event.model}
        line |= {key: value for key in ("source", "file", "message") if (value := getattr(event, key))}
        if event.total:
            line |= {"bytes": event.done, "bytes_total": event.total}
        if event.phase == "downloading":
            line |= self._pace(event, now)
        print_json(line)

    def ready(self, model: ResolvedModel) -> None:
        line = {"type": "ready", "model": model.name, "path": str(model.path), "sha256": model.sha256}
        print_json(line)

    def _pace(self, event: PullEvent, now: float) -> dict[str, object]:
        began, at = self._began
        arrived, seconds = event.done - at, now - began
        if arrived <= 0 or seconds <= 0:
            return {}
        rate = arrived / seconds
        return {"bytes_per_second": round(rate), "seconds_left": round((event.total - event.done) / rate, 1)}
