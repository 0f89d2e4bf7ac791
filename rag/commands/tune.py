"""``rag tune``: how much a collection's searches go by meaning and how much by words, chosen on labelled queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from rag.commands.errors import on_one_line
from rag.commands.json_output import json_option, print_json
from rag.commands.measuring import progress, rounded
from rag.commands.paths import NamedPath
from rag.config import load_settings
from rag.evaluation.labelled import read_labelled, require_stored, search_labelled
from rag.evaluation.tuning import MIN_GAIN, MIN_QUERIES, require_enough, tune
from rag.factory import open_library
from rag.plurals import plural
from rag.retrieval.fusion import DENSE_WEIGHT
from rag.types import DEFAULT_COLLECTION

if TYPE_CHECKING:
    from pathlib import Path

    from rag.evaluation.labelled import LabelledQuery
    from rag.evaluation.tuning import Tuning
    from rag.factory import Library
    from rag.types import Collection


@click.command("tune")
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True, help="The collection to tune.")
@click.option(
    "--queries",
    "path",
    type=NamedPath(),
    help=f"Labelled queries, at least {MIN_QUERIES}: JSON lines, or a folder with queries.jsonl and qrels.tsv.",
)
@click.option("--reset", is_flag=True, help="Go back to the default weight instead.")
@click.option("--dry-run", is_flag=True, help="Measure, and change nothing.")
@json_option
def tune_collection(collection: str, path: Path | None, reset: bool, dry_run: bool, as_json: bool) -> None:  # noqa: FBT001
    """Choose the weight of similarity in meaning, beside full text, that a collection's searches rank with.

    Each line of the queries says what is relevant by documents, chunks, or words that a relevant passage contains:
    {"query": "...", "uris": [...], "chunk_ids": [...], "contains": [...]}. The weight is changed only where queries
    that had no part in its choice gain clearly; every process searches with it at once. An interrupted run changes
    nothing.
    """
    if (path is None) == (not reset):
        raise click.UsageError("Give either --queries or --reset.")
    queries = [] if path is None else read_labelled(path)
    if path is not None:
        require_enough(len(queries))
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        tuning = None if path is None else _measure(library, target, queries)
        wanted = _wanted(target, tuning)
        if wanted != target.dense_weight and not dry_run:
            library.store.set_dense_weight(target, wanted)
    changed = wanted != target.dense_weight and not dry_run
    if as_json:
        body = {"collection": collection, "dense_weight": wanted if changed else target.dense_weight}
        print_json(rounded({**body, "changed": changed, **_figures(tuning)}))
    else:
        _show(target, tuning, wanted, changed=changed)


def _measure(library: Library, collection: Collection, queries: list[LabelledQuery]) -> Tuning:
    require_stored(library, collection, queries)
    found = []
    with progress("Searching") as report_progress:
        for done, query in enumerate(queries):
            report_progress(done, len(queries))
            found.append(search_labelled(library, collection, query))
    return tune(found, _weight(collection.dense_weight))


def _weight(stored: float | None) -> float:
    return DENSE_WEIGHT if stored is None else stored


def _wanted(collection: Collection, tuning: Tuning | None) -> float | None:
    """The weight to store: the tuned one where it is clearly better, the present one where not, none to reset."""
    if tuning is None:
        return None
    return tuning.best if tuning.clear else collection.dense_weight


def _figures(tuning: Tuning | None) -> dict[str, object]:
    if tuning is None:
        return {}
    return {
        "queries": tuning.queries,
        "before": {
            "dense_weight": tuning.before,
            "ndcg@10": tuning.before_ndcg,
            "ndcg@10_ci95": tuning.before_interval,
        },
        "best": {"dense_weight": tuning.best, "ndcg@10": tuning.best_ndcg, "ndcg@10_ci95": tuning.best_interval},
        "gain": tuning.gain,
        "gain_ci99": tuning.gain_interval,
        "clear": tuning.clear,
    }


def _show(collection: Collection, tuning: Tuning | None, wanted: float | None, *, changed: bool) -> None:
    if tuning is not None:
        before, best, gain = tuning.before_interval, tuning.best_interval, tuning.gain_interval
        click.echo(f"{plural(tuning.queries, 'labelled query')}, ndcg@10 with 95% intervals, the gain with a 99% one")
        click.echo(f"now   weight {tuning.before:g}: {tuning.before_ndcg:.3f} ({before[0]:.3f} – {before[1]:.3f})")
        click.echo(f"best  weight {tuning.best:g}: {tuning.best_ndcg:.3f} ({best[0]:.3f} – {best[1]:.3f})")
        click.echo(f"gain on queries left out: {tuning.gain:+.3f} ({gain[0]:+.3f} – {gain[1]:+.3f})")
        if not tuning.clear:
            click.echo(f"Not a clear gain: it takes at least {MIN_GAIN}, and an interval above 0.")
    name = "the default" if wanted is None else f"{wanted:g}"
    if changed:
        click.echo(f"{on_one_line(collection.name)}: the dense weight is {name} now")
    elif wanted != collection.dense_weight:
        click.echo(f"{on_one_line(collection.name)}: the dense weight would become {name}; nothing was changed")
    else:
        click.echo(f"{on_one_line(collection.name)}: the dense weight stays {name}")
