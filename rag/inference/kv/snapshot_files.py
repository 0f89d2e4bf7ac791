"""A range of model state as a file: its layout, and the checks that nothing damaged or foreign passes.

    fields     magic, format version, identity, key, parent, start, number of chunks, number of tokens, bytes of state,
               state's digest
    digest     of fields, chunks and tokens
    chunks     int64, little-endian, ascending: which passages the state depends on
    tokens     int32, little-endian
    state      as llama.cpp wrote it

The file's name is its key in hexadecimal. What it depends on can be read without the model that made it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from os import fstat
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Bump when a file of an older program must not be read as it is; it is then deleted and its range computed anew.
FORMAT_VERSION: Final = 2

_MAGIC = b"PlumbKV\n"
_FIELDS = struct.Struct("<8sQ16s16s16sqQQQ16s")
# 128 bits of BLAKE2b: 1.2 GB/s on the development machine, so 40 ms for the largest states, beside seconds to compute
# them. CRC-32 would save 30 ms of that and let one damaged file in 2^32 pass; SHA-256 is slow without its instructions.
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A range of tokens whose model state is stored. ``key`` and ``parent`` are 16 bytes, see `snapshot_key`.

    ``start`` is the position of the first token. ``chunks`` are the ids of the passages that the tokens, or those
    before them, were made of.
    """

    key: bytes
    parent: bytes
    start: int
    tokens: NDArray[np.int32]
    chunks: frozenset[int] = frozenset()


class SnapshotDamaged(ValueError):
    """A file is not what its name and its place say; the message is the reason."""


def root_key(identity: str) -> bytes:
    """The key before the first token. ``identity`` names all that a state depends on besides the tokens."""
    return hashlib.blake2b(identity.encode(), digest_size=_DIGEST_BYTES, person=b"kv identity").digest()


def snapshot_key(parent: bytes, tokens: NDArray[np.int32]) -> bytes:
    """The key of ``tokens`` after the range ``parent``, so of everything before them as well; 16 bytes."""
    return hashlib.blake2b(parent + _token_bytes(tokens), digest_size=_DIGEST_BYTES, person=b"kv range").digest()


def file_bytes(snapshot: Snapshot, state_bytes: int) -> int:
    return _FIELDS.size + _DIGEST_BYTES + 8 * len(snapshot.chunks) + 4 * len(snapshot.tokens) + state_bytes


def write_snapshot(path: Path, identity: bytes, snapshot: Snapshot, state: NDArray[np.uint8]) -> None:
    """Create ``path``, readable by its owner alone. Raises OSError; what was written by then is left to the caller."""
    chunks = np.array(sorted(snapshot.chunks), dtype="<i8").tobytes()
    tokens = _token_bytes(snapshot.tokens)
    keys = (identity, snapshot.key, snapshot.parent)
    numbers = (snapshot.start, len(snapshot.chunks), len(snapshot.tokens), len(state))
    fields = _FIELDS.pack(_MAGIC, FORMAT_VERSION, *keys, *numbers, _digest(state.data))
    path.touch(mode=0o600, exist_ok=False)
    with path.open("r+b") as file:
        file.write(fields + _digest(fields + chunks + tokens) + chunks + tokens)
        file.write(state.data)
        file.flush()
        written = fstat(file.fileno()).st_size
    if written != file_bytes(snapshot, len(state)):
        raise OSError(f"{written} of {file_bytes(snapshot, len(state))} bytes were written")


def read_header(path: Path, identity: bytes) -> Snapshot:
    """What the file says it holds, its state unread. Raises OSError and SnapshotDamaged."""
    with path.open("rb") as file:
        return _read_own_head(file, path, identity)[0]


def read_chunks(path: Path) -> frozenset[int]:
    """The chunks that the state in any model's file depends on. Raises OSError and SnapshotDamaged."""
    with path.open("rb") as file:
        return _read_head(file)[1].chunks


def read_snapshot(path: Path, identity: bytes) -> tuple[Snapshot, NDArray[np.uint8]]:
    """The range and its state, both verified; the array is read-only. Raises OSError and SnapshotDamaged."""
    with path.open("rb") as file:
        snapshot, state_bytes, digest = _read_own_head(file, path, identity)
        state = np.empty(state_bytes, dtype=np.uint8)
        if file.readinto(state.data) != state_bytes:
            raise SnapshotDamaged("it was cut while it was read")
    if _digest(state.data) != digest:
        raise SnapshotDamaged("its state is not what was written")
    state.flags.writeable = False
    return snapshot, state


def _read_own_head(file: BinaryIO, path: Path, identity: bytes) -> tuple[Snapshot, int, bytes]:
    owner, snapshot, state_bytes, digest = _read_head(file)
    named = snapshot.key.hex() == path.stem and snapshot.key == snapshot_key(snapshot.parent, snapshot.tokens)
    if owner != identity or not named:
        raise SnapshotDamaged("it holds another model's state or other tokens than its name says")
    return snapshot, state_bytes, digest


def _read_head(file: BinaryIO) -> tuple[bytes, Snapshot, int, bytes]:
    head = file.read(_FIELDS.size + _DIGEST_BYTES)
    if len(head) < _FIELDS.size + _DIGEST_BYTES:
        raise SnapshotDamaged("it is shorter than its header")
    fields, digest = head[: _FIELDS.size], head[_FIELDS.size :]
    magic, version, owner, key, parent, start, *counts, state_digest = _FIELDS.unpack(fields)
    if magic != _MAGIC or version != FORMAT_VERSION:
        raise SnapshotDamaged("it is not of this format and version")
    chunk_count, token_count, state_bytes = counts
    size, expected = fstat(file.fileno()).st_size, len(head) + 8 * chunk_count + 4 * token_count + state_bytes
    if size != expected:
        raise SnapshotDamaged(f"it has {size} bytes, not {expected}")
    lists = file.read(8 * chunk_count + 4 * token_count)
    if _digest(fields + lists) != digest:
        raise SnapshotDamaged("its header is not what was written")
    chunks = frozenset(np.frombuffer(lists, dtype="<i8", count=chunk_count).tolist())
    tokens = np.frombuffer(lists, dtype="<i4", offset=8 * chunk_count).astype(np.int32)
    snapshot = Snapshot(key=key, parent=parent, start=start, tokens=tokens, chunks=chunks)
    return owner, snapshot, state_bytes, state_digest


def _token_bytes(tokens: NDArray[np.int32]) -> bytes:
    return tokens.astype("<i4", copy=False).tobytes()


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
