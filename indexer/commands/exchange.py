"""``indexer export`` and ``indexer import``: a collection as a file that other programs read, and back."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from indexer.commands.erasing import tell
from indexer.commands.index_file import warn, write_index
from indexer.commands.options import collection_option, storable
from rag import __version__
from rag.commands.errors import EXIT_FAILED
from rag.commands.json_output import json_option, print_json
from rag.commands.paths import NamedPath
from rag.config import load_settings
from rag.factory import open_library
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rag.stores.exchange import Record


@click.command("export")
@click.argument("file", type=NamedPath(dir_okay=False))
@collection_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "parquet"]),
    default=None,
    help="JSON lines, or a Parquet table; parquet if FILE ends in .parquet, else jsonl.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
def export_collection(file: Path, collection: str, form: str | None, force: bool, as_json: bool) -> None:  # noqa: FBT001
    """Write a collection's documents with source text, chunks and embeddings.

    Everything is as of one moment, while others may write. FILE is there when it is complete.
    """
    from indexer.parquet import write_parquet
    from indexer.records import write_json_lines
    from rag.stores.archives.archive import file_errors, require_free, sync
    from rag.stores.exchange import records

    with open_library(load_settings()) as library:
        require_free(file, database=library.database.path, home=library.settings.home, force=force)
        target = library.store.collection(collection)
        exported = records(library.database, target, program=__version__)
        total = library.store.status(target).documents
        with (
            file_errors(f"the export to {file}"),
            TemporaryDirectory(prefix=f".{file.name}-", dir=file.absolute().parent) as scratch,
            _counting("exporting", total) as advance,
        ):
            unfinished = Path(scratch) / file.name
            write = write_parquet if (form or file.suffix) in ("parquet", ".parquet") else write_json_lines
            end = write(unfinished, _told(exported, advance))
            sync(unfinished)
            unfinished.replace(file)
            sync(file.absolute().parent)
    size = file.stat().st_size
    if as_json:
        body = {"file": str(file), "bytes": size, "collection": collection, "embedder": target.fingerprint.embedder}
        print_json({**body, "documents": end.documents, "chunks": end.chunks})
    else:
        click.echo(f"{file}: {plural(end.documents, 'document')}, {plural(end.chunks, 'chunk')}, {size:,} bytes")


@click.command("import")
@click.argument("file", type=NamedPath(dir_okay=False))
@click.option(
    "-c",
    "--collection",
    default=None,
    callback=storable,
    help="The collection to add to; the one it was exported from if left out.",
)
@json_option
@click.pass_context
def import_collection(ctx: click.Context, file: Path, collection: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Take in the documents of an export; what is there already is skipped, or replaced where it differs.

    Their embeddings are used as they are if the collection's embedder made them; otherwise the chunks are embedded
    anew. An import that was interrupted goes on when it is run again.
    """
    from indexer.importing import Import, read_header
    from indexer.job_run import ingest_lock
    from indexer.parquet import MAGIC, read_parquet
    from indexer.records import read_json_lines
    from rag.stores.archives.archive import file_errors

    settings = load_settings()
    with file_errors(f"the import from {file}", read=file), file.open("rb") as opened:
        table = opened.read(len(MAGIC)) == MAGIC
        opened.seek(0)
        reader = read_parquet(file) if table else read_json_lines(file, opened)
        header = read_header(reader)
        name = collection or header.collection
        with open_library(settings, embeds_apart=True) as library, ingest_lock(library, name):
            with _counting("importing", header.documents) as advance:
                importing = Import(
                    header,
                    reader,
                    store=library.store,
                    collection=name,
                    embedder=lambda: library.embedder_for(name),
                    advance=advance,
                )
                report = importing.run()
            erased = library.erase_deleted() if report.replaced else None
            target = library.store.collection(name)
            if (problem := write_index(library, target)) is not None:
                warn(problem)
    if erased is not None:
        tell(erased, quiet=as_json)
    failed = erased is not None and erased.problem is not None
    if as_json:
        print_json({"collection": name, **asdict(report)})
        ctx.exit(EXIT_FAILED if failed else 0)
    click.echo(
        f"{name}: {plural(report.imported, 'document')} imported, {report.replaced} replaced, {report.unchanged} "
        f"unchanged; {plural(report.chunks, 'chunk')}, {report.embedded} of them embedded anew"
    )
    if report.too_long:
        click.echo(
            f"note: {plural(report.too_long, 'chunk')} longer than this embedder reads: the rest is not searched by "
            "meaning.",
            err=True,
        )
    ctx.exit(EXIT_FAILED if failed else 0)


@contextmanager
def _counting(doing: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error, where that is a terminal; yields what is to be called after each document."""
    console = Console(stderr=True)
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("documents"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _told(exported: Iterator[Record], advance: Callable[[], None]) -> Iterator[Record]:
    from rag.stores.exchange import ExportedDocument

    for record in exported:
        if isinstance(record, ExportedDocument):
            advance()
        yield record
