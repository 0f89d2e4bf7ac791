"""Processes that back up and restore until they are killed, and a data directory small enough to do it often."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import TYPE_CHECKING

from rag.erasure import remove_all
from rag.job_types import JobRequest, Upload
from rag.stores.archives.backup import back_up, places
from rag.stores.archives.restore import restore
from rag.stores.documents import SqlDocumentStore
from rag.stores.jobs.blobs import Blobs
from rag.stores.jobs.queue import JobQueue
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite.database import Database
from tests.contracts.store_builders import fingerprint, ingest, settings_in, unit_vectors

if TYPE_CHECKING:
    from pathlib import Path

    from rag.stores.archives.archive import Manifest

_STEPS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "sqlite3.connect"}


def no_report(_doing: str, _done: int, _total: int) -> None:
    """Nobody looks."""


def filled(home: Path, word: str, count: int) -> None:
    """A data directory with a document of ``count`` chunks, its index file and an upload that waits."""
    database = Database.open(settings_in(home))
    store = SqlDocumentStore(database)
    collection = store.ensure_collection("c", fingerprint())
    ingest(store, collection, f"/{word}", [f"{word} {number}. " for number in range(count)], seed=count)
    vectors = LiveVectors(database, home / "indexes")
    vectors.flush(collection, force=True)
    vectors.close()
    upload(database, home, f"upload of {word}")
    database.close()
    state = home / "kv" / ("ab" * 16) / f"{'cd' * 16}.kv"
    state.parent.mkdir(parents=True)
    state.write_text(word)


def upload(database: Database, home: Path, text: str) -> Upload:
    """Put a file into the queue, as the service does."""
    blob, sha256, size = Blobs(home / "blobs").put(io.BytesIO(text.encode()), name="u.txt", max_bytes=1 << 20)
    put = Upload(name="u.txt", uri="upload:u.txt", blob=blob, sha256=sha256, size=size)
    JobQueue(database).put(JobRequest(collection="c", uploads=(put,)))
    return put


def holding(home: Path) -> tuple[list[str], list[str]]:
    """Uris of the documents and texts of the uploads that wait, and what a search finds, best first; as the next start
    sees it.
    """
    database = Database.open(settings_in(home))
    store, vectors = SqlDocumentStore(database), LiveVectors(database, home / "indexes")
    try:
        collection = store.collection("c")
        hits = vectors.search(collection, unit_vectors(1, seed=99)[0], 10_000)
        chunks = store.hydrate(collection, [hit.chunk_id for hit in hits])
        waiting = [(home / "blobs" / each.blob).read_text() for _, each in JobQueue(database).uploads()]
        documents = [document.uri for document in store.documents(collection)]
        return documents + waiting, [chunk.text for chunk, _ in chunks]
    finally:
        vectors.close()
        database.close()


def states(home: Path) -> list[str]:
    """What is stored of model state."""
    return [path.read_text() for path in (home / "kv").rglob("*.kv")]


def backed_up(home: Path, target: Path, *, compress: bool = False, force: bool = False) -> Manifest:
    return back_up(
        target,
        places=places(settings_in(home)),
        program="0",
        settings={},
        models=(),
        report=no_report,
        compress=compress,
        force=force,
    )


def restored(home: Path, archive: Path, *, force: bool = False) -> tuple[Path, ...]:
    return restore(
        archive,
        places=places(settings_in(home)),
        report=no_report,
        forget_states=lambda: remove_all(home / "kv"),
        force=force,
    ).moved_aside


def _die_at(step: int, within: Path) -> None:
    """Be killed before the ``step``-th time that something within a folder is opened, made, renamed or removed."""
    left = step

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _STEPS and str(within) in str(arguments[0]):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def back_up_and_die(home: Path, target: Path, step: int) -> None:
    _die_at(step, target.parent)
    backed_up(home, target)


def restore_and_die(home: Path, archive: Path, step: int) -> None:
    _die_at(step, home)
    restored(home, archive, force=True)
