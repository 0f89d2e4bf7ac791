"""``indexer list`` and ``indexer status``: what there is."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from indexer.commands.options import collection_option
from indexer.commands.retain import unlike_setting
from rag.commands.errors import on_one_line
from rag.commands.json_output import json_line, json_option, print_json
from rag.config import load_settings
from rag.errors import UnknownCollection
from rag.factory import open_library
from rag.plurals import plural, plural_days

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rag.quality_types import Quality
    from rag.stores.documents import SqlDocumentStore
    from rag.types import Collection, CollectionStatus, Document, GenerationInfo

_PAGE = 500
_HEADINGS: Final = ("id", "title", "language", "chunks", "of these", "bytes", "updated", "source")
_NUMBERS: Final = frozenset({"id", "chunks", "bytes"})
# What a document is named by; the others would leave nothing of it in a terminal of fewer columns.
_NARROW: Final = frozenset({"id", "title", "chunks", "source"})
_WIDE: Final = 120


@click.command("list")
@collection_option
@json_option
def list_documents(collection: str, as_json: bool) -> None:  # noqa: FBT001
    """List the documents of a collection."""
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        pages = _pages(library.store, target)
        if as_json:
            written = ", ".join(_written(document, quality) for page in pages for document, quality in page)
            click.echo(f'{{"collection": {json_line(collection)}, "documents": [{written}]}}')
            return
        if not _print(pages):
            click.echo(f"The collection {collection!r} is empty.")


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
        stored = told[0][0].database_bytes if told else 0
        found = [_collection_as_object(state, quality) for state, quality in told]
        print_json({"home": home, "database_bytes": stored, "collections": found})
        return
    if not told:
        click.echo(f"No documents yet in {home}. `indexer ingest PATH` takes some in.")
        return
    click.echo(f"{home}: {told[0][0].database_bytes:,} bytes")
    for state, quality in told:
        click.echo(_line(state, quality))


def _pages(store: SqlDocumentStore, collection: Collection) -> Iterator[list[tuple[Document, Quality]]]:
    after = 0
    while documents := store.documents(collection, limit=_PAGE, after=after):
        qualities = store.qualities(collection, [document.id for document in documents])
        yield list(zip(documents, qualities, strict=True))
        after = documents[-1].id


def _written(document: Document, quality: Quality) -> str:
    return json_line(msgspec.to_builtins(document) | {"quality": msgspec.to_builtins(quality)})


def _print(pages: Iterable[list[tuple[Document, Quality]]]) -> bool:
    """A page at a time, for the last may come minutes after the first; whether there is any."""
    widths = [0] * len(_HEADINGS)
    heading: tuple[tuple[str, ...], ...] = (_HEADINGS,)
    for page in pages:
        rows = [*heading, *(tuple(on_one_line(str(cell)) for cell in _cells(*each)) for each in page)]
        if sys.stdout.isatty():
            _print_fitting(rows, headed=bool(heading))
        else:  # there is no width to fit: every line is whole, for grep and awk
            widths = [
                max(width, *map(cell_len, column))
                for width, column in zip(widths, zip(*rows, strict=True), strict=True)
            ]
            for row in rows:
                click.echo("  ".join(map(_padded, row, widths, _HEADINGS)).rstrip())
        heading = ()
    return not heading


def _padded(cell: str, width: int, heading: str) -> str:
    room = " " * (width - cell_len(cell))
    return room + cell if heading in _NUMBERS else cell + room


def _print_fitting(rows: list[tuple[str, ...]], *, headed: bool) -> None:
    console = Console()
    shown = [heading for heading in _HEADINGS if console.width >= _WIDE or heading in _NARROW]
    table = Table(box=None, pad_edge=False, show_header=headed)
    for heading in shown:
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left", overflow="fold")
    for row in rows[headed:]:
        cells = dict(zip(_HEADINGS, row, strict=True))
        table.add_row(*(escape(cells[heading]) for heading in shown))
    console.print(table)


def _cells(document: Document, quality: Quality) -> tuple[object, ...]:
    named = (document.id, document.title, document.language or "")
    counted = (document.chunk_count, quality.told(), f"{document.size:,}")
    return *named, *counted, document.updated_at, document.uri


def _told(store: SqlDocumentStore) -> Iterator[tuple[CollectionStatus, Quality]]:
    for collection in store.collections():
        with suppress(UnknownCollection):  # dropped since
            yield store.status(collection), store.quality(collection)


def _collection_as_object(state: CollectionStatus, quality: Quality) -> dict[str, Any]:
    """As the service has it, with counts; of the quality, without what is counted of documents alone."""
    shown: dict[str, Any] = msgspec.to_builtins(state)
    collection, index = shown.pop("collection"), shown.pop("generation")
    del collection["id"], shown["database_bytes"]
    counts = msgspec.to_builtins(quality)
    del counts["near_duplicates"]
    return {**collection, "index": index, **shown, "quality": counts}


def _index(file: GenerationInfo) -> str:
    how = f" ({file.kind}, recall@10 {file.recall_at_10:.3f})" if file.recall_at_10 is not None else ""
    return f"index of {plural(file.count, 'vector')} at seq {file.seq}{how}"


def _line(state: CollectionStatus, quality: Quality) -> str:
    collection, generation = state.collection, state.generation
    index = _index(generation) if generation else "index in memory only"
    documents, chunks = plural(state.documents, "document"), plural(state.chunks, "chunk")
    past = plural(state.past_versions, "past version")
    past = f", {past} since {state.history_begins}" if state.past_versions else ""
    told = f" ({quality.told()})" if quality.told() else ""
    kept = f", versions kept {plural_days(state.retention_days)}" if state.retention_days else ", no versions kept"
    weight = "default" if collection.dense_weight is None else f"{collection.dense_weight:g}"
    return (
        f"{on_one_line(collection.name)}: {documents}, {chunks}{told}, seq {collection.seq}, {index}, "
        f"embedder {collection.fingerprint.embedder}, dense weight {weight}{kept}{past}"
    )
