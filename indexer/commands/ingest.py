"""``indexer ingest``: files and folders into a collection."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from indexer.commands import erasing
from indexer.commands.index_file import warn, write_index
from indexer.commands.ingest_display import IngestDisplay
from indexer.commands.interruption import Interruption
from indexer.commands.options import collection_option, json_option
from indexer.isolation import IsolatedParsers
from indexer.pipeline import IngestPipeline
from rag.commands.errors import EXIT_FAILED
from rag.config import load_settings
from rag.errors import InvalidRequest
from rag.factory import open_library
from rag.quality_types import Quality
from rag.retrieval.filters import parse_metadata

if TYPE_CHECKING:
    from indexer.report import IngestReport, SourceResult
    from rag.factory import Library
    from rag.types import MetadataValue


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path, readable=False))
@collection_option
@click.option(
    "--meta",
    "metadata",
    multiple=True,
    metavar="KEY=VALUE",
    callback=lambda _ctx, _param, given: metadata_from(given),
    help="Say something of these files, for filters: a text, a number, true or false. Repeat for more; without it, "
    "what was said before stays.",
)
@json_option
@click.pass_context
def ingest(
    ctx: click.Context,
    paths: tuple[Path, ...],
    collection: str,
    metadata: dict[str, MetadataValue] | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Take in files, and folders with all that is below them; unchanged files are skipped.

    With --json, one JSON object is printed for each file and one for the whole run. Exits with 1 if a file failed; the
    others are kept. Ctrl-C finishes the current file and stops; a second one stops at once.
    """
    from rag.stores.ingest_lock import IngestLock

    settings = load_settings()
    with open_library(settings) as library, IngestLock(settings.home, collection):
        parsers = IsolatedParsers(timeout_s=settings.parse_timeout_s, memory_bytes=settings.parse_memory_bytes)
        with parsers, Interruption() as interruption:
            pipeline = IngestPipeline(
                store=library.store,
                embedder_for=library.embedder_for,
                parsers=parsers,
                max_file_bytes=settings.max_file_bytes,
                max_members=settings.max_members,
                max_unpacked_bytes=settings.max_unpacked_bytes,
            )
            on_result = _print_result if as_json else None
            with IngestDisplay(stop=interruption.requested, on_result=on_result) as display:
                report = pipeline.ingest(paths, collection=collection, metadata=metadata, watcher=display)
        # One search for all of them: each may wait for a step of every running model.
        erased = library.erase_deleted() if report.replaced else None
        if erased is not None and as_json:
            click.echo(json.dumps({"type": "model_state", **erasing.as_object(erased)}))
        click.echo(json.dumps(summary(report, collection)) if as_json else sentence(report))
        if erased is not None:
            erasing.tell(erased, quiet=as_json)
        # Where every source failed there may be no collection, and nothing to write.
        if len(report.failed) < len(report.results):
            _write_index(library, collection, as_json=as_json)
    left = erased is not None and erased.problem is not None
    ctx.exit(EXIT_FAILED if report.failed or report.skipped or left else 0)


def metadata_from(given: tuple[str, ...]) -> dict[str, MetadataValue] | None:
    """The metadata of ``KEY=VALUE`` options; None if there are none. Raises InvalidRequest."""
    values: dict[str, object] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals:
            raise InvalidRequest(f"{each!r} is not metadata.", hint="Write --meta KEY=VALUE.")
        values[key] = _read_value(value)
    return parse_metadata(values) if given else None


def _read_value(value: str) -> object:
    """As JSON if it is a number, true or false; a text of digits can be written in quotes."""
    try:
        read = json.loads(value)
    except ValueError:
        return value
    return read if isinstance(read, str | int | float) else value


def _write_index(library: Library, name: str, *, as_json: bool) -> None:
    collection = library.store.collection(name)
    # The first index file is written however small; later ones when enough has changed to be worth it.
    problem = write_index(library, collection, force=library.store.status(collection).generation is None)
    if problem is None:
        return
    if as_json:
        notice = {"type": "notice", "code": problem.code, "message": problem.message, "hint": problem.hint}
        click.echo(json.dumps(notice, ensure_ascii=False))
    warn(problem)


def _print_result(result: SourceResult) -> None:
    click.echo(json.dumps(as_object(result), ensure_ascii=False))


def as_object(result: SourceResult) -> dict[str, Any]:
    """One line of ``--json``."""
    failure = result.failure
    return {
        "type": "file",
        "uri": result.uri,
        "outcome": result.outcome,
        "document_id": result.document_id,
        "chunks": result.chunks,
        "quality": dataclasses.asdict(result.quality) if result.quality else None,
        "seconds": round(result.seconds, 3),
        "notices": list(result.notices),
        "error": {"code": failure.code, "message": failure.message, "hint": failure.hint} if failure else None,
    }


def summary(report: IngestReport, collection: str) -> dict[str, Any]:
    """The whole run in one line of ``--json``."""
    return {
        "type": "summary",
        "collection": collection,
        "files": len(report.results),
        "ingested": report.ingested,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "failed": len(report.failed),
        "skipped": report.skipped,
        "chunks": report.chunks,
        "duplicates": report.duplicates,
        "flaws": report.flaws,
        "seconds": round(report.seconds, 3),
    }


def sentence(report: IngestReport) -> str:
    """The run in one line for people."""
    counts = {
        "ingested": report.ingested,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "failed": len(report.failed),
        "not looked at": report.skipped,
    }
    done = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no files"
    rate = f", {report.chunks / report.seconds:.0f}/s" if report.chunks and report.seconds else ""
    told = Quality(duplicates=report.duplicates, flaws=report.flaws).told()
    of_these = f" ({told})" if told else ""
    return f"{done}; {report.chunks} chunks{of_these} in {report.seconds:.1f} s{rate}"
