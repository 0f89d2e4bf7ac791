"""What the ``rag eval`` commands share: their options, the questions being asked, files of rows and progress."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rag.commands.paths import NamedPath
from rag.errors import InvalidRequest
from rag.evaluation.answers import ScoredAnswer, answer_row, measure_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rag.evaluation.corpus import LoadedCorpus
    from rag.evaluation.dataset import Dataset, Query

directory_argument = click.argument("directory", type=NamedPath())
output_option = click.option(
    "--output",
    type=NamedPath(dir_okay=False),
    help="Write one JSON line per question here.",
)
answers_limit_option = click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Only N questions: the first N/2 answerable and the first N/2 unanswerable ones, in file order.",
)


async def ask(
    loaded: LoadedCorpus, dataset: Dataset, queries: Sequence[Query], rows_file: IO[str] | None, **fields: object
) -> list[ScoredAnswer]:
    """Ask and score all questions; each row goes to the file at once, after ``fields``."""
    rows: list[ScoredAnswer] = []
    with progress("Answering") as report:
        report(0, len(queries))
        async for row in measure_answers(loaded, dataset, queries):
            rows.append(row)
            write_row(rows_file, {**fields, **answer_row(row)})
            report(len(rows), len(queries))
    return rows


def require_some(queries: list[Query], why: str) -> list[Query]:
    """Raises InvalidRequest where there is no query."""
    if not queries:
        raise InvalidRequest(f"There is nothing to measure: {why}.")
    return queries


@contextmanager
def writing(path: Path | None) -> Iterator[IO[str] | None]:
    """The file of rows, if one is wanted. Raises InvalidRequest if it cannot be written."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {error.strerror}.", hint="Choose another --output.") from error
    with file:
        yield file


def write_row(file: IO[str] | None, row: dict[str, object]) -> None:
    if file is not None:
        # Flushed by the row: a run of an hour that is interrupted keeps what it measured.
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while the block runs, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def rounded(value: object) -> object:
    """Four decimals: more would claim a precision that no sample here has."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def shown(value: object) -> str:
    """A figure in a table for people."""
    return "–" if value is None else str(rounded(value))
