"""``indexer changes``, ``history`` and ``prune``: what was there before."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from indexer.commands.erasing import as_object, tell
from indexer.commands.options import Days, collection_option
from indexer.web.urls import stored_uri
from rag.commands.errors import EXIT_FAILED, on_one_line, usage
from rag.commands.json_output import json_lines_option, json_option, print_json
from rag.commands.times import time_from
from rag.config import load_settings
from rag.factory import open_library
from rag.plurals import plural
from rag.stores.versions.history import unknown_version
from rag.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rag.stores.versions.history import History
    from rag.types import Collection
    from rag.version_types import DocumentChange, DocumentVersion

_PAGE = 500
_WHEN = "A time like 2026-01-31T12:00:00Z, or how long ago: 90m, 12h, 7d, 2w."


@click.command()
@click.option("--since", metavar="TIME", callback=usage(time_from), help=f"Only later changes. {_WHEN}")
@click.option("--until", metavar="TIME", callback=usage(time_from), help="Only changes up to then.")
@collection_option
@json_lines_option
def changes(since: datetime | None, until: datetime | None, collection: str, as_json: bool) -> None:  # noqa: FBT001
    """Show which documents were added, replaced and deleted, oldest first, as far back as that is kept."""
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        found = all_changes(library.history, target, since=since, until=until)
        if as_json:
            for change in found:
                print_json(msgspec.to_builtins(change))
            return
        nothing = True
        for change in found:
            nothing = False
            click.echo(f"{change.at:<27} {change.kind:<8} {change.document_id} {on_one_line(change.uri)}")
        if nothing:
            begins = rfc3339(library.history.begins(target), "auto")
            click.echo(f"Nothing has changed. The history of {collection!r} begins at {begins}.")


@click.command()
@click.argument("document", metavar="DOCUMENT")
@collection_option
@json_option
def history(document: str, collection: str, as_json: bool) -> None:  # noqa: FBT001
    """Show the versions of a document that are kept, newest first; it is given by its id, its path or its URI.

    What it said at a time is found with `rag search --as-of` and `rag ask --as-of`.
    """
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        versions = library.history.versions(target, find_past(library.history, target, document))
    if as_json:
        body = {"collection": collection, "versions": msgspec.to_builtins(versions)}
        print_json(body)
        return
    click.echo(f"{versions[0].document_id} {on_one_line(versions[0].uri)}")
    for version in versions:
        chunks = plural(version.chunk_count, "chunk")
        click.echo(f"  {_period(version)}  {version.size:,} bytes, {chunks}  {version.sha256[:12]}")


@click.command()
@click.option(
    "--older-than",
    type=Days(),
    metavar="DAYS",
    help="Delete what ended longer ago than this; what the collection keeps if left out.",
)
@collection_option
@json_option
@click.pass_context
def prune(ctx: click.Context, older_than: float | None, collection: str, as_json: bool) -> None:  # noqa: FBT001
    """Delete versions of documents that were replaced or deleted long enough ago.

    Ingesting and running services do the same for what is older than the collection keeps (`indexer retain`).
    """
    with open_library(load_settings()) as library:
        library.finish_purges()
        target = library.store.collection(collection)
        age = None if older_than is None else timedelta(days=older_than)
        count = library.store.expire(target, older_than=age)
        erased = library.erase_deleted()
        begins = rfc3339(library.history.begins(target), "auto")
    if as_json:
        state = as_object(erased)
        body = {
            "collection": collection,
            "deleted": count,
            "history_begins": begins,
            "model_state": state,
        }
        print_json(body)
    else:
        click.echo(f"{on_one_line(collection)}: deleted {plural(count, 'version')}; the history begins at {begins}")
    tell(erased, quiet=as_json)
    ctx.exit(EXIT_FAILED if erased.problem else 0)


def find_past(history: History, collection: Collection, name: str) -> int:
    """The id of the document that has or had this URI or path, or the number that ``name`` is, whether there is a
    document with it or not. Raises UnknownDocument.
    """
    for uri in (name, stored_uri(name)):
        if (found := history.document_id(collection, uri)) is not None:
            return found
    if name.isascii() and name.isdigit():
        return int(name)
    raise unknown_version(name, collection)


def all_changes(
    history: History, collection: Collection, *, since: datetime | None, until: datetime | None
) -> Iterator[DocumentChange]:
    """Every change between two times, page by page."""
    after = None
    while page := history.changes(collection, since=since, until=until, after=after, limit=_PAGE):
        yield from (change for _, change in page)
        after = page[-1][0]


def _period(version: DocumentVersion) -> str:
    return f"{version.since:<27} – {version.until or 'now':<27}"
