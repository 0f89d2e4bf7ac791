"""Model state beyond the key-value cache: in RAM, then on disk, least recently used first out.

One thread uses the store; a second one writes what RAM has no room for, so that the model never waits for the disk.
It is a cache: whatever cannot be kept is dropped, counted, and computed again when it is needed.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rag.inference.kv.snapshot_files import FORMAT_VERSION, Snapshot, root_key, snapshot_key
from rag.inference.kv.snapshot_folder import SnapshotFolder
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.model_types import Gone

__all__ = ["FORMAT_VERSION", "Snapshot", "SnapshotStore", "root_key", "snapshot_key"]

# What may wait for the disk, beyond the RAM budget: about one large state, or a hundred passages.
_QUEUE_BYTES = 64 << 20

_log = get_logger("inference")


@dataclass(slots=True)
class _Held:
    snapshot: Snapshot
    state: NDArray[np.uint8]
    used_ns: int


class SnapshotStore:
    """States of token ranges by key, in two tiers with a budget of bytes each; reading and storing refresh a state.

    ``ram_bytes`` counts states; up to ``queue_bytes`` more (or one state) wait to be written. ``disk_bytes`` counts
    whole files, those of other identities and one being written included. Without a ``directory`` or with
    ``disk_bytes=0`` there is no disk tier, and nothing in the directory is touched. ``identity`` names all that a
    state depends on besides its tokens: the model's hash, cache types, llama.cpp's version.

    Nothing is raised for what the disk does: `disk_error` says why nothing is written any more. ``dropped`` counts
    states that left RAM and found no place on disk.
    """

    def __init__(
        self,
        *,
        ram_bytes: int,
        disk_bytes: int,
        directory: Path | None,
        identity: str,
        queue_bytes: int = _QUEUE_BYTES,
    ) -> None:
        self.ram_bytes_used = 0
        self.dropped = 0
        self.ram_bytes = ram_bytes
        self._queue_bytes = queue_bytes
        self._ram: OrderedDict[bytes, _Held] = OrderedDict()
        self._queued: OrderedDict[bytes, _Held] = OrderedDict()  # one of them may be half written
        self._writing: _Held | None = None
        self._evicted: list[bytes] = []
        self._changed = threading.Condition()
        self._closing = False
        self._written_states = self._written_bytes = 0
        self._folder = SnapshotFolder(directory, root_key(identity), disk_bytes)
        self._found = self._folder.scan()
        self._now_ns = self._folder.newest_ns
        self._writer = threading.Thread(target=self._write_queued, name="snapshot-writer", daemon=True)
        self._writer.start()

    @property
    def disk_bytes_used(self) -> int:
        return self._folder.used_bytes

    @property
    def corrupt(self) -> int:
        """Files that were not what they said, and were deleted."""
        return self._folder.corrupt

    @property
    def disk_error(self) -> str | None:
        """Why nothing is written to disk any more; None while it is."""
        return self._folder.error

    def found(self) -> list[Snapshot]:
        """What lay on disk at the start and still does, least recently used first; the states are not verified yet."""
        return [snapshot for snapshot in self._found if snapshot.key in self._folder]

    def put(self, snapshot: Snapshot, state: bytes | NDArray[np.uint8]) -> bool:
        """Keep a copy of ``state``; False if no tier takes it. A key that is in the store only becomes the newest.

        A state of another key than its parent and tokens make could not be verified later; it is refused.
        """
        if snapshot.key != snapshot_key(snapshot.parent, snapshot.tokens):
            _log.warning(
                "a model state is not stored: its key does not fit its parent and tokens", start=snapshot.start
            )
            return False
        with self._changed:
            if self._closing:
                return False
            held = self._ram.get(snapshot.key) or self._queued.get(snapshot.key)
            if held is not None:
                self._use(held)
                return True
            if len(state) > self.ram_bytes and snapshot.key in self._folder:
                self._folder.use(snapshot.key, self._tick())
                return True
            if len(state) > self.ram_bytes and not self._folder.could_hold(snapshot, len(state)):
                return False
        copy = np.frombuffer(state, dtype=np.uint8).copy()
        copy.flags.writeable = False
        tokens = snapshot.tokens.astype(np.int32, copy=True)
        owned = replace(snapshot, tokens=tokens)
        with self._changed:
            return self._use(_Held(owned, copy, 0))

    def get(self, key: bytes) -> NDArray[np.uint8] | None:
        """The state, read-only, from RAM without a copy or from disk; None if it is gone or its file is damaged."""
        with self._changed:
            held = self._ram.get(key) or self._queued.get(key)
            if held is not None:
                self._use(held)
                return held.state
            if self._closing:
                return None
        loaded = self._folder.load(key)
        if loaded is None:
            return None
        with self._changed:
            held = _Held(*loaded, self._tick())
            self._folder.use(key, held.used_ns)
            self._keep_in_ram(held)
        return held.state

    def __contains__(self, key: bytes) -> bool:
        with self._changed:
            return key in self._ram or key in self._queued or (key in self._folder and not self._closing)

    def discard(self, key: bytes) -> None:
        with self._changed:
            if held := self._ram.pop(key, None):
                self.ram_bytes_used -= len(held.state)
            self._queued.pop(key, None)
            self._folder.discard(key)

    def erase(self, gone: Gone) -> None:
        """Drop, from every tier, what depends on chunks that are gone. A file that is being written goes once it is
        complete: `settle` waits for that.
        """
        with self._changed:
            for tier in (self._ram, self._queued):
                for key in [key for key, held in tier.items() if gone.touches(held.snapshot.chunks)]:
                    self.discard(key)
            self._folder.erase(gone)

    def settle(self, gone: Gone) -> None:
        """Wait until nothing that depends on these chunks is being written."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._writing is None or not gone.touches(self._writing.snapshot.chunks),
            )

    def take_evicted(self) -> list[bytes]:
        """Keys of states that were lost for want of room since the last call, and are not there now."""
        with self._changed:
            evicted = dict.fromkeys(self._evicted + self._folder.take_lost())
            self._evicted.clear()
            return [key for key in evicted if key not in self]

    def flush(self) -> None:
        """Write what only RAM holds, newest first, as far as the disk's budget goes, and wait until it is written."""
        with self._changed:
            states, written = self._written_states, self._written_bytes
            if self._folder.error is None:
                only_in_ram = {key: held for key, held in self._ram.items() if key not in self._folder}
                everything = sorted((only_in_ram | self._queued).items(), key=lambda item: -item[1].used_ns)
                self._queued = OrderedDict(everything)  # newest first, or they would evict each other
                self._changed.notify_all()
            self._changed.wait_for(lambda: not self._queued or not self._writer.is_alive())
            states, written = self._written_states - states, self._written_bytes - written
            unwritten = sum(key not in self._folder for key in self._ram)
        self._folder.record_order()
        _log.debug("model state written to disk", states=states, bytes=written, only_in_ram=unwritten)

    def close(self) -> None:
        """Flush and release everything; afterwards the store is empty and takes nothing."""
        if self._closing:
            return
        self.flush()
        with self._changed:
            self._closing = True
            self._ram.clear()
            self._queued.clear()
            self.ram_bytes_used = 0
            self._changed.notify_all()
        self._writer.join()

    def _tick(self) -> int:
        """The time in ns since the epoch, later than ever before: it orders states, here and after a restart."""
        self._now_ns = max(time.time_ns(), self._now_ns + 1)
        return self._now_ns

    def _use(self, held: _Held) -> bool:
        held.used_ns = self._tick()
        self._folder.use(held.snapshot.key, held.used_ns)
        return self._keep_in_ram(held) or self._enqueue(held)

    def _keep_in_ram(self, held: _Held) -> bool:
        key, size = held.snapshot.key, len(held.state)
        if size > self.ram_bytes:
            return False
        if key in self._ram:
            self._ram.move_to_end(key)
            return True
        self._ram[key] = held
        self.ram_bytes_used += size
        while self.ram_bytes_used > self.ram_bytes:
            _, oldest = self._ram.popitem(last=False)
            self.ram_bytes_used -= len(oldest.state)
            if not self._enqueue(oldest):
                self._evicted.append(oldest.snapshot.key)
        return True

    def _enqueue(self, held: _Held) -> bool:
        key = held.snapshot.key
        if key in self._queued or key in self._folder:
            return True
        waiting = sum(len(other.state) for other in self._queued.values())
        full = bool(self._queued) and waiting + len(held.state) > self._queue_bytes
        if full or not self._folder.could_hold(held.snapshot, len(held.state)):
            self.dropped += 1
            return False
        self._queued[key] = held
        self._changed.notify_all()
        return True

    def _write_queued(self) -> None:
        try:
            while held := self._next_queued():
                self._write(held)
        finally:
            with self._changed:  # should it ever end early, nobody is to wait for it
                self._evicted += self._queued
                self._queued.clear()
                self._writing = None
                self._changed.notify_all()

    def _next_queued(self) -> _Held | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queued or self._closing)
            self._writing = next(iter(self._queued.values()), None)
            return self._writing

    def _write(self, held: _Held) -> None:
        key, used_ns = held.snapshot.key, held.used_ns
        file = self._folder.write(held.snapshot, held.state, used_ns)
        with self._changed:
            wanted = self._queued.get(key) is held
            if wanted:
                del self._queued[key]
            if file is not None and wanted:
                self._folder.admit(file, key, held.used_ns)
                self._written_states += 1
                self._written_bytes += file.size
            elif file is not None:
                self._folder.remove(file)
            elif wanted and key not in self._ram:
                self.dropped += 1
                self._evicted.append(key)
            self._writing = None
            self._changed.notify_all()
