"""``rag eval gate``: the same questions with exact and with stitched passages, and a record of the outcome."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

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
    writing,
)
from rag.config import load_settings
from rag.errors import InvalidRequest
from rag.evaluation.answer_report import answer_report
from rag.evaluation.corpus import open_corpus
from rag.evaluation.dataset import load_dataset
from rag.inference.quality_gate import MIN_QUESTIONS, MIN_RATIO, GateFigures, GateRecord, GateStore
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rag.config import Settings
    from rag.evaluation.dataset import Dataset, Query
    from rag.model_types import GeneratorInfo, PassageReuse

# The settings an answer depends on, beside the model and the embedder.
_SETTINGS = (
    "top_k",
    "min_dense_score",
    "min_answerability",
    "max_answer_tokens",
    "context_tokens",
    "passage_order",
    "recomputed_passages",
)


@click.command()
@directory_argument
@json_option
@answers_limit_option
@output_option
def gate(directory: Path, as_json: bool, limit: int | None, output: Path | None) -> None:  # noqa: FBT001
    """Decide whether this model may stitch passages: ask the questions of DIRECTORY exactly and stitched.

    Takes twice the time of `rag eval answers`. The outcome is stored with the model, and RAG_PASSAGE_REUSE=auto follows
    it from the next start: stitched if F1 and citation precision are at least 0.97 of exact, on at least 40 questions.
    """
    settings = load_settings()
    if settings.generator_url:
        raise InvalidRequest(
            "A remote generator has no quality gate: its server decides what it reuses.",
            hint="Unset RAG_GENERATOR_URL to measure a local model.",
        )
    dataset = load_dataset(directory, need_answers=True)
    queries = require_some(dataset.answer_queries(limit), "answers.jsonl has no question")
    store = GateStore(settings.models_dir)
    if len(queries) >= MIN_QUESTIONS:
        store.require_writable()
    with writing(output) as rows_file:
        # Stitched first: a model that cannot be stitched is told before an hour has gone into exact answers.
        stitched, _, _ = _measure(settings, dataset, queries, "stitched", rows_file)
        exact, info, embedder = _measure(settings, dataset, queries, "exact", rows_file)
    record = GateRecord.of(
        model=info.model,
        sha256=info.sha256,
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        questions=min(_asked(exact), _asked(stitched)),
        exact=_figures(exact),
        stitched=_figures(stitched),
        settings={**{name: getattr(settings, name) for name in _SETTINGS}, "embedder": embedder},
    )
    obstacle = _obstacle(record, stitched)
    report = {
        "dataset": dataset.name,
        "generator": record.model,
        "questions": record.questions,
        "exact": exact,
        "stitched": stitched,
        "ratios": {name: _ratio(stitched[name], value) for name, value in exact.items()},
        "min_ratio": MIN_RATIO,
        "passed": None if obstacle else record.passed,
        "recorded": None if obstacle else str(store.write(record)),
        "not_recorded": obstacle,
    }
    if as_json:
        print_json(rounded(report))
    else:
        _show(report, exact, stitched)


def _measure(
    settings: Settings, dataset: Dataset, queries: Sequence[Query], reuse: PassageReuse, rows_file: IO[str] | None
) -> tuple[dict[str, object], GeneratorInfo, str]:
    """One run with a generator of its own, closed again before the next is loaded: its figures, model and embedder."""
    with ExitStack() as stack:
        with progress("Embedding the corpus") as report_progress:
            loaded = stack.enter_context(open_corpus(settings, dataset, report_progress, measured_reuse=reuse))
        loaded.library.warm_up()
        info = loaded.library.generator.info
        if info.passage_reuse != reuse:
            raise InvalidRequest(
                f"{info.model} has no quality gate to pass: its passages cannot be stitched. {info.reuse}".rstrip(),
                hint="It runs with exact passages, which need no gate.",
            )
        rows = asyncio.run(ask(loaded, dataset, queries, rows_file, run=reuse))
        return answer_report(rows), info, loaded.library.embedder.identity


def _asked(report: dict[str, object]) -> int:
    """Questions that could be asked as they stand."""
    questions, failed = report["questions"], report["failed"]
    assert isinstance(questions, int)  # noqa: S101 - answer_report's shape
    assert isinstance(failed, int)  # noqa: S101
    return questions - failed


def _figures(report: dict[str, object]) -> GateFigures:
    f1, precision = report["f1"], report["citation_precision"]
    return GateFigures(
        f1=f1 if isinstance(f1, float) else None,
        citation_precision=precision if isinstance(precision, float) else None,
    )


def _obstacle(record: GateRecord, stitched: dict[str, object]) -> str | None:
    """Why these figures are no basis for a record."""
    if record.questions < MIN_QUESTIONS:
        return f"{plural(record.questions, 'question')} asked; a record takes at least {MIN_QUESTIONS}."
    if not stitched["stitched_answers"]:
        return "No answer of the stitched run was made from stitched passages."
    return None


def _ratio(stitched: object, exact: object) -> float | None:
    if isinstance(stitched, int | float) and isinstance(exact, int | float) and exact:
        return stitched / exact
    return None


def _show(report: dict[str, object], exact: dict[str, object], stitched: dict[str, object]) -> None:
    table = Table("measure", "exact", "stitched", "ratio")
    for name, value in exact.items():
        ratio = _ratio(stitched[name], value)
        table.add_row(name, shown(value), shown(stitched[name]), "" if ratio is None else f"{ratio:.3f}")
    console = Console(soft_wrap=True)
    console.print(table)
    if report["not_recorded"]:
        console.print(f"[bold]Not judged[/]: {escape(str(report['not_recorded']))}")
        return
    verdict = "[green]passed[/]" if report["passed"] else "[red]not passed[/]"
    console.print(
        f"[bold]Gate {verdict}[/]: f1 and citation_precision must reach {MIN_RATIO} of exact. "
        f"Recorded in {escape(str(report['recorded']))}"
    )
