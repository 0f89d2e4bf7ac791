"""Generations on disk: a directory with an index file and a manifest, complete or not there at all.

    indexes/<collection id>/<seq>-<random>/manifest.json and the files of its kind of index, which the manifest lists

Everything is written under a temporary name and synced before it is renamed; SQL points to it, with the checksum of the
manifest, only after that.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec
from filelock import FileLock

from rag.errors import DataDirectoryUnwritable, DiskFull, IndexDamaged
from rag.stores.index import bases
from rag.stores.index.recall import recall, sample
from rag.stores.sqlite.room import disk_full, is_full
from rag.times import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rag.stores.index.bases import Base
    from rag.stores.index.vector_rows import VectorRows

# Bump when a file of an older program must not be read as it is; it is then built anew from SQL.
FORMAT_VERSION: Final = 3

_MANIFEST = "manifest.json"
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a generation holds. ``size`` is of all its files in bytes, ``created`` an RFC 3339 time in UTC.

    ``files`` are SHA-256 checksums by name. ``recall_at_10`` was measured on the finished files (``stores.recall``),
    ``build_s`` is the time it took to write and measure them, in seconds.
    """

    format_version: int
    embedder: str
    dimension: int
    metric: str
    kind: str
    count: int
    seq: int
    size: int
    files: dict[str, str]
    recall_at_10: float
    build_s: float
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A finished generation; ``directory`` is relative to the root of all indexes, ``sha256`` is of its manifest."""

    directory: str
    sha256: str
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
        raise write_error(root, error) from error
    try:
        yield
    finally:
        lock.release()


def write_generation(root: Path, collection_id: int, rows: VectorRows, *, embedder: str, seq: int) -> Generation:
    """Write an index of ``rows``, as of ``seq``, and return it as read back from the disk.

    Raises:
        DiskFull, DataDirectoryUnwritable: the file system refused; nothing is left behind.
    """
    name = f"{seq:012d}-{secrets.token_hex(4)}"
    parent = root / str(collection_id)
    unfinished = parent / f"{_UNFINISHED}{name}"
    try:
        unfinished.mkdir(mode=0o700, parents=True)
        try:
            written = _write_files(unfinished, rows, embedder=embedder, seq=seq)
            unfinished.rename(parent / name)
            _sync(parent)
        except BaseException:
            for left in (unfinished, parent / name):
                shutil.rmtree(left, ignore_errors=True)
            raise
    except (OSError, RuntimeError) as error:  # FAISS reports a failed write as RuntimeError
        raise write_error(parent, error) from error
    return replace(written, directory=f"{collection_id}/{name}")


def load_generation(root: Path, directory: str, *, sha256: str, embedder: str) -> Generation:
    """Verify a generation against what SQL says of it, and map it.

    Raises:
        IndexDamaged: it is missing, changed, or not made by this embedder and this format.
    """
    path = root / directory
    try:
        content = (path / _MANIFEST).read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
        problem = _problem(path, content, manifest, sha256=sha256, embedder=embedder)
        if problem is None:
            base = bases.load(path, manifest.kind)
            return Generation(directory=directory, sha256=sha256, manifest=manifest, base=base)
    except (OSError, ValueError) as error:  # msgspec's and FAISS's complaints are ValueErrors here
        problem = str(error)
    raise IndexDamaged(
        f"The index files in {path} cannot be used: {problem}.", hint="They are rebuilt from the database."
    )


def require_unchanged(root: Path, directory: str, *, sha256: str) -> None:
    """Read a generation's files without opening them. Raises IndexDamaged unless they are as they were written."""
    path = root / directory
    try:
        content = (path / _MANIFEST).read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
        problem = _problem(path, content, manifest, sha256=sha256, embedder=manifest.embedder)
    except (OSError, ValueError) as error:
        problem = str(error)
    if problem is not None:
        raise IndexDamaged(
            f"The index files in {path} are damaged: {problem}.", hint="They are rebuilt from the database."
        )


def move_generation(source: Path, root: Path, directory: str) -> None:
    """Bring a finished generation from one root to another of the same file system; opened files stay open.

    Raises:
        DiskFull, DataDirectoryUnwritable: the file system refused.
    """
    target = root / directory
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (source / directory).rename(target)
        _sync(target.parent)
    except OSError as error:
        raise write_error(target.parent, error) from error


def remove_except(root: Path, collection_id: int, keep: Iterable[str]) -> None:
    """Delete all other generations of a collection. Only for the holder of its write lock.

    Processes that have mapped them keep them until they let go.
    """
    kept = {directory.rpartition("/")[2] for directory in keep}
    for path in (root / str(collection_id)).glob("*"):  # none where no generation was ever written
        if path.is_dir() and path.name not in kept:
            # A leftover costs space, not correctness; the next flush tries again.
            shutil.rmtree(path, ignore_errors=True)


def _write_files(directory: Path, rows: VectorRows, *, embedder: str, seq: int) -> Generation:
    started = time.monotonic()
    kind = bases.kind_for(len(rows.ids), rows.dimension)
    measured = sample(rows)
    bases.write(rows, directory, kind, measured)
    files = sorted(directory.iterdir())
    for file in files:
        _sync(file)
    base = bases.load(directory, kind)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        embedder=embedder,
        dimension=rows.dimension,
        metric="inner_product",
        kind=kind,
        count=len(rows.ids),
        seq=seq,
        size=sum(file.stat().st_size for file in files),
        files={file.name: _sha256(file) for file in files},
        recall_at_10=recall(base, measured),
        build_s=round(time.monotonic() - started, 3),
        created=now(),
    )
    content = msgspec.json.format(msgspec.json.encode(manifest))
    (directory / _MANIFEST).write_bytes(content)
    _sync(directory / _MANIFEST)
    _sync(directory)
    return Generation(
        directory=directory.name, sha256=hashlib.sha256(content).hexdigest(), manifest=manifest, base=base
    )


def _problem(path: Path, content: bytes, manifest: Manifest, *, sha256: str, embedder: str) -> str | None:
    if manifest.format_version != FORMAT_VERSION:
        return f"they have format {manifest.format_version}, this program reads {FORMAT_VERSION}"
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        return f"the checksum of {_MANIFEST} is {found}, it was {sha256} when it was written"
    for name, expected in manifest.files.items():
        if (found := _sha256(path / name)) != expected:
            return f"the checksum of {name} is {found}, it was {expected} when the file was written"
    if manifest.embedder != embedder:
        return f"they were made with the embedder {manifest.embedder}"
    return None


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


def write_error(directory: Path, error: Exception) -> DiskFull | DataDirectoryUnwritable:
    """What is said where the file system refused."""
    if is_full(directory, error):
        return disk_full(directory)
    return DataDirectoryUnwritable(
        f"The index could not be written to {directory}: {error}.",
        hint="Correct the owner or permissions of the data directory; searches go on from memory.",
    )
