"""``indexer rebuild``: the vector index anew."""

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
def rebuild(collection: str, as_json: bool) -> None:  # noqa: FBT001
    """Build a collection's vector index anew from the stored embeddings; no source is read, nothing is embedded.

    Searches go on meanwhile. To change the embedder, see `indexer reembed`.
    """
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        library.vectors.rebuild(target)
        chunks = library.store.status(target).chunks
    if as_json:
        print_json({"collection": collection, "chunks": chunks})
        return
    click.echo(f"{on_one_line(collection)}: {plural(chunks, 'chunk')} indexed")
