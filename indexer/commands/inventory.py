"""``indexer list`` and ``indexer status``: what there is."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from indexer.commands.options import collection_option, json_option
from indexer.commands.retain import unlike_setting
from rag.commands.errors import on_one_line
from rag.config import load_settings
from rag.errors import UnknownCollection
from rag.factory import open_library
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.protocols import DocumentStore
    from rag.quality_types import Quality
    from rag.stores.documents import SqlDocumentStore
    from rag.types import Collection, CollectionStatus, Document, GenerationInfo

_PAGE = 500
_PIPE_WIDTH = 10_000
_COLUMNS = ("id", "title", "language", "chunks", "of these", "bytes", "updated", "source")
# What a document is named by; the others would leave nothing of it in a terminal of fewer columns.
_NARROW = ("id", "title", "chunks", "source")
_WIDE = 120


@click.command("list")
@collection_option
@json_option
def list_documents(collection: str, as_json: bool) -> None:  # noqa: FBT001
    """List the documents of a collection."""
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        documents = list(all_documents(library.store, target))
        qualities = library.store.qualities(target, [document.id for document in documents])
    if as_json:
        found = [
            msgspec.to_builtins(document) | {"quality": msgspec.to_builtins(quality)}
            for document, quality in zip(documents, qualities, strict=True)
        ]
        click.echo(json.dumps({"collection": collection, "documents": found}))
        return
    if not documents:
        click.echo(f"The collection {collection!r} is empty.")
        return
    # In a pipe there is no width to fit: every line is whole, for grep and awk.
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    columns = [each for each in _COLUMNS if console.width >= _WIDE or each in _NARROW]
    table = Table(box=None, pad_edge=False)
    for heading in columns:
        table.add_column(heading, justify="right" if heading in {"id", "chunks", "bytes"} else "left", overflow="fold")
    for document, quality in zip(documents, qualities, strict=True):
        named = (document.id, document.title, document.language or "")
        counted = (document.chunk_count, quality.told(), f"{document.size:,}")
        cells = dict(zip(_COLUMNS, (*named, *counted, document.updated_at[:19], document.uri), strict=True))
        table.add_row(*(escape(on_one_line(str(cells[heading]))) for heading in columns))
    console.print(table)


@click.command()
@json_option
def status(as_json: bool) -> None:  # noqa: FBT001
    """Show every collection: documents, chunks, embedder, the index with its kind and measured recall."""
    with open_library(load_settings()) as library:
        told = list(_told(library.store))
        home, note = str(library.settings.home), unlike_setting(library.settings, [state for state, _ in told])
    if note:
        click.echo(note, err=True)
    if as_json:
        found = [msgspec.to_builtins(state) | {"quality": _of_collection(quality)} for state, quality in told]
        click.echo(json.dumps({"home": home, "collections": found}))
        return
    if not told:
        click.echo(f"No documents yet in {home}. `indexer ingest PATH` takes some in.")
        return
    click.echo(f"{home}: {told[0][0].database_bytes:,} bytes")
    for state, quality in told:
        click.echo(_line(state, quality))


def all_documents(store: DocumentStore, collection: Collection) -> Iterator[Document]:
    """Every active document, page by page."""
    after = 0
    while page := store.documents(collection, limit=_PAGE, after=after):
        yield from page
        after = page[-1].id


def _told(store: SqlDocumentStore) -> Iterator[tuple[CollectionStatus, Quality]]:
    for collection in store.collections():
        with suppress(UnknownCollection):  # dropped since
            yield store.status(collection), store.quality(collection)


def _of_collection(quality: Quality) -> dict[str, Any]:
    """Without what is counted of documents alone."""
    counts: dict[str, Any] = msgspec.to_builtins(quality)
    del counts["near_duplicates"]
    return counts


def _index(file: GenerationInfo) -> str:
    how = f" ({file.kind}, recall@10 {file.recall_at_10:.3f})" if file.recall_at_10 is not None else ""
    return f"index of {plural(file.count, 'vector')} at seq {file.seq}{how}"


def _line(state: CollectionStatus, quality: Quality) -> str:
    collection, generation = state.collection, state.generation
    index = _index(generation) if generation else "index in memory only"
    documents, chunks = plural(state.documents, "document"), plural(state.chunks, "chunk")
    past = plural(state.past_versions, "past version")
    past = f", {past} since {state.history_begins[:19]}" if state.past_versions else ""
    told = f" ({quality.told()})" if quality.told() else ""
    kept = f", versions kept {state.retention_days:g} days" if state.retention_days else ", no versions kept"
    weight = "default" if collection.dense_weight is None else f"{collection.dense_weight:g}"
    return (
        f"{on_one_line(collection.name)}: {documents}, {chunks}{told}, seq {collection.seq}, {index}, "
        f"embedder {collection.fingerprint.embedder}, dense weight {weight}{kept}{past}"
    )
