"""The one sequence of an exact context, and how much of it the next prompt can reuse to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rag.inference.context import Context

# Matrix kernels work on groups of rows; rows left over, and batches too short, take another path with other rounding.
# So batches begin at multiples of this and are at least this long, and state is reused only up to such a place, and
# only where it came from a prompt: then every bit of it is what reading the whole prompt anew would give.
_ROW_GROUP = 16


class CachedSequence:
    """Token ids whose state the context holds, from position 0 without gaps."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._batch = context.batch()
        self._tokens = np.empty(context.cells, dtype=np.int32)
        self._length = 0
        self._reusable = 0

    def __len__(self) -> int:
        return self._length

    @property
    def tokens(self) -> NDArray[np.int32]:
        return self._tokens[: self._length].copy()

    def rewind(self, prompt: NDArray[np.int32]) -> int:
        """Keep what the cache shares with ``prompt``, drop the rest; returns how many tokens are kept.

        Its last tokens are never kept: the last one's logits are needed, and a batch has a least length.
        """
        limit = max(0, min(self._reusable, len(prompt) - _ROW_GROUP))
        differing = np.flatnonzero(self._tokens[:limit] != prompt[:limit])
        shared = int(differing[0]) if len(differing) else limit
        kept = shared - shared % _ROW_GROUP
        if kept < self._length and not (kept and self._context.drop(0, kept)):
            kept = 0
            self._context.clear()
        self._length = self._reusable = kept
        return kept

    def read(self, prompt: NDArray[np.int32]) -> Iterator[int]:
        """Read the part of ``prompt`` that is not cached, a batch at a time; yields the tokens read so far.

        After the last batch the context has the logits of the prompt's last token.
        """
        while self._length < len(prompt):
            end = min(self._length + self._batch.capacity, len(prompt))
            if 0 < len(prompt) - end < _ROW_GROUP:
                end -= _ROW_GROUP
            self._decode(prompt[self._length : end], logits=end == len(prompt))
            self._reusable = self._length
            yield self._length

    def append(self, token: int) -> None:
        """Read one generated token; the context then has its logits. The prompt stays what can be reused."""
        self._decode(np.array([token], dtype=np.int32), logits=True)

    def logits(self) -> NDArray[np.float32]:
        """Logits of the token read last. A view that dies with the next token."""
        return self._context.logits(self._batch.rows - 1)

    def clear(self) -> None:
        self._context.clear()
        self._tokens.fill(0)
        self._length = self._reusable = 0

    def _decode(self, tokens: NDArray[np.int32], *, logits: bool) -> None:
        self._batch.clear()
        self._batch.add(tokens, self._length, 0, outputs=int(logits))
        self._context.decode(self._batch)
        self._tokens[self._length : self._length + len(tokens)] = tokens
        self._length += len(tokens)
