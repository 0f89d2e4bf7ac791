"""An evaluation corpus in a store of its own, one chunk a document, so that figures compare with published ones.

The store stands under ``RAG_HOME/eval``, named by the corpus file; a second run over the same corpus and embedder
embeds nothing. A load that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from rag.embedding.context import contextual_text
from rag.errors import IngestInProgress
from rag.factory import open_library
from rag.source_types import SourceRecord
from rag.types import ChunkDraft, Fingerprint, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rag.config import Settings
    from rag.evaluation.dataset import Dataset, Entry
    from rag.factory import Library
    from rag.model_types import PassageReuse
    from rag.types import Collection

# Bump when entries are turned into chunks or vectors differently: stores of older forms are then not used any more.
_FORM = "evaluation-entries:1"
# Entries between two reports of progress: some seconds on two cores.
_SLICE = 128
_PAGE = 1000
_URI_PREFIX = "entry:"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCorpus:
    """A corpus that can be searched. ``truncated`` entries are longer than the embedder reads: their vectors stand
    for the beginning only, while full text covers everything. ``empty`` entries have no words and are not stored.
    """

    library: Library
    collection: Collection
    truncated: int
    empty: int


def entry_id(uri: str) -> str:
    """The corpus id of a stored document."""
    return uri.removeprefix(_URI_PREFIX)


@contextmanager
def open_corpus(
    settings: Settings,
    dataset: Dataset,
    progress: Callable[[int, int], None] | None = None,
    *,
    measured_reuse: PassageReuse | None = None,
) -> Iterator[LoadedCorpus]:
    """Open the corpus's own library, first storing and embedding what is not there yet.

    ``progress`` is told entries done and entries in all. ``measured_reuse`` is as for ``open_library``. Model state is
    kept in memory only: an earlier run must not make this one look faster.

    Raises:
        IngestInProgress: another process is loading the same corpus.
    """
    key = hashlib.sha256(f"{_FORM} {dataset.corpus_sha256}".encode()).hexdigest()[:16]
    home = settings.home / "eval" / key
    own = settings.model_copy(update={"home": home, "database_url": None, "kv_disk_bytes": 0})
    with open_library(own, measured_reuse=measured_reuse) as library:
        embedder = library.embedder
        name = hashlib.sha256(embedder.identity.encode()).hexdigest()[:16]
        fingerprint = Fingerprint(parser=_FORM, chunker=_FORM, embedder=embedder.identity, dimension=embedder.dimension)
        collection = library.store.ensure_collection(name, fingerprint)
        entries = [entry for entry in dataset.corpus if entry.title.strip() or entry.text.strip()]
        lengths = _token_counts(library, entries)
        try:
            with FileLock(home / "load.lock", timeout=0):
                _load(library, collection, entries, lengths, progress or (lambda _done, _total: None))
        except Timeout as error:
            raise IngestInProgress(
                f"Another evaluation is loading the corpus {dataset.name}.", hint="Wait until it has loaded."
            ) from error
        yield LoadedCorpus(
            library=library,
            collection=library.store.collection(name),
            truncated=sum(length > embedder.max_tokens for length in lengths.values()),
            empty=len(dataset.corpus) - len(entries),
        )


def _load(
    library: Library,
    collection: Collection,
    entries: Sequence[Entry],
    lengths: dict[str, int],
    progress: Callable[[int, int], None],
) -> None:
    stored = _stored_ids(library, collection)
    missing = [entry for entry in entries if entry.id not in stored]
    for start in range(0, len(missing), _SLICE):
        progress(len(entries) - len(missing) + start, len(entries))
        some = missing[start : start + _SLICE]
        vectors = library.embedder.embed_passages([_embedded_text(entry) for entry in some])
        for entry, vector in zip(some, vectors, strict=True):
            _store(library, collection, entry, lengths[entry.id], vector)
    progress(len(entries), len(entries))


def _store(
    library: Library, collection: Collection, entry: Entry, token_count: int, vector: NDArray[np.float32]
) -> None:
    # An entry that is all title is quoted by its title.
    text = entry.text if entry.text.strip() else entry.title
    source = SourceRecord(
        uri=f"{_URI_PREFIX}{entry.id}",
        title=entry.title,
        media_type="text/plain",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        size=len(text.encode()),
        mtime_ns=0,
    )
    chunk = ChunkDraft(
        ordinal=0,
        text=text,
        span=Span(start=0, end=len(text)),
        page=None,
        heading_path=(),
        token_count=token_count,
    )
    with library.store.stage(collection, source) as version:
        version.add_text(0, text)
        version.add_chunks([chunk], vector.reshape(1, -1))
        version.activate()


def _embedded_text(entry: Entry) -> str:
    return contextual_text(entry.title, (), entry.text)


def _token_counts(library: Library, entries: Sequence[Entry]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for start in range(0, len(entries), _SLICE):
        some = entries[start : start + _SLICE]
        lengths = library.embedder.count_tokens([_embedded_text(entry) for entry in some])
        counts.update(zip((entry.id for entry in some), lengths, strict=True))
    return counts


def _stored_ids(library: Library, collection: Collection) -> set[str]:
    stored: set[str] = set()
    after = 0
    while page := library.store.documents(collection, limit=_PAGE, after=after):
        stored.update(entry_id(document.uri) for document in page)
        after = page[-1].id
    return stored
