"""``indexer rollback``: back to the index file before the newest."""

from __future__ import annotations

import rich_click as click

from indexer.commands.options import collection_option
from rag.commands.errors import on_one_line
from rag.commands.json_output import json_option, print_json
from rag.config import load_settings
from rag.factory import open_library
from rag.plurals import plural


@click.command()
@collection_option
@json_option
def rollback(collection: str, as_json: bool) -> None:  # noqa: FBT001
    """Make a collection's previous index file the current one, and forget the newest.

    No document is lost: what has changed since that file was written is followed from the database, by running
    processes too.
    """
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        current = library.vectors.rollback(target)
    if as_json:
        print_json({"collection": collection, "seq": current.seq, "count": current.count})
        return
    click.echo(
        f"{on_one_line(collection)}: back to the index of {plural(current.count, 'vector')} at seq {current.seq}"
    )
