"""Generations on disk: a directory with an index file and a manifest, complete or not there at all.

    indexes/<collection id>/<seq>-<random>/index.faiss  manifest.json

Everything is written under a temporary name and synced before it is renamed; SQL points to it only after that.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from filelock import FileLock

from rag.errors import DataDirectoryUnwritable, DiskFull, IndexDamaged
from rag.stores import faiss_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.stores.faiss_index import Base

# Bump when a file of an older program must not be read as it is; it is then built anew from SQL.
FORMAT_VERSION: Final = 1

_INDEX, _MANIFEST = "index.faiss", "manifest.json"
_UNFINISHED = ".unfinished-"
_RECALL_QUERIES, _RECALL_AT = 32, 10
_SAME_SCORE = 1e-5  # float32 sums in another order; neighbours this close are interchangeable


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a generation holds. ``size`` is of the index file in bytes, ``created`` an RFC 3339 time in UTC.

    ``recall_at_10`` was measured on the finished file, against exact search over a sample of its own vectors.
    """

    format_version: int
    embedder: str
    dimension: int
    metric: str
    kind: str
    count: int
    seq: int
    size: int
    sha256: str
    recall_at_10: float
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A finished generation; ``directory`` is relative to the root of all indexes."""

    directory: str
    manifest: Manifest
    base: Base


@contextmanager
def writing(root: Path, collection_id: int) -> Iterator[None]:
    """Alone among all processes in adding and removing generations of a collection."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(root / f"{collection_id}.lock")
        lock.acquire()
    except OSError as error:
        raise _write_error(root, error) from error
    try:
        yield
    finally:
        lock.release()


def write_generation(root: Path, collection_id: int, base: Base, *, embedder: str, seq: int) -> Generation:
    """Write what ``base`` holds, as of ``seq``, and return it as read back from the disk.

    Raises:
        DiskFull, DataDirectoryUnwritable: the file system refused; nothing is left behind.
    """
    name = f"{seq:012d}-{secrets.token_hex(4)}"
    parent = root / str(collection_id)
    unfinished = parent / f"{_UNFINISHED}{name}"
    try:
        unfinished.mkdir(mode=0o700, parents=True)
        try:
            manifest, written = _write_files(unfinished, base, embedder=embedder, seq=seq)
            unfinished.rename(parent / name)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        _sync(parent)
    except (OSError, RuntimeError) as error:  # FAISS reports a failed write as RuntimeError
        raise _write_error(parent, error) from error
    return Generation(directory=f"{collection_id}/{name}", manifest=manifest, base=written)


def load_generation(root: Path, directory: str, *, sha256: str, embedder: str) -> Generation:
    """Verify a generation against what SQL says of it, and map it.

    Raises:
        IndexDamaged: it is missing, changed, or not made by this embedder and this format.
    """
    path = root / directory
    try:
        manifest = msgspec.json.decode((path / _MANIFEST).read_bytes(), type=Manifest)
        found = _sha256(path / _INDEX)
        problem = _problem(manifest, found=found, sha256=sha256, embedder=embedder)
        if problem is None:
            return Generation(directory=directory, manifest=manifest, base=faiss_index.load(path / _INDEX))
    except (OSError, ValueError) as error:  # msgspec's and FAISS's complaints are ValueErrors here
        problem = str(error)
    raise IndexDamaged(
        f"The index files in {path} cannot be used: {problem}.", hint="They are rebuilt from the database."
    )


def remove_except(root: Path, collection_id: int, keep: Iterable[str]) -> None:
    """Delete all other generations of a collection. Only for the holder of its write lock.

    Processes that have mapped them keep them until they let go.
    """
    kept = {directory.rpartition("/")[2] for directory in keep}
    for path in (root / str(collection_id)).iterdir():
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(
                path, ignore_errors=True
            )  # a leftover costs space, not correctness; the next flush tries again


def _write_files(directory: Path, base: Base, *, embedder: str, seq: int) -> tuple[Manifest, Base]:
    index = directory / _INDEX
    faiss_index.write(base, index)
    _sync(index)
    written = faiss_index.load(index)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        embedder=embedder,
        dimension=base.vectors.shape[1],
        metric="inner_product",
        kind="flat",
        count=len(base.ids),
        seq=seq,
        size=index.stat().st_size,
        sha256=_sha256(index),
        recall_at_10=_recall(written, base.vectors),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    (directory / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    _sync(directory / _MANIFEST)
    _sync(directory)
    return manifest, written


def _problem(manifest: Manifest, *, found: str, sha256: str, embedder: str) -> str | None:
    if manifest.format_version != FORMAT_VERSION:
        return f"they have format {manifest.format_version}, this program reads {FORMAT_VERSION}"
    if not found == sha256 == manifest.sha256:
        return f"the checksum is {found}, it was {sha256} when the file was written"
    if manifest.embedder != embedder:
        return f"they were made with the embedder {manifest.embedder}"
    return None


def _recall(written: Base, vectors: NDArray[np.float32]) -> float:
    """The share of the exact 10 nearest that the file finds, ties counted as found; 1.0 for an empty index."""
    if not len(vectors):
        return 1.0
    queries = vectors[np.linspace(0, len(vectors) - 1, min(_RECALL_QUERIES, len(vectors)), dtype=np.int64)]
    k = min(_RECALL_AT, len(vectors))
    found = 0
    for query in queries:
        exact = np.partition(vectors @ query, -k)[-k]
        scores, ids = written.index.search(query[np.newaxis], k)
        found += int(np.sum((ids[0] >= 0) & (scores[0] >= exact - _SAME_SCORE)))
    return found / (k * len(queries))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Have the disk hold a file, or a directory's entries, before anything refers to them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_error(directory: Path, error: Exception) -> DiskFull | DataDirectoryUnwritable:
    if getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(directory.anchor).free == 0:
        return DiskFull(
            f"The disk that holds {directory} is full.", hint="Free some space; the index is rebuilt from SQL."
        )
    return DataDirectoryUnwritable(
        f"The index could not be written to {directory}: {error}.",
        hint="Correct the owner or permissions of the data directory; searches go on from memory.",
    )
