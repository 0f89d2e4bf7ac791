"""What a search finds: chunks and scores, held as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from rag.types import Hit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from numpy.typing import NDArray


class Ranking(Sequence[Hit]):
    """Hits, best first, each of another chunk. ``ids`` and ``scores`` have the shape ``(n,)``.

    Hundreds are fused where a handful is asked for, so a hit is made when somebody looks at it.
    """

    __slots__ = ("ids", "scores")

    def __init__(self, ids: NDArray[np.int64], scores: NDArray[np.floating]) -> None:
        self.ids: NDArray[np.int64] = ids
        self.scores: NDArray[np.float64] = scores.astype(np.float64)

    @classmethod
    def best(cls, scores: Mapping[int, float], k: int) -> Self:
        """The ``k`` chunks with the highest scores, equal ones by id: the same in every process."""
        ids = np.fromiter(scores, np.int64, len(scores))
        values = np.fromiter(scores.values(), np.float64, len(scores))
        return cls.ordered(ids, values, k)

    @classmethod
    def ordered(cls, ids: NDArray[np.int64], scores: NDArray[np.floating], k: int) -> Self:
        """As ``best``, of arrays in any order."""
        if 0 < k < len(scores):  # to find the least of the best takes less than to sort all of them
            best = scores >= np.partition(scores, -k)[-k]
            ids, scores = ids[best], scores[best]
        order = np.lexsort((ids, -scores))[:k]
        return cls(ids[order], scores[order])

    @classmethod
    def of(cls, hits: Iterable[Hit]) -> Self:
        """These hits, in their order."""
        listed = list(hits)
        ids = np.array([hit.chunk_id for hit in listed], dtype=np.int64)
        return cls(ids, np.array([hit.score for hit in listed], dtype=np.float64))

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Ranking: ...
    def __getitem__(self, index: int | slice) -> Hit | Ranking:
        if isinstance(index, slice):
            return Ranking(self.ids[index], self.scores[index])
        return Hit(chunk_id=int(self.ids[index]), score=float(self.scores[index]))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Hit]:
        for chunk_id, score in zip(self.ids.tolist(), self.scores.tolist(), strict=True):
            yield Hit(chunk_id=chunk_id, score=score)

    def __eq__(self, other: object) -> bool:
        """To any sequence of the same hits."""
        return isinstance(other, Sequence) and len(self) == len(other) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of any sequence that holds arrays

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"
