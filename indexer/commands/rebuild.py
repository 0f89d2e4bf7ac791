"""``indexer rebuild``: the vector index anew, and with ``--embed`` the embeddings, too."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np
import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from indexer.commands.options import collection_option, json_option
from indexer.pipeline import fingerprint_of
from rag.config import load_settings
from rag.embedding.context import contextual_text
from rag.factory import open_library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rag.factory import Library
    from rag.types import Collection

_BATCH: Final = 512


@click.command()
@collection_option
@click.option("--embed", is_flag=True, help="Embed every stored chunk anew with the configured embedder.")
@json_option
def rebuild(collection: str, embed: bool, as_json: bool) -> None:  # noqa: FBT001
    """Build a collection's vector index anew from what is stored; no source is read again.

    After RAG_EMBEDDER has changed, --embed brings a collection over to it. Searches use the old embeddings until the
    new ones are complete.
    """
    from rag.stores.ingest_lock import IngestLock

    settings = load_settings()
    with open_library(settings) as library, IngestLock(settings.home, collection):
        target = library.store.collection(collection)
        too_long = _embed_anew(library, target) if embed else 0
        target = library.store.collection(collection)
        library.vectors.rebuild(target)
        chunks = library.store.status(target).chunks
    embedder = target.fingerprint.embedder
    if as_json:
        body = {"collection": collection, "chunks": chunks, "embedder": embedder, "too_long": too_long}
        click.echo(json.dumps(body))
        return
    click.echo(f"{collection}: {chunks} chunks indexed with {embedder}")
    if too_long:
        click.echo(
            f"note: {too_long} chunks are longer than this embedder reads, so their ends are not searched by meaning; "
            "delete and ingest their documents again to cut them to its length.",
            err=True,
        )


def _embed_anew(library: Library, collection: Collection) -> int:
    """Replace all embeddings; returns how many chunks the embedder could not read to their end."""
    embedder = library.embedder
    too_long = 0
    console = Console(stderr=True)
    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TextColumn("chunks"), TimeRemainingColumn())
    progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)

    def batches() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        nonlocal too_long
        inputs = library.store.embedding_inputs(collection)
        while batch := list(islice(inputs, _BATCH)):
            texts = [contextual_text(item.title, item.heading_path, item.text) for item in batch]
            too_long += sum(count > embedder.max_tokens for count in embedder.count_tokens(texts))
            yield np.array([item.chunk_id for item in batch], dtype=np.int64), embedder.embed_passages(texts)
            progress.advance(task, len(batch))

    with progress:
        task = progress.add_task("", total=library.store.status(collection).chunks)
        library.store.replace_embeddings(collection, fingerprint_of(embedder), batches())
    return too_long
