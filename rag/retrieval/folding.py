"""A ranking of different passages: what says the same is shown once, with all its sources."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rag.retrieval.statements import statements, whole_key
from rag.types import MOST_SOURCES, OtherSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rag.protocols import PassageStore
    from rag.types import Chunk, Collection, Document, Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """``hit`` is the chunk that was ranked, ``shown`` the one that stands for all of them; mostly the same."""

    hit: int
    shown: int
    also_in: tuple[OtherSource, ...] = ()


class Folding:
    """Takes chunks in the order of their rank until there are ``k`` that say different things.

    Of those that say the same, the one that says most stands where the best of them was ranked, so nothing is lost.
    Chunks that are no text are left out.
    """

    def __init__(
        self, store: PassageStore, collection: Collection, k: int, *, where: Filter | None, as_of: datetime | None
    ) -> None:
        self._store = store
        self._collection = collection
        self._k = k
        self._where = where
        self._as_of = as_of
        self._places: dict[int, int] = {}  # of the fold in which all stands that a chunk says
        self._whole: set[int] = set()
        self.folds: list[Fold] = []
        self.found: dict[int, tuple[Chunk, Document]] = {}
        self.lost = False  # whether one of the chunks was not there any more

    @property
    def complete(self) -> bool:
        return len(self.folds) >= self._k

    def take(self, chunk_ids: Sequence[int]) -> None:
        """The next chunks of the ranking; those that were taken already may be among them."""
        new = [chunk_id for chunk_id in chunk_ids if chunk_id not in self._places]
        if not new:
            return
        # Where no more are taken than are wanted, all that nothing is like are shown, so they are read at once.
        shown = len(new) <= self._k - len(self.folds)
        known = self._store.likenesses(self._collection, new, where=self._where, as_of=self._as_of, passages=shown)
        for chunk_id in new:
            if self.complete:
                return
            if chunk_id in self._places:  # meanwhile, with one that says the same
                continue
            likeness = known.get(chunk_id)
            if likeness is None or not (likeness.shared or likeness.flaw):
                if likeness is not None and likeness.passage is not None:
                    self.found[chunk_id] = likeness.passage
                self._add(Fold(hit=chunk_id, shown=chunk_id))
            elif likeness.flaw is None and likeness.whole not in self._whole:
                self._fold(chunk_id)

    def copies(self) -> Sequence[int]:
        """All chunks that say to the word what has been taken, but for those that are shown."""
        if not self._whole:
            return []
        shown = {fold.shown for fold in self.folds}
        return [each for each in self._store.saying(self._whole) if each not in shown]

    def _fold(self, chunk_id: int) -> None:
        alike: dict[int, tuple[Chunk, Document]] = {}
        before, shown = None, chunk_id
        # Up to the one that no other holds: it is the same whichever of them is ranked first.
        while shown != before:
            before = shown
            copies = self._store.copies(self._collection, shown, where=self._where, as_of=self._as_of)
            if not copies:  # it was replaced or deleted since it was found
                self.lost = True
                break
            shown = copies[0][0].id
            alike |= {chunk.id: (chunk, document) for chunk, document in copies}
        self._whole.update(filter(None, (whole_key(statements(chunk.text)) for chunk, _ in alike.values())))
        others = tuple(OtherSource(chunk=chunk, document=document) for chunk, document in alike.values())
        if not alike:
            return
        if shown not in self._places:
            self.found[shown] = alike[shown]
            self._add(Fold(hit=chunk_id, shown=shown))
        # One that says a little less than what is shown already, by this or by another that says the same, has copies
        # that those of the one shown were not.
        place = self._places[shown]
        self.folds[place] = _joined(self.folds[place], others)
        self._places.update(dict.fromkeys(alike, place))

    def _add(self, fold: Fold) -> None:
        self._places |= dict.fromkeys((fold.hit, fold.shown), len(self.folds))
        self.folds.append(fold)


def _joined(fold: Fold, others: Sequence[OtherSource]) -> Fold:
    """A fold with others after its sources, each once."""
    known = {fold.shown, *(source.chunk.id for source in fold.also_in)}
    also_in = (*fold.also_in, *(other for other in others if other.chunk.id not in known))
    return replace(fold, also_in=also_in[:MOST_SOURCES])
