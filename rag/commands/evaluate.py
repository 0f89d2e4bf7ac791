"""``rag eval``: how good retrieval and answers are, measured on labelled questions."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rag.config import load_settings
from rag.errors import InvalidRequest
from rag.evaluation.answer_report import answer_report
from rag.evaluation.answers import ScoredAnswer, answer_row, measure_answers
from rag.evaluation.corpus import LoadedCorpus, open_corpus
from rag.evaluation.dataset import Dataset, Query, load_dataset
from rag.evaluation.retrieval import QueryScores, measure_retrieval, retrieval_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_directory = click.argument("directory", type=click.Path(path_type=Path, readable=False))
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_output = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    help="Write one JSON line per question here.",
)


@click.group()
def evaluate() -> None:
    """Measure retrieval and answers on a folder of labelled questions.

    The folder holds corpus.jsonl, queries.jsonl, qrels.tsv and answers.jsonl. Its corpus gets a store of its own
    under the data directory, so your documents are neither searched nor touched.
    """


@evaluate.command()
@_directory
@_json
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N judged queries, in file order.")
@_output
def retrieval(directory: Path, as_json: bool, limit: int | None, output: Path | None) -> None:  # noqa: FBT001
    """Search for the queries of DIRECTORY with each leg and compare with its judgments; no language model is used."""
    dataset = load_dataset(directory)
    queries = _some(dataset.judged_queries(limit), "qrels.tsv judges no document relevant to any query")
    with ExitStack() as stack:
        rows_file = stack.enter_context(_writing(output))
        with _progress("Embedding the corpus") as progress:
            loaded = stack.enter_context(open_corpus(load_settings(), dataset, progress))
        with _progress("Searching") as progress:
            rows = measure_retrieval(loaded, dataset, queries, progress)
        for row in rows:
            _write(rows_file, _query_row(row))
        report = {"dataset": dataset.name, **retrieval_report(rows), **_setting(loaded, dataset)}
    if as_json:
        click.echo(json.dumps(_rounded(report), ensure_ascii=False))
    else:
        _show_retrieval(report)


@evaluate.command()
@_directory
@_json
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Only N questions: the first N/2 answerable and the first N/2 unanswerable ones, in file order.",
)
@_output
def answers(directory: Path, as_json: bool, limit: int | None, output: Path | None) -> None:  # noqa: FBT001
    """Ask the questions of DIRECTORY and compare answers, citations and refusals with its references."""
    dataset = load_dataset(directory, need_answers=True)
    queries = _some(dataset.answer_queries(limit), "answers.jsonl has no question")
    with ExitStack() as stack:
        rows_file = stack.enter_context(_writing(output))
        with _progress("Embedding the corpus") as progress:
            loaded = stack.enter_context(open_corpus(load_settings(), dataset, progress))
        loaded.library.warm_up()
        with _progress("Answering") as progress:
            rows = asyncio.run(_ask(loaded, dataset, queries, rows_file, progress))
        settings = loaded.library.settings
        report = {
            "dataset": dataset.name,
            **answer_report(rows),
            **_setting(loaded, dataset),
            "generator": loaded.library.generator.info.model,
            "top_k": settings.top_k,
            "min_dense_score": settings.min_dense_score,
            "min_answerability": settings.min_answerability,
        }
    if as_json:
        click.echo(json.dumps(_rounded(report), ensure_ascii=False))
    else:
        _show(report)


async def _ask(
    loaded: LoadedCorpus,
    dataset: Dataset,
    queries: Sequence[Query],
    rows_file: IO[str] | None,
    progress: Callable[[int, int], None],
) -> list[ScoredAnswer]:
    rows: list[ScoredAnswer] = []
    progress(0, len(queries))
    async for row in measure_answers(loaded, dataset, queries):
        rows.append(row)
        _write(rows_file, answer_row(row))
        progress(len(rows), len(queries))
    return rows


def _some(queries: list[Query], why: str) -> list[Query]:
    if not queries:
        raise InvalidRequest(f"There is nothing to measure: {why}.")
    return queries


def _setting(loaded: LoadedCorpus, dataset: Dataset) -> dict[str, object]:
    return {
        "corpus": len(dataset.corpus),
        "truncated_passages": loaded.truncated,
        "empty_entries": loaded.empty,
        "embedder": loaded.library.embedder.identity,
    }


def _query_row(row: QueryScores) -> dict[str, object]:
    return {"_id": row.query.id, "leg": row.leg, **row.measures, "ranking": row.ranking}


@contextmanager
def _writing(path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {error.strerror}.", hint="Choose another --output.") from error
    with file:
        yield file


def _write(file: IO[str] | None, row: dict[str, object]) -> None:
    if file is not None:
        # Flushed by the row: a run of an hour that is interrupted keeps what it measured.
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while the block runs, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _rounded(value: object) -> object:
    """Four decimals: more would claim a precision that no sample here has."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def _show_retrieval(report: dict[str, object]) -> None:
    table = Table("", "ndcg@10", "95% interval", "recall@10", "recall@100", "mrr@10")
    for leg in ("dense", "lexical", "hybrid"):
        figures = report[leg]
        assert isinstance(figures, dict)  # noqa: S101 - retrieval_report's shape
        low, high = figures["ndcg@10_ci95"]
        numbers = [f"{figures[name]:.3f}" for name in ("ndcg@10", "recall@10", "recall@100", "mrr@10")]
        table.add_row(leg, numbers[0], f"{low:.3f} – {high:.3f}", *numbers[1:])
    console = Console()
    console.print(table)
    console.print(
        f"[dim]{report['dataset']}: {report['queries']} queries over {report['corpus']} documents, "
        f"{report['truncated_passages']} of them embedded only in part[/]"
    )


def _show(report: dict[str, object]) -> None:
    table = Table("measure", "value")
    for name, value in report.items():
        shown = _rounded(value)
        table.add_row(name, "–" if shown is None else str(shown))
    Console().print(table)
