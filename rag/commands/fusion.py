"""``rag eval fusion``: ways to make one ranking of two legs, compared on labelled questions."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.console import Console
from rich.table import Table

from rag.commands.json_output import json_option, print_json
from rag.commands.measuring import progress, require_some, rounded
from rag.commands.paths import NamedPath
from rag.config import load_settings
from rag.evaluation.corpus import open_corpus
from rag.evaluation.dataset import load_dataset
from rag.evaluation.fusion_report import fusion_report, macro_report, measure_fusion
from rag.plurals import plural

if TYPE_CHECKING:
    from pathlib import Path

    from rag.evaluation.fusion_report import Tables


@click.command()
@click.argument("directories", nargs=-1, required=True, type=NamedPath())
@json_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N judged queries of each, in file order.")
def fusion(directories: tuple[Path, ...], as_json: bool, limit: int | None) -> None:  # noqa: FBT001
    """Compare ways to fuse both legs, and weights of the dense leg, on the queries of each of DIRECTORIES.

    Every query is searched for once. docs/evaluation.md says what the methods are and what came out.
    """
    sets: list[dict[str, Any]] = []
    tables: list[Tables] = []
    for directory in directories:
        dataset = load_dataset(directory)
        queries = require_some(dataset.judged_queries(limit), "qrels.tsv judges no document relevant to any query")
        with ExitStack() as stack:
            with progress(f"Embedding {dataset.name}") as report_progress:
                loaded = stack.enter_context(open_corpus(load_settings(), dataset, report_progress))
            with progress(f"Searching {dataset.name}") as report_progress:
                tables.append(measure_fusion(loaded, dataset, queries, report_progress))
        sets.append({"dataset": dataset.name, "queries": len(queries), "methods": fusion_report(tables[-1])})
    macro: dict[str, Any] = macro_report(tables)
    if as_json:
        print_json(rounded({"sets": sets, "macro": macro}))
    else:
        _show(sets, macro)


def _show(sets: list[dict[str, Any]], macro: dict[str, Any]) -> None:
    console = Console()
    for measured in sets:
        table = Table("method", "equal weights", "95% interval", "best weight", "ndcg@10", "95% interval")
        for method, figures in measured["methods"].items():
            equal, best = figures["equal"], figures["best"]
            table.add_row(method, *_figure(equal), f"{best['dense_weight']:g}", *_figure(best))
        console.print(f"[bold]{measured['dataset']}[/]: ndcg@10 over {plural(measured['queries'], 'query')}")
        console.print(table)
    if len(sets) > 1:
        table = Table("method", "equal weights", "best weight for all", "ndcg@10", "each set's own best")
        for method, figures in macro.items():
            best = figures["best"]
            numbers = (f"{best['dense_weight']:g}", f"{best['ndcg@10']:.3f}", f"{figures['own_best']:.3f}")
            table.add_row(method, f"{figures['equal']:.3f}", *numbers)
        console.print(f"[bold]mean of {plural(len(sets), 'set')}[/]")
        console.print(table)


def _figure(measured: dict[str, Any]) -> tuple[str, str]:
    low, high = measured["ndcg@10_ci95"]
    return f"{measured['ndcg@10']:.3f}", f"{low:.3f} – {high:.3f}"
