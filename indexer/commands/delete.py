"""``indexer delete``: documents out of a collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from indexer.commands.index_file import warn, write_index
from indexer.commands.options import collection_option, json_option
from indexer.sources import uri_of
from rag.commands.errors import printable
from rag.config import load_settings
from rag.errors import UnknownDocument
from rag.factory import open_library

if TYPE_CHECKING:
    from rag.stores.documents import SqlDocumentStore
    from rag.types import Collection, Document


@click.command()
@click.argument("documents", nargs=-1, required=True, metavar="DOCUMENT...")
@collection_option
@json_option
def delete(documents: tuple[str, ...], collection: str, as_json: bool) -> None:  # noqa: FBT001
    """Delete documents, each given by its id, its path or its URI. If one is unknown, none is deleted."""
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        found = {document.id: document for document in (find(library.store, target, name) for name in documents)}
        count = library.store.delete(target, found)
        if as_json:
            body = {"collection": collection, "deleted": count, "documents": msgspec.to_builtins(list(found.values()))}
            click.echo(json.dumps(body))
        else:
            for document in found.values():
                click.echo(f"deleted {document.id} {printable(document.uri)}")
        if (problem := write_index(library, library.store.collection(collection))) is not None:
            warn(problem)


def find(store: SqlDocumentStore, collection: Collection, name: str) -> Document:
    """The document with this URI, path or id, in this order: a file may be named ``12``. A damaged one too.

    Raises:
        UnknownDocument: there is none.
    """
    for uri in (name, uri_of(Path(name))):
        if (document := store.document_by_uri(collection, uri, damaged_too=True)) is not None:
            return document
    if name.isascii() and name.isdigit():
        return store.document(collection, int(name), damaged_too=True)
    raise UnknownDocument(
        f"There is no document {name!r} in the collection {collection.name!r}.",
        hint="`indexer list` shows the documents there are.",
    )
