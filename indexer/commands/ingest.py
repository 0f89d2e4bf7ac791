"""``indexer ingest``: files, folders and web pages into a collection."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from indexer.commands import erasing
from indexer.commands.index_file import warn, write_index
from indexer.commands.ingest_display import IngestDisplay
from indexer.commands.interruption import Interruption
from indexer.commands.options import collection_option
from indexer.job_run import ingest_lock, own_job
from indexer.parsing.isolation import IsolatedParsers
from indexer.pipeline import IngestPipeline
from indexer.report import counted, left_out_told
from indexer.web.expansion import all_sources, open_fetcher
from indexer.web.urls import is_url
from rag.commands.errors import EXIT_FAILED, usage
from rag.commands.json_output import json_line, json_lines_option, print_json
from rag.commands.paths import misnamed
from rag.config import load_settings
from rag.errors import InvalidRequest
from rag.factory import open_library
from rag.job_types import JobRequest
from rag.plurals import plural
from rag.quality_types import Quality
from rag.retrieval.filters import parse_metadata
from rag.unicode import is_storable, shown_path

if TYPE_CHECKING:
    from indexer.report import IngestReport, SourceResult
    from rag.config import Settings
    from rag.factory import Library
    from rag.types import MetadataValue


def metadata_from(given: tuple[str, ...]) -> dict[str, MetadataValue] | None:
    """The metadata of ``KEY=VALUE`` options; None if there are none. Raises InvalidRequest."""
    values: dict[str, object] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals:
            raise InvalidRequest(f"{each!r} is not metadata.", hint="Write --meta KEY=VALUE.")
        values[key] = _read_value(value)
    return parse_metadata(values) if given else None


metadata_option = click.option(
    "--meta",
    "metadata",
    multiple=True,
    metavar="KEY=VALUE",
    callback=usage(metadata_from),
    help="Say something of these files, for filters: a text, a number, true or false. Repeat for more; without it, "
    "what was said before stays.",
)


@click.command()
@click.argument("sources", nargs=-1, metavar="[PATH|URL]...")
@click.option(
    "--sitemap",
    "sitemaps",
    multiple=True,
    metavar="URL",
    help="Take in the pages that a site's sitemap, or index of sitemaps, lists. Repeat for more.",
)
@collection_option
@metadata_option
@click.option("--queue", is_flag=True, help="Leave it to `indexer worker`, and say only that it is queued.")
@json_lines_option
@click.pass_context
def ingest(
    ctx: click.Context,
    sources: tuple[str, ...],
    sitemaps: tuple[str, ...],
    collection: str,
    metadata: dict[str, MetadataValue] | None,
    queue: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Take in files, folders with all that is below them, and pages at URLs; what is unchanged is skipped.

    A site's robots.txt is heeded, and private addresses are refused unless RAG_FETCH_ALLOW names them.

    With --json, one JSON object is printed for each file and one for the whole run. Exits with 1 if a file failed; the
    others are kept. Pipes, broken links and links out of a folder are named and counted, and no failure. Ctrl-C
    finishes the files that are being embedded and stops; a second one, and one while files are looked for, stops at
    once. The run is a job like those of uploads: `indexer jobs` shows and cancels it.
    """
    if not sources and not sitemaps:
        raise click.UsageError("Name files, folders or URLs to take in, or a --sitemap.")
    if wrong := [why for source in sources if (why := misnamed(source)) is not None]:
        raise click.UsageError(wrong[0])
    settings = load_settings()
    request = JobRequest(
        collection=collection,
        paths=tuple(shown_path(text if is_url(text) else str(Path(text).absolute())) for text in sources),
        sitemaps=sitemaps,
        metadata=metadata,
        foreground=not queue,
    )
    if queue:
        if bad := [text for text in sources if not is_storable(text)]:
            raise InvalidRequest(f"The name of {shown_path(bad[0])} is not valid UTF-8.", hint="Rename it.")
        _put(settings, request, as_json=as_json)
        return
    with (
        open_library(settings, embeds_apart=True) as library,
        ingest_lock(library, collection),
        open_fetcher(settings) if sitemaps or any(map(is_url, sources)) else nullcontext() as fetcher,
    ):
        parsers = IsolatedParsers.limited_by(settings)
        with parsers, Interruption() as interruption:
            pipeline = IngestPipeline.over(library, parsers, fetcher=fetcher)
            on_result = print_result if as_json else None
            with (
                IngestDisplay(stop=interruption.requested, on_result=on_result) as display,
                own_job(library, request, inner=display) as job,
            ):
                named = all_sources(sources, sitemaps, fetcher, max_urls=settings.max_sitemap_urls, stop=job.stop)
                with interruption.looking():
                    found = list(counted(named, display))
                with interruption.working():
                    report = pipeline.ingest_sources(found, collection=collection, metadata=metadata, watcher=job)
                job.end(report)
        # One search for all of them: each may wait for a step of every running model.
        erased = library.erase_deleted() if report.replaced else None
        if erased is not None and as_json:
            print_json({"type": "model_state", **erasing.as_object(erased)})
        click.echo(json_line({**summary(report, collection), "job": job.id}) if as_json else sentence(report))
        if erased is not None:
            erasing.tell(erased, quiet=as_json)
        # Where no source was taken in there may be no collection, and nothing to write.
        if any(result.document_id is not None for result in report.results):
            settle_index(library, collection, as_json=as_json)
    left = erased is not None and erased.problem is not None
    ctx.exit(EXIT_FAILED if report.failed or report.skipped or left else 0)


