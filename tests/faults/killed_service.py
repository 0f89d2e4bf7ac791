"""What a service does beside whoever writes: it searches, keeps model state of what it finds, follows the deletions and
compacts its index. Its model is a stand-in; what that keeps on disk is kept as by a real one.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import EmbedderChanged
from rag.inference.kv.snapshots import Snapshot, SnapshotStore, root_key, snapshot_key
from rag.stores import live_vectors
from rag.stores.compaction import Compaction
from rag.stores.index import bases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.factory import Library
    from rag.model_types import Gone
    from rag.types import Collection

LISTS_FROM = 32  # vectors, in every second process; the others compare all
WORTH_COMPACTING = 40  # changes
PASSAGES = 3
DISK_BYTES = 1 << 18
IDENTITY = "killed"


def prepare(seed: int) -> None:
    """Have small collections get index files, and of both kinds."""
    live_vectors._FLUSH_AT = WORTH_COMPACTING
    if seed % 2:
        bases.FLAT_UP_TO = LISTS_FROM


class StandIn:
    """Keeps a state of passages as an engine does, and nothing of those that were gone before."""

    def __init__(self, directory: Path) -> None:
        self._snapshots = SnapshotStore(ram_bytes=0, disk_bytes=DISK_BYTES, directory=directory, identity=IDENTITY)
        self._gone: list[Gone] = []
        self._lock = threading.Lock()
        self._tokens = count()

    def read(self, passages: dict[int, str]) -> None:
        chunks, parent = frozenset(passages), root_key(IDENTITY)
        tokens = np.array([*sorted(chunks), next(self._tokens)], np.int32)
        snapshot = Snapshot(key=snapshot_key(parent, tokens), parent=parent, start=0, tokens=tokens, chunks=chunks)
        with self._lock:
            if not any(gone.touches(chunks) for gone in self._gone):
                self._snapshots.put(snapshot, "".join(passages.values()).encode())

    def erase(self, gone: Gone) -> None:
        with self._lock:
            self._gone.append(gone)
            self._snapshots.erase(gone)
        self._snapshots.settle(gone)

    def close(self) -> None:
        self._snapshots.close()


class Service:
    """Serves beside the caller, in threads: one answers when it is asked, one compacts, one follows the deletions.

    ``say`` takes what the test is to know, ``vector`` makes an embedder's vector of a text.
    """

    def __init__(
        self,
        library: Library,
        collection: str,
        vector: Callable[[str, str], NDArray[np.float32]],
        say: Callable[..., None],
    ) -> None:
        self._library, self._name, self._vector, self._say = library, collection, vector, say
        self._asked = threading.Semaphore(0)
        self._compact, self._compacted = library.vectors.compact, False
        directory = library.generator_source.snapshot_directory
        library.generator_source.open = lambda: StandIn(directory)
        library.vectors.compact = self._compacting

    def start(self) -> None:
        self._model = self._library.generator  # from now on, deletions are followed
        Compaction(self._library.vectors).start()
        threading.Thread(target=self._answering, daemon=True).start()

    def ask(self) -> None:
        """Have a question answered while the caller goes on."""
        self._asked.release()

    def _compacting(self, collection: Collection) -> None:
        with self._telling():
            self._compact(collection)
        if not self._compacted:
            self._compacted = True
            self._say(seen="compaction")

    def _answering(self) -> None:
        for number in count():
            self._asked.acquire()
            with suppress(EmbedderChanged), self._telling():  # changed meanwhile: a user would ask again
                self._answer(f"question {number}")

    def _answer(self, question: str) -> None:
        collection = self._library.store.collection(self._name)
        vector = self._vector(collection.fingerprint.embedder, question)
        hits = self._library.vectors.search(collection, vector, PASSAGES)
        passages = self._library.store.hydrate(collection, [hit.chunk_id for hit in hits])
        if passages:
            self._model.read({chunk.id: chunk.text for chunk, _ in passages})

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Whatever fails in a thread of its own would be known to nobody."""
        try:
            yield
        except EmbedderChanged:
            raise
        except BaseException as error:
            self._say(failed=repr(error))
            raise
