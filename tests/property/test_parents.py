"""Whatever was found and however sections lie: widened passages are slices of the source, bounded and disjoint."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rag.retrieval.parents import widen
from rag.types import Chunk, Passage, Scores, Span
from rag.version_types import Stretch
from tests.unit.builders import make_passage

_DOCUMENT = make_passage("").document
_WORDS = ["a", "bb", "ccc d", "é 😀"]


@st.composite
def _sources(draw):
    """A source with chunks, some of which the store left out."""
    text, chunks = "", []
    for ordinal in range(draw(st.integers(1, 12))):
        text += draw(st.sampled_from(["", "\n\n", "\n\n", " ", "\n# A\n"]))
        words = draw(st.sampled_from(_WORDS))
        chunks.append(
            Chunk(
                id=ordinal + 100,
                document_id=1,
                ordinal=ordinal,
                text=words,
                span=Span(start=len(text), end=len(text) + len(words)),
                page=None,
                heading_path=draw(st.sampled_from([("A",), ("A",), ("A",), ("B",)])),
                token_count=draw(st.integers(0, 5)),
            )
        )
        text += words
    cuts = [0, *sorted(draw(st.sets(st.integers(1, len(chunks)), max_size=3))), len(chunks)]
    runs = [chunks[a:b] for a, b in pairwise(cuts) if a < b and draw(st.integers(0, 5))]
    stretches = [Stretch(chunks=tuple(run), text=text[run[0].span.start : run[-1].span.end]) for run in runs]
    hits = draw(st.lists(st.sampled_from(chunks), unique_by=lambda chunk: chunk.id))
    found = [
        Passage(chunk=chunk, document=_DOCUMENT, scores=Scores(dense=draw(st.floats(-1, 1)), fused=1 / (1 + rank)))
        for rank, chunk in enumerate(hits)
    ]
    return text, {chunk.id: chunk for chunk in chunks}, stretches, found


@settings(max_examples=400, deadline=None)
@given(_sources(), st.integers(0, 20))
def test_widened_passages_are_bounded_disjoint_slices_in_rank_order(drawn, most):
    text, chunks, stretches, found = drawn
    parents = widen(found, stretches, most_tokens=most)
    for parent in parents:
        widened, hit = parent.passage.chunk, parent.hits[0].chunk
        assert widened.text == text[widened.span.start : widened.span.end]
        assert widened.token_count <= max(most, hit.token_count)
        assert (widened.id, widened.heading_path) == (hit.id, hit.heading_path)
        assert "#" not in widened.text
        within = [c for c in chunks.values() if widened.span.start <= c.span.start and c.span.end <= widened.span.end]
        assert {c.heading_path for c in within} == {hit.heading_path}
        assert sum(c.token_count for c in within) == widened.token_count
        assert all(each.chunk in within for each in parent.hits)
        assert parent.passage.scores.dense == max(each.scores.dense for each in parent.hits)
        assert parent.passage.scores.fused == parent.hits[0].scores.fused
    spans = sorted((parent.passage.chunk.span for parent in parents), key=lambda span: span.start)
    assert all(before.end <= after.start for before, after in pairwise(spans))
    assert sorted(each.chunk.id for parent in parents for each in parent.hits) == sorted(p.chunk.id for p in found)
    firsts = [found.index(parent.hits[0]) for parent in parents]
    assert firsts == sorted(firsts)
