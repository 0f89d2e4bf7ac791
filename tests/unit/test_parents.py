"""Passages widened to their neighbours: whose, how far, and what happens to hits within."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag.errors import QuestionTooLong
from rag.generation.context import pack
from rag.retrieval.parents import Parent, widen
from rag.types import Chunk, Passage, Scores, Span
from rag.version_types import Stretch
from tests.unit.builders import make_passage

TEXT = "# A\n\none one.\n\ntwo two.\n\nthree three.\n\n# A\n\nfour four.\n\nfive five.\n"
WORDS = ["one one.", "two two.", "three three.", "four four.", "five five."]


def chunks(
    *, first: int = 1, paths: tuple[str, ...] = ("A",) * 5, pages: tuple[int, ...] = (1, 1, 2, 2, 2)
) -> list[Chunk]:
    """Each has two tokens; ids count from ``first``."""
    found = []
    for i, words in enumerate(WORDS):
        start = TEXT.index(words)
        found.append(
            Chunk(
                id=first + i,
                document_id=1,
                ordinal=i,
                text=words,
                span=Span(start=start, end=start + len(words)),
                page=pages[i],
                heading_path=(paths[i],),
                token_count=2,
            )
        )
    return found


def stretch(some: list[Chunk]) -> Stretch:
    return Stretch(chunks=tuple(some), text=TEXT[some[0].span.start : some[-1].span.end])


def hit(chunk: Chunk, **scores: float) -> Passage:
    return replace(make_passage("", id=1), chunk=chunk, scores=Scores(**scores))


def texts(parents: tuple[Parent, ...]) -> list[str]:
    return [parent.passage.chunk.text for parent in parents]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0, "two two."),
        (3, "two two."),
        (4, "two two.\n\nthree three."),
        (5, "two two.\n\nthree three."),
        (6, "one one.\n\ntwo two.\n\nthree three."),
        (1000, "one one.\n\ntwo two.\n\nthree three."),
    ],
)
def test_a_passage_grows_to_both_sides_as_far_as_it_may(most: int, expected: str) -> None:
    all_chunks = chunks()
    (parent,) = widen([hit(all_chunks[1])], [stretch(all_chunks)], most_tokens=most)
    assert parent.passage.chunk.text == expected
    span = parent.passage.chunk.span
    assert TEXT[span.start : span.end] == expected
    assert parent.passage.chunk.token_count == 2 * len(expected.split("\n\n"))


def test_another_section_of_the_same_name_is_not_reached() -> None:
    all_chunks = chunks()
    (parent,) = widen([hit(all_chunks[3])], [stretch(all_chunks)], most_tokens=1000)
    assert parent.passage.chunk.text == "four four.\n\nfive five."


def test_another_heading_ends_it_and_the_page_is_that_of_its_beginning() -> None:
    all_chunks = chunks(paths=("A", "B", "B", "B", "B"))
    (parent,) = widen([hit(all_chunks[2])], [stretch(all_chunks)], most_tokens=1000)
    widened = parent.passage.chunk
    assert (widened.text, widened.page) == ("two two.\n\nthree three.", 1)
    assert (widened.id, widened.ordinal, widened.heading_path) == (3, 2, ("B",))


def test_a_hit_within_a_better_one_is_merged_with_the_best_scores() -> None:
    all_chunks = chunks()
    found = [
        hit(all_chunks[1], dense=0.5, fused=0.9),
        hit(all_chunks[4], dense=0.4, fused=0.8),
        hit(all_chunks[0], dense=0.7, lexical=3.0, fused=0.6),
    ]
    parents = widen(found, [stretch(all_chunks)], most_tokens=1000)
    assert texts(parents) == ["one one.\n\ntwo two.\n\nthree three.", "four four.\n\nfive five."]
    assert parents[0].hits == (found[0], found[2])
    assert parents[0].passage.scores == Scores(dense=0.7, lexical=3.0, fused=0.9)
    assert parents[0].passage.chunk.id == 2


def test_a_passage_does_not_grow_into_a_better_one() -> None:
    all_chunks = chunks()
    parents = widen([hit(all_chunks[0]), hit(all_chunks[2])], [stretch(all_chunks)], most_tokens=4)
    assert texts(parents) == ["one one.\n\ntwo two.", "three three."]


def test_what_the_store_does_not_know_any_more_stays_as_it_was_found() -> None:
    found = [hit(chunk) for chunk in chunks()[:2]]
    parents = widen(found, [], most_tokens=1000)
    assert [parent.passage for parent in parents] == found
    assert [parent.hits for parent in parents] == [(each,) for each in found]


class Words:
    """A model whose tokens are words."""

    def __init__(self, context: int) -> None:
        self.info = type("Info", (), {"context_tokens": context})()

    def count_prompt_tokens(self, prompt) -> int:
        return sum(len(segment.text.split()) for segment in prompt.segments)


def packed(parents: tuple[Parent, ...], room: int):
    """With room for so many words of passages."""
    question = "Why? " * 100  # so that a third of the context is more than an answer takes
    bare = pack(question, (), Words(4096), max_answer_tokens=48).prompt_tokens
    return pack(question, parents, Words(bare + room + 48), max_answer_tokens=48)


def test_in_place_of_a_widened_passage_without_room_what_was_found_is_taken() -> None:
    all_chunks = chunks()
    found = [hit(all_chunks[1]), hit(all_chunks[0]), hit(all_chunks[4])]
    parents = widen(found, [stretch(all_chunks)], most_tokens=6)
    # Each has "From Handbook > A:", and two words a chunk.
    whole = packed(parents, 18)
    assert (list(whole.passages), whole.dropped) == ([parent.passage for parent in parents], 0)
    some = packed(parents, 10)
    assert (list(some.passages), some.dropped) == ([parents[0].passage], 1)
    least = packed(parents, 9)
    assert (list(least.passages), least.dropped) == (found[:1], 2)


def test_a_passage_that_was_not_widened_is_tried_once() -> None:
    (parent,) = widen([hit(chunks()[0])], [], most_tokens=6)
    with pytest.raises(QuestionTooLong):
        packed((parent,), 5)
