"""All model state stored below a directory, by whichever process and model: what it depends on, and removing it.

Needs no model and no engine, so that the process that deletes a document can remove what was stored of it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from os import scandir
from pathlib import Path
from typing import TYPE_CHECKING

from rag.inference.kv.snapshot_files import SnapshotDamaged, read_chunks
from rag.inference.kv.snapshot_folder import FILE_NAME, FOLDER_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import DirEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    """A file. ``chunks`` is None where it cannot tell: it is damaged, of another version, or not written to its end."""

    path: Path
    chunks: frozenset[int] | None

    def depends_only_on(self, chunks: frozenset[int]) -> bool:
        return self.chunks is not None and self.chunks <= chunks


def stored_states(directory: Path) -> list[StoredState]:
    """Every file of model state below ``directory``, those being written included; none if there is no directory.

    Raises:
        OSError: a folder or a file cannot be read.
    """
    found = []
    for path in _files(directory):
        with contextlib.suppress(FileNotFoundError):  # a running engine has just removed or renamed it
            found.append(StoredState(path=path, chunks=_chunks(path)))
    return found


def remove(states: Iterable[StoredState]) -> int:
    """Delete files; how many were there. Raises OSError if one cannot be deleted, once the others are."""
    removed, failure = 0, None
    for state in states:
        try:
            state.path.unlink()
            removed += 1
        except FileNotFoundError:  # a running engine was faster
            continue
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure
    return removed


def _files(directory: Path) -> Iterator[Path]:
    for folder in _entries(directory):
        if FOLDER_NAME.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False):
            yield from (Path(entry.path) for entry in _entries(folder) if FILE_NAME.fullmatch(entry.name))


def _entries(folder: Path | DirEntry[str]) -> list[DirEntry[str]]:
    """Nothing if it is not there, or not any more: engines remove folders that are empty."""
    try:
        with scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _chunks(path: Path) -> frozenset[int] | None:
    try:
        return read_chunks(path)
    except SnapshotDamaged:
        return None
