"""``indexer rename``: another name for a collection."""

from __future__ import annotations

import rich_click as click

from indexer.commands.options import storable
from rag.commands.errors import on_one_line
from rag.commands.json_output import json_option, print_json
from rag.config import load_settings
from rag.factory import open_library


@click.command()
@click.argument("collection")
@click.argument("name", callback=storable)
@json_option
def rename(collection: str, name: str, as_json: bool) -> None:  # noqa: FBT001
    """Call COLLECTION by another NAME, with all that is in it, its past versions, and what jobs tell of it.

    Nothing is read or embedded anew, and every running program knows the new name, and no more the other, from its
    next search on. It is refused where there is a collection of that name, and while something is taken into the
    collection, waits to be (`indexer jobs`), or is embedded anew. Whatever names it (RAG_* settings, `indexer watch`,
    callers of the service) has to be changed by hand: ingesting into the former name makes a new collection.
    """
    with open_library(load_settings()) as library:
        library.rename(library.store.collection(collection), name)
    if as_json:
        print_json({"collection": name, "was": collection})
    else:
        click.echo(f"renamed {on_one_line(collection)} to {on_one_line(name)}")
