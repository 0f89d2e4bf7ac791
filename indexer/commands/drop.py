"""``indexer drop``: a whole collection, for good."""

from __future__ import annotations

import msgspec
import rich_click as click

from indexer.commands.erasing import tell_searched
from rag.commands.errors import EXIT_FAILED, on_one_line
from rag.commands.json_output import json_option, print_json
from rag.config import load_settings
from rag.factory import open_library
from rag.plurals import plural


@click.command()
@click.argument("collection")
@click.option(
    "--purge",
    is_flag=True,
    help="Overwrite the bytes of it, too, and take it out of what jobs tell, as `indexer delete --purge` does.",
)
@json_option
@click.pass_context
def drop(ctx: click.Context, collection: str, purge: bool, as_json: bool) -> None:  # noqa: FBT001
    """Remove COLLECTION with all its documents, their past versions, embeddings, index files and settings.

    There is no way back but a backup or an export, and no question about the past finds any of it. Searches may go on
    meanwhile. It is refused while something is taken into the collection, waits to be (`indexer jobs`), or is embedded
    anew. Without --purge the database file keeps its size, and has room for other documents. Exits with 1 if something
    is left, and says where. If it is killed, the next command that writes goes on with it.
    """
    with open_library(load_settings()) as library:
        report = library.drop(library.store.collection(collection), purge=purge)
        library.finish_purges()
    if as_json:
        body = {"documents": report.documents, "chunks": report.chunks, "complete": report.complete}
        searched = msgspec.to_builtins(report.searched)
        print_json({"collection": collection, **body, "searched": searched})
    else:
        counts = f"{plural(report.documents, 'document')}, {plural(report.chunks, 'chunk')}"
        click.echo(f"dropped {on_one_line(collection)}: {counts}")
        tell_searched(report.searched)
    ctx.exit(0 if report.complete else EXIT_FAILED)
