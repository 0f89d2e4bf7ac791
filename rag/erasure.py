"""What was deleted leaves every model's stored state, here and in other processes, before it is acknowledged.

Deleting is one transaction in SQL; it leaves tombstones. A process with a model *follows* them and forgets what depends
on the chunks that are gone. The process that deletes removes the files itself and waits for those that follow.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.errors import DataDirectoryUnwritable, ErasureIncomplete, RagError
from rag.followers import Registration, followers
from rag.inference.kv.stored_states import remove, stored_states
from rag.model_types import Gone
from rag.stores.archives.archive import sync
from rag.stores.changes import all_chunks, chunks_there, feeds, removed_since
from rag.stores.sqlite.room import disk_full, is_full
from rag.telemetry import get_logger
from rag.version_types import Searched

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rag.errors import StorageError
    from rag.followers import Follower
    from rag.protocols import Generator
    from rag.stores.sqlite.database import Database

# How often a process looks that nobody asks anything.
_LOOK_S = 0.25
# A process looks four times a second and needs at most one step of its model, and one file, to be rid of a state.
_CONFIRM_S = 15.0
_ASK_S = 0.02

_log = get_logger("erasure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One look at the files of stored model state: how many there were, how many were removed, and the seq of every
    collection, by id, as of which they were compared with the database.
    """

    files: int
    removed: int
    seqs: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """What was searched for model state of deleted passages: ``files`` read and how many of them ``removed``, and the
    ids of the processes with a model that ``confirmed`` to hold nothing of them, or did not in time. ``unreadable`` are
    the files in which some of these said something that cannot be read.
    """

    files: int
    removed: int
    confirmed: tuple[int, ...]
    unconfirmed: tuple[int, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def problem(self) -> ErasureIncomplete | None:
        """What is left to do; None if everything is erased."""
        if not self.unconfirmed:
            return None
        names = ", ".join(map(str, self.unconfirmed))
        damaged = f" What it says cannot be read: {', '.join(self.unreadable)}." if self.unreadable else ""
        return ErasureIncomplete(
            f"Process {names} did not confirm within {_CONFIRM_S:.0f} s that its model has forgotten the deleted "
            f"passages. Nobody finds them any more, but its memory may hold them.{damaged}",
            hint="It forgets them as soon as it gets to it; end it to be certain.",
        )

    def searched(self) -> list[Searched]:
        """As the report of a purge has it."""
        asked, confirmed = len(self.confirmed) + len(self.unconfirmed), len(self.confirmed)
        note = self.problem.message if self.problem else ""
        return [
            Searched(place="files of model state", searched=self.files, removed=self.removed, left=0),
            Searched(
                place="processes with a model", searched=asked, removed=confirmed, left=asked - confirmed, note=note
            ),
        ]


def sweep(database: Database, directory: Path) -> Sweep:
    """Remove every file of model state that depends on a chunk that is no more, or cannot tell what it depends on.

    Raises:
        DataDirectoryUnwritable: a file cannot be read or deleted.
    """
    try:
        states = stored_states(directory)
        known = frozenset[int]().union(*(state.chunks for state in states if state.chunks is not None))
        with database.read() as connection:
            seqs = {collection: seq for collection, (seq, _) in feeds(connection).items()}
            there = frozenset(chunks_there(connection, known))
        removed = remove(state for state in states if not state.depends_only_on(there))
    except OSError as error:
        raise _unwritable(directory, error) from error
    return Sweep(files=len(states), removed=removed, seqs=seqs)


def erase_deleted(database: Database, directory: Path, *, timeout_s: float = _CONFIRM_S) -> ErasureReport:
    """Have what is stored of deleted passages removed below ``directory``, and wait for the processes that hold a model
    over it, ``timeout_s`` at most. Loads no model.

    Raises:
        DataDirectoryUnwritable: a file cannot be read or deleted.
    """
    asked = _followers(directory)  # before the files are looked at: who leaves later may leave some
    first = sweep(database, directory)
    waiting, until = asked, time.monotonic() + timeout_s
    while (waiting := [each for each in waiting if not each.has_seen(first.seqs)]) and time.monotonic() < until:
        time.sleep(_ASK_S)
        still = {each.id for each in waiting}
        waiting = [each for each in _followers(directory) if each.id in still]
    # One that was closed or killed meanwhile may have written, to its last moment, what it had.
    last = sweep(database, directory) if asked else first
    late = {each.id for each in waiting}
    return ErasureReport(
        files=max(first.files, last.files),
        removed=first.removed + (last.removed if asked else 0),
        confirmed=tuple(each.pid for each in asked if each.id not in late),
        unconfirmed=tuple(each.pid for each in waiting),
        unreadable=tuple(str(each.unreadable) for each in waiting if each.unreadable is not None),
    )


def remove_all(directory: Path) -> None:
    """Remove all stored model state: where a database is replaced by another, chunk ids mean other passages. It stays
    removed when the power fails.

    Raises:
        DataDirectoryUnwritable: a file cannot be read or deleted.
    """
    try:
        states = stored_states(directory)
        remove(states)
        for folder in {state.path.parent for state in states}:
            sync(folder)
    except OSError as error:
        raise _unwritable(directory, error) from error


class DeletionFollower:
    """Keeps a model's state free of what is deleted, by any process. ``look`` is cheap where nothing was.

    Made before the model is loaded, so that whoever deletes from then on waits for it, and given the model by
    ``follow``. Its methods may be called from any thread.
    """

    def __init__(self, database: Database, directory: Path) -> None:
        """Take a place among the followers and remove files of what was deleted before.

        Raises:
            DataDirectoryUnwritable, DiskFull: the directory cannot be written.
        """
        self._database = database
        self._directory = directory
        try:
            self._registration = Registration(_registry(directory))
        except OSError as error:
            raise _unwritable(directory, error) from error
        try:
            swept = sweep(database, directory)
        except BaseException:
            self._registration.close()
            raise
        if swept.removed:
            _log.info("stored model state of deleted passages removed", files=swept.files, removed=swept.removed)
        self._seen = dict(swept.seqs)
        self._confirmed: dict[int, int] | None = None
        self._generator: Generator | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="deletion-follower", daemon=True)

    def follow(self, generator: Generator) -> None:
        """Look now, and from now on by itself."""
        self._generator = generator
        self.look()
        self._thread.start()

    def look(self) -> None:
        """Erase what was deleted since the last look, and tell those who wait for it.

        Raises:
            StorageError: the database cannot be read, or the confirmation cannot be written.
        """
        if self._generator is None:
            return
        with self._lock:
            seqs, gone = self._deleted_since()
            if gone is not None:
                self._generator.erase(gone)
            self._seen = seqs
            if seqs != self._confirmed:
                self._confirm(seqs)

    def close(self) -> None:
        """Leave, once the model is closed: what it wrote at its end is looked through as well."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        try:
            self.look()
        except RagError as error:  # whoever deletes looks through the files itself once this process has left
            _log.warning("the last look for deletions failed", code=error.code, detail=str(error))
        finally:
            self._registration.close()

    def _deleted_since(self) -> tuple[dict[int, int], Gone | None]:
        """Where every collection is now, and what left since the last look; None if nothing did."""
        with self._database.read() as connection:
            marks = feeds(connection)
            seqs = {collection: seq for collection, (seq, _) in marks.items()}
            if seqs == self._seen:
                return seqs, None
            behind = any(floor > self._seen.get(collection, 0) for collection, (_, floor) in marks.items())
            if behind or not self._seen.keys() <= marks.keys():  # the feed does not lead from there to here
                kept, last = all_chunks(connection)
                return seqs, Gone(kept=kept, last=last)
            ids: set[int] = set()
            for collection, seq in seqs.items():
                if seq != (seen := self._seen.get(collection, 0)):
                    ids.update(removed_since(connection, collection, seen, shelved=True).tolist())
        return seqs, Gone(ids=frozenset(ids)) if ids else None

    def _confirm(self, seqs: dict[int, int]) -> None:
        try:
            self._registration.confirm(seqs)
        except OSError as error:
            raise _unwritable(self._directory, error) from error
        self._confirmed = seqs

    def _keep_looking(self) -> None:
        failed = False
        while not self._stopped.wait(_LOOK_S):
            try:
                self.look()
            except RagError as error:
                if not failed:
                    _log.warning("deletions cannot be followed at the moment", code=error.code, detail=str(error))
                failed = True
            else:
                failed = False


def _registry(directory: Path) -> Path:
    return directory / "followers"


def _followers(directory: Path) -> list[Follower]:
    try:
        return followers(_registry(directory))
    except OSError as error:
        raise _unwritable(directory, error) from error


def _unwritable(directory: Path, error: OSError) -> StorageError:
    if is_full(directory, error):
        return disk_full(directory)
    return DataDirectoryUnwritable(
        f"The stored model state in {directory} cannot be kept in order: {error.strerror or error}.",
        hint="Correct the owner or permissions of the directory, or remove it: it is a cache.",
    )
