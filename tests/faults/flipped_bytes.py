"""A data directory with a history, what a reader gets from it, and a byte of one of its files flipped."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.factory import open_library
from rag.source_types import SourceRecord
from rag.stores.embeddings import embedding_sets, reembedding
from rag.stores.index.vectors import encode
from rag.types import ChunkDraft, Span
from tests.contracts.store_builders import fingerprint, swap_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.factory import Library

EMBEDDERS = [HashingEmbedder(name=name) for name in ("first", "second", "third")]
MANY = 1000
QUERIES = ("water pump pressure", "holiday notice period")

# Fills no piece of a page twice, so that every byte of a text can be told from its neighbours.
WORDS = "water pump pressure holiday notice period valve manual contract employee summer winter filter engine".split()


def write_history(home: Path) -> None:
    """Documents taken in, replaced and deleted, index files between; embedded anew once, and half of a second time.

    The last changes are in the write-ahead log only, as after a kill.
    """
    chance = random.Random(1)  # noqa: S311  # for a test
    living = home.with_name("living")
    with open_library(Settings(home=living, retention_days=0, _env_file=None)) as library:
        collection = library.store.ensure_collection("handbook", _made_by(0))
        for number in range(12):
            _ingest(library, f"/document-{number}", chance, embedder=0)
        library.vectors.flush(collection, force=True)
        for number in (1, 5):
            _ingest(library, f"/document-{number}", chance, embedder=0)
        library.store.delete(collection, [library.store.document_by_uri(collection, "/document-3").id])
        library.vectors.flush(collection, force=True)
        texts = [item.text for item in library.store.embedding_inputs(collection)]
        swap_in(library.database, library.index_directory, collection, _made_by(1), EMBEDDERS[1].embed_passages(texts))
        reembedding.remove_unfinished(library.index_directory, collection)
        collection = library.store.collection("handbook")
        _ingest(library, "/document-13", chance, embedder=1)
        target = embedding_sets.begin(library.database, collection, EMBEDDERS[2].identity, EMBEDDERS[2].dimension)
        half = list(islice(library.store.embedding_inputs(collection, lacking=target), 20))
        values = encode(EMBEDDERS[2].embed_passages([item.text for item in half]))
        embedding_sets.add(library.database, target, [item.chunk_id for item in half], values, too_long=0)
        with closing(sqlite3.connect(living / "plumbline.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in (14, 15, 7):
            _ingest(library, f"/document-{number}", chance, embedder=1)
        shutil.copytree(living, home)
    shutil.rmtree(living)


def at_rest(home: Path) -> None:
    """As the last process leaves it: all in the one file."""
    with closing(sqlite3.connect(home / "plumbline.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _made_by(embedder: int) -> object:
    return fingerprint(embedder=EMBEDDERS[embedder].identity, dimension=EMBEDDERS[embedder].dimension)


def _ingest(library: Library, uri: str, chance: random.Random, *, embedder: int) -> None:
    collection = library.store.collection("handbook")
    pieces = [f"{uri} {number} {' '.join(chance.choices(WORDS, k=30))}. " for number in range(chance.randrange(2, 6))]
    text = "".join(pieces)
    record = SourceRecord(
        uri=uri,
        title=f"Title of {uri}",
        media_type="text/plain",
        sha256=f"{chance.getrandbits(256):064x}",
        size=len(text),
        mtime_ns=chance.getrandbits(60),
        metadata={"owner": chance.choice(WORDS), "year": chance.randrange(1990, 2030), "public": chance.random() < 0.5},
    )
    start, drafts = 0, []
    for ordinal, piece in enumerate(pieces):
        span = Span(start=start, end=start + len(piece))
        drafts.append(
            ChunkDraft(
                ordinal=ordinal,
                text=piece,
                span=span,
                page=ordinal + 1,
                heading_path=("Part", f"Section {ordinal}"),
                token_count=30,
            )
        )
        start = span.end
    with library.store.stage(collection, record) as version:
        version.add_text(0, text)
        version.add_chunks(drafts, EMBEDDERS[embedder].embed_passages(pieces))
        version.activate()


def everything(home: Path) -> dict[str, object]:
    """What readers get: documents, passages and their scores by each leg, source texts."""
    with open_library(Settings(home=home, _env_file=None), migrate=False) as library:
        store, collection = library.store, library.store.collection("handbook")
        found: dict[str, object] = {"collections": [(each.name, each.seq) for each in store.collections()]}
        documents = store.documents(collection, limit=MANY)
        found["documents"] = documents
        found["texts"] = [store.source_text(document.id, Span(start=0, end=1 << 30)) for document in documents]
        for query in QUERIES:
            dense = library.vectors.search(collection, EMBEDDERS[1].embed_query(query), MANY)
            lexical = library.lexical.search(collection, query, MANY)
            ids = sorted({hit.chunk_id for hit in (*dense, *lexical)})
            found[f"passages of {query}"] = store.hydrate(collection, ids)
            found[f"dense {query}"] = {hit.chunk_id: round(hit.score, 4) for hit in dense}
            found[f"lexical {query}"] = {hit.chunk_id: round(hit.score, 6) for hit in lexical}
        return found


def positions(path: Path, chance: random.Random, *, each: int) -> Iterator[int]:
    """Of a file: its beginning and end, and some in every region; of a database, of every page."""
    size = path.stat().st_size
    page = 4096 if path.suffix == ".db" else max(1, size // 8)
    for start in range(0, size, page):
        length = min(page, size - start)
        for low, high in ((0, 0.01), (0.01, 0.1), (0.1, 1)):
            first, end = int(length * low), max(int(length * low) + 1, int(length * high))
            for _ in range(each if high == 1 else max(1, each // 2)):
                yield start + chance.randrange(first, end)


def flip(path: Path, position: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ mask]))
