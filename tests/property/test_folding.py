"""Whatever a ranking holds: what is shown says different things, and nothing that was ranked is lost."""

from __future__ import annotations

from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from rag.quality_types import Likeness
from rag.retrieval.folding import Folding
from rag.retrieval.statements import holds, same, statements, whole_key
from tests.unit.builders import OneCollection, make_passage

_BODY = [f"Statement number {number} is about the river and its banks." for number in range(20)]
_EDGES = ["", "A footer stands here.", "Another notice is here."]


@st.composite
def texts(draw):
    """Passages of which many say the same: one of a few bodies, what stands before and after it, how it is written."""
    body = draw(st.integers(0, 3))
    said = " ".join(_BODY[body * 5 : body * 5 + 5])
    text = " ".join(filter(None, [draw(st.sampled_from(_EDGES)), said, draw(st.sampled_from(_EDGES))]))
    return draw(st.sampled_from([str, str.upper, lambda written: written.replace(" ", "  ")]))(text)


class Shelf(OneCollection):
    """Compares all with all."""

    def __init__(self, written: list[str], flawed: set[int]) -> None:
        self.passages = {number: make_passage(text, id=number) for number, text in enumerate(written)}
        self.said = {number: statements(text) for number, text in enumerate(written)}
        self.flawed = flawed

    def like(self, one: int) -> list[int]:
        """The others, those first that say more."""
        mine = self.said[one]
        others = [other for other in self.said if other != one and other not in self.flawed]
        longer = [other for other in others if len(self.said[other]) > len(mine) and holds(self.said[other], mine)]
        longest = max(longer, key=lambda other: (len(self.said[other]), -other), default=None)
        return [
            *([] if longest is None else [longest]),
            *(other for other in longer if other != longest and holds(self.said[longest], self.said[other])),
            *(other for other in others if other not in longer and holds(mine, self.said[other])),
        ]

    def likenesses(self, collection, chunk_ids, *, where=None, as_of=None, passages=False):
        return {
            each: Likeness(
                flaw="garbled" if each in self.flawed else None,
                whole=whole_key(self.said[each]),
                shared=bool(self.like(each)),
            )
            for each in chunk_ids
        }

    def saying(self, wholes):
        return [each for each, said in self.said.items() if whole_key(said) in wholes]

    def copies(self, collection, chunk_id, *, where=None, as_of=None):
        like = self.like(chunk_id)
        holds_it = like and len(self.said[like[0]]) > len(self.said[chunk_id])
        order = [like[0], chunk_id, *like[1:]] if holds_it else [chunk_id, *like]
        return [(self.passages[each].chunk, self.passages[each].document) for each in order]


_SAID = " ".join(_BODY[:5])


@example([f"{_EDGES[1]} {_SAID} {_EDGES[1]}", _SAID, f"{_SAID} {_EDGES[1]}"], set(), 2, Random(0))  # noqa: S311 - only an order
@example([f"{_EDGES[1]} {_SAID} {_EDGES[1]}"] * 3 + [_SAID, f"{_SAID} {_EDGES[1]}"], set(), 2, Random(0))  # noqa: S311
@given(st.lists(texts(), max_size=12), st.sets(st.integers(0, 11)), st.integers(1, 12), st.randoms())
def test_shown_are_different_passages_and_none_is_lost(written, flawed, k, random) -> None:
    shelf = Shelf(written, flawed)
    ranked = list(range(len(written)))
    random.shuffle(ranked)
    folding = Folding(shelf, shelf.collection("c"), k, where=None, as_of=None)
    while ranked and not folding.complete:
        folding.take(ranked[:3])
        ranked = ranked[3:]
    shown = [fold.shown for fold in folding.folds]
    assert len(set(shown)) == len(shown) <= k
    assert not flawed & set(shown)
    said = [shelf.said[each] for each in shown]
    for place, one in enumerate(said):
        for other in said[place + 1 :]:
            assert not holds(one, other)
            assert not holds(other, one)
    if not folding.complete:  # all of the ranking was taken
        named = {*shown, *(source.chunk.id for fold in folding.folds for source in fold.also_in)}
        assert named == set(range(len(written))) - flawed
    for fold in folding.folds:
        for source in fold.also_in:
            assert f"\n{shelf.said[source.chunk.id]}\n" in f"\n{shelf.said[fold.shown]}\n"


@given(texts(), texts())
def test_two_passages_hold_each_other_only_if_they_say_the_same(one, other) -> None:
    one, other = statements(one), statements(other)
    assert (holds(one, other) and holds(other, one)) == same(one, other) == same(other, one)
