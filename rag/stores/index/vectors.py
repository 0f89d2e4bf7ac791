"""How embeddings are stored: float16, little endian, half the space of what the model returns.

Rounding moves a cosine by less than 0.001; decoding makes the rows unit length again, so every index that is built
from the table returns the same cosines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rag.errors import DatabaseDamaged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STORED = np.dtype("<f2")

# How far from 1 the length of a stored embedding may be: rounding its numbers moves it by less than 0.001.
LENGTH_TOLERANCE = 0.01


def encode(vectors: NDArray[np.float32]) -> list[bytes]:
    """One value of the embeddings table for each row of an array of shape ``(n, dimension)``.

    Raises:
        ValueError: a row is not finite or is zero, which no search could ever find.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or not np.all(norms > 0):
        raise ValueError("an embedding is zero or not finite")
    return [row.tobytes() for row in (vectors / norms).astype(STORED)]


def stored_lengths(values: Sequence[bytes], dimension: int) -> NDArray[np.float64]:
    """The length of each value as it is stored, of shape ``(len(values),)``; NaN for one of another dimension.

    Every value that ``encode`` made is within 0.001 of 1; infinite numbers give infinity, NaN gives NaN.
    """
    size = dimension * STORED.itemsize
    empty = np.full(dimension, np.nan, STORED).tobytes()
    rows = np.frombuffer(b"".join(value if len(value) == size else empty for value in values), dtype=STORED)
    with np.errstate(invalid="ignore"):  # that a number is not finite is an answer here
        lengths: NDArray[np.float64] = np.linalg.norm(rows.reshape(len(values), dimension).astype(np.float64), axis=1)
    return lengths


def wrong(values: Sequence[bytes], dimension: int) -> int:
    """How many values are not what ``encode`` makes: of another dimension, not of length 1, or not finite."""
    return int(np.sum(~(np.abs(stored_lengths(values, dimension) - 1) < LENGTH_TOLERANCE)))  # NaN is near nothing


def require_finite(values: Sequence[bytes]) -> None:
    """Raise ValueError if a number of a stored vector is infinite or none at all."""
    whole = [value for value in values if len(value) % STORED.itemsize == 0]
    if not all(np.isfinite(np.frombuffer(value, STORED)).all() for value in whole):
        raise ValueError("an embedding is zero or not finite")


def decode(values: Sequence[bytes], dimension: int) -> NDArray[np.float32]:
    """Rows of unit length, of shape ``(len(values), dimension)``.

    Raises:
        DatabaseDamaged: a value has another dimension.
    """
    if any(len(value) != dimension * STORED.itemsize for value in values):
        raise DatabaseDamaged(
            f"A stored embedding does not have the dimension {dimension} of its collection.",
            hint="Run `indexer reembed` to embed the collection anew.",
        )
    return from_stored(b"".join(values), len(values), dimension)


def from_stored(content: bytes | bytearray, count: int, dimension: int) -> NDArray[np.float32]:
    """``count`` stored vectors, one after another, as rows of unit length."""
    rows = np.frombuffer(content, dtype=STORED).reshape(count, dimension).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return rows