def _put(settings: Settings, request: JobRequest, *, as_json: bool) -> None:
    with open_library(settings) as library:
        job = library.jobs.put(request)
    line = f"job {job.id} waits for `indexer worker`; `indexer jobs {job.id}` shows how far it is"
    told = {"type": "job", "job": job.id, "collection": request.collection, "state": job.state}
    click.echo(json_line(told) if as_json else line)


def _read_value(value: str) -> object:
    """As JSON if it is a number, true or false; a text of digits can be written in quotes."""
    try:
        read = json.loads(value)
    except ValueError:
        return value
    return read if isinstance(read, str | int | float) else value


def settle_index(library: Library, name: str, *, as_json: bool) -> None:
    """Write the index file of a collection that has changed, if that is worth it, and tell if it cannot be."""
    collection = library.store.collection(name)
    problem = write_index(library, collection)
    if problem is None:
        return
    if as_json:
        notice = {"type": "notice", "code": problem.code, "message": problem.message, "hint": problem.hint}
        print_json(notice)
    warn(problem)


def print_result(result: SourceResult) -> None:
    print_json(as_object(result))


def as_object(result: SourceResult) -> dict[str, Any]:
    """One line of ``--json``."""
    failure = result.failure
    return {
        "type": "file",
        "uri": result.uri,
        "outcome": result.outcome,
        "document_id": result.document_id,
        "chunks": result.chunks,
        "members": result.members,
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
        "files": report.files,
        "ingested": report.ingested,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "failed": len(report.failed),
        "left_out": report.left_out,
        "skipped": report.skipped,
        "chunks": report.chunks,
        "duplicates": report.duplicates,
        "near_duplicates": report.near_duplicates,
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
    left_out = f"; {left_out_told(report.left_out)}" if report.left_out else ""
    rate = f", {report.chunks / report.seconds:.0f}/s" if report.chunks > report.seconds > 0 else ""
    quality = Quality(duplicates=report.duplicates, near_duplicates=report.near_duplicates, flaws=report.flaws)
    told = quality.told()
    of_these = f" ({told})" if told else ""
    return f"{done}; {plural(report.chunks, 'chunk')}{of_these} in {report.seconds:.1f} s{rate}{left_out}"
