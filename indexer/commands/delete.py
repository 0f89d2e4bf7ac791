"""``indexer delete``: documents out of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from indexer.commands.erasing import as_object, tell, tell_searched
from indexer.commands.history import find_past
from indexer.commands.index_file import warn, write_index
from indexer.commands.options import collection_option
from indexer.web.urls import stored_uri
from rag.commands.errors import EXIT_FAILED, on_one_line
from rag.commands.json_output import json_option, print_json
from rag.config import load_settings
from rag.errors import UnknownDocument
from rag.factory import open_library

if TYPE_CHECKING:
    from rag.stores.documents import SqlDocumentStore
    from rag.types import Collection, Document
    from rag.version_types import Searched


@click.command()
@click.argument("documents", nargs=-1, required=True, metavar="DOCUMENT...")
@click.option(
    "--purge",
    is_flag=True,
    help="Delete all their versions for good, those of deleted documents too, and report what was searched.",
)
@collection_option
@json_option
@click.pass_context
def delete(
    ctx: click.Context,
    documents: tuple[str, ...],
    purge: bool,  # noqa: FBT001
    collection: str,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Delete documents, each given by its id, its path or its URI. If one is unknown, none is deleted.

    They are not found any more from now on, and model state made of them is erased, on disk and in every process with
    a model over this data directory. Questions about the past (--as-of) find them as long as the collection keeps
    them (`indexer retain`), and until then index files may hold their vectors; --purge leaves nothing of them. Exits
    with 1 if a process does not confirm, or if a purge has left something.
    """
    with open_library(load_settings()) as library:
        library.finish_purges()
        target = library.store.collection(collection)
        if purge:
            named = {find_past(library.history, target, name): name for name in documents}
            report = library.purge(target, list(named))
            _tell(report, collection, named, as_json=as_json)
            ctx.exit(EXIT_FAILED if any(place.left for place in report) else 0)
        found = {document.id: document for document in (find(library.store, target, name) for name in documents)}
        count = library.store.delete(target, found)
        erased = library.erase_deleted()
        if as_json:
            body = {"collection": collection, "deleted": count, "documents": msgspec.to_builtins(list(found.values()))}
            print_json(body | {"model_state": as_object(erased)})
        else:
            for document in found.values():
                click.echo(f"deleted {document.id} {on_one_line(document.uri)}")
        tell(erased, quiet=as_json)
        if (problem := write_index(library, library.store.collection(collection))) is not None:
            warn(problem)
    ctx.exit(EXIT_FAILED if erased.problem else 0)


def _tell(report: list[Searched], collection: str, named: dict[int, str], *, as_json: bool) -> None:
    if as_json:
        searched = msgspec.to_builtins(report)
        complete = not any(place.left for place in report)
        print_json({"collection": collection, "purged": list(named), "complete": complete, "searched": searched})
        return
    for document_id, name in named.items():
        click.echo(f"purged {document_id} {on_one_line(name)}")
    tell_searched(report)


def find(store: SqlDocumentStore, collection: Collection, name: str) -> Document:
    """The document with this URI, path or id, in this order: a file may be named ``12``. A damaged one too.

    Raises:
        UnknownDocument: there is none.
    """
    for uri in (name, stored_uri(name)):
        if (document := store.document_by_uri(collection, uri, damaged_too=True)) is not None:
            return document
    if name.isascii() and name.isdigit():
        return store.document(collection, int(name), damaged_too=True)
    raise UnknownDocument(
        f"There is no document {name!r} in the collection {collection.name!r}.",
        hint="`indexer list` shows the documents there are.",
    )
