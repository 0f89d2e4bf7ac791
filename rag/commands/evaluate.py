"""``rag eval``: how good retrieval and answers are, measured on labelled questions."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.console import Console
from rich.table import Table

from rag.commands.fusion import fusion
from rag.commands.gate import gate
from rag.commands.json_output import json_option, print_json
from rag.commands.measuring import (
    answers_limit_option,
    ask,
    directory_argument,
    output_option,
    progress,
    require_some,
    rounded,
    shown,
    write_row,
    writing,
)
from rag.config import load_settings
from rag.evaluation.answer_report import answer_report
from rag.evaluation.corpus import LoadedCorpus, open_corpus
from rag.evaluation.dataset import Dataset, load_dataset
from rag.evaluation.retrieval import QueryScores, measure_retrieval, retrieval_report
from rag.plurals import plural

if TYPE_CHECKING:
    from pathlib import Path


@click.group("eval")
def evaluate() -> None:
    """Measure retrieval and answers on a folder of labelled questions.

    The folder holds corpus.jsonl, queries.jsonl, qrels.tsv and answers.jsonl. Its corpus gets a store of its own
    under the data directory, so your documents are neither searched nor touched.
    """


evaluate.add_command(fusion)
evaluate.add_command(gate)


@evaluate.command()
@directory_argument
@json_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N judged queries, in file order.")
@output_option
def retrieval(directory: Path, as_json: bool, limit: int | None, output: Path | None) -> None:  # noqa: FBT001
    """Search for the queries of DIRECTORY with each leg and compare with its judgments; no language model is used."""
    dataset = load_dataset(directory)
    queries = require_some(dataset.judged_queries(limit), "qrels.tsv judges no document relevant to any query")
    with ExitStack() as stack:
        rows_file = stack.enter_context(writing(output))
        with progress("Embedding the corpus") as report_progress:
            loaded = stack.enter_context(open_corpus(load_settings(), dataset, report_progress))
        with progress("Searching") as report_progress:
            rows = measure_retrieval(loaded, dataset, queries, report_progress)
        for row in rows:
            write_row(rows_file, _query_row(row))
        report = {"dataset": dataset.name, **retrieval_report(rows), **_setting(loaded, dataset)}
    if as_json:
        print_json(rounded(report))
    else:
        _show_retrieval(report)


@evaluate.command()
@directory_argument
@json_option
@answers_limit_option
@output_option
def answers(directory: Path, as_json: bool, limit: int | None, output: Path | None) -> None:  # noqa: FBT001
    """Ask the questions of DIRECTORY and compare answers, citations and refusals with its references."""
    dataset = load_dataset(directory, need_answers=True)
    queries = require_some(dataset.answer_queries(limit), "answers.jsonl has no question")
    with ExitStack() as stack:
        rows_file = stack.enter_context(writing(output))
        with progress("Embedding the corpus") as report_progress:
            loaded = stack.enter_context(open_corpus(load_settings(), dataset, report_progress))
        loaded.library.warm_up()
        rows = asyncio.run(ask(loaded, dataset, queries, rows_file))
        settings, info = loaded.library.settings, loaded.library.generator.info
        report = {
            "dataset": dataset.name,
            **answer_report(rows),
            **_setting(loaded, dataset),
            "generator": info.model,
            "passage_reuse": info.passage_reuse,
            "top_k": settings.top_k,
            "min_dense_score": settings.min_dense_score,
            "min_answerability": settings.min_answerability,
        }
    if as_json:
        print_json(rounded(report))
    else:
        _show(report)


def _setting(loaded: LoadedCorpus, dataset: Dataset) -> dict[str, object]:
    return {
        "corpus": len(dataset.corpus),
        "truncated_passages": loaded.truncated,
        "empty_entries": loaded.empty,
        "embedder": loaded.library.embedder.identity,
    }


def _query_row(row: QueryScores) -> dict[str, object]:
    return {"_id": row.query.id, "leg": row.leg, **row.measures, "ranking": row.ranking}


def _show_retrieval(report: dict[str, Any]) -> None:
    table = Table("", "ndcg@10", "95% interval", "recall@10", "recall@100", "mrr@10")
    for leg in ("dense", "lexical", "hybrid"):
        figures = report[leg]
        low, high = figures["ndcg@10_ci95"]
        numbers = [f"{figures[name]:.3f}" for name in ("ndcg@10", "recall@10", "recall@100", "mrr@10")]
        table.add_row(leg, numbers[0], f"{low:.3f} – {high:.3f}", *numbers[1:])
    console = Console()
    console.print(table)
    console.print(
        f"[dim]{report['dataset']}: {plural(report['queries'], 'query')} over {plural(report['corpus'], 'document')}, "
        f"{report['truncated_passages']} of them embedded only in part[/]"
    )


def _show(report: dict[str, object]) -> None:
    table = Table("measure", "value")
    for name, value in report.items():
        table.add_row(name, shown(value))
    Console().print(table)
